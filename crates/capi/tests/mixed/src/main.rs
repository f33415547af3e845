//! Turns keys of Rust and C from Rust and C, in the program and in a library whose path is its argument.

use std::ffi::{CString, c_char, c_int, c_void};

use textpoke::keys::{Protocol, StaticKey, use_protocol};
use textpoke::{call, read_imm, static_branch_likely, static_branch_unlikely, static_call, static_imm, static_key};
// The functions that the C object calls.
use textpoke_capi as _;

static_key! {
    #[unsafe(no_mangle)]
    pub static RUST_KEY: bool = false;
}
static_imm! {
    #[unsafe(no_mangle)]
    pub static RUST_NUMBER: u32 = 100;
}
extern "C" fn same(n: u32) -> u32 {
    n
}
extern "C" fn twice(n: u32) -> u32 {
    2 * n
}
static_call! {
    #[unsafe(no_mangle)]
    pub static RUST_CALL: extern "C" fn(u32) -> u32 = same;
}

unsafe extern "C" {
    safe static C_KEY: StaticKey<true>;
    safe fn inside_sees() -> c_int;
    safe fn inside_number() -> u32;
    safe fn inside_turns(rust_key: c_int, c_key: c_int) -> c_int;
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlclose(library: *mut c_void) -> c_int;
}
const RTLD_NOW: c_int = 2;

/// What Rust's branches say, as the C functions tell it.
fn sees() -> c_int {
    let (rust, c) = (static_branch_unlikely!(RUST_KEY), static_branch_likely!(C_KEY));
    assert_eq!((rust, c), (static_branch_likely!(RUST_KEY), static_branch_unlikely!(C_KEY)));
    c_int::from(rust) + 2 * c_int::from(c)
}

fn inside() {
    assert_eq!((sees(), inside_sees()), (2, 2));
    for turn in 0..8 {
        let (rust, c) = (turn & 1, turn >> 1 & 1);
        assert_eq!(inside_turns(rust, c), 0);
        assert_eq!((sees(), inside_sees()), (rust + 2 * c, rust + 2 * c));
        RUST_KEY.set(rust == 0).unwrap();
        C_KEY.set(c == 0).unwrap();
        assert_eq!((sees(), inside_sees()), (3 - rust - 2 * c, 3 - rust - 2 * c));
    }
    assert_eq!((inside_number(), call!(RUST_CALL(read_imm!(RUST_NUMBER)))), (100, 100));
    RUST_NUMBER.set(7).unwrap();
    RUST_CALL.set(Some(twice)).unwrap();
    assert_eq!((inside_number(), call!(RUST_CALL(read_imm!(RUST_NUMBER)))), (14, 14));
    RUST_CALL.set(None).unwrap();
    assert_eq!(inside_number(), 0);
    RUST_NUMBER.set(100).unwrap();
    RUST_CALL.set(Some(same)).unwrap();
    assert_eq!(inside_turns(0, 1), 0);
}

fn library(path: &str) {
    let path = CString::new(path).unwrap();
    for turn in [false, true, false, true] {
        RUST_KEY.set(turn).unwrap();
        C_KEY.set(!turn).unwrap();
        let expected = c_int::from(turn) + 2 * c_int::from(!turn);
        // SAFETY: the functions of dlfcn.h, and two of the library with these types, called while it is loaded.
        unsafe {
            let library = dlopen(path.as_ptr(), RTLD_NOW);
            assert!(!library.is_null());
            let [sees_there, turns] = [c"library_sees", c"library_turns"].map(|name| dlsym(library, name.as_ptr()));
            assert!(!sees_there.is_null() && !turns.is_null());
            let sees_there: extern "C" fn() -> c_int = core::mem::transmute(sees_there);
            let turns: extern "C" fn(c_int) -> c_int = core::mem::transmute(turns);
            assert_eq!((sees(), sees_there()), (expected, expected));
            assert_eq!(turns((!turn).into()), 0);
            let expected = 3 * c_int::from(!turn);
            assert_eq!((sees(), sees_there(), inside_sees()), (expected, expected, expected));
            RUST_KEY.set(turn).unwrap();
            assert_eq!(sees_there() & 1, c_int::from(turn));
            assert_eq!(dlclose(library), 0);
        }
        RUST_KEY.set(!turn).unwrap();
        assert_eq!(sees(), 3 * c_int::from(!turn));
    }
}

/// C's arrays do not count themselves.
fn listed() {
    let all = textpoke::keys::all().unwrap();
    let names: Vec<&str> = all.iter().map(|key| &*key.name).filter(|name| name.starts_with("C_KEYS")).collect();
    assert_eq!(names, ["C_KEYS[0]", "C_KEYS[1]", "C_KEYS[2]"]);
}

fn main() {
    // By one store where the vendor documents it, and by traps.
    for protocol in [Protocol::Auto, Protocol::Breakpoint] {
        use_protocol(protocol);
        inside();
        for path in std::env::args().skip(1) {
            library(&path);
            assert_eq!(inside_turns(0, 1), 0);
        }
    }
    listed();
    println!("good");
}
