//! A patch protocol performed from outside: text is written through `/proc/PID/mem` byte by byte, or by the hand in one
//! store; cores are synchronised by the hand; traps, where the protocol has any, are answered by the keeper.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use textpoke_core::isa::X86_64;
use textpoke_core::{Cause, Direction, Machine, Site, Step, Unit};

use crate::error::Error;
use crate::inject::peek;
use crate::keeper::Keeper;
use crate::proc;
use crate::quiesce::await_no_trap_pending;

use super::hand::Hand;

/// How long threads may take to take their pending traps.
const LEAVE: Duration = Duration::from_secs(3);

/// Performs steps on these sites.
pub struct Outside<'a> {
    keeper: &'a mut Keeper,
    hand: &'a mut Hand,
    sites: &'a [Site],
    dir: Direction,
    /// Text that is writable for the time of the batch: start, end, protections otherwise.
    windows: Vec<(u64, u64, u64)>,
    /// What went wrong, in more words than a cause has.
    pub error: Option<Error>,
}

impl<'a> Outside<'a> {
    /// Sites ascending, in the direction [`Direction::Install`].
    pub fn new(keeper: &'a mut Keeper, hand: &'a mut Hand, sites: &'a [Site]) -> Self {
        Self { keeper, hand, sites, dir: Direction::Install, windows: Vec::new(), error: None }
    }

    /// Only the stores that are wider than a byte need a window.
    fn open(&mut self) -> Result<(), Error> {
        // A child forked meanwhile gets the text as it was, which is what its keys say.
        self.keeper.set_changed(self.sites);
        let maps = proc::maps(self.keeper.pid()).map_err(|_| Error::Gone(self.keeper.pid()))?;
        // Whole mappings, so that they stay whole.
        for site in self.sites.iter().filter(|site| site.len() > 1) {
            if self.windows.last().is_some_and(|&(start, end, _)| start <= site.addr && site.end() <= end) {
                continue;
            }
            let map = maps.iter().find(|m| m.start <= site.addr && site.end() <= m.end);
            let map = map.ok_or_else(|| Error::Damaged("the code was unmapped meanwhile; try again".into()))?;
            self.windows.push((map.start, map.end, map.prot as u64));
        }
        let open: Vec<_> = self.windows.iter().map(|&(s, e, prot)| (s, e, prot | libc::PROT_WRITE as u64)).collect();
        self.hand.protect(self.keeper, &open)
    }

    fn store(&mut self, phase: textpoke_core::Phase, unit: Unit) -> Result<(), Error> {
        for site in self.sites {
            for write in site.writes::<X86_64>(phase, self.dir) {
                let at = site.addr + u64::from(write.offset);
                match write.bytes() {
                    bytes if bytes.len() > 1 && unit > Unit::Byte => self.store_whole(at, bytes)?,
                    bytes => {
                        for (i, byte) in bytes.iter().enumerate() {
                            let written = self.keeper.memory().write_all_at(&[*byte], at + i as u64);
                            written.map_err(|e| Error::Io("writing the target's text", e))?;
                        }
                    }
                }
            }
            self.keeper.pump()?;
        }
        Ok(())
    }

    /// One store of the aligned word that the bytes are in.
    fn store_whole(&mut self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        let (word, from) = (at & !7, (at & 7) as usize);
        let mut whole: [u8; 8] = self.hand.read(self.keeper, word)?;
        let place = whole.get_mut(from..from + bytes.len());
        place
            .ok_or(Error::Unsupported("a site that crosses an aligned word cannot be changed in one store"))?
            .copy_from_slice(bytes);
        self.hand.store(self.keeper, word, u64::from_le_bytes(whole))
    }

    fn verify(&self, after: bool) -> Result<(), Cause> {
        for site in self.sites {
            let mut now = [0; textpoke_core::site::MAX_SITE];
            let now = &mut now[..site.len()];
            peek(self.keeper, site.addr, now).map_err(|_| Cause::TimedOut)?;
            if now != if after { site.after(self.dir) } else { site.before(self.dir) } {
                return Err(Cause::Mismatch(site.addr));
            }
        }
        Ok(())
    }

    fn tell(&mut self, done: Result<(), Error>) -> Result<(), Cause> {
        done.map_err(|e| {
            self.error.get_or_insert(e);
            Cause::TimedOut
        })
    }
}

impl Machine for Outside<'_> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        let done = match step {
            Step::Open => self.open(),
            Step::Verify { after } => return self.verify(after),
            Step::Publish => {
                self.keeper.set_table(Some((self.sites.to_vec(), self.dir)));
                Ok(())
            }
            Step::Store { phase, unit } => self.store(phase, unit),
            Step::Maintain => Ok(()),
            Step::SyncCores => self.hand.sync_cores(self.keeper),
            Step::Undo(_) => {
                self.dir = self.dir.opposite();
                self.keeper.turn_table(self.dir);
                Ok(())
            }
            Step::Close => self.hand.protect(self.keeper, &std::mem::take(&mut self.windows)),
            Step::Retire => await_no_trap_pending(self.keeper, LEAVE).map(|()| self.keeper.set_table(None)),
            Step::Done(_) => {
                self.keeper.set_changed(&[]);
                Ok(())
            }
            _ => return Err(Cause::Unsupported),
        };
        self.tell(done)
    }
}
