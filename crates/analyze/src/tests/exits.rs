//! Exits on literal bytes.

use super::analyse;
use crate::testfile::{CODE, DATA, File};
use crate::{ExitEvent, ExitKind, Function, Reason};

/// Five bytes for the entry, so that the exits have the rest to themselves.
const ENTRY: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];

fn function(rest: &[u8]) -> Function {
    let mut code = ENTRY.to_vec();
    code.extend(rest);
    analyse(&File::new(&code).function("f", 0, code.len() as u64))
}

fn exit(rest: &[u8]) -> (u64, Vec<u8>, u8) {
    let f = function(rest);
    assert_eq!((f.exits.len(), f.exit), (1, ExitKind::Patched), "{:?}", f.blocked_exits);
    let site = f.exits[0].site;
    (site.vaddr - CODE, site.code().to_vec(), site.inner)
}

#[test]
fn a_return_takes_the_instructions_in_front_of_it() {
    // pop rbx; pop rbp; pop r12; ret
    assert_eq!(exit(&[0x5b, 0x5d, 0x41, 0x5c, 0xc3]), (5, vec![0x5b, 0x5d, 0x41, 0x5c, 0xc3], 0b10110));
    // add rsp,8; pop rbx; pop rbp; ret: the last two stay in place, no byte of theirs is needed.
    assert_eq!(exit(&[0x48, 0x83, 0xc4, 8, 0x5b, 0x5d, 0xc3]), (5, vec![0x48, 0x83, 0xc4, 8, 0x5b], 0b10000));
}

#[test]
fn a_return_behind_a_long_instruction_stays_in_place() {
    // mov rax,imm32 (7 bytes) is displaced alone: the ret behind it follows.
    assert_eq!(exit(&[0x48, 0xc7, 0xc0, 1, 0, 0, 0, 0xc3]), (5, vec![0x48, 0xc7, 0xc0, 1, 0, 0, 0], 0));
}

#[test]
fn a_return_with_padding_behind_it_stands_alone() {
    let mut code = ENTRY.to_vec();
    code.extend([0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x40, 0, 0xc3]);
    let f = analyse(&File::new(&code).function("f", 0, 8).function("g", 12, 1));
    let site = f.exits[0].site;
    assert_eq!((site.vaddr, site.code(), site.bytes()), (CODE + 7, &[0xc3][..], &[0xc3, 0x0f, 0x1f, 0x40, 0][..]));
}

#[test]
fn all_forms_of_return() {
    for form in [&[0xc3][..], &[0xf3, 0xc3], &[0xf2, 0xc3], &[0xc2, 8, 0]] {
        let mut rest = vec![0x48, 0x83, 0xc4, 8];
        rest.extend(form);
        let f = function(&rest);
        assert_eq!((f.exits.len(), f.exits[0].event), (1, ExitEvent::Return), "{form:02x?}");
    }
}

#[test]
fn a_branch_to_the_return_itself_leaves_no_room() {
    // test edi,edi; je 1f; mov eax,edi; add eax,eax; 1: ret
    let f = function(&[0x85, 0xff, 0x74, 0x04, 0x89, 0xf8, 0x01, 0xc0, 0xc3]);
    assert_eq!((f.exits.len(), f.exit), (0, ExitKind::Inferred));
    assert_eq!(f.blocked_exits, [(CODE + 13, Reason::BranchInto)]);
}

#[test]
fn a_call_ends_the_room_in_front_of_a_return() {
    // call; add rsp,8; ret: what the call returns to may be the start of a site, never its middle.
    let f = function(&[0xe8, 0, 1, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3]);
    assert_eq!(f.exits[0].site.vaddr, CODE + 10);
    let f = function(&[0xe8, 0, 1, 0, 0, 0x58, 0xc3]);
    assert_eq!(f.blocked_exits, [(CODE + 11, Reason::BranchInto)]);
}

#[test]
fn a_condition_is_not_part_of_an_exit() {
    // je +0x40 (inside); pop rbx; ret: the jump may leave the run without leaving the function.
    let mut rest = vec![0x74, 0x02, 0x5b, 0xc3, 0x89, 0xf8, 0x89, 0xf8, 0xc3];
    rest.extend([0xcc; 3]);
    let f = function(&rest);
    assert_eq!(f.blocked_exits, [(CODE + 8, Reason::BranchInto)]);
    assert_eq!(f.exits.len(), 1);
}

#[test]
fn a_system_call_is_not_part_of_an_exit() {
    let f = function(&[0x31, 0xc0, 0x0f, 0x05, 0x5b, 0xc3]);
    assert_eq!(f.blocked_exits.len(), 1);
}

#[test]
fn a_jump_to_another_function_is_a_tail_jump() {
    let mut code = ENTRY.to_vec();
    code.extend([0xe9, 1, 0, 0, 0, 0x90, 0xc3]);
    let f = analyse(&File::new(&code).function("f", 0, 10).function("g", 11, 1));
    assert_eq!((f.exits[0].event, f.exits[0].site.vaddr), (ExitEvent::TailJump, CODE + 5));
    assert_eq!(f.exit, ExitKind::Patched);
}

#[test]
fn a_conditional_jump_to_another_function_is_only_sometimes_an_exit() {
    let mut code = ENTRY.to_vec();
    code.extend([0x0f, 0x84, 5, 0, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3, 0xc3]);
    let f = analyse(&File::new(&code).function("f", 0, 16).function("g", 16, 1));
    assert_eq!((f.exit, f.exits.len()), (ExitKind::Inferred, 1));
    assert_eq!(f.blocked_exits, [(CODE + 5, Reason::ConditionalExit)]);
}

#[test]
fn the_exits_of_a_cold_part_belong_to_its_function() {
    let mut code = ENTRY.to_vec();
    code.extend([0x0f, 0x84, 5, 0, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3]);
    let cold = code.len() as u64;
    code.extend([0x48, 0x83, 0xc4, 8, 0xc3]);
    let f = analyse(&File::new(&code).function("f", 0, cold).function("f.cold", cold, 5));
    assert_eq!((f.exit, f.exits.len()), (ExitKind::Patched, 2), "{:?}", f.blocked_exits);
}

#[test]
fn a_jump_through_the_global_offset_table_is_a_tail_jump() {
    let f = function(&[0xff, 0x25, 0, 0x10, 0, 0]);
    assert_eq!((f.exits[0].event, f.exit), (ExitEvent::TailJump, ExitKind::Patched));
}

#[test]
fn a_jump_through_a_register_is_a_tail_jump_when_nothing_leads_inside() {
    // mov rax,[rdi]; jmp [rax+0x18]
    let f = function(&[0x48, 0x8b, 0x07, 0xff, 0x60, 0x18]);
    assert_eq!((f.exits.len(), f.exit), (1, ExitKind::Patched));
}

#[test]
fn a_jump_table_of_offsets_is_no_exit() {
    // lea rdx,[rip+table]; movsxd rax,[rdx+rdi*4]; add rax,rdx; jmp rax; 1: mov eax,1; ret; 2: mov eax,2; ret
    let rest = [
        0x48, 0x8d, 0x15, 0, 0, 0, 0, 0x48, 0x63, 0x04, 0xba, 0x48, 0x01, 0xd0, 0xff, 0xe0, //
        0xb8, 1, 0, 0, 0, 0xc3, 0xb8, 2, 0, 0, 0, 0xc3,
    ];
    let mut code = ENTRY.to_vec();
    code.extend(rest);
    let distance = (DATA - (CODE + 12)) as u32;
    code[8..12].copy_from_slice(&distance.to_le_bytes());
    let mut table = Vec::new();
    for offset in [21u64, 27] {
        table.extend(((CODE + offset).wrapping_sub(DATA) as u32).to_le_bytes());
    }
    let f = analyse(&File::new(&code).function("f", 0, code.len() as u64).data(&table));
    assert_eq!((f.exits.len(), f.exit), (2, ExitKind::Patched), "{:?}", f.blocked_exits);
    // The same without its table: nobody knows where the jump goes.
    let f = analyse(&File::new(&code).function("f", 0, code.len() as u64));
    assert_eq!(f.exit, ExitKind::Inferred);
}

#[test]
fn a_jump_table_of_addresses_is_no_exit() {
    // jmp [table+rdi*8]; 1: mov eax,1; ret; 2: mov eax,2; ret
    let mut code = ENTRY.to_vec();
    code.extend([0xff, 0x24, 0xfd]);
    code.extend((DATA as u32).to_le_bytes());
    code.extend([0xb8, 1, 0, 0, 0, 0xc3, 0xb8, 2, 0, 0, 0, 0xc3]);
    let table: Vec<u8> = [12u64, 18].iter().flat_map(|o| (CODE + o).to_le_bytes()).collect();
    let f = analyse(&File::new(&code).function("f", 0, code.len() as u64).data(&table).fixed());
    assert_eq!((f.exits.len(), f.exit), (2, ExitKind::Patched), "{:?}", f.blocked_exits);
}

#[test]
fn a_jump_table_into_an_exit_forbids_its_site() {
    // As above, but the second entry leads to the ret of the first case.
    let mut code = ENTRY.to_vec();
    code.extend([0xff, 0x24, 0xfd]);
    code.extend((DATA as u32).to_le_bytes());
    code.extend([0x89, 0xf8, 0x89, 0xf9, 0xc3]);
    let table: Vec<u8> = [12u64, 16].iter().flat_map(|o| (CODE + o).to_le_bytes()).collect();
    let f = analyse(&File::new(&code).function("f", 0, code.len() as u64).data(&table).fixed());
    assert_eq!(f.blocked_exits, [(CODE + 16, Reason::BranchInto)]);
}

#[test]
fn an_exit_inside_the_entry_is_left_to_it() {
    let f = analyse(&File::new(&[0x48, 0x8b, 0x47, 8, 0xc3]).function("f", 0, 5));
    assert_eq!(f.entry.unwrap().code(), &[0x48, 0x8b, 0x47, 8, 0xc3]);
    assert_eq!(f.blocked_exits, [(CODE + 4, Reason::OverlapsEntry)]);
    assert_eq!(f.exit_in_entry(), Some(ExitEvent::Return));
}

#[test]
fn an_exit_inside_the_entry_that_is_not_always_taken() {
    // test edi,edi; js 1f; ret; and behind it 1: neg edi; mov eax,edi; ret
    let code = [0x85, 0xff, 0x78, 0x04, 0xc3, 0x90, 0x90, 0x90, 0xf7, 0xdf, 0x89, 0xf8, 0xc3];
    let f = analyse(&File::new(&code).function("f", 0, code.len() as u64));
    assert_eq!((f.entry.unwrap().ends, f.exit_in_entry()), (crate::Ends::Return, None));
}

#[test]
fn data_below_the_stack_pointer_is_expected_where_code_jumps_to() {
    let code = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0x90, 0x90, 0x31, 0xc0, 0xeb, 0xf4];
    let f = analyse(&File::new(&code).function("f", 0, 6).function("g", 8, 4));
    assert!(f.entry.unwrap().red_zone);
    let f = analyse(&File::new(&code[..6]).function("f", 0, 6));
    assert!(!f.entry.unwrap().red_zone);
    assert!(function(&[0x48, 0x83, 0xc4, 8, 0xc3]).exits[0].site.red_zone);
}

#[test]
fn bytes_that_nothing_reaches_may_be_data() {
    // jmp over; a constant that looks like an exit; over: add rsp,8; ret
    let f = function(&[0xeb, 5, 0x90, 0x90, 0x90, 0x90, 0xc3, 0x48, 0x83, 0xc4, 8, 0xc3]);
    assert_eq!(f.blocked_exits, [(CODE + 11, Reason::Undecodable)]);
    assert_eq!(f.exits.len(), 1);
}

#[test]
fn flags_that_live_over_an_exit_are_reported() {
    // cmp edi,1; (entry above) cmove eax,esi; ret
    let f = function(&[0x83, 0xff, 1, 0x0f, 0x44, 0xc6, 0x90, 0xc3]);
    assert!(f.exits[0].site.flags_live);
    let f = function(&[0x83, 0xff, 1, 0x89, 0xc6, 0x89, 0xc7, 0xc3]);
    assert!(!f.exits[0].site.flags_live);
}

#[test]
fn endless_functions_need_no_exit() {
    let f = function(&[0xe8, 0, 1, 0, 0, 0x0f, 0x0b]);
    assert_eq!((f.exits.len(), f.exit), (0, ExitKind::Patched));
}
