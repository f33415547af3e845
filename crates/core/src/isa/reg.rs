//! A general register of an instruction set that has 32 of them.

/// The number of a general register, 0 to 31, as five bits of an instruction name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reg(u8);

impl Reg {
    /// `None` above 31.
    pub const fn new(number: u8) -> Option<Self> {
        if number < 32 { Some(Self(number)) } else { None }
    }

    /// The number, 0 to 31.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The five bits of `insn` from bit `low` on.
    pub(super) const fn take(insn: u32, low: u32) -> Self {
        Self((insn >> low & 31) as u8)
    }

    /// The five bits, from bit `low` on.
    pub(super) const fn put(self, low: u32) -> u32 {
        (self.0 as u32) << low
    }
}
