//! `textpoke sites`: which functions there are and how each would be patched.

pub mod json;
pub mod maps;
pub mod survey;
pub mod table;
