//! Static keys: the macros of `textpoke-keys` in a kernel.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel::keys::{Keys, branches};
use kernel::{println, work};
use textpoke_keys::{static_branch_likely, static_branch_unlikely, static_key};

static_key! {
    in Keys;
    static RARE: bool = false;
    static COMMON: bool = true;
}

/// Even while nothing changes; then bit 1 is what the keys are.
static STATE: AtomicU64 = AtomicU64::new(0);

#[inline(never)]
fn rare() -> bool {
    static_branch_unlikely!(RARE)
}

#[inline(never)]
fn rare_likely() -> bool {
    if static_branch_likely!(RARE) { core::hint::black_box(true) } else { core::hint::black_box(false) }
}

#[inline(never)]
fn common() -> bool {
    static_branch_likely!(COMMON)
}

fn load(_: usize) {
    for _ in 0..64 {
        let before = STATE.load(Ordering::SeqCst);
        let seen = [rare(), rare_likely(), !common()];
        if before & 1 == 0 && STATE.load(Ordering::SeqCst) == before {
            assert_eq!(seen, [before & 2 != 0; 3]);
        }
    }
}

/// Flips both, again and again.
pub fn run() {
    const FLIPS: u64 = 200;
    STATE.store(0, Ordering::SeqCst);
    work::begin(load);
    for flip in 0..FLIPS {
        let on = flip % 2 == 0;
        STATE.fetch_add(1, Ordering::SeqCst);
        RARE.set(on).expect("a key that only this test flips");
        COMMON.set(!on).expect("a key that only this test flips");
        STATE.fetch_add(1, Ordering::SeqCst);
        assert_eq!((RARE.is_enabled(), COMMON.is_enabled()), (on, !on));
    }
    let looks = work::end() * 64;
    let sites = branches(RARE.raw()) + branches(COMMON.raw());
    println!("row keys: 2 keys with {sites} branches flipped {FLIPS} times, {looks} looks");
}
