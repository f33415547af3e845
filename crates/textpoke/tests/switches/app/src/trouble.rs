//! Changes that fail leave all as it was; threads that block SIGTRAP live.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use textpoke::keys::{Changes, KeyError, Protocol, use_protocol};
use textpoke::{static_branch_likely, static_branch_unlikely, static_key};

use crate::sys;

static_key! {
    static KEYS: [bool; 2] = false;
    static BAD: bool = false;
}

#[inline(never)]
fn seen() -> [bool; 4] {
    [
        static_branch_likely!(KEYS[0]),
        static_branch_unlikely!(KEYS[0]),
        static_branch_likely!(KEYS[1]),
        static_branch_unlikely!(KEYS[1]),
    ]
}

// A site of BAD that is none: two NOPs stand there.
std::arch::global_asm!(
    ".pushsection .text.app_bad, \"ax\", @progbits",
    ".globl app_bad",
    "app_bad: .byte 0x0f, 0x1f, 0, 0x66, 0x90",
    "ret",
    ".pushsection textpoke_sites, \"ao\", @progbits, app_bad",
    ".balign 4",
    ".long app_bad - ., app_bad - .",
    ".long {key}@GOTPCREL",
    ".byte 0, 5, 0, 0",
    ".popsection",
    ".popsection",
    key = sym BAD,
);
unsafe extern "C" {
    safe fn app_bad();
}

pub fn run() {
    app_bad();
    let before = seen();
    let nobody = || {
        assert_eq!(seen(), before);
        assert!(KEYS.iter().all(|key| !key.is_enabled() && key.count() == 0) && !BAD.is_enabled());
    };
    let failed = Changes::new().enable(&KEYS[0]).enable(&BAD).inc(&KEYS[1]).apply();
    assert!(matches!(failed, Err(KeyError::Refused(..))), "{failed:?}");
    nobody();
    for protocol in [Protocol::Word, Protocol::Breakpoint, Protocol::ShortJump] {
        use_protocol(protocol);
        // The text cannot be written: neither way can be opened.
        let failed = sys::without_descriptors(|| KEYS[0].enable());
        assert!(matches!(failed, Err(KeyError::Process(_))), "{protocol:?}: {failed:?}");
        nobody();
        Changes::new().enable(&KEYS[0]).enable(&KEYS[1]).apply().unwrap();
        assert_eq!(seen(), [true; 4]);
        let failed = sys::without_descriptors(|| KEYS[1].dec());
        assert!(matches!(failed, Err(KeyError::Process(_))), "{protocol:?}: {failed:?}");
        assert!(seen() == [true; 4] && KEYS[1].count() == 1 && KEYS[1].is_enabled());
        Changes::new().dec(&KEYS[0]).dec(&KEYS[1]).apply().unwrap();
        nobody();
    }
}

/// A thread that blocks SIGTRAP executes the branches all the time.
pub fn blocked() {
    let documented = textpoke::linux::cpu::vendor().documents_word_store();
    let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            sys::block_sigtrap();
            ready.store(true, SeqCst);
            while !stop.load(SeqCst) {
                std::hint::black_box(seen());
            }
        });
        while !ready.load(SeqCst) {
            std::thread::yield_now();
        }
        use_protocol(Protocol::Breakpoint);
        assert!(matches!(KEYS[0].enable(), Err(KeyError::TrapBlocked(_))), "nobody is killed");
        assert!(!seen()[0]);
        use_protocol(Protocol::Auto);
        if !documented {
            assert!(matches!(KEYS[0].enable(), Err(KeyError::TrapBlocked(_))), "nothing is guessed");
            // SAFETY: a test, which would find out.
            unsafe { textpoke::keys::assume_word_stores() };
        }
        for protocol in [Protocol::Auto, Protocol::ShortJump] {
            use_protocol(protocol);
            for i in 0..2000 {
                KEYS[0].set(i % 2 == 0).unwrap();
                assert_eq!(seen()[0], i % 2 == 0);
            }
        }
        stop.store(true, SeqCst);
    });
}
