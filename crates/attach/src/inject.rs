//! Starting the sidecar: a process that shares the target's memory and signal actions, and nothing else.
//!
//! A thread of the target is borrowed for two system calls. It clones a child (memory and signal actions shared, no
//! signal at its end, own descriptor table); that child clones the sidecar and exits, so that the sidecar is nobody's
//! child in the target, and the borrowed thread reaps the first child. Everything else the stopped sidecar does by
//! itself: it closes its copies of the descriptors, maps our regions and installs the signal action.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use textpoke_trace::{Layout, local, table};

use crate::arch;
use crate::arch::way_home::Steps;
use crate::error::Error;
use crate::keeper::Keeper;
use crate::place::page_up;
use crate::proc::{self, Whereabouts};
use crate::remote::{Remote, syscall_insn};

/// Where our regions are in the target.
#[derive(Clone, Debug)]
pub struct Regions {
    /// Executable areas: the agent image, trampolines behind it.
    pub text: Vec<Area>,
    /// Shared data.
    pub data: u64,
    /// Private data that fork children find zeroed.
    pub local: u64,
    /// Private data that fork children inherit.
    pub table: u64,
    /// What is where in the shared data.
    pub layout: Layout,
    /// Offset of the shared data in the memory file.
    pub data_offset: u64,
}

/// One executable area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Address in the target.
    pub addr: u64,
    /// Bytes, whole pages.
    pub len: u64,
    /// Offset in the memory file.
    pub offset: u64,
}

impl Area {
    /// Its address range.
    pub fn range(&self) -> (u64, u64) {
        (self.addr, self.addr + self.len)
    }
}

/// A stopped sidecar under construction.
pub struct Embryo {
    remote: Remote,
    /// Scratch memory in the target: the later TABLE region.
    table: u64,
    table_len: u64,
    memory_fd: u64,
    /// Start and length of every mapping made.
    mapped: Vec<(u64, u64)>,
    /// The handler that was installed.
    action: Option<u64>,
}

/// Picks the thread whose borrowing the program notices least, and stops it.
///
/// A running thread is best. A sleeping one is woken by the stop, and its system call started again: invisible to the
/// program except that a finite timeout of the few calls which the kernel itself does not restart begins anew, so that
/// those come last. A thread that would get home without us (see `way_home.rs`) goes before any that would not.
pub fn borrow_thread(keeper: &mut Keeper) -> Result<Remote, Error> {
    /// How many threads are stopped to look at their stacks. Every thread of a C library is fit unless its stack is tiny.
    const TRIES: usize = 16;
    let insn = syscall_insn(keeper)?;
    let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
    let steps = Steps::find(keeper, &maps);
    let mut candidates: Vec<(u32, i32)> = Vec::new();
    for tid in keeper.threads() {
        let rank = match proc::whereabouts(keeper.pid(), tid) {
            Ok(Whereabouts::Running) => 0,
            Ok(Whereabouts::Asleep { call, .. }) if arch::kernel_restarts(call) => 1,
            Ok(Whereabouts::Asleep { .. }) => 2,
            Err(_) => continue,
        };
        candidates.push((rank, tid));
    }
    candidates.sort_unstable();
    let tries = if steps.is_some() { TRIES.min(candidates.len()) } else { 0 };
    for (i, &(_, tid)) in candidates[..tries].iter().chain(&candidates).enumerate() {
        if !keeper.stop(tid)? {
            continue;
        }
        let remote = Remote::borrow(keeper, tid, insn, steps, &maps)?;
        if remote.is_safe() || i >= tries {
            return Ok(remote);
        }
        remote.give_back(keeper)?;
    }
    Err(Error::Gone(keeper.pid()))
}

impl Embryo {
    /// Clones the sidecar from a borrowed thread, which can be given back afterwards. TABLE goes to `table`.
    pub fn conceive(keeper: &mut Keeper, parent: &mut Remote, layout: &Layout, table: u64) -> Result<Self, Error> {
        const SHARED: i32 = libc::CLONE_VM | libc::CLONE_SIGHAND;
        let insn = syscall_insn(keeper)?;
        let middle = parent.clone_child(keeper, SHARED)?;
        let mut middle = Remote::employ(middle, insn)?;
        let born = middle.clone_child(keeper, SHARED);
        let middle_tid = middle.tid();
        middle.exit(keeper)?;
        let args = [middle_tid as u64, 0, libc::__WALL as u64, 0, 0, 0];
        // The answer does not matter: another thread that waits for any child may have been faster.
        parent.call_raw(keeper, libc::SYS_wait4, args, |_| {})?;

        let remote = Remote::employ(born?, insn)?;
        let table_len = page_up(table::bytes(layout.site_capacity) as u64);
        let mut embryo = Self { remote, table, table_len, memory_fd: 0, mapped: Vec::new(), action: None };
        match embryo.furnish(keeper) {
            Ok(()) => Ok(embryo),
            Err(e) => Err(embryo.abandon(keeper, e)),
        }
    }

    fn furnish(&mut self, keeper: &mut Keeper) -> Result<(), Error> {
        self.remote.call(keeper, "close_range", libc::SYS_close_range, [0, u64::from(u32::MAX), 0, 0, 0, 0])?;
        // Out of the terminal's foreground group; the answer does not matter.
        self.remote.call_raw(keeper, libc::SYS_setsid, [0; 6], |_| {})?;
        self.map(keeper, self.table, self.table_len, PRIVATE_FIXED, 0, NO_FILE)?;
        self.memory_fd = self.create_memory(keeper)?;
        Ok(())
    }

    fn map(
        &mut self,
        keeper: &mut Keeper,
        addr: u64,
        len: u64,
        how: (i32, i32),
        offset: u64,
        fd: u64,
    ) -> Result<u64, Error> {
        let (prot, flags) = how;
        let args = [addr, len, prot as u64, flags as u64, fd, offset];
        let at = self.remote.call(keeper, "mmap", libc::SYS_mmap, args)?;
        self.mapped.push((at, len));
        if addr != 0 && at != addr {
            // A kernel before 4.17, which does not know MAP_FIXED_NOREPLACE.
            return Err(Error::Remote("mmap", libc::EEXIST));
        }
        Ok(at)
    }

    /// Takes back everything that was done, because of `error`, which is the answer. No text has been changed.
    pub fn abandon(mut self, keeper: &mut Keeper, error: Error) -> Error {
        // Whatever fails here is a consequence of the first error.
        if let Some(handler) = self.action {
            let _ = restore_action(keeper, &mut self.remote, self.table, handler);
        }
        for (start, len) in std::mem::take(&mut self.mapped) {
            let _ = unmap(keeper, &mut self.remote, start, len);
        }
        let _ = self.remote.exit(keeper);
        error
    }

    /// The sidecar's process.
    pub fn tid(&self) -> i32 {
        self.remote.tid()
    }

    /// The region that fork children inherit.
    pub fn table(&self) -> u64 {
        self.table
    }

    /// Maps a page of code of ours.
    pub fn map_code(&mut self, keeper: &mut Keeper, at: u64, code: &[u8]) -> Result<(), Error> {
        let (_, flags) = PRIVATE_FIXED;
        self.map(keeper, at, page_up(code.len() as u64), (libc::PROT_READ | libc::PROT_EXEC, flags), 0, NO_FILE)?;
        poke(keeper, at, code)
    }

    /// Runs code of ours that ends with a harmless system call, with these values in RDI, RSI and RDX; the answer is R8.
    pub fn execute(&mut self, keeper: &mut Keeper, at: u64, args: [u64; 3]) -> Result<u64, Error> {
        self.remote.execute(keeper, at, args)
    }

    /// Performs one system call; `what` names it.
    pub fn call(&mut self, keeper: &mut Keeper, what: &'static str, number: i64, args: [u64; 6]) -> Result<u64, Error> {
        self.remote.call(keeper, what, number, args)
    }

    fn create_memory(&mut self, keeper: &mut Keeper) -> Result<u64, Error> {
        const NAME: &[u8] = b"textpoke\0";
        const MFD_EXEC: u64 = 0x10;
        let cloexec = u64::from(libc::MFD_CLOEXEC);
        poke(keeper, self.table, NAME)?;
        let mut create = |keeper: &mut Keeper, flags| {
            self.remote.call(keeper, "memfd_create", libc::SYS_memfd_create, [self.table, flags, 0, 0, 0, 0])
        };
        match create(keeper, cloexec | MFD_EXEC) {
            // Before Linux 6.3 every memfd was executable and the flag unknown.
            Err(Error::Remote(_, libc::EINVAL)) => create(keeper, cloexec),
            other => other,
        }
    }

    /// The memory file, for the tracer to map and fill.
    pub fn open_memory(&self) -> Result<File, Error> {
        let path = format!("/proc/{}/fd/{}", self.remote.tid(), self.memory_fd);
        File::options().read(true).write(true).open(path).map_err(|e| Error::Io("opening the shared memory", e))
    }

    /// Maps the regions; DATA may go anywhere, so that its address is filled in here.
    pub fn map_regions(&mut self, keeper: &mut Keeper, regions: &mut Regions) -> Result<(), Error> {
        let fd = self.memory_fd;
        for area in &regions.text {
            self.map(keeper, area.addr, area.len, TEXT, area.offset, fd)?;
        }
        let bytes = page_up(regions.layout.bytes as u64);
        regions.data = self.map(keeper, 0, bytes, DATA, regions.data_offset, fd)?;
        self.remote.call(keeper, "close", libc::SYS_close, [fd, 0, 0, 0, 0, 0])?;
        let local_len = local::bytes(regions.layout.rings) as u64;
        self.map(keeper, regions.local, local_len, PRIVATE_FIXED, 0, NO_FILE)?;
        let wipe = [regions.local, local_len, libc::MADV_WIPEONFORK as u64, 0, 0, 0];
        self.remote.call(keeper, "madvise", libc::SYS_madvise, wipe)?;
        // Fork children, which find it wiped, are not this session's.
        let alive = regions.local + std::mem::offset_of!(local::LocalHeader, alive) as u64;
        poke(keeper, alive, &1u32.to_le_bytes())?;
        let guard = self.table + table::stack_start(regions.layout.site_capacity) as u64 - GUARD;
        self.remote.call(keeper, "mprotect", libc::SYS_mprotect, [guard, GUARD, 0, 0, 0, 0])?;
        regions.table = self.table;
        Ok(())
    }

    /// Installs the signal action that helps threads on when the tracer is no more, and keeps the program's own.
    pub fn install_action(&mut self, keeper: &mut Keeper, handler: u64, restorer: u64) -> Result<(), Error> {
        let previous = self.table + std::mem::offset_of!(table::TableHeader, previous) as u64;
        action(keeper, &mut self.remote, 0, previous)?;
        // Everything is blocked while the handler runs: it is short, and nothing may nest in it.
        let scratch = self.table + SCRATCH;
        poke_words(keeper, scratch, &arch::action(handler, ACTION_FLAGS, restorer))?;
        action(keeper, &mut self.remote, scratch, 0)?;
        self.action = Some(handler);
        poke_words(keeper, scratch, &[0; 4])
    }

    /// A pipe whose closing tells the sidecar that the tracer is gone: its end stays with the sidecar, ours is the answer.
    pub fn life_line(&mut self, keeper: &mut Keeper) -> Result<(File, i32), Error> {
        let scratch = self.table + SCRATCH;
        self.remote.call(keeper, "pipe2", libc::SYS_pipe2, [scratch, libc::O_CLOEXEC as u64, 0, 0, 0, 0])?;
        let mut fds = [0; 8];
        peek(keeper, scratch, &mut fds)?;
        let [read, write] = [0, 4].map(|i| i32::from_le_bytes([fds[i], fds[i + 1], fds[i + 2], fds[i + 3]]));
        let path = format!("/proc/{}/fd/{write}", self.remote.tid());
        let ours = File::options().write(true).open(path).map_err(|e| Error::Io("opening the sidecar's pipe", e))?;
        self.remote.call(keeper, "close", libc::SYS_close, [write as u64, 0, 0, 0, 0, 0])?;
        Ok((ours, read))
    }

    /// Registers the address space for [`Embryo::sync_cores`].
    pub fn register_membarrier(&mut self, keeper: &mut Keeper) -> Result<(), Error> {
        const REGISTER: u64 = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE as u64;
        self.remote.call(keeper, "membarrier", libc::SYS_membarrier, [REGISTER, 0, 0, 0, 0, 0]).map(drop)
    }

    /// Every CPU that runs the target passes a context synchronising point.
    pub fn sync_cores(&mut self, keeper: &mut Keeper) -> Result<(), Error> {
        const SYNC: u64 = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE as u64;
        self.remote.call(keeper, "membarrier", libc::SYS_membarrier, [SYNC, 0, 0, 0, 0, 0]).map(drop)
    }

    /// Gives text ranges (start, end, `PROT_*`) these protections. One that is not mapped any more is passed over.
    pub fn protect(&mut self, keeper: &mut Keeper, ranges: &[(u64, u64, u64)]) -> Result<(), Error> {
        for &(start, end, prot) in ranges {
            match self.remote.call(keeper, "mprotect", libc::SYS_mprotect, [start, end - start, prot, 0, 0, 0]) {
                Ok(_) | Err(Error::Remote(_, libc::ENOMEM)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Puts the action back that an earlier session replaced.
    pub fn restore_action(&mut self, keeper: &mut Keeper, table: u64, handler: u64) -> Result<(), Error> {
        restore_action(keeper, &mut self.remote, table, handler)
    }

    /// Does `last`, unmaps its own memory and ends.
    pub fn leave(
        mut self,
        keeper: &mut Keeper,
        last: impl FnOnce(&mut Keeper, &mut Remote) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let done = last(keeper, &mut self.remote);
        unmap(keeper, &mut self.remote, self.table, self.table_len)?;
        self.remote.exit(keeper)?;
        done
    }

    /// Lets the sidecar run at `entry` with `argument`, released from the tracer.
    pub fn deliver(self, keeper: &mut Keeper, entry: u64, argument: u64) -> Result<(), Error> {
        let stack = (self.table + self.table_len) & !15;
        self.remote.start_at(keeper, entry, stack, argument)
    }
}

/// Stops a running sidecar and takes hold of it again.
pub fn recapture(keeper: &mut Keeper, sidecar: i32) -> Result<Remote, Error> {
    let insn = syscall_insn(keeper)?;
    keeper.capture(sidecar)?;
    Remote::employ(sidecar, insn)
}

/// Puts the program's own action for SIGTRAP back, unless the program has set another meanwhile.
pub fn restore_action(keeper: &mut Keeper, remote: &mut Remote, table: u64, handler: u64) -> Result<(), Error> {
    let scratch = table + SCRATCH;
    action(keeper, remote, 0, scratch)?;
    let mut now = [0; 8];
    peek(keeper, scratch, &mut now)?;
    let now = u64::from_le_bytes(now);
    if now == handler || (now == DEFAULT_ACTION && keeper.action_was_reset()) {
        action(keeper, remote, table + std::mem::offset_of!(table::TableHeader, previous) as u64, 0)?;
        keeper.action_is_right();
    }
    Ok(())
}

/// Installs our action again where the kernel has replaced it by the default, by way of a borrowed thread.
pub fn renew_action(keeper: &mut Keeper, table: u64, handler: u64, restorer: u64) -> Result<(), Error> {
    let scratch = table + SCRATCH;
    let mut thread = borrow_thread(keeper)?;
    let renewed = (|| {
        action(keeper, &mut thread, 0, scratch)?;
        let mut now = [0; 8];
        peek(keeper, scratch, &mut now)?;
        if u64::from_le_bytes(now) == DEFAULT_ACTION {
            poke_words(keeper, scratch, &arch::action(handler, ACTION_FLAGS, restorer))?;
            action(keeper, &mut thread, scratch, 0)?;
        }
        Ok(())
    })();
    thread.give_back(keeper)?;
    if renewed.is_ok() {
        keeper.action_is_right();
    }
    renewed
}

/// Unmaps a range of the target.
pub fn unmap(keeper: &mut Keeper, remote: &mut Remote, addr: u64, len: u64) -> Result<(), Error> {
    remote.call(keeper, "munmap", libc::SYS_munmap, [addr, len, 0, 0, 0, 0]).map(drop)
}

const ACTION_FLAGS: u64 = (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64;
/// `SIG_DFL`.
const DEFAULT_ACTION: u64 = 0;
/// Bytes of the inaccessible page below the sidecar's stack.
const GUARD: u64 = 4096;
/// Offset in TABLE of 64 bytes that nothing else uses: the end of the header's page.
const SCRATCH: u64 = 4096 - 64;
const NO_FILE: u64 = u64::MAX;
const PRIVATE_FIXED: (i32, i32) = (
    libc::PROT_READ | libc::PROT_WRITE,
    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE,
);
const DATA: (i32, i32) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_NORESERVE);
const TEXT: (i32, i32) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE);

fn action(keeper: &mut Keeper, remote: &mut Remote, new: u64, old: u64) -> Result<(), Error> {
    let args = [libc::SIGTRAP as u64, new, old, 8, 0, 0];
    remote.call(keeper, "rt_sigaction", libc::SYS_rt_sigaction, args).map(drop)
}

fn lost(e: io::Error) -> Error {
    Error::Io("writing the target's memory", e)
}

/// Writes bytes of the target.
pub fn poke(keeper: &Keeper, addr: u64, bytes: &[u8]) -> Result<(), Error> {
    keeper.memory().write_all_at(bytes, addr).map_err(lost)
}

fn poke_words(keeper: &Keeper, addr: u64, words: &[u64]) -> Result<(), Error> {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    poke(keeper, addr, &bytes)
}

/// Reads bytes of the target.
pub fn peek(keeper: &Keeper, addr: u64, bytes: &mut [u8]) -> Result<(), Error> {
    keeper.memory().read_exact_at(bytes, addr).map_err(lost)
}
