//! What silicon does: the patch protocols, and wrong variants of them, on the CPUs of this machine.
//!
//! The checker explores what the vendors' books allow; this runs the same lists of steps, on the same bytes, and
//! counts what a CPU that executes them meanwhile really does. Each *cell*, a variant at a place, runs in a child
//! process of its own: one thread calls the site in a loop, the other changes it, both bound to CPUs of their own.
//! What goes wrong is counted and the call is begun again; if the child dies of it, that is counted as well.
//!
//! The two must agree in one direction: what the checker calls impossible and a CPU does is a contradiction, a mistake
//! in the checker, the machine or here. The other direction proves nothing: a CPU that does not show what its book
//! allows may show it tomorrow.
//!
//! Protocols that are ours run by [`textpoke_linux::process::apply`], with its own trap handler and its own look at
//! where threads are. Variants run the steps of the checker's scenario on a machine that writes as the variant wants
//! ([`child`]). x86-64 only; elsewhere [`run`] refuses.
//!
//! Reading order: [`variant`], [`place`], [`subject`], [`judge`], then [`child`] and [`parent`].
#![allow(unsafe_code, reason = "generated code, signal frames and shared memory have no safe form")]

pub mod counts;
pub mod judge;
pub mod place;
pub mod spec;
pub mod subject;
pub mod variant;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod child;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod machine;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod parent;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod shared;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[path = "elsewhere.rs"]
pub mod parent;
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub use parent as child;

pub use counts::Counts;
pub use judge::{Cell, Outcome, Table};
pub use parent::run;
pub use place::Place;
pub use spec::{Budget, Error, Options};
pub use textpoke_model::Profile;
pub use variant::{VARIANTS, Variant};
