//! Rust and C with one table of keys.

use std::path::Path;
use std::process::Command;

use crate::build::{Compiler, good, manifest};

#[test]
fn rust_and_c_turn_the_same_keys() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mixed");
    let folder = manifest().join("tests/mixed");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--locked", "--release", "--target-dir"]).arg(&target);
    cargo.current_dir(&folder).env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
    good(&mut cargo);
    for compiler in Compiler::all("c") {
        // With a copy of its own, and with the program's functions.
        let own = compiler.library("../mixed/library.c", &["-O2", "-Wl,--exclude-libs,libtextpoke_capi.a"]).linked();
        let lent = compiler.library("../mixed/library.c", &["-O2"]).done();
        good(Command::new(target.join("release/mixed")).args([own.path(), lent.path()]));
    }
}
