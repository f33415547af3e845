//! Where memory may not become executable. In a program of its own, because that holds for the whole process.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "prctl")]

mod support;

use textpoke_linux::sys;
use textpoke_litmus::spec::Total;
use textpoke_litmus::{Error, run};

/// What [`support::child`] starts.
#[test]
fn be_the_child() {
    support::be_the_child();
}

#[test]
fn without_executable_memory_it_refuses() {
    const PR_SET_MDWE: u32 = 65;
    const REFUSE_EXEC_GAIN: usize = 1;
    let options = support::options(&["word"], Total::Time(1_000_000));
    // SAFETY: restricts this process and its children.
    if unsafe { sys::prctl(PR_SET_MDWE, [REFUSE_EXEC_GAIN, 0, 0, 0]) }.is_err() {
        return println!("this kernel has no PR_SET_MDWE (Linux 6.3)");
    }
    let error = run(&options, &mut |_, _, _| {}).expect_err("refused");
    assert!(matches!(&error, Error::Refused(why) if why.contains("PR_SET_MDWE")), "{error}");
}
