//! What the compiler made of a site, and what the linker made of the tables.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use object::{Object, ObjectSection, ObjectSymbol};

use textpoke::__keys::abi::{ENTRY_SIZE, Entry, Kind, TAIL};

use crate::build::{Compiler, Program};

struct Image(Vec<u8>);

impl Image {
    fn of(program: &Program) -> Self {
        Self(std::fs::read(program.path()).unwrap())
    }

    fn file(&self) -> object::File<'_> {
        object::File::parse(&*self.0).unwrap()
    }

    /// The instructions of a function up to its end or first jump.
    fn function(&self, name: &str) -> Vec<Instruction> {
        let file = self.file();
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap();
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        let start = (symbol.address() - section.address()) as usize;
        let code = &section.data().unwrap()[start..start + symbol.size() as usize];
        let mut found = Vec::new();
        for instruction in Decoder::with_ip(64, code, symbol.address(), DecoderOptions::NONE).iter() {
            found.push(instruction);
            if matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Jmp) {
                break;
            }
        }
        found
    }

    /// The site table.
    fn entries(&self) -> Vec<Entry> {
        let file = self.file();
        let section = file.section_by_name("textpoke_sites").unwrap();
        let (entries, rest) = section.data().unwrap().as_chunks::<ENTRY_SIZE>();
        assert!(rest.is_empty());
        let at = (section.address()..).step_by(ENTRY_SIZE);
        entries.iter().zip(at).map(|(bytes, at)| Entry::read(bytes, at).unwrap()).collect()
    }

    fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let file = self.file();
        let section = file.sections().find(|s| (s.address()..s.address() + s.size()).contains(&at)).unwrap();
        section.data().unwrap()[(at - section.address()) as usize..][..len].to_vec()
    }

    fn has(&self, function: &str) -> bool {
        self.file().symbols().any(|symbol| symbol.name() == Ok(function))
    }
}

#[test]
fn a_branch_that_is_off_is_one_nop() {
    for compiler in Compiler::all("c") {
        let image = Image::of(&compiler.program(&["site.c"], &["-O2", "-fcf-protection=none"]).linked());
        let code = image.function("branch");
        let nops: Vec<&Instruction> = code.iter().filter(|one| one.mnemonic() == Mnemonic::Nop).collect();
        // And what computes and returns n + 1.
        let others = code.len() - nops.len();
        assert!(nops.len() == 1 && others <= 3 && code.iter().all(|one| !one.is_jcc_short_or_near()), "{code:?}");
        let reads = |one: &&Instruction| one.mnemonic() == Mnemonic::Cmp || one.mnemonic() == Mnemonic::Test;
        assert_eq!((code.iter().find(reads), code.last().unwrap().mnemonic()), (None, Mnemonic::Ret));
        // The third byte from where it really begins, in a word with it; up to four bytes in front only align.
        assert!(matches!(nops[0].len(), 5..=12), "{code:?}");

        let code = image.function("number");
        let mnemonics: Vec<Mnemonic> = code.iter().map(Instruction::mnemonic).collect();
        assert_eq!(mnemonics, [Mnemonic::Mov, Mnemonic::Ret]);
        assert_eq!((code[0].immediate32(), code[0].ip() % 8 + code[0].len() as u64 <= 8), (1234, true));

        // A direct jump to what is one jump itself.
        let call = image.function("call");
        let trampoline = image.function("textpoke_call_hook");
        assert_eq!((call.len(), call[0].mnemonic()), (1, Mnemonic::Jmp), "{call:?}");
        assert_eq!(call[0].near_branch_target(), trampoline[0].ip());
        assert_eq!((trampoline[0].mnemonic(), trampoline[0].len(), trampoline[0].ip() % 8), (Mnemonic::Jmp, 5, 0));
    }
}

#[test]
fn sites_are_what_the_layout_says_and_change_within_a_word() {
    for compiler in Compiler::all("c") {
        for flags in [["-O0"], ["-O2"], ["-Os"]] {
            let image = Image::of(&compiler.program(&["matrix.c", "other.c"], &flags).linked());
            let entries = image.entries();
            for kind in [Kind::Branch, Kind::Call, Kind::Imm] {
                assert!(entries.iter().any(|entry| entry.kind == kind));
            }
            for entry in entries {
                let (code, place, len) =
                    (image.read(entry.code, entry.len.into()), entry.code % 8, u64::from(entry.len));
                match (entry.kind, &code[..]) {
                    (Kind::Branch, [0x0f, 0x1f, 0x44 | 0xc0, 0xeb, d]) => {
                        assert_eq!(entry.code.wrapping_add(5).wrapping_add_signed((*d as i8).into()), entry.target);
                        assert!(place % 2 == 0 && place + 3 <= 8);
                    }
                    (Kind::Branch, [0x0f, 0x1f, 0x84 | 0xc0, 0xe9, d @ ..]) => {
                        let distance = i32::from_le_bytes(d.try_into().unwrap());
                        assert_eq!(entry.code.wrapping_add(8).wrapping_add_signed(distance.into()), entry.target);
                        assert!(place % 2 == 0 && place + 3 <= 8);
                    }
                    // The trampoline is right behind.
                    (Kind::Call, [0xe9, 0, 0, 0, 0]) => {
                        assert_eq!((entry.flags, entry.target, place + len <= 8), (TAIL, entry.code + 5, true));
                    }
                    (Kind::Imm, [0xb8, ..]) => assert!(len == 5 && place + len <= 8),
                    (Kind::Imm, [0x48, 0xb8, ..]) => assert!(len == 10 && place == 6),
                    _ => panic!("{entry:?}: {code:x?}"),
                }
            }
        }
    }
}

#[test]
fn entries_go_with_their_functions() {
    const SECTIONS: [&str; 3] = ["-O1", "-ffunction-sections", "-Wl,--gc-sections"];
    for compiler in Compiler::all("c") {
        let all = Image::of(&compiler.program(&["site.c"], &["-O1"]).linked());
        assert!(all.has("dropped") && all.entries().len() == 4);
        // GNU ld and gold keep a section whose ends are named, and with it what it refers to.
        compiler.program(&["site.c"], &SECTIONS).linked().run(&[]);
        let lld = [&SECTIONS[..], &["-fuse-ld=lld"]].concat();
        if compiler.links(&lld) {
            let program = compiler.program(&["site.c"], &lld).linked();
            program.run(&[]);
            let image = Image::of(&program);
            assert!(!image.has("dropped") && image.entries().len() == 3);
        }
    }
}

#[test]
fn keys_of_two_objects_leave_no_gap() {
    for compiler in Compiler::all("c") {
        let image = Image::of(&compiler.program(&["matrix.c", "other.c"], &["-O2"]).linked());
        let file = image.file();
        let section = file.section_by_name("textpoke_keys").unwrap();
        let keys: Vec<u64> = file
            .symbols()
            .filter(|symbol| symbol.section_index() == Some(section.index()) && symbol.size() != 0)
            .map(|symbol| symbol.size())
            .collect();
        assert_eq!((section.address() % 64, section.size()), (0, keys.iter().sum()));
        // Eleven of the program's own, and those of the library's features, which whoever builds the workspace chooses.
        assert!(keys.iter().all(|size| size % 64 == 0) && section.size() >= 11 * 64, "{keys:?}");
        // All there is at start is data: nothing has to run before a key can be used.
        let data = section.data().unwrap();
        assert!(data.chunks(64).all(|key| key[0] <= 2 && matches!(key[1], 1 | 2 | 8)));
    }
}
