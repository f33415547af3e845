//! AArch64 parts that do not keep a promise which live patching rests on. Knowledge only: it compiles on every host.
//!
//! Both errata break "prefetch speculation protection": that whoever executes a branch which was stored after the code it
//! leads to finds that code, and nothing older. No protocol here relies on it: every store is maintained, and every CPU is
//! synchronised before it may count. What is left is that the maintenance must really be performed:
//!
//! | erratum | part | Linux | here |
//! |---|---|---|---|
//! | 1542419 | Neoverse N1 | traps `CTR_EL0` and shows it without DIC; firmware traps IC IVAU and adds a TLBI (`has_neoverse_n1_erratum_1542419`) | [`needs_every_step`]: IC IVAU is issued whatever DIC says, so that the firmware gets to see it also under a kernel older than that |
//! | 1542418 | Cortex-A77 | nothing in mainline: stale instructions when an ASID is used again, which is between address spaces | the same steps; user space can do no more |

/// A part whose instruction fetch has an erratum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Arm's number of the erratum.
    pub erratum: u32,
    /// The part's name.
    pub name: &'static str,
    /// Implementer, bits 31 to 24 of `MIDR_EL1`.
    pub implementer: u8,
    /// Part number, bits 15 to 4.
    pub part: u16,
}

/// The parts. Every variant and revision counts, as for Linux (`MIDR_ALL_VERSIONS`).
pub const PARTS: [Part; 2] = [
    Part { erratum: 1_542_419, name: "Neoverse N1", implementer: 0x41, part: 0xd0c },
    Part { erratum: 1_542_418, name: "Cortex-A77", implementer: 0x41, part: 0xd0d },
];

/// The erratum that a CPU with this `MIDR_EL1` has, if it has one of them.
pub fn of(midr: u64) -> Option<&'static Part> {
    let (implementer, part) = ((midr >> 24) as u8, (midr >> 4) as u16 & 0xfff);
    PARTS.iter().find(|p| p.implementer == implementer && p.part == part)
}

/// Whether code that this CPU may execute must be maintained with every step, whatever `CTR_EL0` says.
pub fn needs_every_step(midr: u64) -> bool {
    of(midr).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_known_by_their_midr() {
        // Neoverse N1 r3p1, Cortex-A77 r1p0, Cortex-A76 r3p1, Cortex-A53 r0p4, and a part 0xd0c of somebody else.
        let errata = |midr| of(midr).map(|part| part.erratum);
        assert_eq!(errata(0x413f_d0c1), Some(1_542_419));
        assert_eq!(errata(0x411f_d0d0), Some(1_542_418));
        assert_eq!([0x413f_d0b1, 0x410f_d034, 0x433f_d0c1, 0].map(errata), [None; 4]);
        assert!(needs_every_step(0x413f_d0c1) && !needs_every_step(0x413f_d0b1));
    }
}
