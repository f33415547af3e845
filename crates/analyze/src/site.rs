//! A run of whole instructions that a jump can replace.

use textpoke_core::{Choice, Kind, Refusal, choose};

use crate::isa::{Arch, Flow, Insn, Isa, for_isa};
use crate::reason::Reason;

/// Most bytes that a site can have: on x86-64, an instruction of fifteen bytes that begins in the fifth.
pub const MAX_SITE: usize = 19;

/// Most bytes of a site that change.
pub const MAX_PATCH: usize = 8;

/// How a site is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The instructions run from a copy.
    Displace,
    /// The compiler left a NOP for this purpose, and the jump takes its place.
    Sled,
}

/// What the last displaced instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Goes on behind the site.
    FallsThrough,
    /// Calls, and returns behind the site. The copy puts that return address where a call would with
    /// ordinary instructions, which a shadow stack (CET SHSTK, GCS, Zicfiss) would not accept.
    Call,
    /// Jumps away.
    Jump,
    /// Returns to the caller.
    Return,
}

/// What is put over a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// One instruction that needs no register: `JMP rel32` (5 bytes, ±2 GiB), `B` (4 bytes, ±128 MiB), `JAL` to x0
    /// (4 bytes, ±1 MiB).
    One,
    /// `AUIPC` and `JALR` through a register that holds nothing at the site, and nothing behind it (8 bytes, ±2 GiB).
    Pair {
        /// Its number, 1 to 31.
        by: u8,
    },
}

/// A jump, ready to be written over a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// As many bytes as [`Site::patched`] says.
    pub bytes: Vec<u8>,
    /// Bit *i* is set when an instruction begins at byte *i* of them, the first left out: 16 for a pair, else 0.
    pub new_inner: u8,
}

/// A displaced run: whole instructions, and padding where they make fewer bytes than the jump.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Address as linked of the first displaced byte, behind an `endbr64`, BTI, PACIASP or LPAD if there is one.
    pub vaddr: u64,
    /// Bit *i* is set when an old instruction begins at `vaddr + i`, for *i* in 1..8. None of
    /// these addresses can be reached but from the instruction before it.
    pub inner: u8,
    /// How it is patched.
    pub way: Way,
    /// What the last displaced instruction does.
    pub ends: Ends,
    /// Some displaced instruction reads flags that were set before the site.
    pub flags_live: bool,
    /// There may be live data in the 128 bytes below the stack pointer. On x86-64 always at exits, and at
    /// entries that something jumps to or runs into; elsewhere never, because no ABI allows it.
    pub red_zone: bool,
    /// What is put over it.
    pub jump: Jump,
    isa: Isa,
    straight: bool,
    code: u8,
    len: u8,
    bytes: [u8; MAX_SITE],
}

impl Site {
    /// The instruction set of its instructions.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The old bytes: at least [`Site::patched`], of which only so many change.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The displaced instructions, without padding.
    pub fn code(&self) -> &[u8] {
        &self.bytes[..usize::from(self.code)]
    }

    /// Number of old bytes, at least [`Site::patched`].
    #[expect(clippy::len_without_is_empty, reason = "a site is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The address as linked behind the last old byte.
    pub fn end(&self) -> u64 {
        self.vaddr + u64::from(self.len)
    }

    /// How many bytes change: the length of the jump, 4, 5 or 8.
    pub fn patched(&self) -> usize {
        match (self.isa, self.jump) {
            (Isa::X86_64, _) => 5,
            (_, Jump::Pair { .. }) => 8,
            (_, Jump::One) => 4,
        }
    }

    /// How far the jump reaches in both directions, in bytes; a few bytes more or less at the very ends.
    pub fn reach(&self) -> u64 {
        match (self.isa, self.jump) {
            (Isa::X86_64, _) | (_, Jump::Pair { .. }) => 1 << 31,
            (Isa::Aarch64, _) => 1 << 27,
            (Isa::Riscv64, _) => 1 << 20,
        }
    }

    /// The jump to the run-time address `to`; `bias` is what was added to the addresses of the file when it was loaded.
    ///
    /// # Errors
    /// [`Reason::OutOfRange`] when `to` is further away than [`Site::reach`], or no multiple of what instructions are.
    pub fn jump_to(&self, bias: u64, to: u64) -> Result<Written, Reason> {
        for_isa!(self.isa, I => I::encode_jump(self.jump, self.vaddr.wrapping_add(bias), to))
    }

    /// The protocol that changes the site in a process whose threads can all take a trap and can all be parked. Where
    /// the jump leads makes no difference.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn protocol(&self) -> Result<Kind, Refusal> {
        for_isa!(self.isa, I => self.protocol_of::<I>())
    }

    fn protocol_of<I: Arch>(&self) -> Result<Kind, Refusal> {
        let to = self.vaddr.wrapping_add(self.reach() / 2);
        let new = self.jump_to(0, to).map_err(|_| Refusal::OutOfRange { from: self.vaddr, to })?;
        // Bits behind the bytes that change belong to instructions that stay what they are.
        let inner = self.inner & ((1u16 << self.patched()) - 1) as u8;
        choose::<I::Core>(&Choice {
            addr: self.vaddr,
            old: &self.bytes[..self.patched()],
            new: &new.bytes,
            inner,
            new_inner: new.new_inner,
            copy: to,
            stand_in: if new.new_inner == 0 { 0 } else { to },
            red_zone: self.red_zone,
            traps: true,
            word: false,
            park: true,
        })
    }

    /// Whether one aligned store changes the site while other threads execute it. Never on x86-64, whose vendors differ
    /// about it.
    pub fn live(&self) -> bool {
        self.protocol() == Ok(Kind::Word)
    }

    /// No displaced instruction but the last can go anywhere else than to the next.
    pub(crate) fn is_straight(&self) -> bool {
        self.straight
    }

    /// One old instruction, so that no thread can be between two of them.
    pub fn is_single(&self) -> bool {
        self.inner == 0
    }

    /// The caller has checked the instructions: contiguous from `vaddr`, with `bytes` their bytes
    /// and those of the padding behind them.
    pub(crate) fn new<I: Arch>(insns: &[Insn<I::Raw>], bytes: &[u8], jump: Jump) -> Self {
        let (first, last) = (&insns[0], &insns[insns.len() - 1]);
        let vaddr = first.ip;
        let inner = insns[1..].iter().fold(0u8, |bits, i| bits | 1 << (i.ip - vaddr));
        let mut copy = [0; MAX_SITE];
        copy[..bytes.len()].copy_from_slice(bytes);
        Self {
            vaddr,
            inner,
            way: if insns.len() == 1 && I::is_nop(first) { Way::Sled } else { Way::Displace },
            ends: match last.flow {
                Flow::Return => Ends::Return,
                Flow::Jump(_) | Flow::JumpIndirect => Ends::Jump,
                Flow::Call(_) | Flow::CallIndirect => Ends::Call,
                _ => Ends::FallsThrough,
            },
            flags_live: I::flags_live(insns),
            red_zone: I::RED_ZONE,
            jump,
            isa: I::ISA,
            straight: insns[..insns.len() - 1].iter().all(|i| i.flow == Flow::Next),
            // A site has at most MAX_SITE bytes.
            code: (last.next_ip() - vaddr) as u8,
            len: bytes.len() as u8,
            bytes: copy,
        }
    }
}

impl core::fmt::Debug for Site {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Site({:#x}", self.vaddr)?;
        for byte in self.bytes() {
            write!(f, " {byte:02x}")?;
        }
        write!(f, " inner {:05b} {:?} {:?} {:?})", self.inner, self.way, self.ends, self.jump)
    }
}
