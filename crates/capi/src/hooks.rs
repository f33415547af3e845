//! What programs and libraries with keys call when they come and go.

use std::sync::atomic::AtomicU32;

use textpoke::keys::{coming, going};

/// An object with keys has been mapped and relocated; its other constructors have not run yet.
#[unsafe(no_mangle)]
pub extern "C" fn textpoke_object_coming(object: *const AtomicU32) {
    coming(object);
}

/// An object with keys is about to be unmapped; its other destructors have run.
///
/// # Safety
/// `object` points to the object's words.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_object_going(object: *const AtomicU32) {
    // SAFETY: the caller's duty.
    unsafe { going(object) };
}
