//! How the shared library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Programs ask for this name, whatever the file is called when they are linked.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtextpoke.so.0");
    // The SIGTRAP handler and the thread for later decrements may run at any time.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
