//! The proof that this process can be patched.

use textpoke_core::{Direction, Kind, Refusal, Site};
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

    /// Performs a batch of sites, by traps if threads can take them, else by single stores.
    ///
    /// # Safety
    /// As for [`process::apply`], points 1 to 3 and 5.
    pub(crate) unsafe fn apply(&self, sites: &[Site], dir: Direction) -> Result<(), Error> {
        let several = sites.iter().any(|site| site.inner != 0);
        let kind = if several { Kind::Displace } else { Kind::Breakpoint };
        // SAFETY: the caller's duty.
        match unsafe { process::apply(sites, kind, dir) } {
            Err(error @ process::Error::TrapBlocked(_)) if !several && self.word => {
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
