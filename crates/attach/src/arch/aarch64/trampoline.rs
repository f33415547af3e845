//! The code in front of the displaced instruction.
//!
//! ```text
//! stp  x16, x30, [sp, #-64]!     room for the probe's registers, too
//! movz w16, SITE
//! movk w16, SITE >> 16, lsl 16   if it has that many bits
//! bl   probe
//! ldp  x16, x30, [sp], #64
//! ```
//!
//! A function that is left where it is entered, because the displaced instruction is all of it, calls the probe twice.
//! Programs keep nothing below their stack pointer (AAPCS64, "The Stack"), neither at entries nor at exits. The
//! trampoline is reached by a `B` and needs no landing pad.

use textpoke_core::isa::Reg;
use textpoke_core::isa::aarch64::{Width, bl, movk, movz, word};

use crate::trampoline::Kind;

/// `stp x16, x30, [sp, #-64]!`
const DOWN: [u8; 4] = word(0xa9bc_7bf0);
/// `ldp x16, x30, [sp], #64`
const UP: [u8; 4] = word(0xa8c4_7bf0);

/// The calls of `probe` for `sites`, one after the other, at address `at`.
///
/// # Errors
/// The probe is out of reach.
pub fn calls(at: u64, probe: u64, sites: &[u32], _kind: Kind) -> Result<Vec<u8>, String> {
    let refused = |e: textpoke_core::Refusal| e.to_string();
    let x16 = Reg::new(16).ok_or("X16 is a register")?;
    let mut bytes = DOWN.to_vec();
    for &site in sites {
        bytes.extend(movz(Width::W, x16, site as u16, 0).map_err(refused)?);
        if site > 0xffff {
            bytes.extend(movk(Width::W, x16, (site >> 16) as u16, 16).map_err(refused)?);
        }
        bytes.extend(bl(at + bytes.len() as u64, probe).map_err(refused)?);
    }
    bytes.extend(UP);
    // A literal that belongs to the copy is read in one piece of eight bytes.
    if !(at + bytes.len() as u64).is_multiple_of(8) {
        bytes.extend(textpoke_core::isa::aarch64::NOP);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes.chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect()
    }

    #[test]
    fn each_site_is_loaded_and_the_probe_called() {
        let made = words(&calls(0x1_0000, 0x2_0000, &[0x1234, 0x5_6789], Kind::Entry).unwrap());
        let number = |site: u32| [0x5280_0010 | (site & 0xffff) << 5, 0x72a0_0010 | (site >> 16) << 5];
        assert_eq!(made[0], 0xa9bc_7bf0);
        assert_eq!(made[1], number(0x1234)[0]);
        assert_eq!(made[2], 0x9400_0000 | (0x1_0000 - 8) / 4);
        assert_eq!(made[3..5], number(0x5_6789));
        assert_eq!(made[5], 0x9400_0000 | (0x1_0000 - 20) / 4);
        assert_eq!(made[6], 0xa8c4_7bf0);
        assert_eq!(made.len() % 2, 0, "the copy begins on a multiple of 8");
    }

    #[test]
    fn a_probe_out_of_reach_is_refused() {
        assert!(calls(0x1_0000, 0x1000_0000, &[1], Kind::Exit).unwrap_err().contains("reach"));
    }
}
