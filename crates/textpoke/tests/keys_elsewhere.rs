//! The programs of `tests/switches` on other instruction sets, in QEMU's user mode.
//!
//! It sees code writes at once, so that this says nothing about instruction fetch; but about encodings, tables, linkers, and
//! the order of what is done. RISC-V takes TEXTPOKE_FULL, since Rust's library is built along.

use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};
use textpoke_core::isa::{Aarch64, Isa, Riscv64, aarch64, riscv64};

struct Elsewhere {
    triple: &'static str,
    gcc: &'static str,
    qemu: &'static [&'static str],
    from_source: bool,
}

const AARCH64: Elsewhere = Elsewhere {
    triple: "aarch64-unknown-linux-gnu",
    gcc: "aarch64-linux-gnu-gcc",
    qemu: &["qemu-aarch64", "-L", "/"],
    from_source: false,
};
const RISCV64: Elsewhere = Elsewhere {
    triple: "riscv64gc-unknown-linux-gnu",
    gcc: "riscv64-linux-gnu-gcc",
    qemu: &["qemu-riscv64", "-L", "/usr/riscv64-linux-gnu"],
    from_source: true,
};

impl Elsewhere {
    /// Builds program and library with the distribution's Rust; the folder with both. Nothing without the tools.
    fn build(&self, profile: &str) -> Option<PathBuf> {
        let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|out| out.status.success());
        if !["/usr/bin/cargo", "/usr/bin/rustc", self.gcc, self.qemu[0]].iter().all(|tool| there(tool)) {
            println!("left out: `cargo xtask setup` installs what it takes for {}", self.triple);
            return None;
        }
        if self.from_source && std::env::var_os("TEXTPOKE_FULL").is_none() {
            println!("left out: {} takes TEXTPOKE_FULL", self.triple);
            return None;
        }
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("elsewhere");
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/switches/Cargo.toml");
        let mut cargo = Command::new("/usr/bin/cargo");
        cargo.args(["build", "--quiet", "--offline", "--package", "app", "--package", "plugin"]);
        cargo.args(["--profile", profile, "--target", self.triple, "--manifest-path"]).arg(manifest);
        cargo.arg("--target-dir").arg(&target).env("RUSTC", "/usr/bin/rustc");
        if self.from_source {
            cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        }
        let linker = format!("CARGO_TARGET_{}_LINKER", self.triple.to_uppercase().replace('-', "_"));
        cargo.env(linker, self.gcc).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
        assert!(cargo.status().expect("it can be started").success(), "building for {}", self.triple);
        Some(target.join(self.triple).join(profile))
    }

    fn run(&self, folder: &Path, arguments: &[&str]) {
        let mut qemu = Command::new(self.qemu[0]);
        let output = qemu.args(&self.qemu[1..]).arg(folder.join("app")).args(arguments).output().expect("QEMU");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{} {arguments:?}: {}\n{out}{err}", self.triple, output.status);
    }

    /// Everything that does not ask the kernel for what the emulator makes up, such as other threads' signal masks.
    fn check<I: Isa>(&self, profile: &str, nop: [u8; 4], pad: &[u8]) {
        let Some(folder) = self.build(profile) else { return };
        let plugin = folder.join("libplugin.so").display().to_string();
        let full = std::env::var_os("TEXTPOKE_FULL").is_some();
        for arguments in [
            &["matrix"][..],
            &["library", &plugin],
            &["fork"],
            &["fork-storm", "10"],
            &["trouble"],
            &["killed"],
            &["coming-and-going", &plugin, "10"],
            &["handler-in-library", &plugin],
            // Four threads with so many turns, of two keys each.
            &["storm", if full { "1300" } else { "50" }],
        ] {
            self.run(&folder, arguments);
        }
        if profile == "lto" {
            // Stripped.
            return;
        }
        let without = code::<I>(&folder.join("app"), "without_a_branch");
        for name in ["with_a_branch_unlikely", "with_a_branch_likely"] {
            let mut with = code::<I>(&folder.join("app"), name);
            let at = with.iter().position(|insn| *insn == nop).unwrap_or_else(|| panic!("{name}: {with:x?}"));
            with.remove(at);
            // What only aligns the site.
            if at > 0 && with[at - 1] == pad {
                with.remove(at - 1);
            }
            assert_eq!(with, without, "{name}: a NOP more than without, and nothing else");
        }
    }
}

/// The instructions of a function up to its return.
fn code<I: Isa>(program: &Path, function: &str) -> Vec<Vec<u8>> {
    let file = std::fs::read(program).expect("it was built");
    let file = object::File::parse(&*file).expect("an ELF file");
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(function)).unwrap_or_else(|| panic!("{function}"));
    let section = file.section_by_index(symbol.section_index().expect("defined")).expect("there");
    let mut rest = section.data_range(symbol.address(), symbol.size()).expect("readable").expect("inside");
    let mut all = Vec::new();
    while let Some(&[low, high]) = rest.get(..2) {
        let length =
            if I::ALIGN == 4 { 4 } else { riscv64::length(u16::from_le_bytes([low, high])).expect("an instruction") };
        let (insn, behind) = rest.split_at(length);
        rest = behind;
        all.push(insn.to_vec());
        // RET, C.JR ra and JALR x0, ra.
        if [&[0xc0, 0x03, 0x5f, 0xd6][..], &[0x82, 0x80], &[0x67, 0x80, 0, 0]].contains(&insn) {
            return all;
        }
    }
    panic!("{function} does not return: {all:x?}");
}

#[test]
fn on_aarch64() {
    AARCH64.check::<Aarch64>("o3", aarch64::NOP, &[]);
    if std::env::var_os("TEXTPOKE_FULL").is_some() {
        AARCH64.check::<Aarch64>("lto", aarch64::NOP, &[]);
    }
}

#[test]
fn on_riscv() {
    RISCV64.check::<Riscv64>("o3", riscv64::NOP, &riscv64::C_NOP);
}
