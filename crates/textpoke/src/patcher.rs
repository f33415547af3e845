//! The proof that this process can be patched.

use textpoke_core::choose::for_all;
use textpoke_core::{Direction, Kind, Plan, Refusal, Site};
use textpoke_linux::Host;
use textpoke_linux::process;

use crate::Error;

/// Shows that the process is ready to be patched. Make one, keep it, lend it.
///
/// All patchers of a process share one engine: batches of different threads wait for each other.
#[derive(Debug)]
pub struct Patcher {
    word: bool,
}

impl Patcher {
    /// Makes the process ready: registers it for core synchronisation with the kernel, which takes some milliseconds once
    /// threads are running, installs a SIGTRAP handler that passes on to the program's own, and patches a function of
    /// its own back and forth to prove that everything works.
    ///
    /// # Errors
    /// When the kernel lacks something (Linux 4.16 has all) or forbids it, or the program has replaced the handler.
    pub fn new() -> Result<Self, Error> {
        process::prepare()?;
        Ok(Self { word: textpoke_linux::cpu::documents_word_store() })
    }

    /// Allows sites that lie in one aligned 8-byte word to be changed with one store where a thread blocks SIGTRAP.
    ///
    /// AMD documents that this is sound, and there it is always allowed. Intel documents nothing of the kind.
    ///
    /// # Safety
    /// The CPU must execute either the old or the new instruction when one aligned store changes it.
    #[must_use]
    pub unsafe fn assume_word_stores(self) -> Self {
        Self { word: true }
    }

    /// Makes code that the program has just written executable by every thread: caches are maintained and CPUs have
    /// synchronised when it returns. Before that no [`Target`](crate::Target) or patch may lead to it.
    ///
    /// # Errors
    /// [`Error::Process`] when the kernel refuses the synchronisation.
    ///
    /// # Safety
    /// `len` bytes from `start` on are mapped readable.
    pub unsafe fn code_is_ready(&self, start: *const (), len: usize) -> Result<(), Error> {
        let done = textpoke_linux::code::ready(start as u64, len as u64);
        done.map_err(|errno| process::Error::Setup("synchronising the CPUs", errno).into())
    }

    /// Performs a batch of sites, by the protocol that suits all of them and asks least of other threads. Where that is by
    /// traps and a thread blocks them, single stores will do if they are known to.
    ///
    /// # Safety
    /// As for [`process::apply`], points 1 to 3 and 5.
    pub(crate) unsafe fn apply(&self, sites: &[Site], dir: Direction) -> Result<(), Error> {
        let kind = for_all(Plan::<Host>::new(sites)?, true)?;
        // SAFETY: the caller's duty.
        match unsafe { process::apply(sites, kind, dir) } {
            Err(error @ process::Error::TrapBlocked(_)) if kind == Kind::Breakpoint && self.word => {
                match sites.iter().find(|site| !site.in_one_word()) {
                    Some(site) if sites.len() == 1 => Err(Error::Refused(site.addr, Refusal::Straddles)),
                    Some(_) => Err(error.into()),
                    // SAFETY: the caller's duty; 4. documented by the vendor or assumed explicitly.
                    None => Ok(unsafe { process::apply(sites, Kind::Word, dir) }.map(drop)?),
                }
            }
            other => Ok(other.map(drop)?),
        }
    }
}
