//! The memory that the code is in.

use textpoke_core::Site;
use textpoke_linux::sys::{self, flags};
use textpoke_linux::text::Window;
use textpoke_linux::{Prot, Range};
use textpoke_model::scenario::Scenario;

use crate::place::Place;
use crate::subject::{self, PAGE, PAGES, Subject};

/// Where to try to put it. Low, so that no torn displacement of a positive JMP leads into libraries.
const BASES: [u64; 4] = [0x2_0000_0000, 0x12_0000_0000, 0x112_0000_0000, 0x1112_0000_0000];

/// What a refusal to map or protect says.
const ADVICE: &str = "a security module (SELinux's execmem) or PR_SET_MDWE forbids code that is made at run time";

/// Mapped code. Stays mapped for good.
#[derive(Debug)]
pub struct Text {
    /// What it is.
    pub subject: Subject,
    /// Its pages, for a window that is always open.
    range: [Range; 1],
}

impl Text {
    /// Maps the code around the scenario's site. If it is `writable`, it stays so.
    ///
    /// # Errors
    /// In words.
    pub fn map(scenario: &Scenario, place: Place, writable: bool) -> Result<Self, String> {
        let mut last = String::new();
        for base in BASES {
            let subject = subject::build(scenario, place, base).ok_or("this site's code has no frame")?;
            let areas = [(base, PAGES * PAGE), (subject.target_page, 2 * PAGE)];
            match areas.iter().try_for_each(|&(start, len)| fresh(start, len)) {
                Err(why) => last = why,
                Ok(()) => {
                    for (at, bytes) in &subject.code {
                        // SAFETY: inside the areas, as `subject`'s tests say; nobody else knows them.
                        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), *at as *mut u8, bytes.len()) };
                    }
                    let prot = if writable { Prot::RWX } else { Prot::RX };
                    for (i, (start, len)) in areas.into_iter().enumerate() {
                        let prot = if i == 0 { prot } else { Prot::RX };
                        // SAFETY: our own memory.
                        unsafe { sys::mprotect(start, len, prot.0) }
                            .map_err(|e| format!("memory cannot be made executable ({e}): {ADVICE}"))?;
                    }
                    return Ok(Self { subject, range: [Range::new(base, base + PAGES * PAGE, prot)] });
                }
            }
        }
        Err(last)
    }

    /// The site, where code may not be moved away from under it.
    pub fn site(&self) -> Site {
        self.subject.site
    }

    /// The window through which the live machine would write.
    ///
    /// # Errors
    /// In words.
    pub fn window(&self) -> Result<Window<'_>, String> {
        // SAFETY: mapped above with these protections, private, and the site is inside.
        unsafe { Window::open(&self.range, core::slice::from_ref(&self.subject.site)) }
            .map_err(|e| format!("code cannot be made writable ({e}): {ADVICE}"))
    }
}

/// Fresh private memory at an address, filled with INT3.
fn fresh(start: u64, len: u64) -> Result<(), String> {
    let map = flags::MAP_PRIVATE | flags::MAP_ANONYMOUS | flags::MAP_FIXED_NOREPLACE;
    // SAFETY: replaces nothing.
    let at = unsafe { sys::mmap(start, len, flags::PROT_READ | flags::PROT_WRITE, map, -1, 0) }
        .map_err(|e| format!("no memory at {start:#x} ({e})"))?;
    if at != start {
        return Err(format!("no memory at {start:#x}: the kernel is older than Linux 4.17"));
    }
    // SAFETY: just mapped.
    unsafe { core::ptr::write_bytes(start as *mut u8, 0xcc, len as usize) };
    Ok(())
}

/// Whether memory can be writable and executable at all, which every variant needs.
///
/// # Errors
/// In words.
pub fn can_map() -> Result<(), String> {
    let (prot, map) = (flags::PROT_READ | flags::PROT_WRITE, flags::MAP_PRIVATE | flags::MAP_ANONYMOUS);
    // SAFETY: fresh memory.
    let page = unsafe { sys::mmap(0, PAGE, prot, map, -1, 0) }.map_err(|e| format!("no memory ({e})"))?;
    // SAFETY: the page just mapped.
    unsafe { sys::mprotect(page, PAGE, Prot::RWX.0) }
        .map_err(|e| format!("memory cannot be made writable and executable ({e}): {ADVICE}"))
}
