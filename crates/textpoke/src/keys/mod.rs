//! Switches that cost one instruction: static keys, static calls and immediate values.
//!
//! A **static key** is a `bool` whose value stands in the code of the branches on it. While such a branch goes straight
//! on it is one NOP; no load, no comparison. Turning the key changes the code of all branches, while all threads run. A
//! **static call** is a function pointer whose value stands in the CALL, an **immediate value** a number that stands in
//! the MOV that reads it.
//!
//! ```
//! use textpoke::{static_branch_unlikely, static_key};
//!
//! static_key! {
//!     /// Whether every request is written down.
//!     static AUDIT: bool = false;
//! }
//!
//! fn serve(request: &str) -> usize {
//!     if static_branch_unlikely!(AUDIT) {
//!         println!("{request}");
//!     }
//!     request.len()
//! }
//!
//! serve("not written");
//! AUDIT.enable()?;
//! serve("written");
//! # Ok::<(), textpoke::keys::KeyError>(())
//! ```
//!
//! Nothing has to be set up. Keys can be turned by any thread, several at the same time, before `main`, and from outside
//! the process: `textpoke keys PID enable AUDIT`. Sites may be in generic and inlined code, in several crates, and in
//! libraries that come and go. `docs/keys.md` says what is guaranteed, what stands at a site and how it is changed.
//!
//! # What it needs of the program
//! Not to be called in a signal handler, nor in a vfork child. On processors other than AMD's, threads must be able to
//! take SIGTRAP where they come by a site, unless [`assume_word_stores`] is called; a program with a SIGTRAP handler of
//! its own installs it before the first change there. A crate that forbids `unsafe_code` cannot use the macros, which are
//! inline assembly.

mod batch;
mod deferred;
mod engine;
mod error;
mod hooks;
mod index;
mod list;
mod macros;
mod protocol;

pub use batch::Changes;
pub use deferred::Deferred;
pub use engine::Process;
pub use error::KeyError;
#[doc(hidden)]
pub use hooks::{coming, going};
pub use list::{Found, all};
pub use protocol::{Protocol, assume_word_stores, use_protocol};
pub use textpoke_keys::abi::Kind;
pub use textpoke_keys::change::Misuse;
pub use textpoke_keys::{Argument, Immediate, Returned, Signature};

/// A key of this process that is on or off: see [`static_key!`](crate::static_key).
pub type StaticKey<const DEFAULT: bool> = textpoke_keys::StaticKey<DEFAULT, Process>;
/// A function of this process that can be exchanged: see [`static_call!`](crate::static_call).
pub type StaticCall<F> = textpoke_keys::StaticCall<F, Process>;
/// A number of this process that can be changed: see [`static_imm!`](crate::static_imm).
pub type StaticImm<T, const INITIAL: u64> = textpoke_keys::StaticImm<T, INITIAL, Process>;
