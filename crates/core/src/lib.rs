//! The pure heart of textpoke: sites, plans, patch protocols and the trap side.
//!
//! A protocol is written once, as a state machine over a borrowed [`Plan`]: it answers with the next [`Step`] and is told
//! how that step went. A live process performs the steps, a kernel performs the steps, the model checker explores them;
//! all three run the same object. The other half, what a CPU does that runs into a trap byte meanwhile, is one pure
//! function: [`trap::resolve`].
//!
//! Nothing here allocates, performs I/O or is unsafe, and every instruction set compiles on every host.
//!
//! Reading order: [`site`], [`step`], [`protocol::breakpoint`], [`trap`], then [`protocol::displace`].
#![no_std]

pub mod choose;
pub mod isa;
pub mod journal;
pub mod machine;
pub mod nmi;
pub mod plan;
pub mod protocol;
pub mod refusal;
pub mod site;
pub mod step;
pub mod trap;
pub mod wire;

pub use choose::{Choice, choose};
pub use machine::{Machine, drive};
pub use plan::{Plan, PlanError, Suited};
pub use protocol::{Kind, Run};
pub use refusal::Refusal;
pub use site::{Direction, MAX_SITE, Phase, Site, Write};
pub use step::{Cause, Outcome, Reason, Step, Unit, Verdict};
