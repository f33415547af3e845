//! Trampolines: where the jump at a site leads. A trampoline calls the probe, does what the displaced instructions did,
//! and goes back.
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
//! (copy of the displaced instructions)
//! ```
//!
//! A function that is left where it is entered, because the displaced instructions are all of it, calls the probe twice.
//!
//! That word on the dead stack would later be taken for a thread that is inside: whether a thread is in a trampoline is
//! found out by looking through its stack for return addresses.

use textpoke_core::isa::x86_64;
use textpoke_trace::record::MAX_SITES;

use crate::image::Image;

/// What the stack is like at the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As at the entry of a function that is called: nothing below the stack pointer is in use.
    Entry,
    /// As at an exit: the 128 bytes below the stack pointer may be in use.
    Exit,
}

/// The displaced instructions, made for another address, with the jump back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// For each displaced instruction that began at `addr + i`: its offset in `bytes`.
    pub at: [u8; 5],
}

/// A trampoline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trampoline {
    /// The bytes; the first is where the site's jump leads.
    pub bytes: Vec<u8>,
    /// Address of the copy, for [`Site::copy`](textpoke_core::Site::copy).
    pub copy: u64,
    /// As in [`Copy::at`], for [`Site::copy_at`](textpoke_core::Site::copy_at).
    pub at: [u8; 5],
}

const PUSH_RAX: u8 = 0x50;
const POP_RAX: u8 = 0x58;
const MOV_EAX: u8 = 0xb8;
/// `mov [rsp - 8], rax`
const WIPE: [u8; 5] = [0x48, 0x89, 0x44, 0x24, 0xf8];
/// `lea rsp, [rsp - 128]`
const DOWN: [u8; 5] = [0x48, 0x8d, 0x64, 0x24, 0x80];
/// `lea rsp, [rsp + 128]`
const UP: [u8; 8] = [0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0];

/// Makes the trampoline that records `sites`, one after the other, at address `at`, in an area that begins with the image
/// at `area`.
///
/// `relocate` is asked for the copy at the address that it will have.
///
/// # Errors
/// What `relocate` says, or that the probe is out of reach, or that there are too many sites.
pub fn emit(
    image: &Image,
    area: u64,
    at: u64,
    sites: &[u32],
    kind: Kind,
    relocate: &dyn Fn(u64) -> Result<Copy, String>,
) -> Result<Trampoline, String> {
    if sites.iter().any(|&site| site >= MAX_SITES) {
        return Err(format!("one trace can hold {MAX_SITES} sites"));
    }
    let probe = area
        + match kind {
            Kind::Entry => image.probe_entry(),
            Kind::Exit => image.probe_exit(),
        };
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
    let place = at + bytes.len() as u64;
    let copy = relocate(place)?;
    bytes.extend_from_slice(&copy.bytes);
    Ok(Trampoline { bytes, copy: place, at: copy.at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Register};

    const AREA: u64 = 0x5000_0000;

    fn decode(t: &Trampoline, at: u64) -> Vec<Instruction> {
        Decoder::with_ip(64, &t.bytes, at, DecoderOptions::NONE).into_iter().collect()
    }

    fn made(kind: Kind) -> (Image, Trampoline) {
        let image = Image::for_tests();
        let copy = |place: u64| {
            let mut bytes = vec![0x55, 0x48, 0x89, 0xe5, 0x53];
            bytes.extend(x86_64::jmp(place + 5, 0x5100_0005).unwrap());
            Ok(Copy { bytes, at: [0, 1, 0, 0, 4] })
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
        assert_eq!(t.at, [0, 1, 0, 0, 4]);
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
        let ret = |_| Ok(Copy { bytes: vec![0xc3], at: [0; 5] });
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
        let copy = |_| Ok(Copy { bytes: vec![0xc3], at: [0; 5] });
        assert!(emit(&image, AREA, AREA + (1 << 32), &[0], Kind::Entry, &copy).unwrap_err().contains("reach"));
        assert!(emit(&image, AREA, AREA, &[MAX_SITES], Kind::Entry, &copy).is_err());
        assert_eq!(emit(&image, AREA, AREA, &[0], Kind::Exit, &|_| Err("no".into())), Err("no".into()));
    }
}
