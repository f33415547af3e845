//! The keeper: one thread of the tracer that holds every thread of the target seized while text changes.
//!
//! Seizing neither stops nor interrupts a thread. It makes the kernel show us each signal first, so that a thread that
//! runs into a trap byte is helped on from here, also when it blocks SIGTRAP (which would otherwise kill the process) and
//! also when it is a vfork child. New threads and children are seized by the kernel at birth. To let go, the keeper
//! *thread ends*: the kernel then releases all tracees at once, and again stops none of them, which `PTRACE_DETACH` could
//! not do.

mod parking;
mod stops;
mod traps;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use textpoke_core::{Direction, Site};

use crate::arch::way_home::Steps;
use crate::error::Error;
use crate::proc::{self, Sleeper};
use crate::ptrace::{self, Event};

/// How long a thread may take to answer an interrupt before the keeper gives up.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a tracee is to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One of its threads.
    Thread,
    /// A process that shares its memory for a while.
    Vfork,
    /// A process with a copy of its memory.
    Fork,
    /// Our own helper.
    Sidecar,
    /// Stopped at birth before its parent told of it.
    Unborn,
}

/// Holds a process for as long as its thread lives. See the module's text.
pub struct Keeper {
    pid: i32,
    tracees: BTreeMap<i32, Kind>,
    memory: File,
    /// The batch in flight.
    table: Option<(Vec<Site>, Direction)>,
    /// Every site that has, or may have, other bytes than the program was loaded with.
    changed: Vec<Site>,
    /// The code that the program's signal handlers return to, if it is known.
    restorer: Option<u64>,
    /// Threads born since [`Keeper::watch_births`], and where their program counters were.
    newborn: BTreeMap<i32, u64>,
    /// What threads were seen to sleep in.
    sleepers: BTreeMap<i32, Sleeper>,
    /// Everybody is parked, or on the way there: who is stopped already, and by which event.
    parked: Option<BTreeMap<i32, Event>>,
    /// Threads that stand still because somebody here works with them.
    borrowed: BTreeSet<i32>,
    /// Who was asked to stop for that and has not been seen to do anything else since.
    asked: BTreeSet<i32>,
    /// The kernel may have reset the program's action for SIGTRAP.
    action_reset: bool,
    gone: bool,
    execed: bool,
    traps: u64,
}

/// Runs `work` on a thread that holds all threads of `pid`, then lets go of them by ending that thread.
pub fn hold<T: Send>(pid: i32, work: impl FnOnce(&mut Keeper) -> Result<T, Error> + Send) -> Result<T, Error> {
    let (told, keeper_is) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let keeper = std::thread::Builder::new().name("keeper".to_owned()).spawn_scoped(scope, move || {
            let _ = told.send(std::fs::read_link("/proc/thread-self"));
            let mut keeper = Keeper::seize_all(pid)?;
            let result = work(&mut keeper);
            // What takes time comes first, and a fresh time slice: a signal that the program ignores wakes a thread while
            // it is seized, and if nobody handles that before the thread is released, the program sees an EINTR.
            keeper.unpark();
            keeper.table = None;
            keeper.changed = Vec::new();
            std::thread::yield_now();
            keeper.leave_nobody_stopped();
            result
        });
        let keeper = keeper.map_err(|e| Error::Io("starting the keeper thread", e))?;
        let result = keeper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Ok(Ok(keeper)) = keeper_is.recv() {
            await_end(&Path::new("/proc").join(keeper));
        }
        result
    })
}

/// Waits until a thread that was joined has ended for the kernel, too: it wakes whoever joins before it lets go of the
/// tracees (`exit_mm`, then `exit_notify`), and until then nobody else can seize them.
fn await_end(task: &Path) {
    while task.exists() {
        std::thread::yield_now();
    }
}

impl Keeper {
    fn seize_all(pid: i32) -> Result<Self, Error> {
        let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        let memory = memory.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NoSuchProcess(pid),
            io::ErrorKind::PermissionDenied => Error::Denied(pid),
            _ => Error::Io("opening the target's memory", e),
        })?;
        let mut keeper = Self {
            pid,
            tracees: BTreeMap::new(),
            memory,
            table: None,
            changed: Vec::new(),
            restorer: None,
            newborn: BTreeMap::new(),
            sleepers: BTreeMap::new(),
            parked: None,
            borrowed: BTreeSet::new(),
            asked: BTreeSet::new(),
            action_reset: false,
            gone: false,
            execed: false,
            traps: 0,
        };
        // A thread may create another between our reading the list and seizing it; once a round finds nobody new,
        // every creator is seized and the kernel seizes what it creates.
        loop {
            let mut new = false;
            for tid in proc::threads(pid).map_err(|_| Error::Gone(pid))? {
                if !keeper.tracees.contains_key(&tid) {
                    new |= keeper.seize(tid)?;
                }
            }
            keeper.pump()?;
            if !new {
                keeper.await_vfork_children()?;
                keeper.restorer =
                    proc::maps(pid).ok().and_then(|maps| Steps::find(&keeper, &maps)).map(|s| s.sigreturn);
                return Ok(keeper);
            }
        }
    }

    /// A vfork child that was born before we came is nobody whom we can see, and runs in this memory: waits until it has a
    /// program of its own. Those that come later are seized at birth.
    fn await_vfork_children(&mut self) -> Result<(), Error> {
        let start = Instant::now();
        while self.threads().into_iter().any(|tid| waits_for_vfork_child(self.pid, tid)) {
            if start.elapsed() > PATIENCE {
                return Err(Error::Spawning(self.pid));
            }
            self.pump()?;
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn seize(&mut self, tid: i32) -> Result<bool, Error> {
        let start = Instant::now();
        loop {
            self.watch_sleep(tid);
            let Err(error) = ptrace::seize(tid, ptrace::OPTIONS) else {
                self.tracees.insert(tid, Kind::Thread);
                return Ok(true);
            };
            match error.raw_os_error() {
                Some(libc::ESRCH) => return Ok(false),
                Some(libc::EPERM) => {}
                _ => return Err(Error::Io("seizing a thread", error)),
            }
            // A thread that the kernel has just seized for us, or one that an earlier keeper is just letting go of.
            let Ok(status) = proc::thread_status(self.pid, tid) else { return Ok(false) };
            if matches!(status.state, 'Z' | 'X') {
                return Ok(false);
            }
            // The kernel names the thread that traces: this keeper or an earlier one, or somebody else's.
            let tracer = proc::status(status.tracer);
            if tracer.as_ref().map_or(0, |t| t.tgid) != std::process::id() as i32 {
                if let Ok(tracer) = tracer {
                    return Err(Error::Traced(self.pid, tracer.tgid, tracer.name));
                }
                if start.elapsed() > Duration::from_millis(50) {
                    return Err(Error::Denied(self.pid));
                }
            }
            self.pump()?;
            if self.tracees.contains_key(&tid) {
                return Ok(true);
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::Denied(self.pid));
            }
            std::thread::yield_now();
        }
    }

    /// The process held.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Where signal frames return to, as far as it is known: what they begin with.
    pub fn restorer(&self) -> Option<u64> {
        self.restorer
    }

    /// Whether a thread that blocks SIGTRAP took a trap: the kernel has then set the action to the default.
    pub fn action_was_reset(&self) -> bool {
        self.action_reset
    }

    /// The action is what it should be again.
    pub fn action_is_right(&mut self) {
        self.action_reset = false;
    }

    /// Whether the process has replaced its program: none of its threads may be touched any more.
    pub fn has_execed(&self) -> bool {
        self.execed
    }

    /// Number of traps that threads took and that were resolved here.
    pub fn traps(&self) -> u64 {
        self.traps
    }

    /// The target's memory, readable and writable whatever its protections.
    pub fn memory(&self) -> &File {
        &self.memory
    }

    /// Makes a batch known before its first trap byte; `None` withdraws it.
    pub fn set_table(&mut self, table: Option<(Vec<Site>, Direction)>) {
        if let Some((sites, _)) = &table {
            self.changed.extend_from_slice(sites);
            self.changed.sort_unstable_by_key(|s| s.addr);
            self.changed.dedup_by_key(|s| s.addr);
        }
        self.table = table;
    }

    /// The batch in flight goes the other way from now on.
    pub fn turn_table(&mut self, to: Direction) {
        if let Some((_, dir)) = &mut self.table {
            *dir = to;
        }
    }

    /// Tells of sites that were patched earlier, so that a child forked meanwhile gets its original text.
    pub fn set_changed(&mut self, sites: &[Site]) {
        self.changed = sites.to_vec();
        self.changed.sort_unstable_by_key(|s| s.addr);
    }

    /// The threads held now.
    pub fn threads(&self) -> Vec<i32> {
        self.tracees.iter().filter(|(_, k)| **k == Kind::Thread).map(|(&tid, _)| tid).collect()
    }

    /// Everyone who executes the target's text: its threads, and vfork children.
    pub fn executors(&self) -> Vec<i32> {
        self.tracees.iter().filter(|(_, k)| matches!(k, Kind::Thread | Kind::Vfork)).map(|(&tid, _)| tid).collect()
    }

    /// From now on the thread, which is stopped, is somebody's to work with.
    pub fn lend(&mut self, tid: i32) {
        self.borrowed.insert(tid);
    }

    /// It is about to go on.
    pub fn take_back(&mut self, tid: i32) {
        self.borrowed.remove(&tid);
    }

    /// Forgets a tracee that was detached.
    pub fn forget(&mut self, tid: i32) {
        self.tracees.remove(&tid);
    }

    /// Handles whatever happened to any tracee, without waiting.
    pub fn pump(&mut self) -> Result<(), Error> {
        loop {
            match ptrace::wait(-1, false) {
                Ok(Some((tid, event))) => self.handle(tid, event)?,
                Ok(None) => break,
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => {
                    self.gone |= !self.tracees.is_empty();
                    break;
                }
                Err(e) => return Err(Error::Io("waiting for the target", e)),
            }
        }
        self.alive()
    }

    fn alive(&self) -> Result<(), Error> {
        if self.execed {
            return Err(Error::Execed(self.pid));
        }
        if self.gone { Err(Error::Gone(self.pid)) } else { Ok(()) }
    }

    /// Handles events until `done` answers something, at most [`PATIENCE`] long.
    pub fn pump_until<T>(
        &mut self,
        mut done: impl FnMut(&mut Self) -> Result<Option<T>, Error>,
    ) -> Result<Option<T>, Error> {
        let start = Instant::now();
        let mut rounds = 0u32;
        loop {
            self.pump()?;
            if let Some(answer) = done(self)? {
                return Ok(Some(answer));
            }
            if start.elapsed() > PATIENCE {
                return Ok(None);
            }
            // Trapped threads wait for us: look again at once for a while, then let others have the CPU.
            rounds += 1;
            if rounds < 100 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(50)) }
        }
    }

    /// Waits for the next event of one tracee, handling those of the others meanwhile.
    pub fn next_event(&mut self, tid: i32) -> Result<Event, Error> {
        let start = Instant::now();
        loop {
            match ptrace::wait(tid, false) {
                Ok(Some((_, event))) => return Ok(event),
                Ok(None) => {}
                Err(_) => return Ok(Event::Ended),
            }
            match ptrace::wait(-1, false) {
                Ok(Some((other, event))) if other == tid => return Ok(event),
                Ok(Some((other, event))) => self.handle(other, event)?,
                Ok(None) => std::thread::yield_now(),
                Err(_) => return Ok(Event::Ended),
            }
            if start.elapsed() > PATIENCE {
                return Err(Error::Unresponsive(tid));
            }
        }
    }

    /// Waits until a child that was just cloned is in its first stop.
    pub fn wait_birth(&mut self, child: i32) -> Result<(), Error> {
        if self.tracees.insert(child, Kind::Sidecar) == Some(Kind::Unborn) {
            return Ok(());
        }
        match self.next_event(child)? {
            Event::Stop => Ok(()),
            _ => Err(Error::SidecarLost),
        }
    }

    /// Handles an event of `tid` in the ordinary way.
    pub fn handle(&mut self, tid: i32, event: Event) -> Result<(), Error> {
        let kind = self.tracees.get(&tid).copied();
        // Whatever else a thread does, it has to be asked again to stop.
        self.asked.remove(&tid);
        match event {
            Event::Ended => {
                self.tracees.remove(&tid);
                self.sleepers.remove(&tid);
                if let Some(parked) = &mut self.parked {
                    parked.remove(&tid);
                }
                self.gone |= kind == Some(Kind::Thread) && self.threads().is_empty();
            }
            Event::Signal(libc::SIGTRAP) => self.on_trap(tid),
            Event::Signal(signal) => {
                if self.would_be_ignored(tid, signal) {
                    self.undisturb(tid);
                }
                resume(tid, signal);
            }
            Event::GroupStop(_) if self.keep_parked(tid, event) => {}
            Event::GroupStop(_) => {
                let _ = ptrace::listen(tid);
            }
            Event::Child(event) => {
                let child = ptrace::event_message(tid).unwrap_or(0) as i32;
                // The parent first: it is the one that the child's end is told to. While it stands still another thread
                // would be woken for that, and a call that it sleeps in would answer EINTR.
                resume(tid, 0);
                self.on_child(child, event);
            }
            Event::Exec if kind == Some(Kind::Thread) => {
                self.execed = true;
                resume(tid, 0);
            }
            // A vfork child that has a program of its own now is none of our business any more.
            Event::Exec => self.release(tid),
            Event::Stop if kind.is_none() => {
                self.tracees.insert(tid, Kind::Unborn);
            }
            Event::Stop => {
                self.undisturb(tid);
                if !self.keep_parked(tid, event) {
                    resume(tid, 0);
                }
            }
            Event::Syscall => resume(tid, 0),
        }
        Ok(())
    }

    fn on_child(&mut self, child: i32, event: i32) {
        if child == 0 {
            return;
        }
        // The event's name tells of the exit signal and of who waits, not of the memory.
        let kind = match event {
            libc::PTRACE_EVENT_VFORK => Kind::Vfork,
            libc::PTRACE_EVENT_CLONE if is_thread_of(self.pid, child) => Kind::Thread,
            _ if shares_memory(self.pid, child) => Kind::Vfork,
            _ => Kind::Fork,
        };
        if self.tracees.insert(child, kind) == Some(Kind::Unborn) {
            self.on_birth(child, kind);
        } else {
            // Its first stop is on its way, and nothing else can come before it.
            loop {
                match ptrace::wait(child, true) {
                    Ok(Some((_, Event::Stop))) => break self.on_birth(child, kind),
                    Ok(Some((_, Event::Ended))) | Err(_) => {
                        self.tracees.remove(&child);
                        break;
                    }
                    Ok(_) => resume(child, 0),
                }
            }
        }
    }

    fn on_birth(&mut self, child: i32, kind: Kind) {
        if kind == Kind::Fork {
            self.give_original_text(child);
            self.release(child);
        } else {
            if let Ok(regs) = ptrace::regs(child) {
                self.newborn.insert(child, regs.pc());
            }
            if !self.keep_parked(child, Event::Stop) {
                resume(child, 0);
            }
        }
    }

    /// From now on births are noted.
    pub fn watch_births(&mut self) {
        self.newborn.clear();
    }

    /// Where the program counter of a thread was at its birth, if it was born since [`Keeper::watch_births`].
    pub fn birthplace(&self, tid: i32) -> Option<u64> {
        self.newborn.get(&tid).copied()
    }

    /// A forked child has a copy of text that may be half patched. It is stopped and has one thread, so that plain writes
    /// put everything back: page by page, for the parent may be waiting.
    fn give_original_text(&self, child: i32) {
        const PAGE: u64 = 4096;
        let Ok(memory) = File::options().read(true).write(true).open(format!("/proc/{child}/mem")) else { return };
        let same_pages = |a: &Site, b: &Site| b.addr / PAGE == (a.end() - 1) / PAGE;
        for sites in self.changed.chunk_by(same_pages) {
            let (first, last) = (sites[0].addr, sites[sites.len() - 1].end());
            let mut text = vec![0; (last - first) as usize];
            // What the child has unmapped needs no text.
            if memory.read_exact_at(&mut text, first).is_err() {
                continue;
            }
            for site in sites {
                let at = (site.addr - first) as usize;
                text[at..at + site.len()].copy_from_slice(site.before(Direction::Install));
            }
            let _ = memory.write_all_at(&text, first);
        }
    }

    fn release(&mut self, tid: i32) {
        let _ = ptrace::detach(tid, 0);
        self.tracees.remove(&tid);
    }

    /// Before the keeper's thread ends: whoever is stopped at this moment is handled, so that the kernel's release finds
    /// only running threads.
    fn leave_nobody_stopped(&mut self) {
        let _ = self.pump();
        let unborn: Vec<i32> = self.tracees.iter().filter(|(_, k)| **k == Kind::Unborn).map(|(&t, _)| t).collect();
        for tid in unborn {
            if is_thread_of(self.pid, tid) {
                resume(tid, 0);
            } else {
                self.on_birth(tid, Kind::Fork);
            }
        }
    }
}

fn resume(tid: i32, signal: i32) {
    // The only failure is that the thread was killed meanwhile; its end is reported as an event.
    let _ = ptrace::cont(tid, signal);
}

fn shares_memory(pid: i32, other: i32) -> bool {
    const KCMP_VM: i64 = 1;
    // SAFETY: no memory is involved; it fails where the kernel lacks it.
    let order = unsafe { libc::syscall(libc::SYS_kcmp, i64::from(pid), i64::from(other), KCMP_VM, 0, 0) };
    order == 0
}

/// Whether a thread sleeps in a call that may be waiting for its vfork child: uninterruptibly, which such calls are not
/// otherwise.
fn waits_for_vfork_child(pid: i32, tid: i32) -> bool {
    let in_call = matches!(
        proc::whereabouts(pid, tid),
        Ok(proc::Whereabouts::Asleep { call, .. }) if crate::arch::may_vfork(call)
    );
    in_call && proc::thread_status(pid, tid).is_ok_and(|s| s.state == 'D')
}

fn is_thread_of(pid: i32, tid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}/task/{tid}")).exists()
}

/// The bit of a signal in a mask.
pub const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}
