//! Putting a process right whose tracer was killed.
//!
//! The text may be in any mixture of forms. While a keeper holds all threads, and so meets every trap, the ordinary way
//! back is performed from here: trap every head, synchronise, tail, synchronise, head, synchronise. Bytes are written one
//! by one through `/proc/PID/mem`; cores are synchronised by a newborn sidecar that lives for this alone.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use textpoke_core::isa::Isa as _;
use textpoke_core::{Cause, Direction, Machine, Run, Site, Step, Unit, Verdict, drive};
use textpoke_trace::Layout;

use crate::arch::{self, Isa};
use crate::error::Error;
use crate::image::Image;
use crate::inject::{Embryo, borrow_thread, unmap};
use crate::keeper::{Keeper, hold};
use crate::keys;
use crate::place;
use crate::preflight;
use crate::proc;
use crate::quiesce::{Forbidden, await_no_trap_pending, await_none_inside};
use crate::remains::{self, Busy};

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Sites that had patches or traps.
    pub sites: usize,
    /// Mappings that were removed.
    pub mappings: usize,
    /// Code that had to stay because a thread may still run or resume in it.
    pub stays: Option<(u64, u64)>,
}

const LEAVE: Duration = Duration::from_secs(3);

/// Restores a process, threads running. A process with nothing to repair is left alone.
///
/// # Errors
/// Another textpoke still traces it; it ended; its bytes are not what any of our steps leaves.
pub fn repair(pid: i32, agent: &[u8]) -> Result<Repaired, Error> {
    preflight::check(pid)?;
    let image = Image::load(agent).map_err(|e| Error::Image(e.to_string()))?;
    let remains = loop {
        let remains = remains::find(&proc::maps(pid).map_err(|_| Error::Gone(pid))?);
        match remains.users(pid).as_slice() {
            [] => break remains,
            users => end_sidecars(pid, users)?,
        }
    };
    let keys_first = keys::may_need_order(pid, &proc::maps(pid).map_err(|_| Error::Gone(pid))?);
    if remains.is_empty() && !keys_first {
        return Ok(Repaired::default());
    }
    hold(pid, |keeper| {
        let sites = remains.sites(keeper.memory())?;
        let windows = remains.windows(keeper.memory())?;
        let damaged = damaged(keeper, &sites)?.len();
        keeper.set_changed(&sites);
        let layout = Layout::new(1, 1, textpoke_trace::layout::MIN_RING_BYTES).ok_or(Error::SidecarLost)?;
        let mut parent = borrow_thread(keeper)?;
        let maps = proc::maps(pid).map_err(|_| Error::Gone(pid))?;
        let (code, table) = place::private(&maps)?;
        let born = Embryo::conceive(keeper, &mut parent, &layout, table);
        parent.give_back(keeper)?;
        let mut embryo = born?;
        embryo.register_membarrier(keeper)?;
        let mut repaired = Repaired { sites: damaged, ..Repaired::default() };
        // Before anything is unmapped: the list of changes may be in it.
        if keys_first {
            let put = keys::put_in_order(keeper, embryo, code)?;
            embryo = put.0;
            repaired.sites += put.1;
        }
        // Also text that looks right: the dead patcher may have stored the last old byte and not have synchronised, and a
        // thread may have a trap pending (docs/protocols/undo.md).
        if !sites.is_empty() {
            let verdict = drive(
                Run::repair(arch::kind_of_repair(&sites)),
                &mut FromOutside { keeper, embryo: &mut embryo, sites: &sites, windows: &windows },
            );
            if verdict != Verdict::Performed(Direction::Remove) {
                return Err(Error::Batch(verdict));
            }
        }
        clear_away(keeper, embryo, &image, &remains, &mut repaired)?;
        Ok(repaired)
    })
}

/// A tracer that lives is not disturbed; a sidecar that lost its tracer gets the time to end, then is ended.
fn end_sidecars(pid: i32, users: &[Busy]) -> Result<(), Error> {
    for &user in users {
        match user {
            Busy::Tracer(by) => return Err(Error::InUse(pid, by)),
            Busy::Sidecar(tid) => {
                let alive = || proc::status(tid).is_ok_and(|s| s.name == "textpoke" && !matches!(s.state, 'Z' | 'X'));
                for _ in 0..100 {
                    if !alive() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                if alive() {
                    // SAFETY: a process of ours, whose work at any step is what this repair can mend.
                    unsafe { libc::kill(tid, libc::SIGKILL) };
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
    Ok(())
}

/// Whether byte `i` of a site is one of a trap instruction that stands there now, where an old instruction begins.
fn trapped(site: &Site, i: usize, now: &[u8]) -> bool {
    let at = (0..=i).rev().find(|&at| site.begins_at(at)).unwrap_or(0);
    now.get(at..at + Isa::TRAP.len()).is_some_and(|bytes| bytes == Isa::TRAP) && i < at + Isa::TRAP.len()
}

/// The sites that do not have their old bytes. Refuses when a byte is neither old nor new nor a trap.
fn damaged(keeper: &Keeper, all: &[Site]) -> Result<Vec<Site>, Error> {
    let mut damaged = Vec::new();
    for site in all {
        let mut now = [0; 8];
        let now = &mut now[..site.len()];
        keeper.memory().read_exact_at(now, site.addr).map_err(|e| Error::Io("reading the target's text", e))?;
        let (old, new) = (site.before(Direction::Install), site.after(Direction::Install));
        let known = |i: usize| now[i] == old[i] || now[i] == new[i] || trapped(site, i, now);
        if !(0..site.len()).all(known) {
            return Err(Error::Damaged(format!(
                "the code at {:#x} was changed by somebody else; nothing was repaired",
                site.addr
            )));
        }
        if now != old {
            damaged.push(*site);
        }
    }
    Ok(damaged)
}

fn clear_away(
    keeper: &mut Keeper,
    embryo: Embryo,
    image: &Image,
    remains: &remains::Remains,
    repaired: &mut Repaired,
) -> Result<(), Error> {
    let mut embryo = embryo;
    let mut free = Vec::new();
    let regions = remains.text.iter().find_map(|home| remains::regions(keeper, image, home.0, remains.data));
    if let Some(regions) = regions {
        embryo.restore_action(keeper, regions.table, regions.handler)?;
    }
    for &(start, end) in &remains.text {
        let image_end = start + image.len() as u64;
        match await_none_inside(keeper, &Forbidden::Area { start, image_end, end }, LEAVE) {
            Ok(()) => free.push((start, end)),
            Err(Error::Inside(_)) => repaired.stays = Some((start, end)),
            Err(e) => return Err(e),
        }
    }
    if repaired.stays.is_none() {
        free.extend(remains.data);
        free.extend(&remains.private);
    }
    repaired.mappings = free.len();
    embryo.leave(keeper, |keeper, remote| {
        free.iter().try_for_each(|&(start, end)| unmap(keeper, remote, start, end - start))
    })
}

/// Performs steps from the tracer, byte by byte.
struct FromOutside<'a> {
    keeper: &'a mut Keeper,
    embryo: &'a mut Embryo,
    sites: &'a [Site],
    /// Text ranges that the dead patcher may have left writable, with the protections that they had.
    windows: &'a [(u64, u64, u64)],
}

impl Machine for FromOutside<'_> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        match step {
            // Writing through /proc/PID/mem needs no window of its own.
            Step::Open | Step::Maintain | Step::Undo(_) | Step::Done(_) => Ok(()),
            Step::Close => self.embryo.protect(self.keeper, self.windows).map_err(|_| Cause::Unsupported),
            Step::Publish => {
                self.keeper.set_table(Some((self.sites.to_vec(), Direction::Remove)));
                Ok(())
            }
            Step::Store { phase, unit: Unit::Byte } => {
                for site in self.sites {
                    for write in site.writes::<Isa>(phase, Direction::Remove) {
                        let at = site.addr + u64::from(write.offset);
                        // A trap instruction of several bytes has no halves; nobody runs meanwhile where that matters.
                        for (at, piece) in (at..).step_by(Isa::TRAP.len()).zip(write.bytes().chunks(Isa::TRAP.len())) {
                            let written = self.keeper.memory().write_all_at(piece, at);
                            written.map_err(|e| Cause::Os(e.raw_os_error().unwrap_or(0)))?;
                        }
                    }
                    self.keeper.pump().map_err(|_| Cause::TimedOut)?;
                }
                Ok(())
            }
            Step::SyncCores => self.embryo.sync_cores(self.keeper).map_err(|_| Cause::TimedOut),
            Step::Verify { .. } => match damaged(self.keeper, self.sites).map_err(|_| Cause::Unsupported)?.first() {
                Some(site) => Err(Cause::Mismatch(site.addr)),
                None => Ok(()),
            },
            Step::AwaitNoneInside => {
                await_none_inside(self.keeper, &Forbidden::Sites(self.sites), LEAVE).map_err(|_| Cause::TimedOut)
            }
            Step::Retire => {
                await_no_trap_pending(self.keeper, LEAVE).map_err(|_| Cause::TimedOut)?;
                self.keeper.set_table(None);
                Ok(())
            }
            Step::Park => self.keeper.park().map_err(|_| Cause::TimedOut),
            Step::Unpark => {
                self.keeper.unpark();
                Ok(())
            }
            Step::Store { .. }
            | Step::Record
            | Step::Announce { .. }
            | Step::Withdraw
            | Step::AwaitNmis
            | Step::Pause => Err(Cause::Unsupported),
        }
    }
}
