//! Trampolines: where the jump at a site leads. A trampoline calls the probe, does what the displaced instructions did,
//! and goes back. The first part is in `arch/*/trampoline.rs`.

use textpoke_core::site::MAX_SITE;
use textpoke_trace::record::MAX_SITES;

use crate::arch;
use crate::image::Image;

/// What the stack is like at the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As at the entry of a function that is called: nothing below the stack pointer is in use.
    Entry,
    /// As at an exit: where the ABI has a red zone, it may be in use.
    Exit,
}

/// The displaced instructions, made for another address, with the jump back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// For each displaced instruction that began at `addr + i`: its offset in `bytes`.
    pub at: [u8; MAX_SITE],
}

/// A trampoline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trampoline {
    /// The bytes; the first is where the site's jump leads.
    pub bytes: Vec<u8>,
    /// Address of the copy, for [`Site::copy`](textpoke_core::Site::copy).
    pub copy: u64,
    /// As in [`Copy::at`], for [`Site::copy_at`](textpoke_core::Site::copy_at).
    pub at: [u8; MAX_SITE],
}

/// Makes the trampoline that records `sites`, one after the other, at address `at`, in an area that begins with the image
/// at `area`.
///
/// `relocate` is asked for the copy at the address that it will have.
///
/// # Errors
/// What `relocate` says, or that the probe is out of reach, or that there are too many sites.
pub fn emit(
    image: &Image,
    area: u64,
    at: u64,
    sites: &[u32],
    kind: Kind,
    relocate: &dyn Fn(u64) -> Result<Copy, String>,
) -> Result<Trampoline, String> {
    if sites.iter().any(|&site| site >= MAX_SITES) {
        return Err(format!("one trace can hold {MAX_SITES} sites"));
    }
    let probe = area
        + match kind {
            Kind::Entry => image.probe_entry(),
            Kind::Exit => image.probe_exit(),
        };
    let mut bytes = arch::trampoline::calls(at, probe, sites, kind)?;
    let place = at + bytes.len() as u64;
    let copy = relocate(place)?;
    bytes.extend_from_slice(&copy.bytes);
    Ok(Trampoline { bytes, copy: place, at: copy.at })
}
