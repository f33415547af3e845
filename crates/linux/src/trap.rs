//! What a SIGTRAP handler does with a trap: the live half of [`textpoke_core::trap`].

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering};

use textpoke_core::isa::Isa;
use textpoke_core::trap::{Resolution, resolve};

use crate::arch::{self, Host};
use crate::signal::{CODE_TRAP, Info};
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
    if info.code != CODE_TRAP {
        return false;
    }
    let at = context.regs.pc().wrapping_sub(Host::TRAP_PC_ADVANCE);
    loop {
        let generation = published.generation();
        let still_there = holds_trap(at);
        // SAFETY: the CPU has just executed what is there.
        if !still_there && unsafe { arch::foreign_trap(at) } {
            return false;
        }
        let resolution = {
            let view = published.enter();
            let table = view.as_ref().map(|view| view.table());
            let resolution = resolve::<Host>(table, at, &context.regs.for_resolve(), still_there);
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
/// does, the signal is still the program's. Where the PC stays at the trap, the thread executes it again, and there is
/// nothing to repair.
///
/// Nobody can stand one byte behind a trapped head without having executed the trap, unless an old instruction begins
/// there; then the trap number that the kernel last saw in this thread decides.
///
/// # Safety
/// As for [`on_trap`].
pub unsafe fn on_coalesced_trap(published: &Published, context: &mut UContext) {
    if Host::TRAP_PC_ADVANCE == 0 {
        return;
    }
    let at = context.regs.pc().wrapping_sub(Host::TRAP_PC_ADVANCE);
    let resolution = {
        let Some(view) = published.enter() else { return };
        let table = view.table();
        let behind = table.sites.partition_point(|site| site.addr <= at);
        let Some(site) = behind.checked_sub(1).and_then(|i| table.sites.get(i)) else { return };
        let offset = at.wrapping_sub(site.addr) as usize;
        if offset >= site.len() || !site.begins_at(offset) || !holds_trap(at) {
            return;
        }
        if site.begins_at(offset + Host::TRAP.len()) && !arch::was_trap(&context.regs) {
            return;
        }
        resolve::<Host>(Some(table), at, &context.regs.for_resolve(), true)
    };
    if let Resolution::Do(effect) = resolution {
        // SAFETY: the thread has executed the trap at `at`.
        unsafe { context.regs.apply(effect) };
    }
}

/// Whether our trap instruction stands at `at`, which the CPU has just executed. It is read in pieces of an instruction's
/// alignment, and no further than it is a trap: what follows a shorter instruction may not be mapped.
fn holds_trap(at: u64) -> bool {
    let piece = Host::ALIGN as usize;
    Host::TRAP.chunks(piece).zip((at..).step_by(piece)).all(|(trap, at)| {
        // SAFETY: executed, up to here; aligned as instructions are.
        unsafe {
            match trap.len() {
                1 => byte(at) == trap[0],
                2 => half(at) == *trap,
                _ => word(at) == *trap,
            }
        }
    })
}

/// A byte of text.
///
/// # Safety
/// The CPU has just executed it, so that it is mapped; there is no unreadable text but by protection keys and mappings
/// that may only be executed, which then fault as a read of this thread.
pub(crate) unsafe fn byte(at: u64) -> u8 {
    // SAFETY: the caller's duty. Atomic, because the patcher stores there.
    unsafe { AtomicU8::from_ptr(at as *mut u8) }.load(Ordering::SeqCst)
}

/// Two bytes.
///
/// # Safety
/// As for [`byte`]; aligned.
pub(crate) unsafe fn half(at: u64) -> [u8; 2] {
    // SAFETY: as above.
    unsafe { AtomicU16::from_ptr(at as *mut u16) }.load(Ordering::SeqCst).to_le_bytes()
}

/// Four bytes.
///
/// # Safety
/// As for [`byte`]; aligned.
pub(crate) unsafe fn word(at: u64) -> [u8; 4] {
    // SAFETY: as above.
    unsafe { AtomicU32::from_ptr(at as *mut u32) }.load(Ordering::SeqCst).to_le_bytes()
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use crate::signal::SIGTRAP;
    use textpoke_core::{Direction, Site};

    /// Eight bytes of text.
    #[repr(align(8))]
    struct Text([u8; 8]);

    fn text(pieces: &[&[u8]]) -> Text {
        let mut text = Text([0; 8]);
        let mut at = 0;
        for piece in pieces {
            text.0[at..at + piece.len()].copy_from_slice(piece);
            at += piece.len();
        }
        text
    }

    fn trapped_at(at: u64) -> (Info, UContext) {
        let mut info = Info::queued(0, 0);
        info.code = CODE_TRAP;
        assert_eq!(info.signo, SIGTRAP);
        // SAFETY: all zeros is a context.
        let mut context: UContext = unsafe { core::mem::zeroed() };
        *context.regs.pc_mut() = at + Host::TRAP_PC_ADVANCE;
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
        let text = text(&[Host::TRAP]);
        let at = text.0.as_ptr() as u64;
        let mut site = [arch::scratch_site().unwrap()];
        site[0].addr = at;
        for (dir, code) in [(Direction::Install, 0x4000), (Direction::Remove, 0x8000)] {
            (site[0].stand_in, site[0].copy) = (0x4000, 0x8000);
            let (info, mut context) = trapped_at(at);
            // SAFETY: no real thread; the effect is a jump.
            assert!(unsafe { on_trap(&published(&site, dir), &info, &mut context) });
            assert_eq!(context.regs.pc(), code);
        }
    }

    #[test]
    fn a_trap_that_went_away_is_executed_again_without_any_table() {
        // All but the last byte of a trap are none.
        let (last, first) = Host::TRAP.split_last().unwrap();
        let text = text(&[first, &[!last]]);
        let at = text.0.as_ptr() as u64;
        let (info, mut context) = trapped_at(at);
        // SAFETY: no real thread; the effect is a jump.
        assert!(unsafe { on_trap(&Published::new(), &info, &mut context) });
        assert_eq!(context.regs.pc(), at);
    }

    #[test]
    fn other_traps_are_left_alone() {
        let text = text(&[Host::TRAP]);
        let at = text.0.as_ptr() as u64;
        let published = Published::new();
        let (mut info, mut context) = trapped_at(at);
        let before = context.regs.pc();
        // SAFETY: no real thread; nothing is done.
        assert!(!unsafe { on_trap(&published, &info, &mut context) });
        assert_eq!(context.regs.pc(), before);
        info.code = -6;
        // SAFETY: as above.
        assert!(!unsafe { on_trap(&published, &info, &mut context) }, "raise(SIGTRAP)");
    }

    #[test]
    fn traps_of_others_are_told_from_traps_that_went_away() {
        // Ends one byte, or one instruction, in front of where the trap is reported.
        let (text, offset) = match Host::TRAP.len() {
            1 => (text(&[&[0xcd, 0x03]]), 1),
            _ if Host::ALIGN == 2 => (text(&[&[0x02, 0x90]]), 0),
            _ => (text(&[&[0, 0, 0x20, 0xd4]]), 0),
        };
        let at = text.0.as_ptr() as u64 + offset;
        let (info, mut context) = trapped_at(at);
        // SAFETY: no real thread; nothing is done.
        assert!(!unsafe { on_trap(&Published::new(), &info, &mut context) });
        assert_eq!(context.regs.pc(), at + Host::TRAP_PC_ADVANCE);
    }
}
