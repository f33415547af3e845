//! The page of parameters, and the shared memory that it leads to.
//!
//! Nothing here is checked: the tracer made the memory and filled in the page before anything in the image ran.

use core::arch::global_asm;
use core::sync::atomic::Ordering::Relaxed;

use textpoke_core::Site;
use textpoke_core::journal::Header;
use textpoke_linux::Published;
use textpoke_trace::Control;
use textpoke_trace::layout::{JOURNAL_BYTES, PAGE, SITE_BYTES};
use textpoke_trace::local::LocalHeader;
use textpoke_trace::params::Params;
use textpoke_trace::table::{PUBLISHED_BYTES, TableHeader};

const _: () = assert!(size_of::<Params>() <= PAGE);
const _: () = assert!(size_of::<Site>() == SITE_BYTES && size_of::<Header>() == JOURNAL_BYTES);
const _: () =
    assert!(size_of::<Published>() <= PUBLISHED_BYTES && align_of::<Published>() <= align_of::<TableHeader>());

// Defined in assembly so that the compiler knows nothing about its contents.
global_asm!(
    ".section .params, \"a\"",
    ".balign 4096",
    ".globl textpoke_params",
    ".hidden textpoke_params",
    "textpoke_params:",
    ".zero 4096",
    ".text",
);

unsafe extern "C" {
    static textpoke_params: Params;
}

/// The parameters.
pub fn params() -> &'static Params {
    // SAFETY: a page of the image; all fields are atomics, for the tracer may change them.
    unsafe { &textpoke_params }
}

/// The start of DATA.
pub fn control() -> &'static Control {
    // SAFETY: mapped for as long as code of the image runs that gets here; all fields are atomics.
    unsafe { &*(params().control.load(Relaxed) as *const Control) }
}

/// The start of LOCAL.
pub fn local() -> &'static LocalHeader {
    // SAFETY: as above.
    unsafe { &*(params().local.load(Relaxed) as *const LocalHeader) }
}

/// The start of TABLE.
pub fn table() -> &'static TableHeader {
    // SAFETY: as above.
    unsafe { &*(params().table.load(Relaxed) as *const TableHeader) }
}

/// The published trap table, in TABLE.
pub fn published() -> &'static Published {
    // SAFETY: TABLE begins with room for it (asserted above), all zeros is a valid empty table, and nobody uses the room
    // otherwise. `Published` is made of atomics.
    unsafe { &*(&raw const table().published).cast::<Published>() }
}

/// The journal's header, in DATA.
pub fn journal() -> *mut Header {
    params().journal.load(Relaxed) as *mut Header
}
