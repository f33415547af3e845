//! What may change while other CPUs execute it: Arm ARM DDI 0487, B2.2.5 "Concurrent modification and execution of
//! instructions".
//!
//! Where the old and the new instruction are both in the list, a CPU executes the one or the other. Where one of them is
//! not, it may do whatever some sequence of instructions could do at its exception level: then nobody may execute the
//! instruction while it changes.

/// The oldest edition seen that lets an instruction change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Edition {
    /// All of them, and Linux' `aarch64_insn_hotpatch_safe` as it was from 2013 on.
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
