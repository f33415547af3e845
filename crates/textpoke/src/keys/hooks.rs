//! What is called when an object with sites comes and goes.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use textpoke_keys::abi::CLOSING;
use textpoke_linux::process::Held;
use textpoke_linux::words;

use super::engine::{Keys, forget};

/// Called by each object before its other constructors, so that its sites are what their keys are by now.
///
/// Whoever cannot do that ends the process: the object would do what its keys do not say.
#[doc(hidden)]
pub extern "C" fn coming(_object: *const AtomicU32) {
    if words::existing().is_none() {
        // Nobody has changed anything in this process.
        return;
    }
    if let Err(error) = Keys::lock().and_then(|mut keys| keys.turn_over().and_then(|()| keys.catch_up())) {
        eprintln!("textpoke: the switches of a library that was loaded cannot be set: {error}");
        std::process::abort();
    }
}

/// Called by each object behind its other destructors: from here on nobody touches its sites.
///
/// # Safety
/// `object` points to the object's words.
#[doc(hidden)]
pub unsafe extern "C" fn going(object: *const AtomicU32) {
    if words::existing().is_none() {
        return;
    }
    if let Ok(held) = Held::take(false) {
        // SAFETY: the caller's duty.
        unsafe { &*object }.store(CLOSING, SeqCst);
        held.words().generation.fetch_add(1, SeqCst);
        if core::ptr::eq(object, own_object()) {
            forget(held);
        }
    }
}

/// The words of the object that this code is in; null if it has no sites.
fn own_object() -> *const AtomicU32 {
    textpoke_linux::weak_address!("textpoke_object", "hidden") as *const AtomicU32
}
