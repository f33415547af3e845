//! The copies of RISC-V sites, with a counter in front.

use textpoke_analyze::{Reason, Site};
use textpoke_core::isa::riscv64;
use textpoke_core::isa::riscv64::far;

pub fn copy(at: u64, counter: u64, site: &Site) -> Result<Vec<u8>, Reason> {
    let t0 = riscv64::T0;
    let mut code = Vec::new();
    let mut put = |word: u32| code.extend(word.to_le_bytes());
    // addi sp, sp, -16; sd t0, 0(sp); sd t1, 8(sp)
    put(0xff01_0113);
    put(0x0051_3023);
    put(0x0061_3423);
    // auipc t0, upper; addi t0, t0, lower: the pair for a jump says what they are.
    let [upper, jump] = far(t0, t0, at + 12, counter).map_err(|_| Reason::OutOfRange)?;
    let lower = u32::from_le_bytes(jump) >> 20;
    put(u32::from_le_bytes(upper));
    put(0x0002_8293 | lower << 20);
    // li t1, 1; amoadd.d zero, t1, (t0)
    put(0x0010_0313);
    put(0x0062_b02f);
    // ld t0, 0(sp); ld t1, 8(sp); addi sp, sp, 16
    put(0x0001_3283);
    put(0x0081_3303);
    put(0x0101_0113);
    let made = site.relocate(0, at + code.len() as u64)?;
    code.extend(made.bytes);
    Ok(code)
}
