//! Round a fault of the emulator. QEMU (10.0.2, `notdirty_write` in `accel/tcg/cputlb.c`) throws its translation of text away
//! before it performs the store that makes it wrong. Another CPU that translates the text anew in between keeps old text
//! until the next store there, and no FENCE.I, no flush of address translations and no interrupt changes that. With RISC-V
//! on a machine that had other things to do it was seen once in a few hundred rounds: 100,000 calls one after the other, each
//! behind a FENCE.I, executed what was not in memory any more.
//!
//! So when all CPUs have answered, what was stored is stored once more: whoever translates from then on finds it there. No
//! synchronisation is left out or added by this, and real CPUs need nothing of the kind.

use core::hint::black_box;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};

use textpoke_core::Site;

use crate::arch::paging;

/// The sites whose alias is open. For the patcher alone.
static SITES: AtomicPtr<Site> = AtomicPtr::new(core::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The alias of these is open now, and they stay where they are until [`closing`].
pub(crate) fn opened(sites: &[Site]) {
    SITES.store(sites.as_ptr().cast_mut(), Relaxed);
    COUNT.store(sites.len(), Relaxed);
}

/// It is about to be closed.
pub(crate) fn closing() {
    COUNT.store(0, Relaxed);
}

/// Stores to each word of the sites what stands there, in one step, because NMIs may be storing there, too.
pub(crate) fn store_again() {
    let count = COUNT.load(Relaxed);
    if count == 0 {
        return;
    }
    // The emulator may remember, with the address, that nobody has translated text there.
    paging::forget();
    // SAFETY: `opened` was told of them, and they have not been closed.
    let sites = unsafe { core::slice::from_raw_parts(SITES.load(Relaxed), count) };
    for site in sites {
        for word in ((site.addr & !3)..site.end()).step_by(4) {
            // SAFETY: an aligned word on a page whose alias is open. It stays what it is.
            let word = unsafe { AtomicU32::from_ptr(paging::alias(word).cast()) };
            // Not a constant, of which the compiler would make a load.
            word.fetch_or(black_box(0), Relaxed);
        }
    }
}
