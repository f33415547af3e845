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

// A site of BAD that is none: nothing that could be one stands there, on any instruction set.
std::arch::global_asm!(
    ".pushsection .text.app_bad, \"ax\", @progbits",
    ".globl app_bad",
    ".balign 8",
    "app_bad: .quad 0",
    ".pushsection .data.rel.ro.app_bad, \"aw\", @progbits",
    ".balign 8",
    "app_bad_slot: .quad {key}",
    ".popsection",
    ".pushsection textpoke_sites, \"ao\", @progbits, app_bad",
    ".balign 4",
    ".long app_bad - ., app_bad - ., app_bad_slot - .",
    ".byte 0, 5, 0, 0",
    ".popsection",
    ".popsection",
    key = sym BAD,
);
unsafe extern "C" {
    safe fn app_bad();
}

pub fn run() {
    // Named, so that the linker keeps it and with it the entry; never called.
    std::hint::black_box(app_bad as extern "C" fn());
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
    // Where instructions are words every site may change by one store.
    let words = <textpoke::linux::Host as textpoke::core::isa::Isa>::TRAP.len() == 4;
    let documented = words || textpoke::linux::cpu::documents_word_store();
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

/// Somebody from outside held the lock and was killed in the middle of a change: a trap stands on one site, another has
/// its new form already. Everything by the layout of docs/keys.md.
pub fn killed() {
    use std::os::unix::fs::FileExt;
    KEYS[0].enable().unwrap();
    let words = std::ptr::from_ref(textpoke::linux::words::existing().expect("used above")).cast::<u8>().cast_mut();
    let mut child = std::process::Command::new("true").spawn().expect("true");
    child.wait().unwrap();
    for (left, found) in [(true, [true, true, false, false]), (false, [true, true, false, false])] {
        let sites = |i: usize| {
            let name = format!("app::trouble::KEYS[{i}]");
            textpoke::keys::all().unwrap().into_iter().find(|key| key.name == name).unwrap().sites
        };
        let (first, second) = (sites(0), sites(1));
        let text = std::fs::OpenOptions::new().read(true).write(true).open("/proc/self/mem").unwrap();
        if left {
            // What stands at a site of the other key when that is on, and a trap.
            KEYS[1].enable().unwrap();
            let mut on = [0; 8];
            text.read_exact_at(&mut on, second[1]).unwrap();
            KEYS[1].disable().unwrap();
            text.write_all_at(&on, second[1]).unwrap();
            text.write_all_at(<textpoke::linux::Host as textpoke::core::isa::Isa>::TRAP, first[0]).unwrap();
        }
        // It had taken the count of the one that goes off, or was about to.
        KEYS[0].raw().count.store(u32::from(!left), SeqCst);
        let key = |i: usize| std::ptr::from_ref(KEYS[i].raw()).addr() as u64;
        let changes = [key(0), 0, key(1), 1];
        // SAFETY: the engine words; nobody else is at them.
        unsafe {
            words.add(32).cast::<u64>().write_volatile(changes.as_ptr().addr() as u64);
            words.add(40).cast::<u32>().write_volatile(2);
            words.add(16).cast::<u64>().write_volatile(12345);
            words.add(8).cast::<u32>().write_volatile(child.id());
        }
        // Any change, of any key, puts it right first.
        BAD_NEIGHBOUR.set(left).unwrap();
        assert_eq!(seen(), found);
        assert!(KEYS[0].count() == 1 && KEYS[1].count() == 0);
    }
}

static_key! {
    static BAD_NEIGHBOUR: bool = false;
}
