//! x86-64.

use core::arch::x86_64::{__cpuid, _rdtsc};

/// Makes stores to the ranges `(start, length in bytes)` visible to instruction fetch: nothing to do.
///
/// Instruction caches snoop stores on x86 (Intel SDM vol. 3 "Self-Modifying Code", AMD APM vol. 2 §7.6.1), also when
/// they go through another virtual address of the same memory. What is left is the pipeline: [`serialize`] here, and
/// whatever makes the other CPUs serialise.
#[inline(always)]
pub fn maintain_each(_ranges: impl Iterator<Item = (u64, u64)> + Clone) {}

/// Serialises this CPU: no instruction behind the call was fetched before the ones in front of it completed.
///
/// CPUID is the one unprivileged serialising instruction that both vendors document on every CPU with 64-bit mode.
#[inline(always)]
pub fn serialize() {
    // The result does not matter; the intrinsic is volatile assembly and is not removed.
    core::hint::black_box(__cpuid(0));
}

/// The time stamp counter, in ticks. Not ordered against the instructions around it.
#[inline(always)]
pub fn timestamp() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 CPU; Linux lets user space execute it unless the process asked otherwise
    // (PR_SET_TSC), and then it faults, which is defined.
    unsafe { _rdtsc() }
}

/// Who made the CPU, as far as the rules about changing live code differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// AMD and Hygon: a single store inside one naturally aligned 8-byte word may change an instruction that others
    /// execute (APM vol. 2 §7.6.1).
    Amd,
    /// Everybody else: nothing of the kind is documented.
    Other,
}

impl Vendor {
    /// Whether `word` is covered by the vendor's documentation rather than by an assumption.
    pub const fn documents_word_store(self) -> bool {
        matches!(self, Self::Amd)
    }
}

/// Reads the vendor from CPUID leaf 0. Under a hypervisor this is what the hypervisor says, normally the truth.
pub fn vendor() -> Vendor {
    let id = __cpuid(0);
    let mut name = [0; 12];
    for (part, reg) in name.chunks_exact_mut(4).zip([id.ebx, id.edx, id.ecx]) {
        part.copy_from_slice(&reg.to_le_bytes());
    }
    match &name {
        b"AuthenticAMD" | b"HygonGenuine" => Vendor::Amd,
        _ => Vendor::Other,
    }
}

/// Whether the vendor documents that one store inside an aligned 8-byte word may change an instruction that others
/// execute.
pub fn documents_word_store() -> bool {
    vendor().documents_word_store()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_runs_and_survives_serialising() {
        let before = timestamp();
        serialize();
        assert!(timestamp() > before);
    }

    #[test]
    fn the_vendor_does_not_change() {
        assert_eq!(vendor(), vendor());
        assert!(Vendor::Amd.documents_word_store() && !Vendor::Other.documents_word_store());
    }
}
