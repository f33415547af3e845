//! Links the agent as a flat, position-independent image without libc and without writable data.

fn main() {
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=link.ld");
    for arg in [
        "-nostartfiles",
        "-nostdlib",
        "-Wl,--no-dynamic-linker",
        "-Wl,--gc-sections",
        "-Wl,-z,notext",
        "-Wl,-z,norelro",
        "-Wl,--build-id=none",
        "-Wl,--hash-style=sysv",
    ] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{dir}/link.ld");
}
