//! `core`'s instruction sets, chosen at run time.

use textpoke_core::isa::{Aarch64, Isa, Riscv64, X86_64};
use textpoke_core::trap::{Effect, Regs, Resolution, Table, resolve};
use textpoke_core::{Direction, Phase, Site, Unit, Write};

use crate::scenario::IsaId;

/// Does `$body` with `$I` being the instruction set that `$id` names.
macro_rules! by_isa {
    ($id:expr, $I:ident => $body:expr) => {
        match $id {
            IsaId::X86 => {
                type $I = X86_64;
                $body
            }
            IsaId::Arm => {
                type $I = Aarch64;
                $body
            }
            IsaId::Riscv => {
                type $I = Riscv64;
                $body
            }
        }
    };
}

impl IsaId {
    /// [`textpoke_core::trap::resolve`].
    pub fn resolve(self, table: Option<Table<'_>>, at: u64, regs: &Regs, still: bool) -> Resolution {
        by_isa!(self, I => resolve::<I>(table, at, regs, still))
    }

    /// What executing the instruction that fills `bytes` does, if a trap handler can act as it.
    pub fn effect(self, at: u64, bytes: &[u8]) -> Option<Effect> {
        by_isa!(self, I => I::decode(at, bytes).map(|insn| I::effect(insn, &Regs::default())))
    }

    /// [`Isa::live`].
    pub fn live(self, at: u64, old: &[u8], new: &[u8]) -> bool {
        by_isa!(self, I => I::live(at, old, new))
    }

    /// [`Isa::hop`].
    pub fn hop(self, len: usize) -> Option<[u8; 2]> {
        by_isa!(self, I => I::hop(len))
    }

    /// [`Site::writes`].
    pub fn writes(self, site: &Site, phase: Phase, dir: Direction) -> Vec<Write> {
        by_isa!(self, I => site.writes::<I>(phase, dir).collect())
    }

    /// [`Unit::piece`].
    pub fn piece(self, unit: Unit, phase: Phase) -> u64 {
        by_isa!(self, I => unit.piece::<I>(phase))
    }

    /// [`Isa::TRAP_PC_ADVANCE`].
    pub fn trap_pc_advance(self) -> u64 {
        by_isa!(self, I => I::TRAP_PC_ADVANCE)
    }
}
