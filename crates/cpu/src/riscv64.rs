//! RISC-V.
//!
//! FENCE.I concerns the hart that executes it and nobody else (Unprivileged ISA, "Zifencei"). In Linux user space it is
//! not even enough for the thread itself: the kernel may move the thread to a hart whose caches are older, right behind
//! it (`Documentation/arch/riscv/cmodx.rst`). So in user space nothing here is ever used alone; `textpoke-linux` follows
//! it with `riscv_flush_icache` and `membarrier`. In a kernel each hart must execute it.

use core::arch::asm;

/// Makes stores to the ranges `(start, length in bytes)` visible to the instruction fetch of *this hart*: a fence for
/// data, so that who is told to synchronise later finds the stores, and FENCE.I, which knows no ranges.
#[inline]
pub fn maintain_each(_ranges: impl Iterator<Item = (u64, u64)> + Clone) {
    // First for data: FENCE.I on another hart, or a request for one, orders nothing of ours ("an explicit FENCE").
    // SAFETY: a barrier.
    unsafe { asm!("fence rw, rw", options(nostack, preserves_flags)) };
    serialize();
}

/// Synchronises this hart: no instruction behind the call was fetched before the stores in front of it were visible to
/// fetch. In user space this promises nothing, see above.
#[inline(always)]
pub fn serialize() {
    // SAFETY: FENCE.I changes no state that Rust knows of; every hart that Linux runs on has Zifencei (RV64GC).
    unsafe { asm!("fence.i", options(nostack, preserves_flags)) };
}

/// The wall clock counter, in ticks of the platform's time base. Not ordered against the instructions around it.
#[inline(always)]
pub fn timestamp() -> u64 {
    let ticks;
    // SAFETY: Linux lets user space read `time` (scounteren.TM), or the firmware emulates it.
    unsafe { asm!("rdtime {}", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

/// No: which instructions may change while others execute them follows from Ziccif for everybody, four bytes at a time.
pub fn documents_word_store() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_runs_and_survives_serialising() {
        let before = timestamp();
        while timestamp() == before {
            serialize();
        }
        assert!(timestamp() > before);
    }

    #[test]
    fn maintenance_can_be_performed_on_text() {
        let text = maintenance_can_be_performed_on_text as *const () as u64;
        maintain_each(core::iter::once((text, 4)));
    }
}
