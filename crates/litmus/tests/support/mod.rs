//! What the tests share.
#![allow(unsafe_code, reason = "a filter for system calls has no safe form")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::ffi::OsString;

use textpoke_linux::sys;
use textpoke_litmus::spec::Total;
use textpoke_litmus::{Options, Place};

/// The test with this name runs [`be_the_child`].
const TEST: &str = "be_the_child";

/// How to start this program as a child: its orders are one more filter for tests, which matches none.
pub fn child() -> Vec<OsString> {
    let program = std::env::current_exe().expect("this program").into();
    vec![program, TEST.into(), "--exact".into(), "--nocapture".into()]
}

/// If the last argument is orders, obeys them and ends the process.
pub fn be_the_child() {
    let last = std::env::args().next_back().unwrap_or_default();
    if last.starts_with('{') {
        std::process::exit(textpoke_litmus::child::main(&last).into());
    }
}

/// Options for these variants.
pub fn options(names: &[&str], budget: Total) -> Options {
    let names = names.iter().map(|name| name.to_string()).collect();
    Options { names, places: Place::INTERESTING.to_vec(), budget, profile: None, child: child() }
}

/// Has the kernel refuse a system call to this thread, and to children that it starts, with EPERM.
pub fn seccomp(number: u32) {
    const PR_SET_NO_NEW_PRIVS: u32 = 38;
    const PR_SET_SECCOMP: u32 = 22;
    const FILTER: usize = 2;
    #[repr(C)]
    struct Program {
        len: u16,
        at: *const [u64; 4],
    }
    let insn = |code: u64, jt: u64, jf: u64, k: u32| code | jt << 16 | jf << 24 | u64::from(k) << 32;
    // Load the number; is it this one? EPERM; else allow.
    let filter =
        [insn(0x20, 0, 0, 0), insn(0x15, 0, 1, number), insn(0x06, 0, 0, 0x5_0001), insn(0x06, 0, 0, 0x7fff_0000)];
    let program = Program { len: 4, at: &raw const filter };
    // SAFETY: takes rights away only; the kernel reads the program, which is four instructions long.
    unsafe {
        sys::prctl(PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]).expect("no new privileges");
        sys::prctl(PR_SET_SECCOMP, [FILTER, &raw const program as usize, 0, 0]).expect("a filter");
    }
}
