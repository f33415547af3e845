//! The functions behind `include/textpoke.h`, which is their documentation. `docs/keys.md`, section "C and C++", tells how
//! they are built and installed.
//!
//! A Rust program that links C objects with keys in depends on this crate and names it once: `use textpoke_capi as _;`.
#![allow(unsafe_code, reason = "C hands over pointers, and finds functions by their names")]

mod change;
mod error;
mod hooks;
mod later;

pub use change::{
    Request, textpoke_apply, textpoke_assume_word_stores, textpoke_call_replace, textpoke_imm_set, textpoke_key_dec,
    textpoke_key_disable, textpoke_key_enable, textpoke_key_inc,
};
pub use error::{Code, textpoke_error_message, textpoke_strerror};
pub use hooks::{textpoke_object_coming, textpoke_object_going};
pub use later::{textpoke_key_dec_later, textpoke_key_flush};
