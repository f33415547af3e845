//! The form that the sites are in, for CPUs that look while it changes.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::arch::sites::{NEW, OLD};
use textpoke_core::Direction;

/// Even while nothing changes; bit 1 tells the form.
static FORM: AtomicU64 = AtomicU64::new(0);

/// Begins again with the old form.
pub fn reset() {
    FORM.store(0, Ordering::SeqCst);
}

/// A change begins.
pub fn changing() {
    FORM.fetch_add(1, Ordering::SeqCst);
}

/// It is over: everybody must see the form after `dir`.
pub fn changed(dir: Direction) {
    let now = FORM.fetch_add(1, Ordering::SeqCst) + 1;
    assert_eq!(now & 2 != 0, dir == Direction::Install, "changes go forth and back in turns");
}

/// It was undone: everybody must see what was before.
pub fn unchanged() {
    FORM.fetch_add(3, Ordering::SeqCst);
    assert_eq!(FORM.load(Ordering::SeqCst) & 3, 0, "only installations fail in these tests");
}

/// Calls a function whose site changes, and panics if what it returns is neither the old nor the new value, or not the one
/// that it must be.
pub fn check(function: impl FnOnce() -> u64) {
    let before = FORM.load(Ordering::SeqCst);
    let value = function();
    let after = FORM.load(Ordering::SeqCst);
    assert!(value == OLD || value == NEW, "{value:#x}: torn");
    if before == after && before & 1 == 0 {
        assert_eq!(value == NEW, before & 2 != 0, "the call had returned, and this CPU executed what was before");
    }
}
