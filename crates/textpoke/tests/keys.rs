//! Switches in real programs: `tests/switches` is built in many ways, and checks itself; what the compiler made of a branch
//! is looked at.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};
use object::{Object, ObjectSection, ObjectSymbol};

/// A way of building.
struct Way {
    profile: &'static str,
    flags: &'static str,
}

const fn way(profile: &'static str, flags: &'static str) -> Way {
    Way { profile, flags }
}

/// What was built: the folder with the programs.
struct Built(PathBuf);

impl Way {
    /// Builds the programs; only one build at a time, as each takes all CPUs.
    fn build(&self, packages: &[&str]) -> Built {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name: String = self.flags.chars().filter(|c| c.is_ascii_alphanumeric()).collect();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("switches{name}"));
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/switches/Cargo.toml");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--offline", "--locked", "--profile", self.profile, "--manifest-path"]);
        cargo.arg(manifest).arg("--target-dir").arg(&folder);
        for package in packages {
            cargo.args(["--package", package]);
        }
        // Flags of the outer build are about other programs.
        cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", self.flags);
        let status = cargo.status().expect("cargo can be started");
        assert!(status.success(), "building with {} {}", self.profile, self.flags);
        Built(folder.join(self.profile))
    }

    /// Everything that needs no library.
    fn check_program(&self) -> Built {
        let built = self.build(&["app"]);
        built.run(&["matrix"]);
        built.run(&["fork"]);
        built.run(&["trouble"]);
        built.run(&["storm", "20"]);
        built
    }

    fn check_all(&self) -> Built {
        let built = self.check_program();
        self.build(&["plugin"]);
        built.run(&["library", &built.plugin()]);
        built
    }
}

impl Built {
    fn plugin(&self) -> String {
        self.0.join("libplugin.so").display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(self.0.join("app")).args(arguments).output().expect("it was built");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: app {arguments:?}: {}\n{out}{err}", self.0.display(), output.status);
        out.into_owned()
    }
}

#[test]
fn unoptimised() {
    way("o0", "").check_all();
}

#[test]
fn optimised_a_little() {
    way("o1", "").check_all();
}

#[test]
fn optimised_more() {
    way("o2", "").check_all();
}

#[test]
fn optimised_most() {
    let built = way("o3", "").check_all();
    let times = if full() { "2000" } else { "100" };
    built.run(&["coming-and-going", &built.plugin(), times]);
    built.run(&["fork-storm", times]);
    built.run(&["blocked"]);
    built.run(&["killed"]);
    built.run(&["storm-of-traps", times]);
    built.run(&["handler-in-library", &built.plugin()]);
    println!("{}", if full() { built.run(&["storm"]) } else { built.run(&["storm", "400"]) });
}

#[test]
fn optimised_as_a_whole_and_stripped() {
    way("lto", "").check_all();
}

#[test]
fn with_the_other_linker() {
    // Since Rust 1.90 the usual one is LLVM's; this is the C compiler's.
    way("o2", "-Clink-arg=-fuse-ld=bfd").check_all();
}

#[test]
fn static_and_position_independent() {
    way("o2", "-Ctarget-feature=+crt-static").check_program();
}

#[test]
fn static_at_a_fixed_address() {
    way("o2", "-Ctarget-feature=+crt-static -Crelocation-model=static").check_program();
}

/// Debian's Rust can build the standard library for musl, which it does not bring along.
#[test]
fn with_musl() {
    let there = ["/usr/bin/musl-gcc", "/usr/bin/rustc", "/usr/bin/cargo"];
    let sources = std::fs::read_dir("/usr/src").into_iter().flatten().flatten();
    let source = sources.filter(|entry| entry.file_name().to_string_lossy().starts_with("rustc-")).count();
    if !full() || source == 0 || !there.iter().all(|tool| Path::new(tool).exists()) {
        println!("left out: it takes TEXTPOKE_FULL, musl-gcc, and Debian's rustc, cargo and Rust sources");
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("musl");
    std::fs::create_dir_all(&folder).expect("the build's own folder");
    // The unwinder is the compiler's, which was made for glibc and asks it something that it can do without.
    let script = "cp $(gcc -print-file-name=libgcc_eh.a) libunwind.a && \
        echo 'int _dl_find_object(void) { return -1; }' | gcc -O2 -fPIC -xc -c -o none.o - && ar q libunwind.a none.o";
    let made = Command::new("sh").args(["-ec", script]).current_dir(&folder).status().expect("a shell");
    assert!(made.success());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/switches/Cargo.toml");
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.args(["build", "--quiet", "-Zbuild-std=std,panic_abort", "--target", "x86_64-unknown-linux-musl"]);
    cargo.args(["--profile", "o2", "--package", "app", "--manifest-path"]).arg(manifest);
    cargo.arg("--target-dir").arg(&folder).env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    cargo.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER", "musl-gcc").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let flags = "-Ctarget-feature=+crt-static -Clink-self-contained=no -L";
    let status = cargo.env("RUSTFLAGS", format!("{flags}{}", folder.display())).status().expect("cargo can be started");
    assert!(status.success(), "building for musl");
    let built = Built(folder.join("x86_64-unknown-linux-musl/o2"));
    for arguments in [&["matrix"][..], &["fork"], &["fork-storm", "50"], &["trouble"], &["storm", "100"]] {
        built.run(arguments);
    }
}

#[test]
fn a_branch_that_is_off_is_one_nop() {
    let built = way("o3", "").build(&["app"]);
    let without = disassemble(&built.0.join("app"), "without_a_branch");
    for name in ["with_a_branch_unlikely", "with_a_branch_likely"] {
        let with = disassemble(&built.0.join("app"), name);
        let mnemonics = |code: &[Instruction]| code.iter().map(Instruction::mnemonic).collect::<Vec<_>>();
        let mut expected = mnemonics(&without);
        let nop =
            mnemonics(&with).iter().position(|&m| m == Mnemonic::Nop).unwrap_or_else(|| panic!("{name}: {with:?}"));
        assert!([5, 8].contains(&(with[nop].len() - prefixes(&with[nop]))), "{name}");
        expected.insert(nop, Mnemonic::Nop);
        assert_eq!(mnemonics(&with), expected, "{name}: a NOP more than without, and nothing else");
    }
}

/// Prefixes that only align.
fn prefixes(nop: &Instruction) -> usize {
    // What the decoder knows of them is that the instruction is longer than its operands make it: 0f 1f, ModRM, SIB, and a
    // displacement of 1 or 4 bytes.
    nop.len() - 4 - nop.memory_displ_size().min(4) as usize
}

/// The instructions of a function up to its return.
fn disassemble(program: &Path, function: &str) -> Vec<Instruction> {
    let file = std::fs::read(program).expect("it was built");
    let file = object::File::parse(&*file).expect("an ELF file");
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(function)).unwrap_or_else(|| panic!("{function}"));
    let section = file.section_by_index(symbol.section_index().expect("defined")).expect("there");
    let bytes = section.data_range(symbol.address(), symbol.size()).expect("readable").expect("inside");
    let mut all = Vec::new();
    for instruction in &mut Decoder::with_ip(64, bytes, symbol.address(), DecoderOptions::NONE) {
        all.push(instruction);
        if instruction.mnemonic() == Mnemonic::Ret {
            return all;
        }
    }
    panic!("{function} does not return");
}

/// Whether the long forms are asked for.
fn full() -> bool {
    std::env::var_os("TEXTPOKE_FULL").is_some()
}
