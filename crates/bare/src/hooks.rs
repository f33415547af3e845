//! What a kernel brings.

use textpoke_core::isa::Isa;
use textpoke_core::{Cause, Site};

/// What a kernel does for the engine. Everything is called on the patching CPU, except [`Hooks::writable`], which NMIs
/// call, too, on any CPU.
///
/// # Safety
/// Each function does what it says here: the engine writes through the alias, and lets code change, on the word of it.
pub unsafe trait Hooks: Sync {
    /// The instruction set of the kernel.
    type Isa: Isa;

    /// Makes the text of all sites, which ascend, writable at some other address, for all CPUs, until [`Hooks::close`].
    /// The address at which it is executed stays unwritable. Called again before that, it changes nothing.
    ///
    /// A kernel that has all memory mapped writable elsewhere for good has nothing to do here.
    ///
    /// # Errors
    /// Whatever there is. [`Hooks::close`] follows.
    fn open(&self, sites: &[Site]) -> Result<(), Cause>;

    /// Where the byte that is executed at `addr` can be written, and the seven behind it as far as they belong to the same
    /// site. Called between `open` and `close` only, also by NMIs, on any CPU: no lock, no allocation.
    fn writable(&self, addr: u64) -> *mut u8;

    /// Takes the alias away. `shared`: NMIs on other CPUs may have used it, so that their TLBs have to forget it, too.
    ///
    /// # Errors
    /// Whatever there is; then the alias stays, and is closed again at the end.
    fn close(&self, sites: &[Site], shared: bool) -> Result<(), Cause>;

    /// Returns when every other CPU that executes the text has passed a context synchronising point since the call
    /// ([`textpoke_cpu::serialize`] in an interrupt), those that are parked included. A CPU that is about to execute the
    /// text for the first time counts, or passes such a point before it does; [`Rendezvous::online`] does it that way.
    ///
    /// [`Rendezvous::online`]: crate::Rendezvous::online
    ///
    /// # Errors
    /// [`Cause::TimedOut`] if a CPU does not answer.
    fn sync_others(&self) -> Result<(), Cause>;

    /// Returns when every other CPU executes nothing but a waiting loop that is never patched, with interrupts off, until
    /// [`Hooks::unpark_others`]; NMIs excepted. Called while all are parked it does nothing.
    ///
    /// # Errors
    /// [`Cause::TimedOut`] if a CPU does not come; those that came are released.
    fn park_others(&self) -> Result<(), Cause>;

    /// Lets them go; each passes a context synchronising point first.
    fn unpark_others(&self);

    /// Returns when each task was seen, at some moment since the call, with no program counter behind the head of a site
    /// (`addr < pc < addr + len`): the running ones, the preempted ones, and where interrupts, traps and NMIs on top of
    /// them will return to. Only `displace`, `pair` and `park_twice` ask for it.
    ///
    /// # Errors
    /// [`Cause::Inside`] if one stays; [`Cause::Unsupported`], which is what there is without this function, makes those
    /// protocols turn back.
    fn none_inside(&self, sites: &[Site]) -> Result<(), Cause> {
        let _ = sites;
        Err(Cause::Unsupported)
    }

    /// Called again and again while the engine waits for a trap handler or an NMI to end; `turns` counts from 0. To give
    /// up, it returns false: the batch then fails with [`Cause::TimedOut`] and is undone.
    fn wait(&self, turns: u64) -> bool {
        let _ = turns;
        core::hint::spin_loop();
        true
    }
}
