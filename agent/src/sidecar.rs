//! The sidecar: a process that shares the target's memory and performs plans there.
//!
//! It begins with all signals blocked, an empty descriptor table but for [`Control::tracer_fd`], and a stack in TABLE.

use core::sync::atomic::Ordering::Relaxed;

use textpoke_core::{Direction, Kind, Verdict};
use textpoke_linux::{sync, sys};
use textpoke_trace::control::{Control, ToSidecar, ToTracer};

use crate::machine::{End, Order, perform};
use crate::orphan;
use crate::params::{control, local};
use crate::talk::{Gone, Line};

/// The sidecar's first function.
pub extern "C" fn main() -> ! {
    const PR_SET_NAME: u32 = 15;
    // SAFETY: the kernel reads the name only. So that whoever looks at the process list knows what this is.
    let _ = unsafe { sys::prctl(PR_SET_NAME, [c"textpoke".as_ptr() as usize, 0, 0, 0]) };
    // From here on the thread headers mean something; a fork child's copy is zero again.
    local().alive.store(1, Relaxed);
    let line = Line::open(control());
    let registered = sync::register();
    line.say(ToTracer::Ready(registered.map_or_else(|errno| errno.0 as u32, |()| 0)));
    let mut books = Books { control: control(), broken: false };
    loop {
        match line.hear() {
            Ok(Some(ToSidecar::Exit)) | Err(Gone::Target) => sys::exit_group(0),
            Ok(Some(ToSidecar::Batch { kind, dir, first, count, mixed })) => {
                let order = Kind::from_raw(kind).zip(Direction::from_raw(dir));
                let order = order.map(|(kind, dir)| Order { kind, dir, first, count, mixed });
                line.say(match order.and_then(|order| books.perform(&line, order)) {
                    Some(verdict) => ToTracer::Finished(verdict.to_words()),
                    None => ToTracer::Refused,
                });
            }
            Ok(Some(ToSidecar::Answer(_)) | None) => line.say(ToTracer::Refused),
            Err(Gone::Tracer) => orphan::clean_up(&line, &mut books),
        }
    }
}

/// Which batches are installed. They are removed in the opposite order.
pub struct Books {
    control: &'static Control,
    /// A batch could not be undone: its table must stay, and only `textpoke repair` helps.
    broken: bool,
}

impl Books {
    /// Performs an order if it fits to what is installed. `None` if it was refused.
    pub fn perform(&mut self, line: &Line, order: Order) -> Option<Verdict> {
        let count = self.control.batch_count.load(Relaxed) as usize;
        let last = self.last();
        let fits = match order.dir {
            // What an earlier session left is in nobody's books.
            Direction::Remove if order.mixed => count == 0,
            Direction::Install if order.mixed => false,
            Direction::Install => {
                count < self.control.batches.len() && order.first == last.map_or(0, |l| l.first + l.count)
            }
            Direction::Remove => last.is_some_and(|l| (l.first, l.count) == (order.first, order.count)),
        };
        if self.broken || !fits {
            return None;
        }
        let End::Verdict(verdict) = perform(line, order) else { return None };
        match verdict {
            Verdict::Performed(Direction::Install) => {
                let batch = self.control.batches.get(count)?;
                batch.first.store(order.first, Relaxed);
                batch.count.store(order.count, Relaxed);
                batch.kind.store(order.kind.to_raw(), Relaxed);
                self.control.batch_count.store(count as u32 + 1, Relaxed);
            }
            Verdict::Performed(Direction::Remove) if order.mixed => {}
            Verdict::Performed(Direction::Remove) => self.control.batch_count.store(count as u32 - 1, Relaxed),
            Verdict::Undone(_) => {}
            Verdict::Broken(..) => self.broken = true,
        }
        Some(verdict)
    }

    /// The order that would remove the batch that was installed last.
    pub fn last(&self) -> Option<Order> {
        let index = (self.control.batch_count.load(Relaxed) as usize).checked_sub(1)?;
        let batch = self.control.batches.get(index)?;
        let kind = Kind::from_raw(batch.kind.load(Relaxed))?;
        let (first, count) = (batch.first.load(Relaxed), batch.count.load(Relaxed));
        Some(Order { kind, dir: Direction::Remove, first, count, mixed: false })
    }
}
