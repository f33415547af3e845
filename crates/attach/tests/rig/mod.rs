//! The regions of a session, mapped in the test's own process, with trampolines that can be called as functions.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::arch::{asm, naked_asm};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use textpoke_attach::image::Image;
use textpoke_attach::inject::{Area, Regions};
use textpoke_attach::shared::Shared;
use textpoke_attach::trampoline::{self, Copy, Kind};
use textpoke_core::Site;
use textpoke_trace::ring::{Holes, Reader};
use textpoke_trace::{Layout, Record, local, table};

#[path = "../../../../agent/embed.rs"]
mod embed;

/// The agent, built once per test run.
pub fn agent() -> &'static [u8] {
    static AGENT: OnceLock<Vec<u8>> = OnceLock::new();
    AGENT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent");
        let target =
            option_env!("CARGO_TARGET_TMPDIR").map_or_else(|| agent.join("target"), |dir| Path::new(dir).join("agent"));
        std::fs::read(embed::build(&cargo, None, &agent, &target)).expect("the agent was built")
    })
}

/// Room for trampolines behind the image, in bytes.
const ROOM: u64 = 1 << 16;
pub const PAGE: u64 = 4096;
const RET: u8 = 0xc3;

pub struct Rig {
    pub shared: Shared,
    pub regions: Regions,
    pub image: Image,
    file: File,
    used: u64,
}

pub fn mmap(addr: u64, len: u64, prot: i32, flags: i32, fd: i32, offset: u64) -> u64 {
    // SAFETY: a new mapping; nothing is replaced, for MAP_FIXED is never asked for.
    let at = unsafe { libc::mmap(addr as *mut _, len as usize, prot, flags, fd, offset as i64) };
    assert_ne!(at, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    at as u64
}

impl Rig {
    pub fn new(rings: usize, ring_bytes: usize) -> Self {
        Self::with_sites(rings, ring_bytes, &[], &[], 1)
    }

    pub fn with_sites(
        rings: usize,
        ring_bytes: usize,
        sites: &[Site],
        ranges: &[textpoke_attach::proc::Mapping],
        capacity: usize,
    ) -> Self {
        // Each rig has a LOCAL of its own in the window, as sessions that follow one another have.
        static NEXT: AtomicU64 = AtomicU64::new(local::GS_WINDOW_START);
        let image = Image::load(agent()).unwrap();
        let layout = Layout::new(capacity, rings, ring_bytes).unwrap();
        // SAFETY: a new descriptor.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"rig".as_ptr(), libc::MFD_CLOEXEC)) };
        let len = (image.len() as u64).next_multiple_of(PAGE) + ROOM;
        file.set_len(len + layout.bytes as u64).unwrap();
        let (rw, shared) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let text = mmap(0, len, libc::PROT_READ | libc::PROT_EXEC, shared, file.as_raw_fd(), 0);
        let data = mmap(0, layout.bytes as u64, rw, shared, file.as_raw_fd(), len);
        let local_len = local::bytes(rings) as u64;
        let at = NEXT.fetch_add(1 << 30, Relaxed);
        let local = mmap(at, local_len, rw, private | libc::MAP_FIXED_NOREPLACE, -1, 0);
        assert_eq!(local, at);
        // SAFETY: our own fresh mapping.
        unsafe {
            assert_eq!(libc::madvise(local as *mut _, local_len as usize, libc::MADV_WIPEONFORK), 0);
            (local as *mut u32).write_volatile(1);
        }
        let table = mmap(0, table::bytes(capacity).next_multiple_of(4096) as u64, rw, private, -1, 0);
        let area = Area { addr: text, len, offset: 0 };
        let regions = Regions { text: vec![area], data, local, table, layout, data_offset: len };
        let mut bytes = image.at(text).unwrap();
        bytes.resize(len as usize, 0xcc);
        let shared = Shared::create(&file, &regions, &[(area, bytes)]).unwrap();
        // SAFETY: plain system call.
        let pid = unsafe { libc::getpid() };
        shared.fill(&regions, sites, ranges, -1, pid).unwrap();
        let used = (image.len() as u64).next_multiple_of(PAGE);
        Self { shared, regions, image, file, used }
    }

    pub fn text(&self) -> u64 {
        self.regions.text[0].addr
    }

    /// Address that the next trampoline gets.
    pub fn next(&self) -> u64 {
        self.text() + self.used
    }

    /// Puts bytes behind the trampolines.
    pub fn put(&mut self, bytes: &[u8]) -> u64 {
        let at = self.next();
        self.file.write_all_at(bytes, self.used).unwrap();
        self.used += bytes.len().next_multiple_of(16) as u64;
        assert!(self.used <= self.regions.text[0].len);
        at
    }

    /// Replaces bytes that were put before.
    pub fn overwrite(&mut self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at - self.text()).unwrap();
    }

    /// A trampoline whose copy is `copy`.
    pub fn trampoline(&mut self, site: u32, kind: Kind, copy: &[u8]) -> trampoline::Trampoline {
        let relocate = |_| Ok(Copy { bytes: copy.to_vec(), at: [0; 8] });
        let made = trampoline::emit(&self.image, self.text(), self.next(), &[site], kind, &relocate).unwrap();
        self.put(&made.bytes);
        made
    }

    /// A function that does nothing but pass one probe.
    pub fn probe(&mut self, site: u32, kind: Kind) -> u64 {
        let at = self.next();
        self.trampoline(site, kind, &[RET]);
        at
    }

    /// A function that is entered (probe `site`) and left (probe `site + 1`).
    pub fn function(&mut self, site: u32) -> u64 {
        let exit = self.probe(site + 1, Kind::Exit);
        let entry = self.next();
        let back = |place: u64| {
            let bytes = textpoke_core::isa::x86_64::jmp(place, exit).unwrap().to_vec();
            Ok(Copy { bytes, at: [0; 8] })
        };
        let made = trampoline::emit(&self.image, self.text(), entry, &[site], Kind::Entry, &back).unwrap();
        self.put(&made.bytes);
        entry
    }

    /// Drains ring `index`.
    pub fn drain(&self, reader: &mut Reader, index: usize, holes: Holes) -> Vec<Record> {
        let mut all = Vec::new();
        reader.drain(self.shared.ring(index), self.shared.slots(index), holes, |w| all.push(Record::from_words(w)));
        all
    }

    /// The ring of the thread with this id.
    pub fn ring_of(&self, tid: u32) -> Option<usize> {
        (0..self.regions.layout.rings).find(|&i| self.shared.ring(i).tid.load(Relaxed) == tid)
    }

    /// Number of claimed rings.
    pub fn claimed(&self) -> usize {
        (0..self.regions.layout.rings).filter(|&i| self.shared.ring(i).state.load(Relaxed) == 1).count()
    }
}

/// Calls a function without arguments and returns the stack pointer that it saw.
pub fn call(function: u64) -> u64 {
    #[unsafe(naked)]
    extern "C" fn shim(_function: u64) -> u64 {
        naked_asm!("push rbx", "lea rbx, [rsp - 8]", "call rdi", "mov rax, rbx", "pop rbx", "ret")
    }
    shim(function)
}

pub fn gettid() -> u32 {
    // SAFETY: plain system call.
    unsafe { libc::syscall(libc::SYS_gettid) as u32 }
}

pub fn gs_base() -> u64 {
    let base;
    // SAFETY: reads a register.
    unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

/// Sets the GS base, which nothing in this process uses but the probes.
pub fn set_gs_base(base: u64) {
    // SAFETY: see above.
    unsafe { asm!("wrgsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
}
