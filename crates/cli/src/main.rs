//! The `textpoke` program.
fn main() {}
