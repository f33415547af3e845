//! The copies of AArch64 sites, with a counter in front.

use textpoke_analyze::{Reason, Site};
use textpoke_core::isa::Reg;
use textpoke_core::isa::aarch64::adrp;

pub fn copy(at: u64, counter: u64, site: &Site) -> Result<Vec<u8>, Reason> {
    let x16 = Reg::new(16).expect("a register");
    let low = (counter & 0xfff) as u32;
    let mut code = Vec::new();
    let mut put = |word: u32| code.extend(word.to_le_bytes());
    // stp x15, x16, [sp, #-32]!; str x17, [sp, #16]
    put(0xa9be_43ef);
    put(0xf900_0bf1);
    put(u32::from_le_bytes(adrp(x16, at + 8, counter).map_err(|_| Reason::OutOfRange)?));
    // add x16, x16, #low
    put(0x9100_0210 | low << 10);
    // again: ldxr x17, [x16]; add x17, x17, #1; stxr w15, x17, [x16]; cbnz w15, again
    put(0xc85f_7e11);
    put(0x9100_0631);
    put(0xc80f_7e11);
    put(0x35ff_ffaf);
    // ldr x17, [sp, #16]; ldp x15, x16, [sp], #32
    put(0xf940_0bf1);
    put(0xa8c2_43ef);
    let made = site.relocate(0, at + code.len() as u64)?;
    code.extend(made.bytes);
    Ok(code)
}
