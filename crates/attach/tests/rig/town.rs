//! Functions that threads of the test keep calling while a real sidecar patches them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use textpoke_attach::proc::Mapping;
use textpoke_attach::trampoline::{self, Copy, Kind};
use textpoke_core::Site;
use textpoke_core::isa::x86_64;
use textpoke_core::journal::Header;
use textpoke_linux::signal::{Action, SIGTRAP};
use textpoke_linux::sys;
use textpoke_trace::control::{ToSidecar, ToTracer};
use textpoke_trace::table;

use crate::rig::{PAGE, Rig, mmap};

/// push rbp; mov rbp, rsp; nop
const HEAD: [u8; 5] = [0x55, 0x48, 0x89, 0xe5, 0x90];
/// nop; nop; nop; pop rbp; ret
const TAIL: [u8; 5] = [0x90, 0x90, 0x90, 0x5d, 0xc3];

/// A place with functions, each with an entry and an exit site.
pub struct Town {
    pub rig: Rig,
    pub sites: Vec<Site>,
    pub functions: Vec<u64>,
    range: Mapping,
    original: Vec<u8>,
    life: Option<i32>,
    sidecar: i32,
}

/// Writes a function that returns its argument plus `i` and begins `i` bytes behind a multiple of 64.
fn function(i: u8) -> Vec<u8> {
    let mut bytes = HEAD.to_vec();
    // lea rax, [rdi + i]
    bytes.extend([0x48, 0x8d, 0x47, i]);
    bytes.extend(TAIL);
    bytes
}

impl Town {
    /// `count` functions (at most 64), a sidecar that is ready, and the trap handler in place.
    pub fn new(count: u8) -> Self {
        let len = (u64::from(count) * 128).next_multiple_of(PAGE);
        let text = mmap(0, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        let mut original = vec![0xcc; len as usize];
        let functions: Vec<u64> = (0..count).map(|i| u64::from(i) * 128 + u64::from(i)).collect();
        for (i, &at) in functions.iter().enumerate() {
            let bytes = function(i as u8);
            original[at as usize..at as usize + bytes.len()].copy_from_slice(&bytes);
        }
        // SAFETY: our own fresh memory.
        unsafe {
            std::ptr::copy_nonoverlapping(original.as_ptr(), text as *mut u8, original.len());
            assert_eq!(libc::mprotect(text as *mut _, len as usize, libc::PROT_READ | libc::PROT_EXEC), 0);
        }
        let functions: Vec<u64> = functions.iter().map(|at| text + at).collect();
        let prot = libc::PROT_READ | libc::PROT_EXEC;
        let range =
            Mapping { start: text, end: text + len, prot, shared: false, offset: 0, inode: 0, path: String::new() };
        let mut rig = Rig::with_sites(16, 1 << 20, &[], std::slice::from_ref(&range), usize::from(count) * 2);
        let sites: Vec<Site> = (0..u32::from(count)).flat_map(|i| sites(&mut rig, functions[i as usize], i)).collect();
        let mut town = Self { rig, sites, functions, range, original, life: None, sidecar: 0 };
        town.install_handler();
        // SAFETY: plain system call.
        town.start_for(unsafe { libc::getpid() });
        town
    }

    fn install_handler(&self) {
        let [handler, restorer] =
            [self.rig.image.trap_handler(), self.rig.image.restorer()].map(|at| at + self.rig.text());
        let action = Action::for_traps_at(handler as usize, true, restorer as usize);
        let previous = self.rig.regions.table + std::mem::offset_of!(table::TableHeader, previous) as u64;
        // SAFETY: the agent's handler, which stays mapped; the previous action goes where the handler looks for it.
        unsafe { sys::rt_sigaction(SIGTRAP, &action, previous as *mut Action) }.unwrap();
    }

    /// Starts the sidecar as the tracer does: it shares the memory, has no descriptor but its life line, and blocks all
    /// signals.
    /// It ends when `target` does.
    pub fn start_for(&mut self, target: i32) {
        let mut pipe = [0; 2];
        // SAFETY: two new descriptors.
        assert_eq!(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
        let (ranges, regions) = (std::slice::from_ref(&self.range), &self.rig.regions);
        self.rig.shared.fill(regions, &self.sites, ranges, pipe[0], target).unwrap();
        let stack = self.rig.regions.table + table::bytes(self.sites.len()) as u64;
        let birth = Birth { entry: self.rig.text() + self.rig.image.agent_main(), write_end: pipe[1] };
        let mask = sys::set_sigmask(u64::MAX).unwrap();
        // SAFETY: the child runs `born` on a stack of its own, which makes two system calls and enters the agent; `birth`
        // lives until the sidecar has said that it is ready.
        self.sidecar = unsafe {
            libc::clone(born, stack as *mut _, libc::CLONE_VM | libc::SIGCHLD, (&raw const birth).cast_mut().cast())
        };
        sys::set_sigmask(mask).unwrap();
        assert!(self.sidecar > 0);
        // SAFETY: ours; the sidecar has its own.
        unsafe { libc::close(pipe[0]) };
        self.life = Some(pipe[1]);
        assert_eq!(self.hear(), ToTracer::Ready(0));
    }

    /// The sidecar's next message.
    pub fn hear(&self) -> ToTracer {
        loop {
            if let Some(message) = self.rig.shared.heard() {
                return message;
            }
            self.rig.shared.wait(std::time::Duration::from_secs(1));
        }
    }

    pub fn say(&self, what: ToSidecar) {
        self.rig.shared.say(what);
    }

    /// The tracer is gone.
    pub fn abandon(&mut self) {
        let life = self.life.take().expect("it still lives");
        // SAFETY: ours.
        unsafe { libc::close(life) };
    }

    /// Waits for the sidecar's end and returns its status.
    pub fn bury(&mut self) -> i32 {
        let mut status = -1;
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(self.sidecar, &mut status, libc::__WALL) }, self.sidecar);
        self.sidecar = 0;
        status
    }

    /// The text now.
    pub fn text(&self) -> Vec<u8> {
        // SAFETY: mapped and readable; nobody changes it at the moments when tests look.
        unsafe { std::slice::from_raw_parts(self.range.start as *const u8, self.original.len()) }.to_vec()
    }

    /// The text before anything was done to it.
    pub fn original(&self) -> &[u8] {
        &self.original
    }

    /// Writes into the text as a patcher does that was killed soon after.
    pub fn deface(&self, at: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        std::fs::File::options().write(true).open("/proc/self/mem").unwrap().write_all_at(bytes, at).unwrap();
    }

    /// Protections of the text.
    pub fn prot(&self) -> i32 {
        // SAFETY: plain system call.
        let pid = unsafe { libc::getpid() };
        let maps = textpoke_attach::proc::maps(pid).unwrap();
        maps.iter().find(|m| m.start <= self.range.start && self.range.start < m.end).unwrap().prot
    }

    /// The journal's header.
    pub fn journal(&self) -> Header {
        let at = self.rig.regions.data + self.rig.regions.layout.journal as u64;
        // SAFETY: DATA of this rig.
        unsafe { (at as *const Header).read_volatile() }
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        if self.sidecar != 0 && !std::thread::panicking() {
            self.say(ToSidecar::Exit);
            assert_eq!(self.bury(), 0);
        }
    }
}

struct Birth {
    entry: u64,
    write_end: i32,
}

extern "C" fn born(birth: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `Town::start` passes a `Birth`.
    let birth = unsafe { &*birth.cast::<Birth>() };
    let _ = sys::close(birth.write_end);
    // SAFETY: the agent's entry, which takes nothing and does not return.
    unsafe { std::mem::transmute::<u64, extern "C" fn() -> !>(birth.entry)() }
}

fn sites(rig: &mut Rig, addr: u64, i: u32) -> [Site; 2] {
    let mut make = |kind, number, addr: u64, old: [u8; 5], inner, at: [u8; 8], back: bool| {
        let relocate = |place: u64| {
            let mut bytes = old.to_vec();
            if back {
                bytes.extend(x86_64::jmp(place + 5, addr + 5).unwrap());
            }
            Ok(Copy { bytes, at })
        };
        let to = rig.next();
        let made = trampoline::emit(&rig.image, rig.text(), to, &[number], kind, &relocate).unwrap();
        rig.put(&made.bytes);
        let mut site = Site::single(addr, &old, &x86_64::jmp(addr, to).unwrap()).unwrap();
        (site.inner, site.copy) = (inner, made.copy);
        site.copy_at = made.at;
        site
    };
    [
        make(Kind::Entry, 2 * i, addr, HEAD, 0b1_0010, [0, 1, 0, 0, 4, 0, 0, 0], true),
        make(Kind::Exit, 2 * i + 1, addr + 9, TAIL, 0b1_1110, [0, 1, 2, 3, 4, 0, 0, 0], false),
    ]
}

/// Threads that call the functions and check what they return.
#[derive(Default)]
pub struct Crowd {
    running: AtomicBool,
    /// Calls of each thread.
    pub calls: [AtomicU64; 2],
}

impl Crowd {
    /// Runs `work` while two threads call all functions in turns.
    pub fn around<T>(&self, functions: &[u64], work: impl FnOnce() -> T) -> T {
        self.running.store(true, SeqCst);
        std::thread::scope(|scope| {
            for calls in &self.calls {
                scope.spawn(|| {
                    let mut n = 0;
                    while self.running.load(SeqCst) {
                        let i = n as usize % functions.len();
                        // SAFETY: takes a number and returns one.
                        let f: extern "C" fn(u64) -> u64 = unsafe { std::mem::transmute(functions[i]) };
                        assert_eq!(f(n), n + i as u64);
                        n += 1;
                        calls.store(n, SeqCst);
                    }
                });
            }
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            self.running.store(false, SeqCst);
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Waits until every thread has been outside of the functions.
    pub fn pass(&self) {
        for calls in &self.calls {
            let seen = calls.load(SeqCst);
            while self.running.load(SeqCst) && calls.load(SeqCst) < seen + 2 {
                std::thread::yield_now();
            }
        }
    }
}
