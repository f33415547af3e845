//! What may change while other CPUs execute it: Arm ARM DDI 0487, B2.2.5 "Concurrent modification and execution of
//! instructions".
//!
//! Where the old and the new instruction are both in the list, a CPU executes the one or the other. Where one of them is
//! not, it may do whatever some sequence of instructions could do at its exception level: then nobody may execute the
//! instruction while it changes.

/// The oldest edition seen that lets an instruction change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Edition {
    /// All of them from A.a (2013) on, which still says BKPT for BRK, and Linux' `aarch64_insn_hotpatch_safe` while it
    /// existed.
    Every,
    /// D.a (2018) and later.
    Da,
    /// Later ones, as herdtools7 has the list (`herd/AArch64Arch_herd.ml`); which was the first is not known here.
    Later,
}

/// An instruction, or a family that differs in operands only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: &'static str,
    /// The bits that make it this instruction.
    pub mask: u32,
    /// What they are.
    pub value: u32,
    /// Since when it is in the list.
    pub since: Edition,
}

/// The list.
pub const LIVE: [Listed; 13] = [
    row("B", 0xfc00_0000, 0x1400_0000, Edition::Every),
    row("BL", 0xfc00_0000, 0x9400_0000, Edition::Every),
    row("BRK", 0xffe0_001f, 0xd420_0000, Edition::Every),
    row("HVC", 0xffe0_001f, 0xd400_0002, Edition::Every),
    row("NOP", 0xffff_ffff, 0xd503_201f, Edition::Every),
    row("SMC", 0xffe0_001f, 0xd400_0003, Edition::Every),
    row("SVC", 0xffe0_001f, 0xd400_0001, Edition::Every),
    row("ISB", 0xffff_f0ff, 0xd503_30df, Edition::Da),
    row("B.cond", 0xff00_0010, 0x5400_0000, Edition::Later),
    row("CBZ", 0x7f00_0000, 0x3400_0000, Edition::Later),
    row("CBNZ", 0x7f00_0000, 0x3500_0000, Edition::Later),
    row("TBZ", 0x7f00_0000, 0x3600_0000, Edition::Later),
    row("TBNZ", 0x7f00_0000, 0x3700_0000, Edition::Later),
];

const fn row(name: &'static str, mask: u32, value: u32, since: Edition) -> Listed {
    Listed { name, mask, value, since }
}

/// The row of the list that an instruction is in.
pub fn listed(insn: u32) -> Option<&'static Listed> {
    LIVE.iter().find(|row| insn & row.mask == row.value)
}

/// Whether `old` may become `new` while other CPUs execute it, by one aligned store of four bytes.
///
/// Editions differ, so it is the smallest list that counts ([`Edition::Every`]): a CPU may be older than the manual. The
/// conditional branches have one more difficulty: for A32 and T32 the manual lets condition and target be seen
/// apart.
pub fn hotpatch_safe(old: u32, new: u32) -> bool {
    [old, new].into_iter().all(|insn| listed(insn).is_some_and(|row| row.since == Edition::Every))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Aarch64, Isa};

    /// One encoding or more of each row, by name.
    const IN_THE_LIST: [(&str, u32); 17] = [
        ("B", 0x1400_0000),
        ("B", 0x17ff_ffff),
        ("BL", 0x9400_0001),
        ("BRK", 0xd420_0000),
        ("BRK", 0xd42e_8e00),
        ("HVC", 0xd400_0022),
        ("NOP", 0xd503_201f),
        ("SMC", 0xd400_0003),
        ("SVC", 0xd41f_ffe1),
        ("ISB", 0xd503_3fdf),
        ("B.cond", 0x5400_0000),
        ("CBZ", 0x3400_0000),
        ("CBZ", 0xb4ff_ffff),
        ("CBNZ", 0xb500_0000),
        ("TBZ", 0x3600_0000),
        ("TBNZ", 0xb7f8_0000),
        ("TBNZ", 0x3700_0000),
    ];

    const NOT_IN_IT: [(&str, u32); 20] = [
        ("MOV X9, X30", 0xaa1e_03e9),
        ("ADD X0, X0, #1", 0x9100_0400),
        ("BTI c", 0xd503_245f),
        ("PACIASP", 0xd503_233f),
        ("YIELD", 0xd503_203f),
        ("RET", 0xd65f_03c0),
        ("BR X0", 0xd61f_0000),
        ("BLR X0", 0xd63f_0000),
        ("ADR X0, .", 0x1000_0000),
        ("ADRP X0, .", 0x9000_0000),
        ("LDR X0, .", 0x5800_0000),
        ("STR X0, [X0]", 0xf900_0000),
        ("MOVZ X0, #0", 0xd280_0000),
        ("HLT #0", 0xd440_0000),
        ("DCPS1", 0xd4a0_0001),
        ("BC.EQ .", 0x5400_0010),
        ("DSB SY", 0xd503_3f9f),
        ("DMB ISH", 0xd503_3bbf),
        ("ERET", 0xd69f_03e0),
        ("UDF #0", 0x0000_0000),
    ];

    #[test]
    fn each_row_is_recognised_and_nothing_else() {
        for (name, insn) in IN_THE_LIST {
            assert_eq!(listed(insn).map(|row| row.name), Some(name), "{insn:#010x}");
        }
        for row in LIVE {
            assert!(IN_THE_LIST.iter().any(|&(name, _)| name == row.name), "{}", row.name);
            assert_eq!(row.value & !row.mask, 0, "{}", row.name);
            let alike = LIVE.iter().filter(|other| (other.value ^ row.value) & other.mask & row.mask == 0);
            assert_eq!(alike.count(), 1, "{} and another row have an encoding in common", row.name);
        }
        for (name, insn) in NOT_IN_IT {
            assert_eq!(listed(insn), None, "{name}");
        }
    }

    #[test]
    fn a_pair_is_safe_when_both_are_in_every_edition() {
        let oldest = ["B", "BL", "BRK", "HVC", "NOP", "SMC", "SVC"];
        let all = || IN_THE_LIST.iter().chain(&NOT_IN_IT);
        for &(from, old) in all() {
            for &(to, new) in all() {
                let safe = oldest.contains(&from) && oldest.contains(&to);
                assert_eq!(hotpatch_safe(old, new), safe, "{from} -> {to}");
                let live = |addr| Aarch64::live(addr, &old.to_le_bytes(), &new.to_le_bytes());
                assert_eq!(live(0x1_0004), safe, "{from} -> {to}");
                assert!((1..4).all(|odd| !live(0x1_0004 + odd)), "not aligned");
            }
        }
    }

    #[test]
    fn one_instruction_at_a_time() {
        let nop: [u8; 4] = super::super::NOP;
        let two = [nop, nop].concat();
        assert!(
            !Aarch64::live(8, &two, &two) && !Aarch64::live(8, &nop, &two) && !Aarch64::live(8, &nop[..3], &nop[..3])
        );
        assert!(!Aarch64::live(8, &[], &[]));
    }
}
