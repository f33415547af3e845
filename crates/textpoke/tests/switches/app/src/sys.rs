//! What std has no name for.

use std::ffi::{CString, c_char, c_int, c_void};

unsafe extern "C" {
    fn dlopen(path: *const c_char, how: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlclose(library: *mut c_void) -> c_int;
    fn dlerror() -> *const c_char;
    safe fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, how: c_int) -> c_int;
    safe fn _exit(status: c_int) -> !;
    fn pthread_sigmask(how: c_int, new: *const u64, old: *mut u64) -> c_int;
    fn getrlimit(which: c_int, limit: *mut [u64; 2]) -> c_int;
    fn setrlimit(which: c_int, limit: *const [u64; 2]) -> c_int;
}

/// A library that is unloaded when it is dropped.
pub struct Library(*mut c_void);

impl Library {
    pub fn open(path: &str) -> Self {
        let path = CString::new(path).expect("a path");
        // SAFETY: a string; RTLD_NOW.
        let library = unsafe { dlopen(path.as_ptr(), 2) };
        // SAFETY: the loader's message.
        assert!(!library.is_null(), "{:?}", unsafe { std::ffi::CStr::from_ptr(dlerror()) });
        Self(library)
    }

    /// A function of it.
    pub fn get(&self, name: &str) -> *const () {
        let name = CString::new(name).expect("a name");
        // SAFETY: an open library and a string.
        let function = unsafe { dlsym(self.0, name.as_ptr()) };
        assert!(!function.is_null(), "{name:?}");
        function.cast()
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: opened above, once.
        unsafe { dlclose(self.0) };
    }
}

/// Runs `child` in a fork child; whether it returned true.
pub fn in_child(child: impl FnOnce() -> bool) -> bool {
    match fork() {
        0 => {
            // Nothing may unwind into the parent's stack frames.
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
            _exit(if good { 0 } else { 1 })
        }
        pid => {
            let mut status = 0;
            // SAFETY: our child.
            assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
            status == 0
        }
    }
}

/// Blocks SIGTRAP in the calling thread.
pub fn block_sigtrap() {
    let set = [1u64 << 4; 16];
    // SAFETY: a signal set of glibc's or musl's size, 128 bytes; SIG_BLOCK is 0.
    assert_eq!(unsafe { pthread_sigmask(0, set.as_ptr(), std::ptr::null_mut()) }, 0);
}

/// Does something while no descriptor can be opened.
pub fn without_descriptors<T>(what: impl FnOnce() -> T) -> T {
    let mut limit = [0; 2];
    // SAFETY: RLIMIT_NOFILE is 7.
    unsafe { getrlimit(7, &mut limit) };
    let none = [0, limit[1]];
    // SAFETY: as above.
    unsafe { setrlimit(7, &none) };
    let result = what();
    // SAFETY: as above.
    unsafe { setrlimit(7, &limit) };
    result
}
