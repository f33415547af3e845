//! Flips by a machine made for the test: text that nobody executes, changed by the protocols of the core.

use std::sync::atomic::Ordering::Relaxed;

use textpoke_core::isa::X86_64;
use textpoke_core::{
    Cause, Direction, Kind as Protocol, Machine, Plan, PlanError, Refusal, Run, Site, Step, Verdict, drive,
};
use textpoke_keys::abi::{Entry, Key, Kind, LIKELY};
use textpoke_keys::flip::{Error, Text, flip};
use textpoke_keys::form::How;

const BASE: u64 = 0x40_0000;
const OFF: [u8; 8] = [0x0f, 0x1f, 0x84, 0xe9, 1, 2, 3, 4];
const JUMPS: [u8; 8] = [0x0f, 0x1f, 0xc0, 0xe9, 1, 2, 3, 4];
const SHORT_OFF: [u8; 8] = [0x0f, 0x1f, 0x44, 0xeb, 7, 0x90, 0x90, 0x90];
const SHORT_JUMPS: [u8; 8] = [0x0f, 0x1f, 0xc0, 0xeb, 7, 0x90, 0x90, 0x90];

/// The text, and what the value was each time that a byte of it changed.
struct Kernel<const STORE: bool> {
    text: Vec<u8>,
    key: &'static Key,
    values_seen: Vec<bool>,
    syncs: u32,
    /// The step that fails.
    fails: Option<Step>,
}

/// A batch on the text of a [`Kernel`].
struct Batch<'a, const STORE: bool> {
    kernel: &'a mut Kernel<STORE>,
    sites: &'a [Site],
    dir: Direction,
}

impl<const STORE: bool> Kernel<STORE> {
    fn at(&mut self, addr: u64, len: usize) -> &mut [u8] {
        &mut self.text[(addr - BASE) as usize..][..len]
    }
}

impl<const STORE: bool> Text for Kernel<STORE> {
    type Error = Verdict;
    type Isa = X86_64;
    const HOW: How = if STORE { How::Store } else { How::Head };

    fn read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Verdict> {
        buf.copy_from_slice(self.at(addr, buf.len()));
        Ok(())
    }

    fn patch(&mut self, plan: Plan<'_, X86_64>) -> Result<(), Verdict> {
        let kind = if STORE { Protocol::Word } else { Protocol::Breakpoint };
        let sites = plan.suits(kind).expect("what the forms make suits").plan().sites();
        let dir = Direction::Install;
        match drive(Run::new(kind, dir), &mut Batch { kernel: self, sites, dir }) {
            Verdict::Performed(_) => Ok(()),
            other => Err(other),
        }
    }
}

impl<const STORE: bool> Machine for Batch<'_, STORE> {
    fn perform(&mut self, step: Step) -> Result<(), Cause> {
        if self.kernel.fails == Some(step) {
            self.kernel.fails = None;
            return Err(Cause::TimedOut);
        }
        match step {
            Step::Verify { after } => {
                for site in self.sites {
                    let expected = if after { site.after(self.dir) } else { site.before(self.dir) };
                    if self.kernel.at(site.addr, expected.len()) != expected {
                        return Err(Cause::Mismatch(site.addr));
                    }
                }
            }
            Step::Store { phase, .. } => {
                for site in self.sites {
                    for write in site.writes::<X86_64>(phase, self.dir) {
                        let on = !self.kernel.key.value.load(Relaxed).is_null();
                        self.kernel.values_seen.push(on);
                        let at = site.addr + u64::from(write.offset);
                        self.kernel.at(at, write.bytes().len()).copy_from_slice(write.bytes());
                    }
                }
            }
            Step::SyncCores => self.kernel.syncs += 1,
            Step::Undo(_) => self.dir = self.dir.opposite(),
            _ => {}
        }
        Ok(())
    }
}

fn entry(at: u64, flags: u8, len: u8, slot: u64) -> Entry {
    Entry { code: BASE + at, target: 0, slot, index: 0, kind: Kind::Branch, flags, len }
}

/// Three sites of the key, not in order, and one of another.
fn entries() -> [Entry; 4] {
    [entry(16, LIKELY, 5, 1), entry(0, 0, 8, 1), entry(8, 0, 8, 2), entry(24, 0, 5, 1)]
}

/// The key is off; who is likely jumps.
fn text() -> Vec<u8> {
    [OFF, OFF, SHORT_JUMPS, SHORT_OFF].concat()
}

fn kernel<const STORE: bool>() -> Kernel<STORE> {
    let key = Box::leak(Box::new(Key::new(Kind::Branch, 1, 0, std::ptr::null(), "K", "k.rs", 1)));
    Kernel { text: text(), key, values_seen: Vec::new(), syncs: 0, fails: None }
}

fn set<const STORE: bool>(kernel: &mut Kernel<STORE>, on: bool, buffer: usize) -> Result<(), Error<Verdict>> {
    let key = kernel.key;
    let address = std::ptr::from_ref(key).addr() as u64;
    let key_of = |entry: &Entry| if entry.slot == 1 { address } else { 0 };
    let room = Site::single(BASE, &[0x90], &[0xc3]).expect("a site");
    let value = std::ptr::without_provenance_mut(usize::from(on));
    flip(kernel, entries(), key_of, key, value, &mut vec![room; buffer])
}

fn flips<const STORE: bool>() {
    let mut kernel = kernel::<STORE>();
    for on in [true, true, false, false, true] {
        let before = kernel.values_seen.len();
        let was = !kernel.key.value.load(Relaxed).is_null();
        let syncs = kernel.syncs;
        set(&mut kernel, on, 3).expect("nothing is in the way");
        let wants = if on { [JUMPS, OFF, SHORT_OFF, SHORT_JUMPS].concat() } else { text() };
        assert_eq!(kernel.text, wants, "{on}, store {STORE}");
        assert_eq!(!kernel.key.value.load(Relaxed).is_null(), on);
        let stores = &kernel.values_seen[before..];
        if was == on {
            assert!(stores.is_empty() && kernel.syncs == syncs, "what stands there is not stored again");
        } else {
            assert_eq!(stores.len(), if STORE { 3 } else { 9 });
            assert!(stores.iter().all(|&seen| seen == was), "the value comes behind the code");
            assert_eq!(kernel.syncs - syncs, if STORE { 1 } else { 3 });
        }
    }
}

#[test]
fn all_sites_of_a_key_change_and_then_its_value() {
    flips::<true>();
    flips::<false>();
}

fn refuses<const STORE: bool>() {
    let mut kernel = kernel::<STORE>();
    let unchanged = |kernel: &Kernel<STORE>, text: &[u8]| {
        assert!(kernel.text == text && kernel.key.value.load(Relaxed).is_null(), "store {STORE}");
    };
    assert_eq!(set(&mut kernel, true, 2), Err(Error::TooMany));
    unchanged(&kernel, &text());
    // Each step that does something fails once.
    let kind = if STORE { Protocol::Word } else { Protocol::Breakpoint };
    let program = kind.program(Direction::Install);
    let steps =
        program.iter().filter(|step| matches!(step, Step::Verify { .. } | Step::Store { .. } | Step::SyncCores));
    let mut failed = 0;
    for &step in steps {
        kernel.fails = Some(step);
        let done = set(&mut kernel, true, 3);
        assert!(matches!(done, Err(Error::Machine(Verdict::Undone(_)))), "{step:?}: {done:?}");
        unchanged(&kernel, &text());
        failed += 1;
    }
    assert!(failed >= 3);
    // Somebody else's code stands at the last of them.
    kernel.text[24] = 0xcc;
    let text = kernel.text.clone();
    assert_eq!(set(&mut kernel, true, 3), Err(Error::Refused(BASE + 24, Refusal::OldNotEmulated)));
    unchanged(&kernel, &text);
}

#[test]
fn what_fails_changes_nothing() {
    refuses::<true>();
    refuses::<false>();
}

#[test]
fn two_entries_of_one_site_are_no_plan() {
    let mut kernel = kernel::<true>();
    let (key, twice) = (kernel.key, [entry(0, 0, 8, 1), entry(0, 0, 8, 1)]);
    let address = std::ptr::from_ref(key).addr() as u64;
    let room = Site::single(BASE, &[0x90], &[0xc3]).expect("a site");
    let value = std::ptr::without_provenance_mut(1);
    let done = flip(&mut kernel, twice, |_| address, key, value, &mut [room; 2]);
    assert_eq!(done, Err(Error::Plan(PlanError::Order(1))));
    assert!(kernel.text == text() && key.value.load(Relaxed).is_null());
}
