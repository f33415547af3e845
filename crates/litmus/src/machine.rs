//! A machine for variants: it performs any list of steps, as the contract says and as the variant wants.
//!
//! Where the live machine looks at all threads of a process, this one knows its only executor, and waits until that has
//! been outside of the code once more.

use std::arch::asm;

use textpoke_core::isa::X86_64;
use textpoke_core::{Cause, Direction, Machine, Phase, Site, Step, Unit};
use textpoke_linux::sync;
use textpoke_linux::text::Window;
use textpoke_model::scenario::RetireRule;

use crate::child::executor::{Executor, Hung, TABLE};
use crate::variant::Stores;

/// How long a handler may stay in the table, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// One batch under way.
#[derive(Debug)]
pub struct Raw<'a> {
    /// What is changed; static, because the trap table points to it.
    pub site: &'static [Site; 1],
    /// How.
    pub stores: Stores,
    /// Which way.
    pub dir: Direction,
    /// What `Retire` waits for.
    pub retire: RetireRule,
    /// The text, always open.
    pub window: &'a Window<'a>,
    /// Who executes.
    pub executor: &'a Executor,
    /// Whether the executor never came back.
    pub hung: bool,
}

impl Raw<'_> {
    fn round(&mut self) -> Result<(), Cause> {
        let round = self.executor.round();
        self.note(round)
    }

    fn note(&mut self, waited: Result<(), Hung>) -> Result<(), Cause> {
        self.hung |= waited.is_err();
        waited.map_err(|Hung| Cause::TimedOut)
    }

    fn verify(&self, after: bool) -> Result<(), Cause> {
        let site = &self.site[0];
        let expected = if after { site.after(self.dir) } else { site.before(self.dir) };
        match expected.iter().enumerate().find(|&(i, &byte)| peek(site.addr + i as u64) != byte) {
            Some((i, _)) => Err(Cause::Mismatch(site.addr + i as u64)),
            None => Ok(()),
        }
    }

    fn store(&mut self, phase: Phase, unit: Unit) -> Result<(), Cause> {
        let site = self.site[0];
        for write in site.writes::<X86_64>(phase, self.dir) {
            let (at, bytes) = (site.addr + u64::from(write.offset), write.bytes());
            match (self.stores, bytes.len()) {
                (Stores::Unaligned, 5) => {
                    let mut all: [u8; 8] = core::array::from_fn(|i| peek(at + i as u64));
                    all[..5].copy_from_slice(bytes);
                    // SAFETY: writable, and the three bytes behind the site stay what they are.
                    unsafe { asm!("mov [{}], {}", in(reg) at, in(reg) u64::from_le_bytes(all), options(nostack)) };
                }
                (Stores::FourAndOne, 5) => {
                    let four = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                    // SAFETY: writable, inside the site.
                    unsafe {
                        asm!("mov [{at}], {four:e}", "mov [{at} + 4], {one}", at = in(reg) at, four = in(reg) four,
                            one = in(reg_byte) bytes[4], options(nostack));
                    }
                }
                (Stores::Slow, _) => {
                    for (i, byte) in bytes.iter().enumerate() {
                        // SAFETY: as below.
                        unsafe { self.window.store(at + i as u64, &[*byte], Unit::Byte) };
                        // The first may be the end of a call that had begun before.
                        self.round()?;
                        self.round()?;
                    }
                }
                // SAFETY: inside the window, and whoever executes it is there to be harmed.
                _ => unsafe { self.window.store(at, bytes, unit) },
            }
        }
        Ok(())
    }

    /// By the contract no trap of ours may be pending any more: whoever trapped has been outside since. Otherwise only
    /// handlers that run are waited for.
    fn retire(&mut self) -> Result<(), Cause> {
        if self.retire == RetireRule::Contract {
            self.round()?;
        }
        TABLE.withdraw();
        TABLE.drain(PATIENCE).map_err(|_| Cause::TimedOut)
    }
}

impl Machine for Raw<'_> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        if self.executor.one_cpu && textpoke_cpu::timestamp() & 7 == 0 {
            // Nobody else runs between two steps unless we let them; most batches are to meet a thread that stands still.
            self.executor.give_way();
        }
        match step {
            Step::Open | Step::Maintain | Step::Close | Step::Done(_) => Ok(()),
            Step::Verify { after } => self.verify(after),
            Step::Publish => {
                // SAFETY: 1. one patcher. 2. The site is never freed, see the field. 3. None.
                unsafe { TABLE.publish(self.site, self.dir, core::ptr::null(), PATIENCE) }.map_err(|_| Cause::TimedOut)
            }
            Step::Store { phase, unit } => self.store(phase, unit),
            Step::SyncCores => Ok(sync::cores()?),
            Step::AwaitNoneInside => self.round(),
            Step::Retire => self.retire(),
            Step::Undo(_) => {
                self.dir = self.dir.opposite();
                Ok(())
            }
            // Stopping everybody, and NMIs, are a kernel's; waiting a while is no step of any variant here.
            Step::Park
            | Step::Unpark
            | Step::Record
            | Step::Announce { .. }
            | Step::Withdraw
            | Step::AwaitNmis
            | Step::Pause => Err(Cause::Unsupported),
        }
    }
}

/// Reads a byte of the text.
pub fn peek(at: u64) -> u8 {
    // SAFETY: mapped readable for good; only asked for bytes at the site.
    unsafe { (at as *const u8).read_volatile() }
}
