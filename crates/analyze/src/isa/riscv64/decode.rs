//! What the analysis needs to know of an instruction of RV64GC (Unprivileged ISA, "RV32/64G Instruction Set Listings" and
//! "C").
//!
//! AUIPC, jumps and branches are all that reads the program counter; everything else is copied as it is.

use textpoke_core::isa::riscv64::length;

use crate::isa::{Flow, Insn};

/// An instruction of two or four bytes; of one of two bytes the upper half is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub u32);

pub(super) const ZERO: u8 = 0;
/// x1, the return address.
pub(super) const RA: u8 = 1;
/// x2, the stack pointer.
pub(super) const SP: u8 = 2;
/// x5, the return address of millicode.
pub(super) const T0: u8 = 5;

/// A plain operation, where it matters which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// LUI, C.LUI: a value, sign-extended.
    Upper { rd: u8, value: u64 },
    /// AUIPC: an address.
    Auipc { rd: u8, value: u64 },
    /// ADDI, C.ADDI, C.LI, C.MV and their like.
    AddImm { rd: u8, base: u8, imm: i64 },
    /// ADD, C.ADD, SH1ADD, SH2ADD, SH3ADD, ADD.UW and their like.
    Add { rd: u8, a: u8, b: u8 },
    /// A load of so many bytes.
    Load { rd: u8, base: u8, imm: i64, size: u8 },
    /// A store of so many bytes.
    Store { base: u8, imm: i64, size: u8 },
    /// JAL and C.J.
    Jal { link: u8, to: u64 },
    /// JALR, C.JR, C.JALR.
    Jalr { link: u8, base: u8, imm: i64 },
    /// A branch: its function (BEQ is 0, BNE 1, BLT 4, ...) and operands.
    Branch { funct: u8, a: u8, b: u8, to: u64 },
    /// Anything else.
    Other,
}

impl Word {
    fn bits(self, low: u32, count: u32) -> u32 {
        self.0 >> low & ((1 << count) - 1)
    }

    fn reg(self, low: u32) -> u8 {
        self.bits(low, 5) as u8
    }

    /// One of x8 to x15, which three bits name.
    fn few(self, low: u32) -> u8 {
        8 + self.bits(low, 3) as u8
    }

    pub fn is_small(self) -> bool {
        self.0 & 3 != 3
    }

    /// Its bytes.
    pub fn len(self) -> u8 {
        if self.is_small() { 2 } else { 4 }
    }

    pub fn is(self, mask: u32, value: u32) -> bool {
        self.0 & mask == value
    }

    pub(super) fn op(self, ip: u64) -> Op {
        if self.is_small() { self.small(ip) } else { self.full(ip) }
    }

    fn full(self, ip: u64) -> Op {
        let (rd, a, b, funct) = (self.reg(7), self.reg(15), self.reg(20), self.bits(12, 3) as u8);
        let imm = i64::from(self.0.cast_signed() >> 20);
        let upper = i64::from((self.0 & 0xffff_f000).cast_signed());
        match self.0 & 0x7f {
            0x37 => Op::Upper { rd, value: upper.cast_unsigned() },
            0x17 => Op::Auipc { rd, value: ip.wrapping_add_signed(upper) },
            0x13 if funct == 0 => Op::AddImm { rd, base: a, imm },
            // ADD; SH1ADD, SH2ADD, SH3ADD; ADD.UW and their like.
            0x33 if self.is(0xfe00_7000, 0) || self.is(0xfe00_1000, 0x2000_0000) => Op::Add { rd, a, b },
            0x3b if self.is(0xfe00_7000, 0x0800_0000) || self.is(0xfe00_1000, 0x2000_0000) => Op::Add { rd, a, b },
            0x03 if funct < 7 => Op::Load { rd, base: a, imm, size: 1 << (funct & 3) },
            // FLH, FLW, FLD, FLQ go to another file of registers.
            0x07 if (1..5).contains(&funct) => Op::Load { rd: ZERO, base: a, imm, size: 1 << funct },
            0x23 | 0x27 if funct < 5 => {
                let imm = i64::from(self.0.cast_signed() >> 25) << 5 | i64::from(self.bits(7, 5));
                Op::Store { base: a, imm, size: 1 << (funct & 7) }
            }
            0x6f => Op::Jal { link: rd, to: ip.wrapping_add_signed(self.jal_offset()) },
            0x67 if funct == 0 => Op::Jalr { link: rd, base: a, imm },
            0x63 if !matches!(funct, 2 | 3) => {
                Op::Branch { funct, a, b, to: ip.wrapping_add_signed(self.branch_offset()) }
            }
            _ => Op::Other,
        }
    }

    /// Bits 20, 10 to 1, 11, 19 to 12 from the left.
    fn jal_offset(self) -> i64 {
        let sign = i64::from(self.0.cast_signed() >> 31) << 20;
        sign | i64::from(self.bits(12, 8) << 12 | self.bits(20, 1) << 11 | self.bits(21, 10) << 1)
    }

    /// Bits 12, 10 to 5 on the left, 4 to 1, 11 on the right.
    fn branch_offset(self) -> i64 {
        let sign = i64::from(self.0.cast_signed() >> 31) << 12;
        sign | i64::from(self.bits(7, 1) << 11 | self.bits(25, 6) << 5 | self.bits(8, 4) << 1)
    }

    fn small(self, ip: u64) -> Op {
        let (rd, rs2) = (self.reg(7), self.reg(2));
        // The six-bit immediate that most have: its sign is bit 12.
        let imm6 = i64::from(((self.bits(12, 1) << 5 | self.bits(2, 5)) << 26).cast_signed() >> 26);
        let word_offset = i64::from(self.bits(5, 1) << 6 | self.bits(10, 3) << 3 | self.bits(6, 1) << 2);
        let double_offset = i64::from(self.bits(5, 2) << 6 | self.bits(10, 3) << 3);
        match (self.0 & 3, self.bits(13, 3)) {
            (0, 0) => {
                let imm = self.bits(7, 4) << 6 | self.bits(11, 2) << 4 | self.bits(5, 1) << 3 | self.bits(6, 1) << 2;
                Op::AddImm { rd: self.few(2), base: SP, imm: i64::from(imm) }
            }
            (0, 1) => Op::Load { rd: ZERO, base: self.few(7), imm: double_offset, size: 8 },
            (0, 2) => Op::Load { rd: self.few(2), base: self.few(7), imm: word_offset, size: 4 },
            (0, 3) => Op::Load { rd: self.few(2), base: self.few(7), imm: double_offset, size: 8 },
            (0, 5 | 7) => Op::Store { base: self.few(7), imm: double_offset, size: 8 },
            (0, 6) => Op::Store { base: self.few(7), imm: word_offset, size: 4 },
            (1, 0) => Op::AddImm { rd, base: rd, imm: imm6 },
            (1, 2) => Op::AddImm { rd, base: ZERO, imm: imm6 },
            (1, 3) if rd == SP => {
                let low = self.bits(3, 2) << 7 | self.bits(5, 1) << 6 | self.bits(2, 1) << 5 | self.bits(6, 1) << 4;
                let imm = i64::from(low) - (i64::from(self.bits(12, 1)) << 9);
                Op::AddImm { rd: SP, base: SP, imm }
            }
            (1, 3) if imm6 != 0 => Op::Upper { rd, value: (imm6 << 12).cast_unsigned() },
            (1, 5) => Op::Jal { link: ZERO, to: ip.wrapping_add_signed(self.c_j_offset()) },
            (1, funct @ (6 | 7)) => {
                let to = ip.wrapping_add_signed(self.c_branch_offset());
                Op::Branch { funct: (funct - 6) as u8, a: self.few(7), b: ZERO, to }
            }
            // Bit 12 and the second register tell C.JR, C.MV, C.EBREAK, C.JALR and C.ADD apart.
            (2, 4) => match (self.bits(12, 1), rd, rs2) {
                (0, 1.., 0) => Op::Jalr { link: ZERO, base: rd, imm: 0 },
                (1, 1.., 0) => Op::Jalr { link: RA, base: rd, imm: 0 },
                (0, _, 1..) => Op::AddImm { rd, base: rs2, imm: 0 },
                (1, _, 1..) => Op::Add { rd, a: rd, b: rs2 },
                _ => Op::Other,
            },
            (2, 2) => {
                let imm = self.bits(2, 2) << 6 | self.bits(12, 1) << 5 | self.bits(4, 3) << 2;
                Op::Load { rd, base: SP, imm: i64::from(imm), size: 4 }
            }
            (2, 3) => Op::Load { rd, base: SP, imm: self.sp_double(), size: 8 },
            (2, 1) => Op::Load { rd: ZERO, base: SP, imm: self.sp_double(), size: 8 },
            (2, 5 | 7) => Op::Store { base: SP, imm: i64::from(self.bits(7, 3) << 6 | self.bits(10, 3) << 3), size: 8 },
            (2, 6) => Op::Store { base: SP, imm: i64::from(self.bits(7, 2) << 6 | self.bits(9, 4) << 2), size: 4 },
            _ => Op::Other,
        }
    }

    /// The offset of C.LDSP and C.FLDSP.
    fn sp_double(self) -> i64 {
        i64::from(self.bits(2, 3) << 6 | self.bits(12, 1) << 5 | self.bits(5, 2) << 3)
    }

    /// Bits 11, 4, 9 and 8, 10, 6, 7, 3 to 1, 5 from the left.
    fn c_j_offset(self) -> i64 {
        let bit = |from, to| self.bits(from, 1) << to;
        let low =
            bit(11, 4) | self.bits(9, 2) << 8 | bit(8, 10) | bit(7, 6) | bit(6, 7) | self.bits(3, 3) << 1 | bit(2, 5);
        i64::from(low) - (i64::from(self.bits(12, 1)) << 11)
    }

    /// Bits 8, 4 and 3 on the left, 7 and 6, 2 and 1, 5 on the right.
    fn c_branch_offset(self) -> i64 {
        let low = self.bits(10, 2) << 3 | self.bits(5, 2) << 6 | self.bits(3, 2) << 1 | self.bits(2, 1) << 5;
        i64::from(low) - (i64::from(self.bits(12, 1)) << 8)
    }

    /// Where control goes, as far as this instruction alone tells.
    fn flow(self, ip: u64) -> Flow {
        if self.is_reserved() {
            return Flow::Invalid;
        }
        if self.is_ebreak() {
            return Flow::Stop;
        }
        match self.op(ip) {
            Op::Jal { link: ZERO, to } => Flow::Jump(to),
            Op::Jal { to, .. } => Flow::Call(to),
            Op::Branch { to, .. } => Flow::Branch(to),
            Op::Jalr { link: ZERO, base: RA, imm: 0 } => Flow::Return,
            Op::Jalr { link: ZERO, .. } => Flow::JumpIndirect,
            Op::Jalr { .. } => Flow::CallIndirect,
            // ECALL; the returns from traps; waiting for interrupts, and fences of page tables.
            _ if self.0 == 0x73 => Flow::Other(None),
            _ if self.is(0xdfff_ffff, 0x1020_0073) || self.0 == 0x7020_0073 => Flow::Stop,
            _ => Flow::Next,
        }
    }

    /// All zeros, all ones, and what RV64GC has no instruction for and no extension is known to have one.
    fn is_reserved(self) -> bool {
        if self.is_small() {
            // C.ADDI4SPN of nothing; C.JR, C.LWSP and C.LDSP of x0.
            return match (self.0 & 3, self.bits(13, 3)) {
                (0, 0) => self.bits(5, 8) == 0,
                (2, 4) => self.0 == 0x8002,
                (2, 2 | 3) => self.reg(7) == ZERO,
                // C.ADDIW of x0.
                (1, 1) => self.reg(7) == ZERO,
                _ => false,
            };
        }
        match self.0 & 0x7f {
            0x67 => self.bits(12, 3) != 0,
            0x63 => matches!(self.bits(12, 3), 2 | 3),
            0x03 => self.bits(12, 3) == 7,
            // Formats of more than 32 bits, and what is reserved for them.
            0x1f | 0x3f | 0x5f | 0x7f => true,
            _ => false,
        }
    }

    /// custom-0 to custom-3 and the opcodes that are reserved: what stands there is the vendor's, branches included.
    pub fn is_of_vendor(self) -> bool {
        !self.is_small() && matches!(self.0 & 0x7f, 0x0b | 0x2b | 0x5b | 0x7b | 0x6b)
            // The quadrant that Zcb took part of is plain; the rest of it may be Zcmop, which is plain, too.
            || self.is_small() && self.is(0xe003, 0x8000) && self.bits(10, 3) > 3
    }

    pub fn is_ebreak(self) -> bool {
        matches!(self.0, 0x0010_0073 | 0x9002)
    }

    pub fn is_nop(self) -> bool {
        matches!(self.0, 0x13 | 1)
    }

    /// LPAD (Zicfilp): AUIPC to x0.
    pub fn is_landing_pad(self) -> bool {
        self.is(0xfff, 0x17)
    }

    pub fn is_load_reserved(self) -> bool {
        self.is(0xf9f0_607f, 0x1000_202f)
    }

    pub fn is_store_conditional(self) -> bool {
        self.is(0xf800_607f, 0x1800_202f)
    }

    /// The register that the instruction writes, calls left out; 0 if none.
    fn rd(self, ip: u64) -> u8 {
        match self.op(ip) {
            Op::Upper { rd, .. } | Op::Auipc { rd, .. } | Op::AddImm { rd, .. } | Op::Add { rd, .. } => rd,
            Op::Load { rd, .. } => rd,
            Op::Jal { link, .. } | Op::Jalr { link, .. } => link,
            Op::Store { .. } | Op::Branch { .. } => ZERO,
            Op::Other if self.is_small() => match (self.0 & 3, self.bits(13, 3)) {
                // C.ADDIW, C.SLLI.
                (1, 1) | (2, 0) => self.reg(7),
                // C.SRLI, C.ANDI, C.SUB and their like, and those of Zcb.
                (1, 4) => self.few(7),
                (0, 4) => self.few(2),
                _ => ZERO,
            },
            Op::Other => match self.0 & 0x7f {
                0x13 | 0x1b | 0x33 | 0x3b | 0x2f => self.reg(7),
                // CSRs, loads of hypervisors, operations of Zimop; not what has no operands.
                0x73 if self.bits(12, 3) != 0 => self.reg(7),
                // Comparisons, conversions to integers, moves from the other registers.
                0x53 if matches!(self.bits(27, 5), 0x14 | 0x18 | 0x1c) => self.reg(7),
                // VSETVLI and its like; VMV.X.S, VCPOP, VFIRST.
                0x57 if self.bits(12, 3) == 7 || self.is(0xfc00_7000, 0x4000_2000) => self.reg(7),
                _ => ZERO,
            },
        }
    }

    /// The registers that the instruction itself writes, as a set. Errs on the side of too few.
    pub fn written(self) -> u32 {
        1 << self.rd(0) & !1
    }

    /// The same, with all that a function may write if it is a call.
    pub fn writes(self, flow: Flow) -> u32 {
        self.written() | if matches!(flow, Flow::Call(_) | Flow::CallIndirect) { CALL } else { 0 }
    }

    /// Those that it reads, as a set. Errs on the side of too many.
    pub fn reads(self) -> u32 {
        let set = |registers: &[u8]| registers.iter().fold(0u32, |set, r| set | 1 << r) & !1;
        match self.op(0) {
            Op::Upper { .. } | Op::Auipc { .. } | Op::Jal { .. } => 0,
            Op::AddImm { base, .. } | Op::Load { base, .. } | Op::Jalr { base, .. } => set(&[base]),
            Op::Add { a, b, .. } | Op::Branch { a, b, .. } => set(&[a, b]),
            Op::Store { base, .. } if self.is_small() && self.0 & 3 == 2 => set(&[base, self.reg(2)]),
            Op::Store { base, .. } if self.is_small() => set(&[base, self.few(2)]),
            Op::Store { base, .. } => set(&[base, self.reg(20)]),
            Op::Other if self.is_small() => set(&[self.reg(7), self.reg(2), self.few(7), self.few(2)]),
            Op::Other => set(&[self.reg(15), self.reg(20), self.reg(27)]),
        }
    }
}

/// ra, t0 to t6, a0 to a7: what a function may write (RISC-V psABI, "Integer Register Convention").
const CALL: u32 = 0xf003_fce2;

/// The instructions of `bytes`, which are at `ip`. A JALR right behind the AUIPC that made its base has a known target.
pub(super) struct Instructions<'b> {
    bytes: &'b [u8],
    ip: u64,
    /// The register that the last instruction, an AUIPC, wrote, and what.
    made: Option<(u8, u64)>,
}

impl<'b> Instructions<'b> {
    pub fn new(bytes: &'b [u8], ip: u64) -> Self {
        Self { bytes, ip, made: None }
    }
}

impl Iterator for Instructions<'_> {
    type Item = Insn<Word>;

    fn next(&mut self) -> Option<Insn<Word>> {
        let ip = self.ip;
        let parcel = self.bytes.get(..2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
        let Some(parcel) = parcel.filter(|_| ip.is_multiple_of(2)) else {
            // An odd byte at the end.
            let rest = self.bytes.len().min(1);
            self.bytes = &[];
            return (rest == 1).then_some(Insn { ip, len: 1, flow: Flow::Invalid, raw: Word(0) });
        };
        let word = match length(parcel) {
            Some(4) => self.bytes.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes),
            Some(_) => Some(u32::from(parcel)),
            None => None,
        };
        let raw = word.map_or(Word(0), Word);
        let flow = match (raw.flow(ip), raw.op(ip), self.made) {
            (Flow::Invalid, ..) => Flow::Invalid,
            (flow, Op::Jalr { link, base, imm }, Some((rd, value))) if rd == base && base != ZERO => {
                let to = value.wrapping_add_signed(imm) & !1;
                match flow {
                    Flow::CallIndirect => Flow::Call(to),
                    _ if link == ZERO => Flow::Jump(to),
                    other => other,
                }
            }
            (flow, ..) => flow,
        };
        self.made = match raw.op(ip) {
            Op::Auipc { rd, value } if flow != Flow::Invalid => Some((rd, value)),
            _ => None,
        };
        let len = if flow == Flow::Invalid { 2 } else { raw.len() };
        self.ip = ip.wrapping_add(u64::from(len));
        self.bytes = self.bytes.get(usize::from(len)..).unwrap_or_default();
        Some(Insn { ip, len, flow, raw })
    }
}
