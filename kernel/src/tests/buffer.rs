//! Memory for the sites of a large batch.

use core::cell::UnsafeCell;

use kernel::arch::sites::COUNT;
use textpoke_core::Site;

struct Buffer(UnsafeCell<[Site; COUNT]>);

// SAFETY: the first CPU alone uses it.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer = Buffer(UnsafeCell::new([NOTHING; COUNT]));

const NOTHING: Site = Site {
    addr: 0,
    old: [0; 8],
    new: [0; 8],
    copy: 0,
    stand_in: 0,
    copy_at: [0; 8],
    len: 0,
    inner: 0,
    new_inner: 0,
    reserved: [0; 5],
};

/// The memory itself. One user at a time: what was returned before must not be used any more.
pub fn whole() -> &'static mut [Site; COUNT] {
    // SAFETY: tests run one after the other, on one CPU.
    unsafe { &mut *BUFFER.0.get() }
}

/// The first `many` sites of a sort. As `whole`.
pub fn fill(many: usize, site: fn(usize) -> Site) -> &'static [Site] {
    let sites = &mut whole()[..many];
    for (i, place) in sites.iter_mut().enumerate() {
        *place = site(i);
    }
    sites
}
