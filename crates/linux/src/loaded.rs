//! Keeping the object loaded that this code is in.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

const RTLD_NOW: c_int = 2;
const RTLD_NOLOAD: c_int = 4;
const RTLD_NODELETE: c_int = 0x1000;

#[repr(C)]
struct Found {
    path: *const c_char,
    base: *mut c_void,
    symbol: *const c_char,
    address: *mut c_void,
}

/// Makes sure that the object that this code is in stays mapped, because the kernel has an address in it: if it is a
/// library, `dlclose` will not unload it any more. Once is enough.
///
/// Not while the engine is locked: the loader has a lock too, and holds it while it calls constructors, which may flip.
///
/// The symbols are weak: a program without a dynamic loader has none, and nothing to unload.
pub fn stay() {
    /// Only saves work.
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Relaxed) {
        return;
    }
    let (open, find) = (crate::weak_address!("dlopen"), crate::weak_address!("dladdr"));
    if open == 0 || find == 0 {
        return;
    }
    let mut found = Found {
        path: core::ptr::null(),
        base: core::ptr::null_mut(),
        symbol: core::ptr::null(),
        address: core::ptr::null_mut(),
    };
    // SAFETY: the two functions of dlfcn.h, with their signatures; `path` is a string of the loader's.
    unsafe {
        let dlopen = core::mem::transmute::<usize, extern "C" fn(*const c_char, c_int) -> *mut c_void>(open);
        let dladdr = core::mem::transmute::<usize, extern "C" fn(*const c_void, *mut Found) -> c_int>(find);
        if dladdr(stay as *const c_void, &raw mut found) != 0 && !found.path.is_null() {
            // For the main program there is no such library, or it is the program: either way nothing happens.
            let _ = dlopen(found.path, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
        }
    }
    DONE.store(true, Relaxed);
}
