//! The trap side: what a CPU that ran into a trap instruction does next.
//!
//! One pure function, called by the signal handler, by a tracer that sees the trap first, by a kernel's vector and by the
//! model checker.

use crate::isa::Isa;
use crate::site::{Direction, Site};

/// The sites of the batch in flight, ascending, and the way it goes.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// The sites, as checked by [`Plan`](crate::Plan).
    pub sites: &'a [Site],
    /// The direction of the batch.
    pub dir: Direction,
}

/// The registers that an emulated instruction may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Regs {
    /// Condition flags: RFLAGS on x86-64, PSTATE with N, Z, C, V in bits 31 to 28 on AArch64, unused on RISC-V.
    pub flags: u64,
    /// General registers by the number that instructions use: X0 to X30 on AArch64, x0 to x31 on RISC-V. What number 31
    /// and x0 hold is not looked at, where the number means zero. Unused on x86-64.
    pub x: [u64; 32],
}

/// What to do with the trapped thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Not a trap of this batch: give it to whoever handles traps otherwise.
    NotOurs,
    /// Make this change to the thread and let it run.
    Do(Effect),
}

/// A change of a thread's registers and stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Go on at `pc`.
    Goto {
        /// Next instruction.
        pc: u64,
    },
    /// Push `ret`, go on at `pc`.
    Call {
        /// Return address to push.
        ret: u64,
        /// Next instruction.
        pc: u64,
    },
    /// Pop the next instruction's address, then drop `extra` bytes.
    Return {
        /// Bytes to drop behind the return address.
        extra: u16,
    },
    /// Put `value` into general register `reg` (the number that the instruction encoding uses), go on at `pc`.
    Set {
        /// Register number.
        reg: u8,
        /// Value of all 64 bits.
        value: u64,
        /// Next instruction.
        pc: u64,
    },
}

/// Decides for a thread that executed a trap instruction at `at`.
///
/// `trap_still_there` is whether the trap instruction stood at `at` when it was read *before* `table` was. The order is
/// part of the contract: a table is published before its first trap byte and withdrawn after its last one has gone, so
/// that a trap byte which is still there belongs to a table which is visible (or to somebody else).
///
/// A trap byte that is already gone means that the thread fetched it, and the batch finished before it got here: the
/// instruction there now is the one to execute, so it goes back to it.
///
/// The thread acts as the *new* instruction from the moment on that the first trap is visible, in the direction of the
/// batch. A thread that stood between old instructions goes on in their copy.
pub fn resolve<I: Isa>(table: Option<Table<'_>>, at: u64, regs: &Regs, trap_still_there: bool) -> Resolution {
    if !trap_still_there {
        return Resolution::Do(Effect::Goto { pc: at });
    }
    let Some(table) = table else { return Resolution::NotOurs };
    let behind = table.sites.partition_point(|site| site.addr <= at);
    let Some(site) = behind.checked_sub(1).and_then(|i| table.sites.get(i)) else { return Resolution::NotOurs };
    let offset = (at - site.addr) as usize;
    if at >= site.end() || !site.begins_at(offset) {
        return Resolution::NotOurs;
    }
    if offset > 0 {
        let pc = site.copy.wrapping_add(u64::from(site.copy_at[offset]));
        return Resolution::Do(Effect::Goto { pc });
    }
    let code = match table.dir {
        Direction::Install => site.stand_in,
        Direction::Remove => site.copy,
    };
    if code != 0 {
        return Resolution::Do(Effect::Goto { pc: code });
    }
    match I::decode(site.addr, site.after(table.dir)) {
        Some(insn) => Resolution::Do(I::effect(insn, regs)),
        None => Resolution::NotOurs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::X86_64;

    const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
    const CALL: [u8; 5] = [0xe8, 0xfb, 0, 0, 0];

    fn at(table: Table<'_>, at: u64) -> Resolution {
        resolve::<X86_64>(Some(table), at, &Regs::default(), true)
    }

    #[test]
    fn a_trap_acts_as_the_new_instruction_of_its_direction() {
        let sites = [Site::single(0x1000, &NOP5, &CALL).unwrap()];
        let install = Table { sites: &sites, dir: Direction::Install };
        assert_eq!(at(install, 0x1000), Resolution::Do(Effect::Call { ret: 0x1005, pc: 0x1100 }));
        let remove = Table { sites: &sites, dir: Direction::Remove };
        assert_eq!(at(remove, 0x1000), Resolution::Do(Effect::Goto { pc: 0x1005 }));
    }

    #[test]
    fn late_threads_go_on_in_the_copy() {
        let mut site = Site::single(0x1000, &[0x55, 0x48, 0x89, 0xe5, 0x53], &[0xe9, 0xfb, 0, 0, 0]).unwrap();
        site.inner = 0b1_0010;
        site.copy = 0x9000;
        site.copy_at = [0, 1, 0, 0, 4, 0, 0, 0];
        let sites = [site];
        let install = Table { sites: &sites, dir: Direction::Install };
        assert_eq!(at(install, 0x1000), Resolution::Do(Effect::Goto { pc: 0x1100 }));
        assert_eq!(at(install, 0x1001), Resolution::Do(Effect::Goto { pc: 0x9001 }));
        assert_eq!(at(install, 0x1004), Resolution::Do(Effect::Goto { pc: 0x9004 }));
        let remove = Table { sites: &sites, dir: Direction::Remove };
        assert_eq!(at(remove, 0x1000), Resolution::Do(Effect::Goto { pc: 0x9000 }));
    }

    #[test]
    fn somebody_elses_traps_are_not_ours() {
        let sites = [Site::single(0x1000, &NOP5, &CALL).unwrap(), Site::single(0x2000, &NOP5, &CALL).unwrap()];
        let table = Table { sites: &sites, dir: Direction::Install };
        for other in [0xfff, 0x1001, 0x1004, 0x1005, 0x1fff, 0x2005, u64::MAX] {
            assert_eq!(at(table, other), Resolution::NotOurs, "{other:#x}");
        }
        assert_eq!(resolve::<X86_64>(None, 0x1000, &Regs::default(), true), Resolution::NotOurs);
    }

    #[test]
    fn a_trap_that_is_gone_is_executed_again() {
        assert_eq!(
            resolve::<X86_64>(None, 0x1000, &Regs::default(), false),
            Resolution::Do(Effect::Goto { pc: 0x1000 })
        );
    }
}
