//! The copies of displaced instructions, on literal bytes and decoded again.

use iced_x86::{Decoder, DecoderOptions, Formatter as _, Instruction, IntelFormatter};

use super::{analyse, entry};
use crate::testfile::{CODE, File};
use crate::{Ends, MAX_COPY, Relocated, Way};

/// Where copies go, and what is added to the addresses of the file.
const DEST: u64 = 0x7f00_1000_0000;
const BIAS: u64 = 0x7f00_0000_0000;
const HERE: u64 = CODE + BIAS;

fn copy(code: &[u8]) -> (Relocated, Vec<String>) {
    let site = entry(code).expect("displaceable");
    let copy = site.relocate(BIAS, DEST).expect("within reach");
    assert!(copy.bytes.len() <= MAX_COPY);
    let text = decode(&copy.bytes, DEST).iter().map(show).collect();
    (copy, text)
}

fn decode(bytes: &[u8], ip: u64) -> Vec<Instruction> {
    Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE).into_iter().collect()
}

fn show(insn: &Instruction) -> String {
    let mut text = String::new();
    IntelFormatter::new().format(insn, &mut text);
    text
}

fn jumps(text: &str, target: u64) -> bool {
    text.starts_with("jmp") && text.contains(&format!("{target:X}"))
}

#[test]
fn plain_instructions_are_copied_and_jump_back() {
    // push rbp; mov rbp,rsp; push rbx
    let (copy, text) = copy(&[0x55, 0x48, 0x89, 0xe5, 0x53, 0xc3]);
    assert_eq!(copy.at[..5], [0, 1, 0xff, 0xff, 4]);
    assert_eq!(text[..3], ["push rbp", "mov rbp,rsp", "push rbx"]);
    assert!(jumps(&text[3], HERE + 5), "{text:?}");
    assert_eq!(copy.bytes[..5], [0x55, 0x48, 0x89, 0xe5, 0x53]);
}

#[test]
fn an_operand_relative_to_the_instruction_pointer_keeps_its_target() {
    // cmp dword ptr [rip+0x1000],7: the immediate comes behind the displacement.
    let (copy, _) = copy(&[0x83, 0x3d, 0, 0x10, 0, 0, 7, 0xc3]);
    let insn = decode(&copy.bytes, DEST)[0];
    assert_eq!(insn.ip_rel_memory_address(), HERE + 7 + 0x1000);
    assert_eq!(insn.immediate8(), 7);
}

#[test]
fn a_prefix_survives() {
    // data16 lea rdi,[rip+0x100]: as in general-dynamic TLS.
    let (copy, _) = copy(&[0x66, 0x48, 0x8d, 0x3d, 0, 1, 0, 0, 0xc3]);
    assert_eq!(copy.bytes[..4], [0x66, 0x48, 0x8d, 0x3d]);
    assert_eq!(decode(&copy.bytes, DEST)[0].ip_rel_memory_address(), HERE + 8 + 0x100);
}

#[test]
fn a_call_pushes_its_original_return_address() {
    let site = entry(&[0x53, 0xe8, 0, 1, 0, 0, 0xc3]).unwrap();
    assert_eq!(site.ends, Ends::Call);
    let (copy, text) = copy(&[0x53, 0xe8, 0, 1, 0, 0, 0xc3]);
    let returns = HERE + 6;
    assert_eq!(copy.at[..5], [0, 1, 0xff, 0xff, 0xff]);
    let insns = decode(&copy.bytes, DEST);
    assert_eq!(insns.len(), 4, "{text:?}");
    assert_eq!(insns[1].immediate32to64() as u32, returns as u32);
    assert_eq!((text[2].contains("[rsp+4]"), u64::from(insns[2].immediate32())), (true, returns >> 32));
    assert_eq!(insns[3].near_branch_target(), returns + 0x100);
}

#[test]
fn a_low_return_address_needs_one_push() {
    let site = entry(&[0xe8, 0, 1, 0, 0, 0xc3]).unwrap();
    let insns = decode(&site.relocate(0, CODE + 0x10_0000).unwrap().bytes, CODE + 0x10_0000);
    assert_eq!((insns.len(), insns[0].immediate32to64() as u64), (2, CODE + 5));
    assert_eq!(insns[1].near_branch_target(), CODE + 5 + 0x100);
}

#[test]
fn addresses_from_2_to_4_gib_are_not_sign_extended() {
    let site = entry(&[0xe8, 0, 1, 0, 0, 0xc3]).unwrap();
    let insns = decode(&site.relocate(0x9000_0000, 0x9100_0000).unwrap().bytes, 0x9100_0000);
    assert_eq!((insns.len(), insns[1].immediate32()), (3, 0));
}

#[test]
fn an_indirect_call_becomes_an_indirect_jump_through_the_same_operand() {
    // call [rip+0x100]
    let (copy, _) = copy(&[0xff, 0x15, 0, 1, 0, 0, 0xc3]);
    let last = *decode(&copy.bytes, DEST).last().unwrap();
    assert!(last.is_jmp_near_indirect());
    assert_eq!(last.ip_rel_memory_address(), HERE + 6 + 0x100);
}

#[test]
fn an_indirect_call_through_registers() {
    // mov rax,[rdi]; call [rax+0x18], and call r11 with a prefix.
    let (_, text) = copy(&[0x48, 0x8b, 0x07, 0xff, 0x50, 0x18, 0xc3]);
    assert_eq!(text.last().unwrap(), "jmp qword ptr [rax+18h]");
    let (_, text) = copy(&[0x48, 0x8b, 0x1f, 0x41, 0xff, 0xd3, 0xc3]);
    assert_eq!(text.last().unwrap(), "jmp r11");
}

#[test]
fn every_condition_is_widened() {
    for condition in 0..16u8 {
        // jcc +0x10; three NOPs; and behind them the target.
        let mut code = vec![0x70 | condition, 0x10, 0x90, 0x90, 0x90];
        code.extend([0x90; 20]);
        code.push(0xc3);
        let (copy, _) = copy(&code);
        assert_eq!(copy.bytes[..2], [0x0f, 0x80 | condition]);
        let insns = decode(&copy.bytes, DEST);
        assert_eq!(insns[0].near_branch_target(), HERE + 0x12);
        assert_eq!(copy.at[..5], [0, 0xff, 6, 7, 8]);
    }
}

#[test]
fn a_near_condition_keeps_its_target() {
    let mut code = vec![0x0f, 0x85, 0x0a, 0, 0, 0];
    code.extend([0x90; 12]);
    code.push(0xc3);
    let (copy, text) = copy(&code);
    assert_eq!(decode(&copy.bytes, DEST)[0].near_branch_target(), HERE + 16);
    assert!(jumps(&text[1], HERE + 6));
}

#[test]
fn loop_and_jrcxz_hop_over_a_jump() {
    for opcode in [0xe0, 0xe1, 0xe2, 0xe3] {
        let mut code = vec![opcode, 0x10, 0x90, 0x90, 0x90];
        code.extend([0x90; 20]);
        code.push(0xc3);
        let (copy, text) = copy(&code);
        let insns = decode(&copy.bytes, DEST);
        assert_eq!(insns[0].near_branch_target(), insns[2].ip(), "{text:?}");
        assert_eq!(insns[1].near_branch_target(), insns[3].ip());
        assert_eq!(insns[2].near_branch_target(), HERE + 0x12);
        assert_eq!(copy.at[..5], [0, 0xff, 9, 10, 11]);
    }
}

#[test]
fn jecxz_keeps_its_prefix() {
    let mut code = vec![0x67, 0xe3, 0x10, 0x90, 0x90];
    code.extend([0x90; 20]);
    code.push(0xc3);
    let (copy, _) = copy(&code);
    assert_eq!(copy.bytes[..3], [0x67, 0xe3, 0x02]);
}

#[test]
fn a_jump_ends_the_copy() {
    // mov eax,edi; jmp +2 (over padding); target: ret
    let file = File::new(&[0x89, 0xf8, 0xeb, 0x04, 0x0f, 0x1f, 0x40, 0, 0xc3]).function("f", 0, 9);
    let site = analyse(&file).entry.unwrap();
    assert_eq!((site.ends, site.code().len(), site.len()), (Ends::Jump, 4, 5));
    let insns = decode(&site.relocate(BIAS, DEST).unwrap().bytes, DEST);
    assert_eq!((insns.len(), insns[1].near_branch_target()), (2, HERE + 8));
}

#[test]
fn a_return_ends_the_copy() {
    let file = File::new(&[0x31, 0xc0, 0xc3, 0xcc, 0xcc, 0xcc]).function("f", 0, 3);
    let site = analyse(&file).entry.unwrap();
    assert_eq!((site.ends, site.relocate(BIAS, DEST).unwrap().bytes), (Ends::Return, vec![0x31, 0xc0, 0xc3]));
}

#[test]
fn an_indirect_jump_is_copied() {
    let file = File::new(&[0xff, 0x25, 0, 1, 0, 0]).function("f", 0, 6);
    let site = analyse(&file).entry.unwrap();
    let insns = decode(&site.relocate(BIAS, DEST).unwrap().bytes, DEST);
    assert_eq!((insns.len(), insns[0].ip_rel_memory_address()), (1, HERE + 6 + 0x100));
}

#[test]
fn endbr64_stays_where_it_is() {
    let site = entry(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0x53, 0xc3]).unwrap();
    assert_eq!((site.vaddr, site.len()), (CODE + 4, 5));
}

#[test]
fn one_nop_of_five_bytes_is_a_sled_and_five_of_one_are_not() {
    let one = entry(&[0x0f, 0x1f, 0x44, 0, 0, 0xc3]).unwrap();
    assert_eq!((one.way, one.inner, one.is_single()), (Way::Sled, 0, true));
    let five = entry(&[0x90, 0x90, 0x90, 0x90, 0x90, 0xc3]).unwrap();
    assert_eq!((five.way, five.inner), (Way::Displace, 0b11110));
}

#[test]
fn the_longest_run() {
    // Four NOPs and the longest instruction there is.
    let mut code = vec![0x90; 4];
    code.extend([0x66, 0x66, 0x66, 0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0]);
    code.insert(4, 0x66);
    code.push(0xc3);
    let site = entry(&code).unwrap();
    assert_eq!((site.len(), site.len()), (crate::MAX_SITE, 19));
    assert_eq!(site.relocate(BIAS, DEST).unwrap().bytes.len(), 24);
}
