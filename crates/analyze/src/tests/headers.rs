use crate::testfile::{CODE, File};
use crate::{Error, Image, Isa};

fn file() -> Vec<u8> {
    File::new(&[0x90; 16]).function("f", 0, 16).build()
}

fn error(change: impl Fn(&mut Vec<u8>)) -> Error {
    let mut bytes = file();
    change(&mut bytes);
    Image::parse(&bytes).expect_err("the file is broken")
}

#[test]
fn a_good_file_is_read() {
    let bytes = file();
    let image = Image::parse(&bytes).unwrap();
    assert!(image.is_shared());
    assert_eq!(image.executable_segments().count(), 1);
    assert_eq!(image.bytes_at(CODE, 2), Some(&[0x90, 0x90][..]));
    assert_eq!(image.bytes_at(CODE, 17), None);
    assert_eq!(image.build_id(), None);
}

#[test]
fn a_script_is_no_elf_file() {
    assert_eq!(Image::parse(b"#!/bin/sh\n").unwrap_err(), Error::NotElf);
    assert_eq!(Image::parse(b"").unwrap_err(), Error::NotElf);
}

#[test]
fn a_header_that_is_cut_off() {
    assert_eq!(error(|b| b.truncate(40)), Error::Truncated { what: "the ELF header" });
    assert_eq!(error(|b| b.truncate(5)), Error::Truncated { what: "the ELF header" });
}

#[test]
fn a_segment_that_is_cut_off() {
    assert_eq!(error(|b| b.truncate(180)), Error::Truncated { what: "a segment" });
    assert_eq!(error(|b| b.truncate(100)), Error::Truncated { what: "the program header table" });
}

#[test]
fn a_32_bit_file() {
    assert_eq!(error(|b| b[4] = 1), Error::Elf32);
}

#[test]
fn a_big_endian_file() {
    assert_eq!(error(|b| b[5] = 2), Error::BigEndian);
}

#[test]
fn another_instruction_set_is_named() {
    let e = error(|b| b[18..20].copy_from_slice(&258u16.to_le_bytes()));
    assert_eq!(e, Error::ForeignIsa { machine: 258 });
    assert!(e.to_string().contains("LoongArch"));
}

#[test]
fn the_three_known_ones_are_told_apart() {
    for (machine, flags, isa) in [(62, 0, Isa::X86_64), (183, 0, Isa::Aarch64), (243, 5, Isa::Riscv64)] {
        let mut bytes = file();
        (bytes[18], bytes[48]) = (machine, flags);
        assert_eq!(Image::parse(&bytes).unwrap().isa(), isa);
    }
    // RISC-V code that passes floating-point numbers in integer registers.
    assert_eq!(error(|b| b[18] = 243), Error::RiscvAbi);
}

#[test]
fn object_files_and_core_dumps() {
    assert_eq!(error(|b| b[16] = 1), Error::NotLinked { kind: 1 });
    assert!(error(|b| b[16] = 4).to_string().contains("core dump"));
}

#[test]
fn a_file_without_code() {
    assert_eq!(error(|b| b[64 + 4] = 4), Error::NoCode);
}

#[test]
fn functions_without_section_headers_come_from_nowhere() {
    let mut bytes = file();
    bytes[40..48].fill(0);
    assert!(Image::parse(&bytes).unwrap().functions().is_empty());
}

proptest::proptest! {
    /// Whatever is in the file, the answer is a list or an error.
    #[test]
    fn no_file_is_too_broken(changes in proptest::collection::vec((0usize..2048, proptest::num::u8::ANY), 1..40)) {
        let mut bytes = File::new(&[0xe8, 0, 0, 0, 0, 0xeb, 0xfe, 0xff, 0x24, 0xc5, 0, 0, 0x50, 0, 0xc3])
            .data(&CODE.to_le_bytes().repeat(8))
            .function("f", 0, 7)
            .function("g", 7, 8)
            .unwind(&[(0, 7, 8, 0), (7, 8, 16, crate::testfile::DATA)])
            .section(".rela.dyn", 4, &[7; 48])
            .section("__rseq_cs", 1, &[0; 32])
            .build();
        let len = bytes.len();
        for (at, value) in changes {
            bytes[at % len] = value;
        }
        if let Ok(image) = Image::parse(&bytes) {
            for function in image.functions() {
                let sites = function.entry.iter().copied().chain(function.exits.iter().map(|e| e.site));
                for site in sites {
                    // The only error that bytes can lead to here is the distance.
                    let _ = site.relocate(0, site.vaddr);
                }
            }
        }
    }
}
