//! What the analysis needs to know of an A64 instruction (Arm ARM DDI 0487, C4 and C6).
//!
//! Only what reads the program counter, changes the flow of control, or belongs to a sequence is told apart. Everything
//! else is copied as it is, so that new extensions need no change here unless they do one of these.

use crate::isa::Flow;

/// A word of code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub u32);

/// What an instruction makes of its own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relative {
    Adr { rd: u8, to: u64 },
    Adrp { rd: u8, page: u64 },
    Literal { load: Load, rt: u8, at: u64 },
}

/// What is loaded from a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    W,
    X,
    /// LDRSW.
    Signed,
    /// S, D or Q: so many bytes.
    Vector(u8),
    Prefetch,
}

impl Load {
    /// Bytes that are read.
    pub fn size(self) -> u64 {
        match self {
            Self::W | Self::Signed => 4,
            Self::X => 8,
            Self::Vector(size) => u64::from(size),
            Self::Prefetch => 0,
        }
    }
}

impl Word {
    pub fn is(self, mask: u32, value: u32) -> bool {
        self.0 & mask == value
    }

    /// The unsigned field of `bits` bits from bit `low` on.
    pub fn field(self, low: u32, bits: u32) -> u32 {
        self.0 >> low & ((1 << bits) - 1)
    }

    /// The same, signed.
    pub fn signed(self, low: u32, bits: u32) -> i64 {
        i64::from((self.0 << (32 - bits - low)).cast_signed() >> (32 - bits))
    }

    /// The register in the lowest five bits: the one that most instructions write.
    pub fn rd(self) -> u8 {
        self.field(0, 5) as u8
    }

    /// The register in bits 9 to 5: the base, or the first operand.
    pub fn rn(self) -> u8 {
        self.field(5, 5) as u8
    }

    /// The register in bits 20 to 16: the index, or the second operand.
    pub fn rm(self) -> u8 {
        self.field(16, 5) as u8
    }

    pub fn flow(self, ip: u64) -> Flow {
        let to = |low, bits| ip.wrapping_add_signed(self.signed(low, bits) << 2);
        match self.0 >> 24 {
            // Nothing is encoded where bits 28 to 25 are 0001 or 0011, and but UDF in the half of 0000 that is not SME's.
            _ if self.is(0x1a00_0000, 0x0200_0000) || self.is(0x9e00_0000, 0) => Flow::Invalid,
            0x14..=0x17 => Flow::Jump(to(0, 26)),
            0x94..=0x97 => Flow::Call(to(0, 26)),
            // B.cond and BC.cond.
            0x54 => Flow::Branch(to(5, 19)),
            // RETAASPPC and RETABSPPC.
            0x55 => Flow::Return,
            // CBZ, CBNZ.
            0x34 | 0x35 | 0xb4 | 0xb5 => Flow::Branch(to(5, 19)),
            // TBZ, TBNZ.
            0x36 | 0x37 | 0xb6 | 0xb7 => Flow::Branch(to(5, 14)),
            // CB with a comparison (FEAT_CMPBR).
            0x74 | 0x75 | 0xf4 | 0xf5 => Flow::Branch(to(5, 9)),
            0xd4 => self.exception(),
            0xd6 | 0xd7 => self.register_branch(),
            _ => Flow::Next,
        }
    }

    fn exception(self) -> Flow {
        match (self.field(21, 3), self.field(0, 2)) {
            // SVC, HVC, SMC.
            (0, 1..=3) => Flow::Other(None),
            // BRK, HLT, DCPS.
            _ => Flow::Stop,
        }
    }

    /// BR, BLR, RET, ERET, DRPS and their forms with pointer authentication: bits 24 to 21.
    fn register_branch(self) -> Flow {
        match self.field(21, 4) {
            0 | 8 => Flow::JumpIndirect,
            1 | 9 => Flow::CallIndirect,
            2 => Flow::Return,
            _ => Flow::Stop,
        }
    }

    pub(super) fn relative(self, ip: u64) -> Option<Relative> {
        let rd = self.rd();
        let literal = |load| Relative::Literal { load, rt: rd, at: ip.wrapping_add_signed(self.signed(5, 19) << 2) };
        // Two low bits far left, 19 high ones.
        let immediate = self.signed(5, 19) << 2 | i64::from(self.field(29, 2));
        Some(match self.0 >> 24 {
            0x10 | 0x30 | 0x50 | 0x70 => Relative::Adr { rd, to: ip.wrapping_add_signed(immediate) },
            0x90 | 0xb0 | 0xd0 | 0xf0 => {
                Relative::Adrp { rd, page: (ip & !0xfff).wrapping_add_signed(immediate << 12) }
            }
            0x18 => literal(Load::W),
            0x58 => literal(Load::X),
            0x98 => literal(Load::Signed),
            0xd8 => literal(Load::Prefetch),
            0x1c => literal(Load::Vector(4)),
            0x5c => literal(Load::Vector(8)),
            0x9c => literal(Load::Vector(16)),
            _ => return None,
        })
    }

    pub fn is_nop(self) -> bool {
        self.0 == 0xd503_201f
    }

    /// BRK.
    pub fn is_brk(self) -> bool {
        self.is(0xffe0_001f, 0xd420_0000)
    }

    /// BTI, PACIASP or PACIBSP: what an indirect branch may land on in a guarded page.
    pub fn is_landing_mark(self) -> bool {
        self.is_bti() || self.signs_return()
    }

    pub fn is_bti(self) -> bool {
        self.is(0xffff_ff3f, 0xd503_241f)
    }

    /// PACIASP or PACIBSP.
    pub fn signs_return(self) -> bool {
        self.is(0xffff_ffbf, 0xd503_233f)
    }

    /// PACM, or an instruction that signs or checks a return address together with its own address (FEAT_PAuth_LR).
    pub fn signs_address(self) -> bool {
        self.0 == 0xd503_24ff
            || self.0 >> 24 == 0x55
            || self.is(0xff80_0000, 0xf380_0000)
            || self.is(0xffff_fbff, 0xdac1_a3fe)
            || self.is(0xffff_fbff, 0xdac1_83fe)
    }

    /// LDXR, LDAXR, LDXP, LDAXP and their forms for bytes and halves.
    pub fn is_load_exclusive(self) -> bool {
        self.is(0x3fc0_0000, 0x0840_0000) && !self.is_casp()
    }

    /// STXR and its like, and CLREX.
    pub fn is_store_exclusive(self) -> bool {
        self.is(0x3fc0_0000, 0x0800_0000) && !self.is_casp() || self.is(0xffff_f0ff, 0xd503_305f)
    }

    /// CASP shares the encodings of the exclusive pairs: those with 0 in bit 31.
    fn is_casp(self) -> bool {
        self.is(0xbfa0_0000, 0x0820_0000)
    }

    /// MOVPRFX: the next instruction must follow in place.
    pub fn is_prefix(self) -> bool {
        self.is(0xffff_fc00, 0x0420_bc00) || self.is(0xff3e_e000, 0x0410_2000)
    }

    /// One of the three parts of a memory copy or fill (FEAT_MOPS): when a thread moves to another kind of core, the
    /// kernel goes back to the first part by its distance.
    pub fn is_memory_copy(self) -> bool {
        self.is(0x3b20_0c00, 0x1900_0400)
    }

    /// TSTART, TCOMMIT, TCANCEL, TTEST.
    pub fn is_transaction(self) -> bool {
        self.is(0xffff_ffe0, 0xd523_3060)
            || self.is(0xffff_ffe0, 0xd523_3160)
            || self.0 == 0xd503_307f
            || self.is(0xffe0_001f, 0xd460_0000)
    }

    /// Whether the flags are read. Errs on the side of yes.
    pub fn reads_flags(self) -> bool {
        // B.cond; conditional select, compare and ADC; MRS of NZCV; the flag manipulations.
        self.0 >> 24 == 0x54
            || self.is(0x1fe0_0000, 0x1a80_0000)
            || self.is(0x1fe0_0000, 0x1a40_0000)
            || self.is(0x1fe0_0000, 0x1a00_0000)
            || self.is(0xff20_0c00, 0x1e20_0c00)
            || self.is(0xff20_0c00, 0x1e20_0400)
            || self.is(0xffff_ffe0, 0xd53b_4200)
            || self.is(0xffff_f000, 0xd500_4000)
    }

    /// The general registers, 0 to 30, that the instruction writes, as a set. Errs on the side of too many.
    pub fn writes(self) -> u32 {
        let bit = |r: u8| if r < 31 { 1u32 << r } else { 0 };
        let (rd, rn) = (bit(self.rd()), bit(self.rn()));
        match self.field(25, 4) {
            // Branches and system instructions: a call may write all that a function may; MRS and SYSL.
            10 | 11 => match self.0 >> 24 {
                0x94..=0x97 => CALL,
                0xd6 if matches!(self.flow(0), Flow::CallIndirect) => CALL,
                0xd5 if self.field(21, 1) == 1 => rd,
                _ => 0,
            },
            // Loads and stores.
            4 | 6 | 12 | 14 => self.load_writes(),
            // Vectors: moves and conversions to a general register.
            7 | 15 => {
                let general = self.is(0x5f20_fc00, 0x1e20_0000)
                    || self.is(0x5f3e_0000, 0x1e18_0000)
                    || self.is(0xbfe0_ec00, 0x0e00_2c00);
                if general { rd } else { 0 }
            }
            _ => rd | if self.is_memory_copy() { rn } else { 0 },
        }
    }

    fn load_writes(self) -> u32 {
        let bit = |r: u8| if r < 31 { 1u32 << r } else { 0 };
        let (rt, rt2, rn, rs) = (bit(self.rd()), bit(self.field(10, 5) as u8), bit(self.rn()), bit(self.rm()));
        let vector = self.field(26, 1) == 1;
        if self.is(0x3f00_0000, 0x0800_0000) {
            // Exclusives and compare-and-swap: the status, or the old value.
            return rt | rt2 | rs;
        }
        if self.is_memory_copy() {
            return rt | rn | rs;
        }
        if self.is(0x3b00_0000, 0x1800_0000) {
            return if vector { 0 } else { rt };
        }
        if self.is(0x3a00_0000, 0x2800_0000) {
            let loaded = if self.field(22, 1) == 1 && !vector { rt | rt2 } else { 0 };
            let back = if self.field(23, 1) == 1 { rn } else { 0 };
            return loaded | back;
        }
        if vector {
            // Structures and single registers may write the base back.
            return rn;
        }
        let unsigned = self.field(24, 1) == 1;
        let atomic = self.is(0x3b20_0c00, 0x3820_0000);
        let back = !unsigned && (self.is(0x0020_0400, 0x0000_0400) || self.is(0x0020_0c00, 0x0020_0c00));
        let loaded = if self.field(22, 2) != 0 || atomic || self.is(0x3b20_0400, 0x3820_0400) { rt } else { 0 };
        loaded | if back { rn } else { 0 }
    }
}

/// X0 to X18 and X30: what a function may write (AAPCS64, "General-purpose Registers").
const CALL: u32 = 0x4007_ffff;
