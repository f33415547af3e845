//! Code that is executed at one address and written at another.

use std::sync::OnceLock;

use textpoke_core::isa::x86_64::{NOPS, jmp};
use textpoke_core::{Kind, Site};

/// What a function returns in its old and in its new form.
pub const RETURNS: [u64; 2] = [5, 70];
const PAGE: usize = 4096;
/// Functions, of three sorts in turns: see [`Sort`].
const COUNT: usize = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A NOP that becomes a jump, across an 8-byte boundary.
    Across,
    /// The same inside of one aligned word.
    Inside,
    /// Several instructions that become a jump.
    Several,
}

struct Text {
    executed: usize,
    written: usize,
    sites: Vec<(Sort, Site)>,
}

static TEXT: OnceLock<Text> = OnceLock::new();

fn text() -> &'static Text {
    TEXT.get_or_init(|| {
        // SAFETY: fresh memory, mapped twice.
        let (executed, written) = unsafe {
            let file = libc::memfd_create(c"text".as_ptr(), 0);
            assert!(file >= 0 && libc::ftruncate(file, PAGE as i64) == 0);
            let map = |prot| {
                let at = libc::mmap(std::ptr::null_mut(), PAGE, prot, libc::MAP_SHARED, file, 0);
                assert_ne!(at, libc::MAP_FAILED);
                at.addr()
            };
            (map(libc::PROT_READ | libc::PROT_EXEC), map(libc::PROT_READ | libc::PROT_WRITE))
        };
        let mut text = Text { executed, written, sites: Vec::new() };
        for i in 0..COUNT {
            let at = executed as u64 + 256 * i as u64 + 64;
            text.sites.push(match i % 3 {
                0 => (Sort::Across, text.single(at + 6)),
                1 => (Sort::Inside, text.single(at)),
                _ => (Sort::Several, text.several(at + 6)),
            });
        }
        text
    })
}

impl Text {
    fn put(&self, at: u64, bytes: &[u8]) -> u64 {
        let to = (at as usize - self.executed + self.written) as *mut u8;
        // SAFETY: on the page, which nobody executes yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        at + bytes.len() as u64
    }

    /// xor eax,eax; SITE; add eax,5; ret — where the site turns from a NOP into a jump to: mov eax,70; ret.
    fn single(&self, addr: u64) -> Site {
        self.put(addr - 2, &[0x31, 0xc0]);
        let behind = self.put(addr, NOPS[4]);
        let target = self.put(behind, &[0x83, 0xc0, 5, 0xc3]);
        self.put(target, &[0xb8, 70, 0, 0, 0, 0xc3]);
        Site::single(addr, NOPS[4], &jmp(addr, target).unwrap()).unwrap()
    }

    /// xor eax,eax; SITE; ret — where the site is: push rcx; add eax,5; pop rcx, and turns into a jump to other code.
    fn several(&self, addr: u64) -> Site {
        const OLD: [u8; 5] = [0x51, 0x83, 0xc0, 5, 0x59];
        self.put(addr - 2, &[0x31, 0xc0]);
        let behind = self.put(addr, &OLD);
        let copy = self.put(behind, &[0xc3]);
        let at = self.put(copy, &OLD);
        let target = self.put(at, &jmp(at, behind).unwrap());
        self.put(target, &[0xb8, 70, 0, 0, 0, 0xc3]);
        let mut site = Site::single(addr, &OLD, &jmp(addr, target).unwrap()).unwrap();
        (site.inner, site.copy, site.copy_at[1], site.copy_at[4]) = (0b1_0010, copy, 1, 4);
        site
    }
}

/// The sites that suit a protocol.
pub fn sites(kind: Kind) -> Vec<Site> {
    let suits = |sort: Sort| match kind {
        Kind::Displace => sort == Sort::Several,
        Kind::Word => sort == Sort::Inside,
        _ => sort != Sort::Several,
    };
    text().sites.iter().filter(|(sort, _)| suits(*sort)).map(|(_, site)| *site).collect()
}

/// Where to write what is executed at `addr`.
pub fn alias(addr: u64) -> *mut u8 {
    (addr as usize - text().executed + text().written) as *mut u8
}

/// Makes the alias writable or not. An address that cannot be written is the test of it.
pub fn protect(open: bool) {
    let prot = libc::PROT_READ | if open { libc::PROT_WRITE } else { 0 };
    // SAFETY: our page.
    assert_eq!(unsafe { libc::mprotect(text().written as *mut libc::c_void, PAGE, prot) }, 0);
}

fn call(site: &Site) -> u64 {
    // SAFETY: generated code that keeps the calling convention.
    unsafe { std::mem::transmute::<u64, extern "sysv64" fn() -> u64>(site.addr - 2)() }
}

/// Calls every function, and ends the process if one returns what none should: also in handlers.
pub fn look() {
    for (sort, site) in &text().sites {
        let value = call(site);
        if !RETURNS.contains(&value) {
            eprintln!("{sort:?} at {:#x} returned {value}", site.addr);
            std::process::abort();
        }
    }
}

/// Fails unless every one of these is entirely in one form.
pub fn assert_form(sites: &[Site], new: bool) {
    for site in sites {
        // SAFETY: mapped for good.
        let bytes: Vec<u8> = (site.addr..site.end()).map(|at| unsafe { (at as *const u8).read_volatile() }).collect();
        let wanted = if new { &site.new } else { &site.old };
        assert_eq!(bytes, wanted[..site.len()]);
        assert_eq!(call(site), RETURNS[usize::from(new)]);
    }
}
