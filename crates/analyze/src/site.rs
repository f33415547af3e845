//! A run of whole instructions that a jump of five bytes can replace.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

/// Bytes of the jump that is put over a site.
pub const JUMP: u64 = 5;

/// Most bytes that a site can have: an instruction of fifteen bytes that begins in the fifth.
pub const MAX_SITE: usize = 19;

/// How a site is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The instructions run from a copy.
    Displace,
    /// The compiler left one NOP of five or more bytes for this purpose.
    Sled,
}

/// What the last displaced instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Goes on behind the site.
    FallsThrough,
    /// Calls, and returns behind the site. The copy pushes that return address with ordinary
    /// stores, which a shadow stack (CET SHSTK) would not accept.
    Call,
    /// Jumps away.
    Jump,
    /// Returns to the caller.
    Return,
}

/// A displaced run: whole instructions, and padding where they make fewer than five bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Address as linked of the first displaced byte, behind an `endbr64` if there is one.
    pub vaddr: u64,
    /// Bit *i* is set when an old instruction begins at `vaddr + i`, for *i* in 1..5. None of
    /// these addresses can be reached but from the instruction before it.
    pub inner: u8,
    /// How it is patched.
    pub way: Way,
    /// What the last displaced instruction does.
    pub ends: Ends,
    /// Some displaced instruction reads flags that were set before the site.
    pub flags_live: bool,
    /// There may be live data in the 128 bytes below the stack pointer: always at exits, and at
    /// entries that something jumps to or runs into.
    pub red_zone: bool,
    code: u8,
    len: u8,
    bytes: [u8; MAX_SITE],
}

impl Site {
    /// The old bytes: at least five, of which only the first five change.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The displaced instructions, without padding.
    pub fn code(&self) -> &[u8] {
        &self.bytes[..usize::from(self.code)]
    }

    /// Number of old bytes, at least five.
    #[expect(clippy::len_without_is_empty, reason = "a site is never empty")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The address as linked behind the last old byte.
    pub fn end(&self) -> u64 {
        self.vaddr + u64::from(self.len)
    }

    /// No displaced instruction but the last can go anywhere else than to the next.
    pub(crate) fn is_straight(&self) -> bool {
        let decoder = Decoder::with_ip(64, self.code(), self.vaddr, DecoderOptions::NONE);
        let end = self.vaddr + u64::from(self.code);
        decoder.into_iter().all(|i| i.next_ip() == end || i.flow_control() == FlowControl::Next)
    }

    /// One old instruction, so that no thread can be between two of them.
    pub fn is_single(&self) -> bool {
        self.inner == 0
    }

    /// The caller has checked the instructions: contiguous from `vaddr`, with `bytes` their bytes
    /// and those of the padding behind them.
    pub(crate) fn new(insns: &[Instruction], bytes: &[u8]) -> Self {
        let (first, last) = (&insns[0], &insns[insns.len() - 1]);
        let vaddr = first.ip();
        let inner = insns[1..].iter().fold(0u8, |bits, i| bits | 1 << (i.ip() - vaddr));
        // Flags that an earlier displaced instruction writes are not live at the site.
        let mut written = 0;
        let mut flags_live = false;
        for insn in insns {
            flags_live |= insn.rflags_read() & !written != 0;
            written |= insn.rflags_modified();
        }
        let mut copy = [0; MAX_SITE];
        copy[..bytes.len()].copy_from_slice(bytes);
        Self {
            vaddr,
            inner,
            way: if insns.len() == 1 && first.mnemonic() == iced_x86::Mnemonic::Nop {
                Way::Sled
            } else {
                Way::Displace
            },
            ends: match last.flow_control() {
                FlowControl::Return => Ends::Return,
                FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => Ends::Jump,
                FlowControl::Call | FlowControl::IndirectCall => Ends::Call,
                _ => Ends::FallsThrough,
            },
            flags_live,
            red_zone: true,
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
        write!(f, " inner {:05b} {:?} {:?})", self.inner, self.way, self.ends)
    }
}
