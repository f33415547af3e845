//! What a SIGTRAP handler does with a trap: the live half of [`textpoke_core::trap`].

use core::sync::atomic::{AtomicU8, Ordering};

use textpoke_core::isa::{Isa, X86_64};
use textpoke_core::trap::{Resolution, resolve};

use crate::signal::{CODE_INT3, Info};
use crate::table::Published;
use crate::ucontext::UContext;

/// Handles the trap if it is one of ours; returns whether it was.
///
/// To be called first thing in a SIGTRAP handler that was installed as [`crate::signal::Action::for_traps`] says. It
/// makes no system call, takes no lock, allocates nothing and touches no errno.
///
/// The order is that of the contract: trap byte, then table. A byte that is no trap any more is executed again, which
/// is what closes the window between the CPU's trap and this function: a thread can be preempted, or stopped, in
/// between for any number of batches. If the trap byte stood but its table is gone, the batch ended between the two
/// looks, and the trap byte has gone with it: look again.
///
/// # Safety
/// 1. `context` is that of the calling thread's own signal frame, from a signal whose `siginfo` is `info`.
/// 2. The sites published were made by somebody who knows what their new instructions mean.
pub unsafe fn on_trap(published: &Published, info: &Info, context: &mut UContext) -> bool {
    if info.code != CODE_INT3 {
        return false;
    }
    let at = context.regs.rip.wrapping_sub(X86_64::TRAP_PC_ADVANCE);
    loop {
        let generation = published.generation();
        let still_there = match byte(at) {
            0xcc => true,
            // INT 3 in its two-byte form (CD 03) ends in no trap byte, but nobody has taken one away.
            0x03 if byte(at.wrapping_sub(1)) == 0xcd => return false,
            _ => false,
        };
        let resolution = {
            let view = published.enter();
            let table = view.as_ref().map(|view| view.table());
            let resolution = resolve::<X86_64>(table, at, &context.regs.for_resolve(), still_there);
            if let (Some(view), true, Resolution::Do(_)) = (&view, still_there, resolution) {
                view.count(at);
            }
            resolution
        };
        match resolution {
            Resolution::Do(effect) => {
                // The table has been left: pushing a return address may run into the end of the stack, and the program's
                // handler for that may never come back.
                // SAFETY: the thread stands at an instruction that is, or just was, the one that `effect` is made of.
                unsafe { context.regs.apply(effect) };
                return true;
            }
            Resolution::NotOurs if still_there && published.generation() != generation => {}
            Resolution::NotOurs => return false,
        }
    }
}

/// Repairs what the kernel does when a SIGTRAP that somebody sent to this very thread is pending at the moment at which
/// the thread traps: of two pending SIGTRAPs it drops the second, so that the trap is never reported and the handler
/// sees the other signal with the PC behind a trap byte. To be called for each SIGTRAP that is no trap; whatever it
/// does, the signal is still the program's.
///
/// Nobody can stand one byte behind a trapped head without having executed the trap, unless an old instruction begins
/// there; then the trap number that the kernel last saw in this thread decides.
///
/// # Safety
/// As for [`on_trap`].
pub unsafe fn on_coalesced_trap(published: &Published, context: &mut UContext) {
    const BREAKPOINT: u64 = 3;
    let at = context.regs.rip.wrapping_sub(X86_64::TRAP_PC_ADVANCE);
    let resolution = {
        let Some(view) = published.enter() else { return };
        let table = view.table();
        let behind = table.sites.partition_point(|site| site.addr <= at);
        let Some(site) = behind.checked_sub(1).and_then(|i| table.sites.get(i)) else { return };
        let offset = at.wrapping_sub(site.addr) as usize;
        if offset >= site.len() || !site.begins_at(offset) || byte(at) != 0xcc {
            return;
        }
        if site.begins_at(offset + 1) && context.regs.trap != BREAKPOINT {
            return;
        }
        resolve::<X86_64>(Some(table), at, &context.regs.for_resolve(), true)
    };
    if let Resolution::Do(effect) = resolution {
        // SAFETY: the thread has executed the trap at `at`.
        unsafe { context.regs.apply(effect) };
    }
}

fn byte(at: u64) -> u8 {
    // SAFETY: the CPU has just executed the byte, so it is mapped; x86 has no unreadable text but by protection keys,
    // which then fault as a read of this thread. Atomic, because the patcher stores there.
    unsafe { AtomicU8::from_ptr(at as *mut u8) }.load(Ordering::SeqCst)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::signal::SIGTRAP;
    use textpoke_core::{Direction, Site};

    fn trapped_at(at: &u8) -> (Info, UContext) {
        let mut info = Info::queued(0, 0);
        info.code = CODE_INT3;
        assert_eq!(info.signo, SIGTRAP);
        // SAFETY: all zeros is a context.
        let mut context: UContext = unsafe { core::mem::zeroed() };
        context.regs.rip = core::ptr::from_ref(at) as u64 + 1;
        (info, context)
    }

    fn published(site: &[Site; 1], dir: Direction) -> Published {
        let published = Published::new();
        // SAFETY: the site outlives the test's use.
        unsafe { published.publish(site, dir, core::ptr::null(), 0) }.unwrap();
        published
    }

    #[test]
    fn a_trap_in_the_table_is_acted_out() {
        let text = [0xccu8, 0x90];
        let (info, mut context) = trapped_at(&text[0]);
        let at = context.regs.rip - 1;
        let site = [Site::single(at, &[0xeb, 0x10], &[0x66, 0x90]).unwrap()];
        for (dir, pc) in [(Direction::Install, at + 2), (Direction::Remove, at + 18)] {
            context.regs.rip = at + 1;
            // SAFETY: no real thread; the effect is a jump.
            assert!(unsafe { on_trap(&published(&site, dir), &info, &mut context) });
            assert_eq!(context.regs.rip, pc);
        }
    }

    #[test]
    fn a_trap_that_went_away_is_executed_again_without_any_table() {
        let text = [0x90u8];
        let (info, mut context) = trapped_at(&text[0]);
        // SAFETY: no real thread; the effect is a jump.
        assert!(unsafe { on_trap(&Published::new(), &info, &mut context) });
        assert_eq!(context.regs.rip, text.as_ptr() as u64);
    }

    #[test]
    fn other_traps_are_left_alone() {
        let text = [0xccu8, 0xcd, 0x03];
        let published = Published::new();
        for i in [0, 2] {
            let (info, mut context) = trapped_at(&text[i]);
            let before = context.regs.rip;
            // SAFETY: no real thread; nothing is done.
            assert!(!unsafe { on_trap(&published, &info, &mut context) });
            assert_eq!(context.regs.rip, before);
        }
        let (mut info, mut context) = trapped_at(&text[0]);
        info.code = -6;
        // SAFETY: as above.
        assert!(!unsafe { on_trap(&published, &info, &mut context) }, "raise(SIGTRAP)");
    }
}
