//! One test for each reason.

use super::{analyse, entry};
use crate::displace::Ground;
use crate::testfile::{CODE, DATA, File};
use crate::text::{Mark, Marks, Text};
use crate::{ExitKind, Image, Kind, Obstacle, Options, Reason};

fn refused(code: &[u8]) -> Reason {
    entry(code).expect_err("the entry is refused")
}

#[test]
fn too_short() {
    // xor eax,eax; ret, with another function right behind.
    let file = File::new(&[0x31, 0xc0, 0xc3, 0x31, 0xc0, 0xc3]).function("f", 0, 3).function("g", 3, 3);
    assert_eq!(analyse(&file).entry, Err(Reason::TooShort));
}

#[test]
fn short_with_padding_is_enough() {
    let file =
        File::new(&[0x31, 0xc0, 0xc3, 0x0f, 0x1f, 0x40, 0x00, 0x90, 0xc3]).function("f", 0, 3).function("g", 8, 1);
    let site = analyse(&file).entry.unwrap();
    assert_eq!((site.code(), site.len(), site.inner), (&[0x31, 0xc0, 0xc3][..], 5, 0b100));
}

#[test]
fn zeroes_are_no_padding() {
    let file = File::new(&[0x31, 0xc0, 0xc3, 0, 0, 0, 0, 0, 0xc3]).function("f", 0, 3).function("g", 8, 1);
    assert_eq!(analyse(&file).entry, Err(Reason::TooShort));
}

#[test]
fn branch_into() {
    // push rbx; 1: dec edi; jne 1b; pop rbx; ret
    assert_eq!(refused(&[0x53, 0xff, 0xcf, 0x75, 0xfc, 0x5b, 0xc3]), Reason::BranchInto);
}

#[test]
fn branch_into_from_another_function() {
    let code = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0x31, 0xc0, 0xeb, 0xf7];
    let file = File::new(&code).function("f", 0, 6).function("g", 6, 4);
    assert_eq!(analyse(&file).entry, Err(Reason::BranchInto));
}

#[test]
fn another_symbol_inside() {
    let file = File::new(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]).function("f", 0, 6).symbol("second", 1, 0, 0);
    assert_eq!(analyse(&file).entry, Err(Reason::BranchInto));
}

#[test]
fn landing_pad_into() {
    let bytes = File::new(&[0x90; 16]).build();
    let image = Image::parse(&bytes).unwrap();
    let text = Text::of(&image);
    let mut marks = Marks::new(&text);
    marks.set(Mark::Pad, CODE + 2);
    let ground =
        Ground { image: &image, text: &text, marks: &marks, patched: &[], rseq: &[], reserved: &[], checked: &[] };
    assert_eq!(ground.free(CODE, CODE + 5), Err(Reason::LandingPadInto));
    assert_eq!(ground.free(CODE + 2, CODE + 7), Ok(()));
}

#[test]
fn landing_pads_are_read_from_the_exception_table() {
    // One call site whose landing pad is the second instruction: push rbp; mov rbp,rsp; pop rbp; ret.
    let lsda = [0xff, 0xff, 0x01, 0x04, 0x00, 0x01, 0x01, 0x00];
    let file =
        File::new(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]).data(&lsda).function("f", 0, 6).unwind(&[(0, 6, 8, DATA)]);
    assert_eq!(analyse(&file).entry, Err(Reason::LandingPadInto));
}

#[test]
fn unreadable_exception_table() {
    let file = File::new(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3])
        .data(&[0xff, 0xff, 0x01, 0x7f])
        .function("f", 0, 6)
        .unwind(&[(0, 6, 8, 0x6f_0000)]);
    assert_eq!(analyse(&file).entry, Err(Reason::UnreadableExceptionTable));
}

#[test]
fn address_taken() {
    // push rbp; mov rbp,rsp; lea rax,[rip-10] (the mov); ret
    assert_eq!(
        refused(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x8d, 0x05, 0xf6, 0xff, 0xff, 0xff, 0xc3]),
        Reason::AddressTaken
    );
}

#[test]
fn address_taken_by_a_word_of_data() {
    let code = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3];
    let file = File::new(&code).function("f", 0, 6).data(&(CODE + 1).to_le_bytes());
    assert_eq!(analyse(&file.clone().fixed()).entry, Err(Reason::AddressTaken));
    // With a load bias, a word without a relocation is a number.
    assert!(analyse(&file).entry.is_ok());
}

#[test]
fn address_taken_by_a_relocation() {
    let mut rela = DATA.to_le_bytes().to_vec();
    rela.extend(8u64.to_le_bytes());
    rela.extend((CODE + 1).to_le_bytes());
    let file = File::new(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]).function("f", 0, 6).section(".rela.dyn", 4, &rela);
    assert_eq!(analyse(&file).entry, Err(Reason::AddressTaken));
}

#[test]
fn read_as_data() {
    // mov eax,[rip-6]: reads itself; ret
    assert_eq!(refused(&[0x8b, 0x05, 0xfa, 0xff, 0xff, 0xff, 0xc3]), Reason::ReadAsData);
}

#[test]
fn loop_to_entry() {
    // 1: mov rdi,[rdi+64]; test rdi,rdi; jne 1b; ret
    assert_eq!(refused(&[0x48, 0x8b, 0x7f, 0x40, 0x48, 0x85, 0xff, 0x75, 0xf7, 0xc3]), Reason::LoopToEntry);
    // The same behind endbr64, where only the site is the target.
    let code = [0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8b, 0x7f, 0x40, 0x48, 0x85, 0xff, 0x75, 0xf7, 0xc3];
    assert_eq!(refused(&code), Reason::LoopToEntry);
}

#[test]
fn recursion_is_no_loop() {
    // push rbx; mov ebx,edi; call self; pop rbx; ret
    assert!(entry(&[0x53, 0x89, 0xfb, 0x89, 0xd8, 0xe8, 0xf6, 0xff, 0xff, 0xff, 0x5b, 0xc3]).is_ok());
}

#[test]
fn undecodable() {
    // push es does not exist in 64-bit code.
    assert_eq!(refused(&[0x06, 0x90, 0x90, 0x90, 0x90, 0xc3]), Reason::Undecodable);
}

#[test]
fn undecodable_further_down() {
    assert_eq!(refused(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3, 0x06]), Reason::Undecodable);
}

#[test]
fn overlapping_instructions() {
    // mov eax,0x90909090 in the middle of which a later jump lands: two readings of the same bytes.
    let code = [0x48, 0x89, 0xf8, 0x89, 0xf9, 0xb8, 0x90, 0x90, 0x90, 0x90, 0x74, 0xfb, 0xc3];
    assert_eq!(refused(&code), Reason::Undecodable);
}

#[test]
fn call_not_last() {
    // call rax returns to the third byte.
    assert_eq!(refused(&[0xff, 0xd0, 0x31, 0xc0, 0x90, 0xc3]), Reason::CallNotLast);
}

#[test]
fn syscall_inside() {
    assert_eq!(refused(&[0xb0, 0x27, 0x0f, 0x05, 0x90, 0xc3]), Reason::SyscallInside);
    assert_eq!(refused(&[0xcd, 0x80, 0x90, 0x90, 0x90, 0xc3]), Reason::SyscallInside);
}

#[test]
fn a_system_call_behind_the_run_is_none_of_its_business() {
    assert!(entry(&[0xb8, 0x27, 0, 0, 0, 0x0f, 0x05, 0xc3]).is_ok());
}

#[test]
fn trap_instruction() {
    assert_eq!(refused(&[0xcc, 0x48, 0x89, 0xe5, 0x5d, 0xc3]), Reason::TrapInstruction);
    assert_eq!(refused(&[0x55, 0xcc, 0x89, 0xe5, 0x5d, 0xc3]), Reason::TrapInstruction);
}

#[test]
fn not_relocatable() {
    let cases: [(&[u8], Obstacle); 7] = [
        (&[0xc7, 0xf8, 0, 0, 0, 0, 0xc3], Obstacle::Transaction),
        (&[0x90, 0xcb, 0x90, 0x90, 0x90, 0x90], Obstacle::FarTransfer),
        (&[0x67, 0x8b, 0x05, 0, 0x10, 0, 0, 0xc3], Obstacle::EipRelative),
        (&[0x90, 0xff, 0x54, 0x24, 0x08, 0xc3], Obstacle::CallThroughStack),
        (&[0x90, 0xf3, 0x0f, 0x1e, 0xfa, 0xc3], Obstacle::LandingMark),
        (&[0x90, 0x0f, 0x0b, 0x90, 0x90, 0x90], Obstacle::Fault),
        (&[0x66, 0xe9, 0, 0, 0, 0, 0xc3], Obstacle::OddBranch),
    ];
    for (code, obstacle) in cases {
        assert_eq!(refused(code), Reason::NotRelocatable(obstacle), "{code:02x?}");
    }
}

#[test]
fn ifunc() {
    let file = File::new(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]).symbol("f", 0, 6, 10);
    assert_eq!(analyse(&file).entry, Err(Reason::Ifunc));
}

#[test]
fn ifunc_without_symbols_is_known_by_its_relocation() {
    let mut rela = DATA.to_le_bytes().to_vec();
    rela.extend(37u64.to_le_bytes());
    rela.extend(CODE.to_le_bytes());
    let file = File::new(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]).function("f", 0, 6).section(".rela.plt", 4, &rela);
    assert_eq!(analyse(&file).entry, Err(Reason::Ifunc));
}

#[test]
fn cold_by_name_and_by_frame() {
    let code = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3];
    let bytes = File::new(&code).function("f.cold", 0, 6).build();
    let functions = Image::parse(&bytes).unwrap().functions();
    assert_eq!((functions[0].kind, functions[0].entry), (Kind::Cold, Err(Reason::Cold)));
    let bytes = File::new(&code).unwind(&[(0, 6, 24, 0)]).build();
    let functions = Image::parse(&bytes).unwrap().functions();
    assert_eq!((functions[0].name.as_str(), functions[0].entry), ("fn_401000", Err(Reason::Cold)));
}

#[test]
fn no_unwind_entry() {
    let code = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3].repeat(3);
    let file = File::new(&code).function("f", 0, 6).function("g", 6, 6).function("h", 12, 6);
    assert!(analyse(&file).entry.is_ok(), "a file without any unwind entry");
    let file = file.unwind(&[(6, 6, 8, 0), (12, 6, 8, 0)]);
    assert_eq!(analyse(&file).entry, Err(Reason::NoUnwindEntry));
}

#[test]
fn rseq_section() {
    let mut descriptor = vec![0; 8];
    descriptor.extend((CODE + 3).to_le_bytes());
    descriptor.extend(4u64.to_le_bytes());
    descriptor.extend((CODE + 12).to_le_bytes());
    let file = File::new(&[0x90; 16]).function("f", 0, 16).section("__rseq_cs", 1, &descriptor);
    assert_eq!(analyse(&file).entry, Err(Reason::RseqSection));
}

#[test]
fn static_key_site() {
    let bytes = File::new(&[0x90; 16]).function("f", 0, 16).build();
    let image = Image::parse(&bytes).unwrap();
    let entry = |start| {
        let key = CODE + start..CODE + start + 5;
        image.functions_with(&Options { reserved: Vec::from([key]), ..Options::default() })[0].entry
    };
    assert_eq!(entry(4), Err(Reason::StaticKeySite));
    assert!(entry(5).is_ok());
}

#[test]
fn sleds_of_xray_are_left_to_it() {
    let map = |at: u64| {
        let mut row = at.to_le_bytes().to_vec();
        row.extend([0; 10]);
        row.push(2);
        row.resize(32, 0);
        row
    };
    let file = File::new(&[0x90; 32]).function("f", 0, 32);
    let near = CODE.wrapping_sub(DATA);
    assert_eq!(analyse(&file.clone().section("xray_instr_map", 1, &map(near))).entry, Err(Reason::StaticKeySite));
    assert!(analyse(&file.section("xray_instr_map", 1, &map(near + 16))).entry.is_ok());
}

#[test]
fn probes_are_left_where_they_are() {
    let mut note = Vec::new();
    for word in [8u32, 24, 3] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"stapsdt\0");
    for word in [CODE + 2, 0, 0] {
        note.extend(word.to_le_bytes());
    }
    let file = File::new(&[0x90; 32]).function("f", 0, 32).section(".note.stapsdt", 7, &note);
    assert_eq!(analyse(&file).entry, Err(Reason::StaticKeySite));
}

#[test]
fn self_checked() {
    let file = File::new(&[0x90; 16]).function("f", 0, 16).symbol("BORINGSSL_bcm_text_start", 0, 0, 0).symbol(
        "BORINGSSL_bcm_text_end",
        16,
        0,
        0,
    );
    // The end label lies behind the code; any place inside will do as well.
    assert!(analyse(&file).entry.is_err());
    let file = file.symbol("FIPS_text_start", 0, 0, 0).symbol("FIPS_text_end", 15, 0, 0);
    assert_eq!(analyse(&file).entry, Err(Reason::SelfChecked));
}

#[test]
fn returns_twice() {
    let code = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3];
    let file = File::new(&code).function("f", 0, 6).function("__sigsetjmp", 0, 6);
    let function = analyse(&file);
    assert_eq!((function.entry, function.exit), (Err(Reason::ReturnsTwice), ExitKind::EntryOnly));
}

#[test]
fn stack_switching() {
    let code = [0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3];
    let file = File::new(&code).function("f", 0, 6).function("swapcontext", 0, 6);
    assert_eq!(analyse(&file).entry, Err(Reason::StackSwitching));
}

#[test]
fn stack_switching_that_only_the_code_shows() {
    // push rbp; mov [rdi],rsp; mov rsp,rsi; pop rbp; ret
    let file = File::new(&[0x55, 0x48, 0x89, 0x27, 0x48, 0x89, 0xf4, 0x5d, 0xc3]).function("f", 0, 9);
    let function = analyse(&file);
    assert!(function.entry.is_ok());
    assert_eq!((function.exit, function.exits.len()), (ExitKind::EntryOnly, 0));
}

#[test]
fn shared_code() {
    // `g` begins inside `f` and shares its end.
    let code = [0x55, 0x48, 0x89, 0xe5, 0x90, 0x90, 0x31, 0xc0, 0x31, 0xc9, 0x31, 0xd2, 0x5d, 0xc3];
    let file = File::new(&code).function("f", 0, 14).function("g", 6, 8);
    let function = analyse(&file);
    assert!(function.entry.is_ok());
    assert_eq!(function.exit, ExitKind::Inferred);
    assert!(function.blocked_exits.iter().all(|e| e.1 == Reason::SharedCode));
}

#[test]
fn outside_text() {
    let bytes = File::new(&[0x90; 16]).build();
    let image = Image::parse(&bytes).unwrap();
    let text = Text::of(&image);
    let marks = Marks::new(&text);
    let ground =
        Ground { image: &image, text: &text, marks: &marks, patched: &[], rseq: &[], reserved: &[], checked: &[] };
    assert_eq!(ground.free(DATA, DATA + 5), Err(Reason::OutsideText));
    assert_eq!(ground.free(CODE + 12, CODE + 17), Err(Reason::OutsideText));
}

#[test]
fn writable_text() {
    let file = File::new(&[0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3]).function("f", 0, 6).writable();
    assert_eq!(analyse(&file).entry, Err(Reason::WritableText));
}

#[test]
fn relocated_at_load() {
    let mut rela = (CODE + 2).to_le_bytes().to_vec();
    rela.extend(8u64.to_le_bytes());
    rela.extend(DATA.to_le_bytes());
    // movabs rax,imm64; ret
    let code = [0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xc3];
    let file = File::new(&code).function("f", 0, 11).section(".rela.dyn", 4, &rela);
    assert_eq!(analyse(&file).entry, Err(Reason::RelocatedAtLoad));
}

#[test]
fn unresolved_jump() {
    // lea rax,[rip+label]; add rax,rdi; jmp rax; label: ret. Nothing tells how far the jump can go.
    let code = [0x90, 0x90, 0x90, 0x90, 0x90, 0x48, 0x8d, 0x05, 0x05, 0, 0, 0, 0x48, 0x01, 0xf8, 0xff, 0xe0, 0xc3];
    assert_eq!(refused(&code), Reason::UnresolvedJump);
}

#[test]
fn out_of_range() {
    // mov eax,[rip+0x1000]; ret
    let site = entry(&[0x8b, 0x05, 0, 0x10, 0, 0, 0xc3]).unwrap();
    assert_eq!(site.relocate(0, CODE + (1 << 31)), Err(Reason::OutOfRange));
    assert!(site.relocate(0, CODE + (1 << 30)).is_ok());
}

#[test]
fn every_reason_has_a_text_of_its_own() {
    use Reason::*;
    let all = [
        TooShort,
        BranchInto,
        LandingPadInto,
        AddressTaken,
        ReadAsData,
        LoopToEntry,
        Undecodable,
        NotRelocatable(Obstacle::Fault),
        CallNotLast,
        SyscallInside,
        Ifunc,
        Cold,
        RseqSection,
        StaticKeySite,
        ReturnsTwice,
        StackSwitching,
        SharedCode,
        TrapInstruction,
        OutsideText,
        NoUnwindEntry,
        SelfChecked,
        WritableText,
        RelocatedAtLoad,
        UnresolvedJump,
        UnreadableExceptionTable,
        OutOfRange,
        ConditionalExit,
        OverlapsEntry,
    ];
    let texts: std::collections::HashSet<String> = all.iter().map(Reason::to_string).collect();
    assert_eq!(texts.len(), all.len());
}
