//! Compiles `inside.c`, and lets libraries find the keys of the program.

use std::path::Path;
use std::process::Command;

fn main() {
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let object = Path::new(&out).join("inside.o");
    println!("cargo:rerun-if-changed=inside.c");
    println!("cargo:rerun-if-changed=../../include/textpoke.h");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let status = Command::new(compiler)
        .args(["-std=gnu11", "-O2", "-fPIE", "-I../../include", "-c", "inside.c", "-o"])
        .arg(&object)
        .status()
        .expect("there is a C compiler");
    assert!(status.success());
    println!("cargo:rustc-link-arg-bins={}", object.display());
    println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic");
}
