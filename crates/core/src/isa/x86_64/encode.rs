//! The instructions that textpoke writes.

use crate::refusal::Refusal;

/// The recommended NOP of each length, 1 to 8 bytes (SDM vol. 2, "NOP").
pub const NOPS: [&[u8]; 8] = [
    &[0x90],
    &[0x66, 0x90],
    &[0x0f, 0x1f, 0x00],
    &[0x0f, 0x1f, 0x40, 0x00],
    &[0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
    &[0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00],
    &[0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00],
];

/// One NOP of `len` bytes, 1 to 8.
pub fn nop(len: usize) -> Option<&'static [u8]> {
    NOPS.get(len.checked_sub(1)?).copied()
}

/// `JMP rel32` at `from` to `to`. Refused beyond ±2 GiB.
pub fn jmp(from: u64, to: u64) -> Result<[u8; 5], Refusal> {
    rel32(0xe9, from, to)
}

/// `CALL rel32` at `from` to `to`. Refused beyond ±2 GiB.
pub fn call(from: u64, to: u64) -> Result<[u8; 5], Refusal> {
    rel32(0xe8, from, to)
}

/// `JMP rel8` at `from` to `to`. Refused beyond −128 to +127 bytes behind the instruction.
pub fn jmp_short(from: u64, to: u64) -> Result<[u8; 2], Refusal> {
    let distance = to.wrapping_sub(from.wrapping_add(2)) as i64;
    match i8::try_from(distance) {
        Ok(d) => Ok([0xeb, d as u8]),
        Err(_) => Err(Refusal::OutOfRange { from, to }),
    }
}

fn rel32(opcode: u8, from: u64, to: u64) -> Result<[u8; 5], Refusal> {
    let distance = to.wrapping_sub(from.wrapping_add(5)) as i64;
    let Ok(d) = i32::try_from(distance) else { return Err(Refusal::OutOfRange { from, to }) };
    let [a, b, c, e] = d.to_le_bytes();
    Ok([opcode, a, b, c, e])
}

#[cfg(test)]
mod tests {
    use super::super::Insn;
    use super::super::decode::decode;
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same_target() {
        let far = 0x7fff_ffff;
        for from in [0x40_0000u64, 0x7fff_0000_0000] {
            for to in [from, from + 5, from + far, (from + 5).saturating_sub(far), (from + 5).saturating_sub(1 << 31)] {
                let bytes = jmp(from, to).unwrap();
                assert_eq!(decode(from, &bytes), Some(Insn::Jmp { target: to }));
                let bytes = call(from, to).unwrap();
                assert_eq!(decode(from, &bytes), Some(Insn::Call { target: to, next: from + 5 }));
            }
        }
    }

    #[test]
    fn the_range_ends_where_the_manual_says() {
        assert!(jmp(0, 5 + 0x7fff_ffff).is_ok());
        assert!(jmp(0, 5 + 0x8000_0000).is_err());
        assert!(jmp(1 << 40, (1 << 40) + 5 - 0x8000_0000).is_ok());
        assert!(jmp(1 << 40, (1 << 40) + 4 - 0x8000_0000).is_err());
        assert!(jmp_short(100, 102 + 127).is_ok());
        assert!(jmp_short(100, 102 + 128).is_err());
        assert!(jmp_short(200, 202 - 128).is_ok());
        assert!(jmp_short(200, 202 - 129).is_err());
    }
}
