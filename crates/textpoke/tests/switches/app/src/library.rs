//! A library that comes and goes: {true, false} × {likely, unlikely} × {turned before, during, after it is loaded}.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::sys::Library;
use crate::{SHARED_OFF, SHARED_ON};

struct Plugin {
    shared: extern "C" fn() -> u32,
    own: extern "C" fn() -> u32,
    turn_own: extern "C" fn(bool, bool) -> bool,
    turn_shared: extern "C" fn(bool, bool) -> bool,
    early: extern "C" fn() -> bool,
    _library: Library,
}

fn load(path: &str) -> Plugin {
    let library = Library::open(path);
    // SAFETY: the functions of the plugin have these signatures.
    unsafe {
        Plugin {
            shared: std::mem::transmute::<*const (), extern "C" fn() -> u32>(library.get("plugin_shared")),
            own: std::mem::transmute::<*const (), extern "C" fn() -> u32>(library.get("plugin_own")),
            turn_own: std::mem::transmute::<*const (), extern "C" fn(bool, bool) -> bool>(
                library.get("plugin_turn_own"),
            ),
            turn_shared: std::mem::transmute::<*const (), extern "C" fn(bool, bool) -> bool>(
                library.get("plugin_turn_shared"),
            ),
            early: std::mem::transmute::<*const (), extern "C" fn() -> bool>(library.get("plugin_early")),
            _library: library,
        }
    }
}

fn want(off: bool, on: bool) -> u32 {
    u32::from(off) * 0b11 + u32::from(on) * 0b1100
}

fn here() -> u32 {
    let all = [
        textpoke::static_branch_likely!(SHARED_OFF),
        textpoke::static_branch_unlikely!(SHARED_OFF),
        textpoke::static_branch_likely!(SHARED_ON),
        textpoke::static_branch_unlikely!(SHARED_ON),
    ];
    all.iter().rev().fold(0, |bits, &on| bits << 1 | u32::from(on))
}

const ALL: [(bool, bool); 4] = [(true, false), (true, true), (false, false), (false, true)];

fn turn(off: bool, on: bool) {
    SHARED_OFF.set(off).unwrap();
    SHARED_ON.set(on).unwrap();
}

pub fn run(path: &str) {
    for (off, on) in ALL {
        // Before it is loaded.
        turn(off, on);
        let plugin = load(path);
        assert!((plugin.early)(), "turned in a constructor");
        assert_eq!((plugin.shared)(), want(off, on), "before");
        assert_eq!((plugin.own)(), want(false, true), "its own are what they were in the file");
        for (off, on) in ALL {
            // After it was loaded, by either copy of textpoke.
            turn(off, on);
            assert_eq!([(plugin.shared)(), here()], [want(off, on); 2], "after");
            assert!((plugin.turn_shared)(!off, !on));
            assert_eq!([(plugin.shared)(), here()], [want(!off, !on); 2], "after, by the library");
            assert!((plugin.turn_own)(off, on));
            assert_eq!((plugin.own)(), want(off, on));
        }
        let listed = textpoke::keys::all().unwrap();
        assert!(listed.iter().any(|key| key.name == "plugin::OWN_OFF" && key.sites.len() >= 2));
        drop(plugin);
        turn(!off, !on);
        assert_eq!(here(), want(!off, !on));
        assert!(textpoke::keys::all().unwrap().iter().all(|key| !key.name.starts_with("plugin::")), "it has gone");
    }
}

/// One thread loads and unloads the library, others turn the keys that it has sites of.
pub fn comes_and_goes(path: &str, times: u32) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let turning: Vec<_> = [true, false]
            .map(|off| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut turns = 0u64;
                    while !stop.load(Relaxed) {
                        // Each thread its own key, so that it knows what it is.
                        let on = turns % 2 == 0;
                        if off {
                            SHARED_OFF.set(on).unwrap()
                        } else {
                            SHARED_ON.set(on).unwrap()
                        };
                        let seen = here();
                        let seen = if off { seen & 0b11 } else { seen >> 2 };
                        assert_eq!(seen, if on { 0b11 } else { 0 });
                        turns += 1;
                    }
                    turns
                })
            })
            .into();
        for _ in 0..times {
            let plugin = load(path);
            for key in 0..2 {
                // A key may turn between its two branches, so that only the own ones are known.
                let _ = (plugin.shared)() >> (2 * key);
            }
            assert!((plugin.early)());
            assert!((plugin.turn_own)(true, false));
            assert_eq!((plugin.own)(), want(true, false));
        }
        stop.store(true, Relaxed);
        for thread in turning {
            assert!(thread.join().unwrap() > 0);
        }
    });
    turn(true, false);
    let plugin = load(path);
    assert_eq!([(plugin.shared)(), here()], [want(true, false); 2]);
}

/// The library installs the SIGTRAP handler and is closed. The program's own copy of textpoke goes on with that handler.
pub fn with_handler(path: &str) {
    let library = Library::open(path);
    // SAFETY: the plugin's functions.
    let (use_traps, turn) = unsafe {
        (
            std::mem::transmute::<*const (), extern "C" fn()>(library.get("plugin_use_traps")),
            std::mem::transmute::<*const (), extern "C" fn(bool, bool) -> bool>(library.get("plugin_turn_shared")),
        )
    };
    use_traps();
    assert!(turn(true, false));
    drop(library);
    textpoke::keys::use_protocol(textpoke::keys::Protocol::Breakpoint);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                std::hint::black_box(here());
            }
        });
        for i in 0..3000 {
            turn(i % 2 == 0, i % 3 == 0);
            assert_eq!(here(), want(i % 2 == 0, i % 3 == 0));
        }
        stop.store(true, Relaxed);
    });
}
