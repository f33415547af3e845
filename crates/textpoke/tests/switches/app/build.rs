//! The library that is loaded has sites of two keys of the program.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for key in ["SHARED_OFF", "SHARED_ON"] {
        println!("cargo:rustc-link-arg-bins=-Wl,--export-dynamic-symbol={key}");
    }
}
