//! What the bytes of a site are, for each value of its key: a type for each instruction set.

mod words;
mod x86_64;

use textpoke_core::isa::Isa;
use textpoke_core::{Refusal, Site};

use crate::abi::{Entry, LIKELY};

/// Most bytes of a site.
pub const MAX_LEN: usize = 10;

/// How a site will be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// In one store: only the bytes that the value is in.
    Store,
    /// From its head on: the whole instruction, as protocols need it that trap or hop there.
    Head,
}

/// An instruction set whose sites are known.
pub trait Forms: Isa {
    /// Whether there can be a site of this kind and length.
    fn fits(entry: &Entry) -> bool;

    /// The site for changing `entry` from what stands there, `now` (its bytes from [`Entry::code`] on), to what `value`
    /// demands. `None` if it stands there already.
    ///
    /// # Errors
    /// [`Refusal::OldNotEmulated`] when no form of such a site stands there, [`Refusal::OutOfRange`] for a function out
    /// of reach of a site whose trampoline is too, [`Refusal::Length`] for [`How::Head`] and an immediate of eight bytes,
    /// whose instruction is longer than a site.
    fn change(entry: &Entry, now: &[u8], value: u64, how: How) -> Result<Option<Site>, Refusal>;

    /// The site that puts `entry` right whatever a patcher that was killed left there, its traps included: what it should
    /// be for `value`, and as its old form the other one. `None` if nothing is wrong.
    ///
    /// # Errors
    /// As [`Forms::change`].
    fn mend(entry: &Entry, now: &[u8], value: u64) -> Result<Option<Site>, Refusal>;
}

/// Whether a branch jumps when its key is on or off.
const fn jumps(entry: &Entry, on: bool) -> bool {
    on != (entry.flags & LIKELY != 0)
}
