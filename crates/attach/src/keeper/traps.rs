//! Helping threads on that ran into a trap byte.

use std::io;
use std::os::unix::fs::FileExt;

use textpoke_core::isa::{Isa, X86_64};
use textpoke_core::trap::{self, Effect, Resolution, Table};

use super::{Keeper, bit, resume};
use crate::ptrace::{self, Regs};

impl Keeper {
    /// A thread executed INT3: help it on as [`trap::resolve`] says, or let the program have its own trap.
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

    /// Whether the thread is one byte behind a trap byte of ours where no instruction begins: it has executed the trap.
    fn stands_behind_trap(&self, tid: i32) -> bool {
        let Ok(regs) = ptrace::regs(tid) else { return false };
        let Some((sites, _)) = &self.table else { return false };
        let at = regs.rip.wrapping_sub(X86_64::TRAP_PC_ADVANCE);
        let Some(site) = sites.partition_point(|s| s.addr <= at).checked_sub(1).and_then(|i| sites.get(i)) else {
            return false;
        };
        let offset = at.wrapping_sub(site.addr) as usize;
        let mut byte = [0];
        offset < site.len()
            && site.begins_at(offset)
            && !site.begins_at(offset + 1)
            && self.memory.read_exact_at(&mut byte, at).is_ok()
            && byte == X86_64::TRAP[..1]
    }

    /// The registers to go on with; `None` if the trap is not ours.
    fn resolve_trap(&self, tid: i32) -> Option<Regs> {
        let mut regs = ptrace::regs(tid).ok()?;
        let at = regs.rip.wrapping_sub(X86_64::TRAP_PC_ADVANCE);
        // A trap that is gone is executed again only where we ever put one: `INT 3` has a two-byte form too.
        let behind = self.changed.partition_point(|s| s.addr <= at);
        if behind == 0 || at >= self.changed[behind - 1].end() {
            return None;
        }
        let mut byte = [0];
        self.memory.read_exact_at(&mut byte, at).ok()?;
        let table = self.table.as_ref().map(|(sites, dir)| Table { sites, dir: *dir });
        let view = trap::Regs { flags: regs.eflags, ..Default::default() };
        let Resolution::Do(effect) = trap::resolve::<X86_64>(table, at, &view, byte == X86_64::TRAP[..1]) else {
            return None;
        };
        self.apply(&mut regs, effect).ok()?;
        // The thread is not inside a system call: no restart logic may touch what we set.
        regs.orig_rax = u64::MAX;
        Some(regs)
    }

    fn apply(&self, regs: &mut Regs, effect: Effect) -> io::Result<()> {
        match effect {
            Effect::Goto { pc } => regs.rip = pc,
            Effect::Call { ret, pc } => {
                let sp = regs.rsp.wrapping_sub(8);
                self.memory.write_all_at(&ret.to_le_bytes(), sp)?;
                regs.rsp = sp;
                regs.rip = pc;
            }
            Effect::Return { extra } => {
                let mut word = [0; 8];
                self.memory.read_exact_at(&mut word, regs.rsp)?;
                regs.rip = u64::from_le_bytes(word);
                regs.rsp = regs.rsp.wrapping_add(8 + u64::from(extra));
            }
            Effect::Set { reg, value, pc } => {
                *general(regs, reg) = value;
                regs.rip = pc;
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

/// A general register by its number in instruction encodings.
fn general(regs: &mut Regs, number: u8) -> &mut u64 {
    match number & 15 {
        0 => &mut regs.rax,
        1 => &mut regs.rcx,
        2 => &mut regs.rdx,
        3 => &mut regs.rbx,
        4 => &mut regs.rsp,
        5 => &mut regs.rbp,
        6 => &mut regs.rsi,
        7 => &mut regs.rdi,
        8 => &mut regs.r8,
        9 => &mut regs.r9,
        10 => &mut regs.r10,
        11 => &mut regs.r11,
        12 => &mut regs.r12,
        13 => &mut regs.r13,
        14 => &mut regs.r14,
        _ => &mut regs.r15,
    }
}
