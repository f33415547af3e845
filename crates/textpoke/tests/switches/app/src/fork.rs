//! A fork child's keys work, and are its own.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use textpoke::{static_branch_likely, static_branch_unlikely, static_key};

use crate::sys::in_child;

static_key! {
    static KEY: bool = false;
    static BUSY: [bool; 2] = false;
}

#[inline(never)]
fn seen() -> [bool; 2] {
    [static_branch_likely!(KEY), static_branch_unlikely!(KEY)]
}

#[inline(never)]
fn busy() -> [bool; 4] {
    [
        static_branch_likely!(BUSY[0]),
        static_branch_unlikely!(BUSY[0]),
        static_branch_likely!(BUSY[1]),
        static_branch_unlikely!(BUSY[1]),
    ]
}

pub fn run() {
    for on in [true, false, true] {
        KEY.set(on).unwrap();
        let child = in_child(|| {
            let inherited = seen() == [on; 2] && KEY.is_enabled() == on;
            KEY.set(!on).unwrap();
            inherited && seen() == [!on; 2]
        });
        assert!(child, "the child's keys");
        assert_eq!(seen(), [on; 2], "the child's change is its own");
    }
    // The parent's change is its own.
    let (reader, writer) = std::io::pipe().unwrap();
    let parent = std::thread::scope(|scope| {
        let child = scope.spawn(move || {
            in_child(move || {
                use std::io::Read;
                let mut reader = reader;
                let told = reader.read_exact(&mut [0]).is_ok();
                told && seen() == [true; 2] && KEY.is_enabled()
            })
        });
        KEY.disable().unwrap();
        use std::io::Write;
        (&writer).write_all(&[1]).unwrap();
        child.join().unwrap()
    });
    // It was forked before or after that, but what it saw did not change under it.
    let _ = parent;
    assert_eq!(seen(), [false; 2]);
}

/// Children that are forked while other threads turn keys, in the middle of a batch as often as not.
pub fn storm(times: u32) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for i in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                let mut on = false;
                while !stop.load(SeqCst) {
                    on = !on;
                    BUSY[i].set(on).unwrap();
                }
            });
        }
        for time in 0..times {
            let child = in_child(|| {
                // The first change puts in order what the parent's threads had under way.
                KEY.enable().unwrap();
                let [a, b, c, d] = busy();
                let consistent = a == b && c == d && BUSY[0].is_enabled() == a && BUSY[1].is_enabled() == c;
                let counted = BUSY.iter().all(|key| key.count() == u32::from(key.is_enabled()));
                for on in [true, false, true] {
                    BUSY[0].set(on).unwrap();
                    BUSY[1].set(!on).unwrap();
                    if busy() != [on, on, !on, !on] {
                        return false;
                    }
                }
                consistent && counted && seen() == [true; 2]
            });
            assert!(child, "child {time}");
        }
        stop.store(true, SeqCst);
    });
}
