//! One attachment, from the first look at a process to its release.

use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use textpoke_core::{Cause, Direction, Kind, Reason, Site, Verdict};
use textpoke_trace::control::{ToSidecar, ToTracer};
use textpoke_trace::{Layout, local};

use crate::arch;
use crate::error::Error;
use crate::image::Image;
use crate::inject::{self, Area, Embryo, Regions, borrow_thread, recapture};
use crate::keeper::{Keeper, hold};
use crate::place::{self, page_up};
use crate::plan::{self, Compiled, Probe};
use crate::preflight;
use crate::proc::{self, Mapping};
use crate::quiesce::{Forbidden, await_no_trap_pending, await_none_inside};
use crate::remains;
use crate::remote::Remote;
use crate::rings::Rings;
use crate::shared::Shared;

/// Sizes of a session.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of each thread's ring, a power of two.
    pub ring_bytes: usize,
    /// How many threads can record at the same time.
    pub rings: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { ring_bytes: 4 << 20, rings: 1024 }
    }
}

/// An attached process whose sites are patched.
pub struct Session {
    pid: i32,
    sidecar: i32,
    regions: Regions,
    sites: Vec<Site>,
    /// The protocol by which they are patched.
    kind: Kind,
    refused: Vec<(u32, String)>,
    rings: Rings,
    /// Executable contents of the patched files as they were.
    originals: Vec<Original>,
    /// Mappings that an earlier session left, to be unmapped with ours.
    leftovers: Vec<(u64, u64)>,
    handler: u64,
    restorer: u64,
    image_len: u64,
    /// The sidecar takes the closing of this pipe for the end of the tracer.
    _life: File,
    install_time: Duration,
    traps: u64,
}

/// What is left when a session ends.
pub struct Released {
    /// The text was read back and is byte for byte what it was.
    pub verified: bool,
    /// Code that had to stay because a thread may still run or resume in it.
    pub stays: Option<(u64, u64)>,
    /// Records that are still to be read.
    pub rings: Rings,
    /// Traps that threads took while text changed.
    pub traps: u64,
    /// How long taking the patches out took.
    pub took: Duration,
}

struct Original {
    start: u64,
    bytes: Vec<u8>,
}

/// How often installing is tried, one site fewer each time.
const MOST_TRIES: u32 = 16;

/// How long threads may take to leave sites before they are patched.
const LEAVE_SITES: Duration = Duration::from_millis(300);

/// How long threads may take to leave trampolines, and to take their pending traps.
const LEAVE: Duration = Duration::from_secs(3);

impl Session {
    /// Attaches to `pid` and patches all probes in one batch, threads running. `launched` says that the process stands,
    /// stopped, at its entry point; it is let go when everything is in place.
    ///
    /// # Errors
    /// The process is not touched, or is left as it was.
    pub fn attach(
        pid: i32,
        launched: bool,
        agent: &[u8],
        probes: &[Probe<'_>],
        options: &Options,
    ) -> Result<Self, Error> {
        if !launched {
            preflight::check(pid)?;
        }
        let maps = proc::maps(pid).map_err(|_| Error::Gone(pid))?;
        let leftovers = remains::check(pid, &maps)?;
        let image = Image::load(agent).map_err(|e| Error::Image(e.to_string()))?;
        let compiled = plan::compile(&image, probes, &maps)?;
        let begun = Instant::now();
        hold(pid, |keeper| {
            let mut session = Self::build(keeper, launched, &image, compiled, options, &maps, leftovers)?;
            session.install_time = begun.elapsed();
            session.traps = keeper.traps();
            Ok(session)
        })
    }

    fn build(
        keeper: &mut Keeper,
        launched: bool,
        image: &Image,
        compiled: Compiled,
        options: &Options,
        maps: &[Mapping],
        leftovers: Vec<(u64, u64)>,
    ) -> Result<Self, Error> {
        let Compiled { areas, sites, numbers, refused } = compiled;
        let layout = Layout::new(sites.len().max(1), options.rings, options.ring_bytes)
            .ok_or(Error::Unsupported("too many sites or rings, or a ring size that is not a power of two"))?;
        let (mut session, parent) = Self::settle(keeper, launched, image, &areas, sites, layout, maps)?;
        (session.refused, session.leftovers) = (refused, leftovers);
        session.install(keeper, numbers)?;
        // Only now: what is recorded while half of the sites are in place cannot be understood, and nobody reads it yet.
        session.rings.shared().switch_probes_on();
        if let Some(parent) = parent {
            // SAFETY: a signal to the process that we hold.
            unsafe { libc::kill(keeper.pid(), libc::SIGCONT) };
            parent.give_back(keeper)?;
        }
        Ok(session)
    }

    /// A sidecar that is ready for orders, and the borrowed thread if it is not given back yet.
    fn settle(
        keeper: &mut Keeper,
        launched: bool,
        image: &Image,
        areas: &[(Area, Vec<u8>)],
        sites: Vec<Site>,
        layout: Layout,
        maps: &[Mapping],
    ) -> Result<(Self, Option<Remote>), Error> {
        let (local, table) = place::private(maps)?;
        let text_bytes: u64 = areas.iter().map(|(a, _)| a.len).sum();
        let mut regions = Regions {
            text: areas.iter().map(|(a, _)| *a).collect(),
            data: 0,
            local,
            table,
            layout,
            data_offset: page_up(text_bytes),
        };
        let ranges = text_ranges(maps, &sites)?;
        let originals = read_originals(keeper, &ranges)?;
        verify_old(keeper, &sites)?;

        let mut parent = borrow_thread(keeper)?;
        let born = Embryo::conceive(keeper, &mut parent, &layout, table);
        // A launched program stays where it is until everything is in place.
        let parent = if launched { Some(parent) } else { parent.give_back(keeper).map(|()| None)? };
        let mut embryo = born?;
        let sidecar = embryo.tid();
        let equipped = Self::equip(keeper, &mut embryo, &mut regions, image, areas, &sites, &ranges);
        let (shared, life) = match equipped {
            Ok(done) => done,
            Err(e) => return Err(embryo.abandon(keeper, e)),
        };
        let home = regions.text[0].addr;
        let handler = home + image.trap_handler();
        embryo.deliver(keeper, home + image.agent_main(), regions.data)?;

        let rings = Rings::new(shared, keeper.pid());
        let mut session = Self {
            pid: keeper.pid(),
            sidecar,
            regions,
            kind: arch::kind(&sites),
            sites,
            refused: Vec::new(),
            rings,
            originals,
            leftovers: Vec::new(),
            handler,
            restorer: home + image.restorer(),
            image_len: image.len() as u64,
            _life: life,
            install_time: Duration::ZERO,
            traps: 0,
        };
        match session.listen(keeper)? {
            ToTracer::Ready(0) => {}
            ToTracer::Ready(errno) => {
                session.take_down(keeper)?;
                return Err(Error::Remote("membarrier", errno as i32));
            }
            _ => return Err(Error::SidecarLost),
        }
        Ok((session, parent))
    }

    /// A sidecar that changes these sites of keys, ascending, by traps: without probes, and nothing is removed in the end.
    pub(crate) fn of_keys(keeper: &mut Keeper, image: &Image, sites: &[Site]) -> Result<Self, Error> {
        let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
        let layout = Layout::new(sites.len(), 1, textpoke_trace::layout::MIN_RING_BYTES)
            .ok_or(Error::Unsupported("too many sites at once; flip fewer keys"))?;
        let len = page_up(image.len() as u64);
        let addr = place::near(&maps, sites[0].addr, sites[0].end(), len)?;
        let mut bytes = image.at(addr).map_err(|e| Error::Image(e.to_string()))?;
        plan::fill(&mut bytes, textpoke_trace::layout::PAGE);
        let areas = [(Area { addr, len, offset: 0 }, bytes)];
        let (session, _) = Self::settle(keeper, false, image, &areas, sites.to_vec(), layout, &maps)?;
        session.rings.shared().control().of_keys.store(1, Relaxed);
        Ok(session)
    }

    /// The sidecar's process.
    pub(crate) fn sidecar(&self) -> i32 {
        self.sidecar
    }

    /// Changes the sites of keys. From then on the sidecar does not put them back should we be killed.
    pub(crate) fn change_keys(&mut self, keeper: &mut Keeper) -> Result<Verdict, Error> {
        let verdict = self.batch(keeper, arch::KIND_OF_KEYS, Direction::Install)?;
        self.rings.shared().control().batch_count.store(0, Relaxed);
        Ok(verdict)
    }

    /// Ends the sidecar.
    pub(crate) fn end(mut self, keeper: &mut Keeper) -> Result<(), Error> {
        self.take_down(keeper).map(drop)
    }

    /// Installs the plan. A site that a thread stays inside (it sleeps in a signal handler that caught it there) is left
    /// out, and the rest is tried again. `numbers` are those of each site's records.
    fn install(&mut self, keeper: &mut Keeper, mut numbers: Vec<Vec<u32>>) -> Result<(), Error> {
        for _ in 0..MOST_TRIES {
            if self.sites.is_empty() {
                return Ok(());
            }
            match self.batch(keeper, self.kind, Direction::Install)? {
                Verdict::Performed(Direction::Install) => {
                    if keeper.action_was_reset() {
                        // Only needed should the tracer be killed: no reason to give up.
                        let _ = inject::renew_action(keeper, self.regions.table, self.handler, self.restorer);
                    }
                    return Ok(());
                }
                Verdict::Undone(Reason { cause: Cause::Inside(at), .. }) => {
                    let Some(index) = self.sites.iter().position(|s| (s.addr..=s.end()).contains(&at)) else { break };
                    self.sites.remove(index);
                    let why = "a thread stays inside: it was caught there by a signal that it still handles";
                    self.refused.extend(numbers.remove(index).into_iter().map(|n| (n, why.to_owned())));
                    self.rings.shared().set_sites(&self.sites)?;
                }
                verdict @ Verdict::Undone(_) => {
                    self.take_down(keeper)?;
                    return Err(Error::Batch(verdict));
                }
                verdict => return Err(Error::Batch(verdict)),
            }
        }
        self.take_down(keeper)?;
        Err(Error::Damaged("threads stay inside too many of the functions; try again, or trace fewer (-F)".to_owned()))
    }

    /// Gives a newborn sidecar everything that it needs to run.
    fn equip(
        keeper: &mut Keeper,
        embryo: &mut Embryo,
        regions: &mut Regions,
        image: &Image,
        areas: &[(Area, Vec<u8>)],
        sites: &[Site],
        ranges: &[Mapping],
    ) -> Result<(Shared, File), Error> {
        let (life, life_fd) = embryo.life_line(keeper)?;
        let shared = Shared::create(&embryo.open_memory()?, regions, areas)?;
        embryo.map_regions(keeper, regions)?;
        shared.fill(regions, sites, ranges, life_fd, proc::inner_pid(keeper.pid()))?;
        shared.switch_probes_off();
        let home = regions.text[0].addr;
        embryo.install_action(keeper, home + image.trap_handler(), home + image.restorer())?;
        Ok((shared, life))
    }

    /// Sites that could not be had after all, by their numbers.
    pub fn refused(&self) -> &[(u32, String)] {
        &self.refused
    }

    /// The sites that are patched.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// How long attaching and installing took.
    pub fn install_time(&self) -> Duration {
        self.install_time
    }

    /// Traps that threads took while the sites were installed.
    pub fn traps(&self) -> u64 {
        self.traps
    }

    /// Membarrier calls of the last batch.
    pub fn membarriers(&self) -> u32 {
        self.rings.shared().membarriers()
    }

    /// The records.
    pub fn rings(&mut self) -> &mut Rings {
        &mut self.rings
    }

    /// Whether the process runs another program by now: our mappings are gone.
    pub fn target_execed(&self) -> bool {
        let Some(area) = self.regions.text.first() else { return false };
        proc::maps(self.pid).is_ok_and(|maps| !maps.is_empty() && !maps.iter().any(|m| m.start == area.addr))
    }

    /// Takes all patches out, threads running, and unmaps everything.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::Execed`] when there is nothing left to release; others leave the target running and
    /// tell what to do.
    pub fn detach(mut self) -> Result<Released, Error> {
        let begun = Instant::now();
        let pid = self.pid;
        self.rings.shared().switch_probes_off();
        let (stays, verified, traps) = hold(pid, |keeper| {
            keeper.set_changed(&self.sites);
            if !self.sites.is_empty() {
                let verdict = self.batch(keeper, self.kind, Direction::Remove)?;
                if verdict != Verdict::Performed(Direction::Remove) {
                    return Err(Error::Removal(verdict));
                }
            }
            let stays = self.take_down(keeper)?;
            Ok((stays, self.verify_originals(keeper)?, keeper.traps()))
        })?;
        Ok(Released { verified, stays, rings: self.rings, traps: self.traps + traps, took: begun.elapsed() })
    }

    /// The target is no more: keeps the rings, which outlive it, and ends the sidecar.
    pub fn bury(self) -> Rings {
        // SAFETY: the sidecar is ours; it ends by itself too, when it sees that the target has.
        unsafe { libc::kill(self.sidecar, libc::SIGKILL) };
        self.rings
    }

    /// Performs one batch over all sites, answering the sidecar's questions meanwhile.
    fn batch(&mut self, keeper: &mut Keeper, kind: Kind, dir: Direction) -> Result<Verdict, Error> {
        keeper.set_table(Some((self.sites.clone(), dir)));
        self.rings.shared().say(ToSidecar::Batch {
            kind: kind.to_raw(),
            dir: dir.to_raw(),
            first: 0,
            count: self.sites.len() as u64,
            mixed: false,
        });
        loop {
            match self.listen(keeper)? {
                ToTracer::AwaitNoneInside => {
                    let clear = await_none_inside(keeper, &Forbidden::Sites(&self.sites), LEAVE_SITES);
                    self.answer(clear)?;
                }
                ToTracer::Retire => {
                    let clear = await_no_trap_pending(keeper, LEAVE);
                    if clear.is_ok() {
                        keeper.set_table(None);
                    }
                    self.answer(clear)?;
                }
                ToTracer::Turned(to) => {
                    keeper.turn_table(Direction::from_raw(to).ok_or(Error::SidecarLost)?);
                    self.answer(Ok(()))?;
                }
                ToTracer::Park => {
                    let parked = keeper.park();
                    self.answer(parked)?;
                }
                ToTracer::Unpark => {
                    keeper.unpark();
                    self.answer(Ok(()))?;
                }
                ToTracer::Finished(verdict) => {
                    keeper.unpark();
                    keeper.set_table(None);
                    return Verdict::from_words(verdict).ok_or(Error::SidecarLost);
                }
                _ => return Err(Error::SidecarLost),
            }
        }
    }

    fn answer(&self, outcome: Result<(), Error>) -> Result<(), Error> {
        let cause = match outcome {
            Ok(()) => None,
            Err(Error::Inside(addr)) => Some(Cause::Inside(addr)),
            Err(e @ (Error::Gone(_) | Error::Execed(_))) => return Err(e),
            Err(_) => Some(Cause::TimedOut),
        };
        self.rings.shared().answer(cause.map_or(Ok(()), Err));
        Ok(())
    }

    /// Waits for the sidecar's next message, handling what happens to the target's threads meanwhile.
    fn listen(&self, keeper: &mut Keeper) -> Result<ToTracer, Error> {
        let shared = self.rings.shared();
        let begun = Instant::now();
        loop {
            if let Some(message) = keeper.pump_until(|_| Ok(shared.heard()))? {
                return Ok(message);
            }
            // A large batch on a busy machine may take longer than one turn of patience.
            let alive = proc::status(self.sidecar).is_ok_and(|s| !matches!(s.state, 'Z' | 'X'));
            if !alive || begun.elapsed() > Duration::from_secs(60) {
                return Err(Error::SidecarLost);
            }
        }
    }

    /// Ends the sidecar and unmaps everything that no thread is in. The range of code that has to stay is the answer.
    fn take_down(&mut self, keeper: &mut Keeper) -> Result<Option<(u64, u64)>, Error> {
        let text: Vec<(u64, u64)> =
            self.regions.text.iter().map(inject::Area::range).chain(self.leftovers.drain(..)).collect();
        let mut remote = recapture(keeper, self.sidecar)?;
        inject::restore_action(keeper, &mut remote, self.regions.table, self.handler)?;
        let mut stay = None;
        let mut in_probe = false;
        let mut free = Vec::new();
        for &(start, end) in &text {
            let image_end = start + self.image_len;
            match await_none_inside(keeper, &Forbidden::Area { start, image_end, end }, LEAVE) {
                Ok(()) => free.push((start, end)),
                Err(Error::Inside(at)) => {
                    stay = Some((start, end));
                    in_probe |= at < image_end;
                }
                Err(e) => return Err(e),
            }
        }
        // Whoever stays in a trampoline may yet enter the probe: it must find nothing to do.
        self.rings.shared().switch_probes_off();
        // Whoever stays in the probe itself may be about to write a record.
        if !in_probe {
            let layout = &self.regions.layout;
            let table_len = textpoke_trace::table::bytes(layout.site_capacity) as u64;
            free.push((self.regions.data, self.regions.data + page_up(layout.bytes as u64)));
            free.push((self.regions.local, self.regions.local + local::bytes(layout.rings) as u64));
            free.push((self.regions.table, self.regions.table + page_up(table_len)));
        }
        for (start, end) in free {
            inject::unmap(keeper, &mut remote, start, end - start)?;
        }
        remote.exit(keeper)?;
        Ok(stay)
    }

    fn verify_originals(&self, keeper: &Keeper) -> Result<bool, Error> {
        for original in &self.originals {
            let mut now = vec![0; original.bytes.len()];
            inject::peek(keeper, original.start, &mut now)?;
            if now != original.bytes {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The mappings that sites lie in.
fn text_ranges(maps: &[Mapping], sites: &[Site]) -> Result<Vec<Mapping>, Error> {
    let mut ranges: Vec<Mapping> = Vec::new();
    for site in sites {
        if ranges.last().is_some_and(|m| site.end() <= m.end) {
            continue;
        }
        let map = maps.iter().find(|m| m.start <= site.addr && site.end() <= m.end && m.prot & libc::PROT_EXEC != 0);
        let map = map
            .ok_or_else(|| Error::Damaged(format!("the code at {:#x} is not mapped any more; try again", site.addr)))?;
        ranges.push(map.clone());
    }
    Ok(ranges)
}

fn read_originals(keeper: &Keeper, ranges: &[Mapping]) -> Result<Vec<Original>, Error> {
    let read = |map: &Mapping| {
        let mut bytes = vec![0; (map.end - map.start) as usize];
        inject::peek(keeper, map.start, &mut bytes)?;
        Ok(Original { start: map.start, bytes })
    };
    ranges.iter().map(read).collect()
}

/// The bytes that the analysis saw in the file must be those in memory, before anything is touched.
fn verify_old(keeper: &Keeper, sites: &[Site]) -> Result<(), Error> {
    for site in sites {
        let mut now = [0; 8];
        let now = &mut now[..site.len()];
        inject::peek(keeper, site.addr, now)?;
        if now != site.before(Direction::Install) {
            let why = "differs from its file: another tool has patched it, or the file was replaced since the program started";
            return Err(Error::Damaged(format!("the code at {:#x} {why}; nothing was changed", site.addr)));
        }
    }
    Ok(())
}
