//! The code in front of the displaced instructions.
//!
//! ```text
//! entry                       exit
//!                             lea  rsp, [rsp - 128]     below the red zone of a leaf
//! push rax                    push rax
//! mov  eax, SITE              mov  eax, SITE
//! call probe_entry            call probe_exit
//! mov  [rsp - 8], rax         mov  [rsp - 8], rax       no return address stays behind on the dead stack
//! pop  rax                    pop  rax
//!                             lea  rsp, [rsp + 128]
//! ```
//!
//! A function that is left where it is entered, because the displaced instructions are all of it, calls the probe twice.
//!
//! That word on the dead stack would later be taken for a thread that is inside: whether a thread is in a trampoline is
//! found out by looking through its stack for return addresses.

use textpoke_core::isa::x86_64;

use crate::trampoline::Kind;

const PUSH_RAX: u8 = 0x50;
const POP_RAX: u8 = 0x58;
const MOV_EAX: u8 = 0xb8;
/// `mov [rsp - 8], rax`
const WIPE: [u8; 5] = [0x48, 0x89, 0x44, 0x24, 0xf8];
/// `lea rsp, [rsp - 128]`
const DOWN: [u8; 5] = [0x48, 0x8d, 0x64, 0x24, 0x80];
/// `lea rsp, [rsp + 128]`
const UP: [u8; 8] = [0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0];

/// The calls of `probe` for `sites`, one after the other, at address `at`.
///
/// # Errors
/// The probe is out of reach.
pub fn calls(at: u64, probe: u64, sites: &[u32], kind: Kind) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(80);
    if kind == Kind::Exit {
        bytes.extend_from_slice(&DOWN);
    }
    bytes.push(PUSH_RAX);
    for site in sites {
        bytes.push(MOV_EAX);
        bytes.extend_from_slice(&site.to_le_bytes());
        let call = x86_64::call(at + bytes.len() as u64, probe).map_err(|e| e.to_string())?;
        bytes.extend_from_slice(&call);
        bytes.extend_from_slice(&WIPE);
    }
    bytes.push(POP_RAX);
    if kind == Kind::Exit {
        bytes.extend_from_slice(&UP);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Image;
    use crate::trampoline::{Copy, Trampoline, emit};
    use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};
    use textpoke_trace::record::MAX_SITES;

    const AREA: u64 = 0x5000_0000;

    fn decode(t: &Trampoline, at: u64) -> Vec<Instruction> {
        Decoder::with_ip(64, &t.bytes, at, DecoderOptions::NONE).into_iter().collect()
    }

    fn made(kind: Kind) -> (Image, Trampoline) {
        let image = Image::for_tests();
        let copy = |place: u64| {
            let mut bytes = vec![0x55, 0x48, 0x89, 0xe5, 0x53];
            bytes.extend(x86_64::jmp(place + 5, 0x5100_0005).unwrap());
            Ok(Copy { bytes, at: [0, 1, 0, 0, 4, 0, 0, 0] })
        };
        let t = emit(&image, AREA, AREA + 0x8000, &[0x00ab_cdef], kind, &copy).unwrap();
        (image, t)
    }

    #[test]
    fn an_entry_calls_the_probe_and_goes_on_in_the_copy() {
        let (image, t) = made(Kind::Entry);
        let insns = decode(&t, AREA + 0x8000);
        let codes: Vec<Code> = insns.iter().map(Instruction::code).collect();
        use Code::*;
        assert_eq!(
            codes,
            [
                Push_r64,
                Mov_r32_imm32,
                Call_rel32_64,
                Mov_rm64_r64,
                Pop_r64,
                Push_r64,
                Mov_rm64_r64,
                Push_r64,
                Jmp_rel32_64
            ]
        );
        assert_eq!(insns[1].immediate32(), 0x00ab_cdef);
        assert_eq!(insns[2].near_branch_target(), AREA + image.probe_entry());
        assert_eq!((insns[3].memory_base(), insns[3].memory_displacement64() as i64), (Register::RSP, -8));
        assert_eq!(insns[5].ip(), t.copy);
        assert_eq!(insns[8].near_branch_target(), 0x5100_0005);
        assert_eq!(t.at, [0, 1, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn an_exit_stays_out_of_the_red_zone_and_comes_back() {
        let (image, t) = made(Kind::Exit);
        let insns = decode(&t, AREA + 0x8000);
        assert_eq!(insns[3].near_branch_target(), AREA + image.probe_exit());
        // The stack pointer's way: it is back where it was before the copy begins, and flags are written nowhere.
        let mut depth = 0i64;
        for insn in insns.iter().take_while(|i| i.ip() < t.copy) {
            assert_eq!(insn.rflags_modified(), 0, "{insn}");
            depth += match insn.code() {
                Code::Lea_r64_m => insn.memory_displacement64() as i64,
                Code::Call_rel32_64 => 0,
                _ => i64::from(insn.stack_pointer_increment()),
            };
            assert!(insn.code() != Code::Mov_rm64_r64 || depth <= -128);
        }
        assert_eq!(depth, 0);
        assert!(insns.iter().any(|i| i.ip() == t.copy));
    }

    #[test]
    fn a_function_that_is_all_displaced_is_recorded_twice() {
        let image = Image::for_tests();
        let ret = |_| Ok(Copy { bytes: vec![0xc3], at: [0; 8] });
        let t = emit(&image, AREA, AREA + 0x8000, &[7, 8], Kind::Entry, &ret).unwrap();
        let insns = decode(&t, AREA + 0x8000);
        let numbers: Vec<u32> =
            insns.iter().filter(|i| i.code() == Code::Mov_r32_imm32).map(Instruction::immediate32).collect();
        let calls = insns.iter().filter(|i| i.code() == Code::Call_rel32_64);
        assert_eq!(numbers, [7, 8]);
        assert!(calls.map(Instruction::near_branch_target).eq([AREA + image.probe_entry(); 2]));
        assert_eq!(
            insns.iter().map(|i| i64::from(i.stack_pointer_increment())).sum::<i64>(),
            -16 + 8,
            "two calls and a return"
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let image = Image::for_tests();
        let copy = |_| Ok(Copy { bytes: vec![0xc3], at: [0; 8] });
        assert!(emit(&image, AREA, AREA + (1 << 32), &[0], Kind::Entry, &copy).unwrap_err().contains("reach"));
        assert!(emit(&image, AREA, AREA, &[MAX_SITES], Kind::Entry, &copy).is_err());
        assert_eq!(emit(&image, AREA, AREA, &[0], Kind::Exit, &|_| Err("no".into())), Err("no".into()));
    }
}
