//! The same programs on other instruction sets, by GCC and in QEMU's user mode.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{exists, good, manifest};

struct Elsewhere {
    triple: &'static str,
    gcc: &'static str,
    qemu: &'static [&'static str],
    from_source: bool,
}

/// The static library, built with the distribution's Rust; nothing without the tools.
fn library(elsewhere: &Elsewhere) -> Option<PathBuf> {
    if !["/usr/bin/cargo", "/usr/bin/rustc", elsewhere.gcc, elsewhere.qemu[0]].iter().all(|tool| exists(tool)) {
        println!("not checked: `cargo xtask setup` installs what it takes for {}", elsewhere.triple);
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("elsewhere");
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.current_dir(manifest()).args(["build", "--quiet", "--offline", "--release", "--package", "textpoke-capi"]);
    cargo.args(["--target", elsewhere.triple, "--target-dir"]).arg(&target).env("RUSTC", "/usr/bin/rustc");
    if elsewhere.from_source {
        cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
    }
    let linker = format!("CARGO_TARGET_{}_LINKER", elsewhere.triple.to_uppercase().replace('-', "_"));
    good(cargo.env(linker, elsewhere.gcc).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS"));
    Some(target.join(elsewhere.triple).join("release/libtextpoke_capi.a"))
}

/// Keys in two objects and in a library that comes and goes; and without a loader.
fn check(elsewhere: &Elsewhere) {
    let Some(archive) = library(elsewhere) else { return };
    let folder = tempfile::tempdir().unwrap();
    let [program, plugin] = ["program", "plugin.so"].map(|name| folder.path().join(name));
    let compile = |to: &Path, files: &[&str], flags: &[&str]| {
        let mut gcc = Command::new(elsewhere.gcc);
        gcc.current_dir(manifest().join("tests/c")).args(["-std=gnu11", "-I", "../../include", "-o"]).arg(to);
        good(gcc.args(flags).args(files).arg(&archive).args(["-lpthread", "-ldl", "-lm"]));
    };
    let run = |arguments: &[&Path]| {
        good(Command::new(elsewhere.qemu[0]).args(&elsewhere.qemu[1..]).arg(&program).args(arguments));
    };
    let hidden = "-Wl,--exclude-libs,libtextpoke_capi.a";
    for flags in [
        &["-O0"][..],
        &["-O1", "-fno-pie", "-no-pie"],
        &["-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
        &["-O3", "-fPIC", "-flto"],
        &["-Os", "-fstack-protector-all"],
    ] {
        compile(&program, &["matrix.c", "other.c"], &[flags, &["-rdynamic", hidden]].concat());
        compile(&plugin, &["plugin.c"], &[flags, &["-fPIC", "-shared", hidden]].concat());
        run(&[&plugin]);
    }
    for flag in ["-static", "-static-pie"] {
        compile(&program, &["matrix.c", "other.c"], &["-O2", flag, "-fPIE"]);
        run(&[]);
    }
}

#[test]
fn on_aarch64() {
    check(&Elsewhere {
        triple: "aarch64-unknown-linux-gnu",
        gcc: "aarch64-linux-gnu-gcc",
        qemu: &["qemu-aarch64", "-L", "/"],
        from_source: false,
    });
}

#[test]
fn on_riscv() {
    if std::env::var_os("TEXTPOKE_FULL").is_none() {
        println!("not checked: RISC-V takes TEXTPOKE_FULL, since Rust's library is built along");
        return;
    }
    check(&Elsewhere {
        triple: "riscv64gc-unknown-linux-gnu",
        gcc: "riscv64-linux-gnu-gcc",
        qemu: &["qemu-riscv64", "-L", "/usr/riscv64-linux-gnu"],
        from_source: true,
    });
}
