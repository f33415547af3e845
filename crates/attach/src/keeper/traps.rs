//! Helping threads on that ran into a trap byte.

use std::io;
use std::os::unix::fs::FileExt;

use textpoke_core::isa::Isa as _;
use textpoke_core::trap::{self, Effect, Resolution, Table};

use super::{Keeper, bit, resume};
use crate::arch::Isa;
use crate::ptrace::{self, Regs};

impl Keeper {
    /// A thread executed a trap instruction: help it on as [`trap::resolve`] says, or let the program have its own trap.
    pub(super) fn on_trap(&mut self, tid: i32) {
        // Somebody may have sent a SIGTRAP to the thread, and the kernel drops the trap's own while that one is pending:
        // the thread is helped on all the same, and gets the signal that it was sent.
        let by_trap = ptrace::stopped_by_trap(tid);
        let helped = if by_trap || self.stands_behind_trap(tid) { self.resolve_trap(tid) } else { None };
        if let Some(regs) = helped {
            self.traps += 1;
            if ptrace::set_regs(tid, &regs).is_ok() {
                self.block_trap_again(tid);
                resume(tid, if by_trap { 0 } else { libc::SIGTRAP });
            }
        } else {
            resume(tid, libc::SIGTRAP);
        }
    }

    fn trap_stands_at(&self, at: u64) -> io::Result<bool> {
        let mut bytes = [0; Isa::TRAP.len()];
        self.memory.read_exact_at(&mut bytes, at)?;
        Ok(bytes == Isa::TRAP)
    }

    /// Whether the thread is right behind a trap of ours where no instruction begins: it has executed the trap. Where a
    /// trap leaves the thread at its instruction, nothing is to be found out: it executes the trap again.
    fn stands_behind_trap(&self, tid: i32) -> bool {
        if Isa::TRAP_PC_ADVANCE == 0 {
            return false;
        }
        let Ok(regs) = ptrace::regs(tid) else { return false };
        let Some((sites, _)) = &self.table else { return false };
        let at = regs.pc().wrapping_sub(Isa::TRAP_PC_ADVANCE);
        let Some(site) = sites.partition_point(|s| s.addr <= at).checked_sub(1).and_then(|i| sites.get(i)) else {
            return false;
        };
        let offset = at.wrapping_sub(site.addr) as usize;
        offset < site.len()
            && site.begins_at(offset)
            && !site.begins_at(offset + Isa::TRAP_PC_ADVANCE as usize)
            && self.trap_stands_at(at).unwrap_or(false)
    }

    /// The registers to go on with; `None` if the trap is not ours.
    fn resolve_trap(&self, tid: i32) -> Option<Regs> {
        let mut regs = ptrace::regs(tid).ok()?;
        let at = regs.pc().wrapping_sub(Isa::TRAP_PC_ADVANCE);
        // A trap that is gone is executed again only where we ever put one: `INT 3` has a two-byte form too.
        let behind = self.changed.partition_point(|s| s.addr <= at);
        if behind == 0 || at >= self.changed[behind - 1].end() {
            return None;
        }
        let still_there = self.trap_stands_at(at).ok()?;
        let table = self.table.as_ref().map(|(sites, dir)| Table { sites, dir: *dir });
        let Resolution::Do(effect) = trap::resolve::<Isa>(table, at, &regs.view(), still_there) else {
            return None;
        };
        self.apply(&mut regs, effect).ok()?;
        regs.settle();
        Some(regs)
    }

    fn apply(&self, regs: &mut Regs, effect: Effect) -> io::Result<()> {
        match effect {
            Effect::Goto { pc } => regs.set_pc(pc),
            Effect::Call { ret, pc } => {
                let sp = regs.sp().wrapping_sub(8);
                self.memory.write_all_at(&ret.to_le_bytes(), sp)?;
                regs.set_sp(sp);
                regs.set_pc(pc);
            }
            Effect::Return { extra } => {
                let mut word = [0; 8];
                self.memory.read_exact_at(&mut word, regs.sp())?;
                regs.set_pc(u64::from_le_bytes(word));
                regs.set_sp(regs.sp().wrapping_add(8 + u64::from(extra)));
            }
            Effect::Set { reg, value, pc } => {
                *regs.general(reg) = value;
                regs.set_pc(pc);
            }
        }
        Ok(())
    }

    /// For a thread that blocked SIGTRAP the kernel unblocked it to force the signal on it: block it again.
    ///
    /// Nothing tells whether it was blocked. Programs block synchronous signals one by one never, but all at once around
    /// `fork`, `vfork` and thread creation: when the others are still blocked, this one was.
    ///
    /// The kernel also reset the action for SIGTRAP to the default then, for the whole process
    /// (`force_sig_info_to_task`); see [`Keeper::action_was_reset`].
    fn block_trap_again(&mut self, tid: i32) {
        const OTHERS: u64 = bit(libc::SIGILL) | bit(libc::SIGFPE) | bit(libc::SIGSYS);
        if let Ok(mask) = ptrace::signal_mask(tid)
            && mask & OTHERS == OTHERS
        {
            let _ = ptrace::set_signal_mask(tid, mask | bit(libc::SIGTRAP));
            self.action_reset = true;
        }
    }
}
