//! AArch64.
//!
//! By the book (Arm ARM DDI 0487, B2.7.4 "Ordering and observability" and its example of code that one CPU writes and
//! another executes): clean the data cache to the point of unification, wait, invalidate the instruction caches, wait; all
//! broadcast to the inner shareable domain, which is where the threads of a process run. Then each CPU that executes the
//! code needs a context synchronisation event of its own.

use core::arch::asm;

/// What `CTR_EL0` says: line sizes, and which half of the maintenance the caches make unnecessary.
///
/// It is read anew for each call, not kept. Where the CPUs of a machine differ (big.LITTLE), Linux traps the register and
/// shows every CPU the sanitised, smallest value (`cpu_enable_trap_ctr_access`), and it hides DIC from user space where
/// an erratum needs the invalidation to be asked for; a value read before a suspended machine woke up somewhere else would
/// be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheType(u64);

impl CacheType {
    /// Reads it.
    #[inline(always)]
    pub fn read() -> Self {
        let value;
        // SAFETY: Linux lets user space read CTR_EL0 (SCTLR_EL1.UCT) or emulates it; a kernel may anyway. It has no effects.
        unsafe { asm!("mrs {}, ctr_el0", out(reg) value, options(nomem, nostack, preserves_flags)) };
        Self(value)
    }

    /// From the register's value.
    pub const fn from_raw(value: u64) -> Self {
        Self(value)
    }

    /// Bytes of the smallest data cache line (DminLine, bits 19 to 16: log2 of words of 4 bytes).
    pub const fn data_line(self) -> u64 {
        4 << (self.0 >> 16 & 15)
    }

    /// Bytes of the smallest instruction cache line (IminLine, bits 3 to 0).
    pub const fn instruction_line(self) -> u64 {
        4 << (self.0 & 15)
    }

    /// IDC, bit 28: stores reach the point of unification without a clean.
    pub const fn needs_no_clean(self) -> bool {
        self.0 >> 28 & 1 == 1
    }

    /// DIC, bit 29: instruction caches notice stores at the point of unification.
    pub const fn needs_no_invalidation(self) -> bool {
        self.0 >> 29 & 1 == 1
    }
}

/// Makes stores to the ranges `(start, length in bytes)` visible to the instruction fetch of every CPU, and synchronises
/// this one. The addresses are those at which the code is *executed*: instruction caches may be indexed by them, and a
/// store through another mapping of the memory is cleaned by any of its addresses.
///
/// The text must be readable: at EL0 both instructions fault where a load would.
#[inline]
pub fn maintain_each(ranges: impl Iterator<Item = (u64, u64)> + Clone) {
    let caches = CacheType::read();
    perform(ranges, caches, !caches.needs_no_clean(), !caches.needs_no_invalidation());
}

/// [`maintain_each`] with every step taken, whatever `CTR_EL0` says: for parts that [`crate::errata::needs_every_step`] names.
#[inline]
pub fn maintain_always(ranges: impl Iterator<Item = (u64, u64)> + Clone) {
    perform(ranges, CacheType::read(), true, true);
}

fn perform(ranges: impl Iterator<Item = (u64, u64)> + Clone, caches: CacheType, clean: bool, invalidate: bool) {
    if clean {
        for line in ranges.clone().flat_map(|range| lines(range, caches.data_line())) {
            // SAFETY: writes memory back that holds the same already; the caller's text is mapped and readable.
            unsafe { asm!("dc cvau, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
    }
    // Also without a clean: the stores come before the invalidation.
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    if invalidate {
        for line in ranges.flat_map(|range| lines(range, caches.instruction_line())) {
            // SAFETY: drops copies of memory that can be fetched again.
            unsafe { asm!("ic ivau, {}", in(reg) line, options(nostack, preserves_flags)) };
        }
        // SAFETY: a barrier.
        unsafe { asm!("dsb ish", options(nostack, preserves_flags)) };
    }
    serialize();
}

/// The starts of the cache lines that a range touches.
fn lines((start, len): (u64, u64), line: u64) -> impl Iterator<Item = u64> {
    let count = if len == 0 { 0 } else { (start % line + len).div_ceil(line) };
    let first = start & !(line - 1);
    (0..count).map(move |i| first.wrapping_add(i * line))
}

/// Synchronises this CPU's context: no instruction behind the call was fetched before the ones in front of it completed.
#[inline(always)]
pub fn serialize() {
    // SAFETY: ISB changes no state that Rust knows of.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
}

/// The virtual counter, in ticks of `CNTFRQ_EL0` per second. Not ordered against the instructions around it.
#[inline(always)]
pub fn timestamp() -> u64 {
    let ticks;
    // SAFETY: Linux lets user space read the virtual counter, or emulates it where an erratum of the timer needs that.
    unsafe { asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
    ticks
}

/// No: which instructions may change while others execute them is the same for every vendor (Arm ARM B2.2.5), and only
/// one at a time.
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
    fn cache_lines_are_covered_whole() {
        assert_eq!(lines((0x103c, 8), 64).collect::<Lines>(), Lines([0x1000, 0x1040], 2));
        assert_eq!(lines((0x1040, 64), 64).collect::<Lines>(), Lines([0x1040, 0], 1));
        assert_eq!(lines((0x1040, 0), 64).count(), 0);
        assert_eq!(lines((0x1000, 0x1000), 16).count(), 256);
    }

    /// What fits without an allocator.
    #[derive(Debug, PartialEq)]
    struct Lines([u64; 2], usize);

    impl FromIterator<u64> for Lines {
        fn from_iter<I: IntoIterator<Item = u64>>(all: I) -> Self {
            let mut lines = Self([0; 2], 0);
            for line in all {
                lines.0[lines.1] = line;
                lines.1 += 1;
            }
            lines
        }
    }

    #[test]
    fn the_register_is_taken_apart() {
        // A Neoverse N1: both lines of 64 bytes, IDC and DIC.
        let caches = CacheType::from_raw(0xb444_c004);
        assert_eq!((caches.data_line(), caches.instruction_line()), (64, 64));
        assert!(caches.needs_no_clean() && caches.needs_no_invalidation());
        let other = CacheType::from_raw(0x8444_8004);
        assert!(!other.needs_no_clean() && !other.needs_no_invalidation());
        let here = CacheType::read();
        assert!(here.data_line() >= 4 && here.instruction_line().is_power_of_two());
    }

    /// Writes, maintains and executes: what the whole file is for. On an emulator it shows the encodings only.
    #[test]
    fn maintenance_can_be_performed_on_text() {
        let text = maintenance_can_be_performed_on_text as *const () as u64;
        maintain_each([(text, 4), (text + 60, 8)].into_iter());
        maintain_always(core::iter::once((text, 4)));
    }
}
