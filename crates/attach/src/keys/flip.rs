//! Changing keys of a running process.

use std::time::{Duration, Instant};

use textpoke_core::isa::X86_64;
use textpoke_core::{Direction, Kind as Protocol, Plan, Refusal, Run, Site, Verdict, drive};
use textpoke_keys::abi::Kind;
use textpoke_keys::form::{Forms, How, MAX_LEN};

use crate::error::Error;
use crate::image::Image;
use crate::inject::{peek, poke};
use crate::keeper::{Keeper, hold};
use crate::preflight;
use crate::proc;
use crate::remains;
use crate::session::Session;

use super::decide::{Act, Operation, decide};
use super::hand::Hand;
use super::holder;
use super::lock;
use super::memory::Pages;
use super::order;
use super::outside::Outside;
use super::tables::{Key, Tables};
use super::words::{self, Words};

/// How long another textpoke that holds the process is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a change of the program's own may come in between.
const MOST_ROUNDS: u32 = 100;

/// A change that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Address of the key.
    pub at: u64,
    /// Its full name, by which it is known again.
    pub name: String,
    /// What is to be done with it.
    pub op: Operation,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flipped {
    /// Full name of the key.
    pub name: String,
    /// Its value before and afterwards.
    pub value: (u64, u64),
    /// Its users before and afterwards.
    pub count: (u32, u32),
    /// Sites that were changed.
    pub sites: usize,
}

/// By which protocol code is changed.
#[derive(Clone, Copy)]
pub enum Way<'a> {
    /// `word`: one store for each site. On processors of other makers than AMD an assumption.
    Word,
    /// `breakpoint`: traps. What answers them should this process be killed is in the agent's image.
    Traps(&'a [u8]),
}

impl<'a> Way<'a> {
    /// What this processor's maker documents.
    #[must_use]
    pub fn documented(agent: &'a [u8]) -> Self {
        if textpoke_linux::cpu::documents_word_store() { Self::Word } else { Self::Traps(agent) }
    }

    fn how(self) -> How {
        match self {
            Self::Word => How::Store,
            Self::Traps(_) => How::Head,
        }
    }
}

/// Changes keys, together, while all threads run.
///
/// # Errors
/// The keys are as before, unless the error says otherwise.
pub fn flip(pid: i32, wanted: &[Wanted], way: Way<'_>) -> Result<Vec<Flipped>, Error> {
    let start = Instant::now();
    loop {
        let done = preflight::check(pid).and_then(|()| hold(pid, |keeper| held(keeper, wanted, way)));
        match done {
            // Another flip, or a recording that begins or ends.
            Err(Error::Traced(_, _, name)) if name == "textpoke" && start.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            done => return done,
        }
    }
}

fn held(keeper: &mut Keeper, wanted: &[Wanted], way: Way<'_>) -> Result<Vec<Flipped>, Error> {
    let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
    let remains = remains::find(&maps);
    // What a flip left that was killed. While a recording lives, or is to be repaired, it is the recording's.
    let leftovers = if remains.data.is_none() { remains.private } else { Vec::new() };
    if matches!(way, Way::Traps(_)) && remains.data.is_some() {
        // Two that answer traps would be in each other's way.
        remains::check(keeper.pid(), &maps)?;
    }
    let mut hand = Hand::new(keeper, wanted.len())?;
    let done = locked(keeper, &mut hand, wanted, way);
    let left = hand.leave(keeper, if done.is_ok() { &leftovers } else { &[] });
    done.and_then(|flipped| left.map(|()| flipped))
}

fn locked(keeper: &mut Keeper, hand: &mut Hand, wanted: &[Wanted], way: Way<'_>) -> Result<Vec<Flipped>, Error> {
    let words = hand.words(keeper)?;
    lock::take(keeper, hand, words)?;
    let done = order::put(keeper, hand, words).and_then(|_| {
        let mut flipped = Vec::new();
        let mut rest: Vec<&Wanted> = wanted.iter().collect();
        for _ in 0..MOST_ROUNDS {
            rest = round(keeper, hand, (words, way), &rest, &mut flipped)?;
            if rest.is_empty() {
                return Ok(flipped);
            }
        }
        Err(Error::Damaged("the program changes the same keys all the time; try again".into()))
    });
    if matches!(done, Err(Error::Gone(_) | Error::Execed(_))) {
        return done;
    }
    if words.has_changes(keeper.memory()) {
        // Could be neither done nor undone: whoever comes next finds a new epoch, and puts things in order.
        let epoch = words::half(keeper.memory(), words.epoch()).unwrap_or_default();
        poke(keeper, words.epoch(), &epoch.wrapping_add(1).to_le_bytes())?;
    }
    lock::give_back(keeper, hand, words)?;
    done
}

/// A key that turns, with what it was.
struct Turn {
    key: Key,
    count: u32,
    to: u64,
    sites: Vec<Site>,
}

impl Turn {
    fn is_branch(&self) -> bool {
        self.key.kind == Kind::Branch
    }

    fn goes_off(&self) -> bool {
        self.is_branch() && self.to == 0
    }

    /// From the count that it had to this one.
    fn counted(&self, to: u32) -> (u64, u32, u32) {
        (self.key.at + COUNT, self.count, to)
    }
}

/// Does what is wanted, and answers what the program came in between with: that is to be decided anew.
fn round<'w>(
    keeper: &mut Keeper,
    hand: &mut Hand,
    (words, way): (Words, Way<'_>),
    wanted: &[&'w Wanted],
    flipped: &mut Vec<Flipped>,
) -> Result<Vec<&'w Wanted>, Error> {
    let tables = read(keeper)?;
    let (mut turns, mut counts, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for &want in wanted {
        let key = tables.key_at(want.at).filter(|key| key.full_name() == want.name);
        let key =
            key.ok_or_else(|| Error::Damaged(format!("{} is not there any more; nothing was changed", want.name)))?;
        let act = decide(key, key.count, want.op).map_err(|why| Error::Damaged(format!("{} {why}", want.name)))?;
        match act {
            Act::Nothing => flipped.push(Flipped {
                name: want.name.clone(),
                value: (key.value, key.value),
                count: (key.count, key.count),
                sites: 0,
            }),
            Act::Count(to) => counts.push((want, key, to)),
            Act::Turn(to) => {
                let sites = sites_of(keeper, key, to, way.how())?;
                turns.push((want, Turn { key: key.clone(), count: key.count, to, sites }));
            }
        }
    }
    if !turns.is_empty() {
        // First: whoever is killed behind this leaves something to be put in order.
        let list: Vec<(u64, u64)> = turns.iter().map(|(_, turn)| (turn.key.at, turn.to)).collect();
        announce(keeper, hand, words, &list)?;
    }
    // Going off begins with the count, so that nobody counts on it any more.
    let off: Vec<_> = turns.iter().filter(|(_, turn)| turn.goes_off()).map(|(_, turn)| turn.counted(0)).collect();
    let mut found = hand.exchange_all(keeper, &off)?.into_iter();
    let mut going = Vec::new();
    for (want, turn) in turns {
        if turn.goes_off() && found.next() != Some(turn.count) {
            again.push(want);
        } else {
            going.push(turn);
        }
    }
    if !going.is_empty() || !again.is_empty() {
        turn(keeper, hand, (words, way), &going)?;
    }
    flipped.extend(going.iter().map(|turn| Flipped {
        name: turn.key.full_name(),
        value: (turn.key.value, turn.to),
        count: (turn.count, if turn.is_branch() { turn.to as u32 } else { turn.count }),
        sites: turn.sites.len(),
    }));
    let pairs: Vec<_> = counts.iter().map(|(_, key, to)| (key.at + COUNT, key.count, *to)).collect();
    let found = hand.exchange_all(keeper, &pairs)?;
    for ((want, key, to), found) in counts.into_iter().zip(found) {
        if found == key.count {
            let value = (key.value, key.value);
            flipped.push(Flipped { name: want.name.clone(), value, count: (key.count, to), sites: 0 });
        } else {
            again.push(want);
        }
    }
    Ok(again)
}

/// Offsets in a key.
pub(super) const COUNT: u64 = std::mem::offset_of!(textpoke_keys::abi::Key, count) as u64;
pub(super) const VALUE: u64 = std::mem::offset_of!(textpoke_keys::abi::Key, value) as u64;

/// Tells which keys are about to change.
fn announce(keeper: &mut Keeper, hand: &mut Hand, words: Words, list: &[(u64, u64)]) -> Result<(), Error> {
    let at = hand.list(keeper, list)?;
    hand.store(keeper, words.changes(), at)?;
    poke(keeper, words.change_count(), &(list.len() as u32).to_le_bytes())
}

/// Changes the code of keys in one batch, then publishes their values.
fn turn(keeper: &mut Keeper, hand: &mut Hand, (words, way): (Words, Way<'_>), turns: &[Turn]) -> Result<(), Error> {
    let mut sites: Vec<Site> = turns.iter().flat_map(|turn| turn.sites.iter().copied()).collect();
    let changed = match way {
        Way::Word => change(keeper, hand, &mut sites),
        Way::Traps(agent) => change_by_traps(keeper, hand, words, agent, &mut sites),
    };
    if let Err((error, undone)) = changed {
        if undone {
            let back: Vec<_> = turns.iter().filter(|t| t.goes_off()).map(|t| (t.key.at + COUNT, 0, t.count)).collect();
            hand.exchange_all(keeper, &back)?;
            forget(keeper, hand, words)?;
        }
        return Err(error);
    }
    let values: Vec<_> = turns.iter().map(|turn| (turn.key.at + VALUE, turn.to)).collect();
    hand.store_all(keeper, &values)?;
    let on: Vec<_> = turns.iter().filter(|t| t.is_branch() && t.to == 1).map(|turn| turn.counted(1)).collect();
    hand.exchange_all(keeper, &on)?;
    forget(keeper, hand, words)
}

/// Nothing is under way any more.
pub(super) fn forget(keeper: &mut Keeper, hand: &mut Hand, words: Words) -> Result<(), Error> {
    poke(keeper, words.change_count(), &0u32.to_le_bytes())?;
    hand.store(keeper, words.changes(), 0)
}

/// Changes the sites by the protocol `word`. With the error comes whether all is as it was.
pub(super) fn change(keeper: &mut Keeper, hand: &mut Hand, sites: &mut [Site]) -> Result<(), (Error, bool)> {
    if sites.is_empty() {
        return Ok(());
    }
    sites.sort_unstable_by_key(|site| site.addr);
    Plan::<X86_64>::new(sites)
        .map_err(|e| (Error::Damaged(format!("the tables in the process are damaged: {e}")), true))?;
    let mut outside = Outside::new(keeper, hand, sites);
    match drive(Run::new(Protocol::Word, Direction::Install), &mut outside) {
        Verdict::Performed(_) => Ok(()),
        verdict => {
            let error = outside.error.take().unwrap_or(Error::Batch(verdict));
            Err((error, matches!(verdict, Verdict::Undone(_))))
        }
    }
}

/// Changes the sites by the protocol `breakpoint`, performed by a sidecar that ends the batch should we be killed. It holds
/// the lock meanwhile, so that nobody else touches the code before.
fn change_by_traps(
    keeper: &mut Keeper,
    hand: &mut Hand,
    words: Words,
    agent: &[u8],
    sites: &mut [Site],
) -> Result<(), (Error, bool)> {
    if sites.is_empty() {
        return Ok(());
    }
    sites.sort_unstable_by_key(|site| site.addr);
    let untouched = |error| (error, true);
    Plan::<X86_64>::new(sites)
        .and_then(Plan::trappable)
        .map_err(|e| untouched(Error::Damaged(format!("the tables in the process are damaged: {e}"))))?;
    let image = Image::load(agent).map_err(|e| untouched(Error::Image(e.to_string())))?;
    let mut session = Session::of_keys(keeper, &image, sites).map_err(untouched)?;
    let sidecar = session.sidecar();
    let its = (proc::inner_pid(sidecar) as u32, holder::start_time_inside(keeper.pid(), sidecar));
    let ours = (hand.tid(), hand.started());
    let verdict = lock::hand_over(keeper, hand, words, its).and_then(|()| session.change_keys(keeper));
    // The code is what the keys will say: a child forked from here on keeps it.
    keeper.set_changed(&[]);
    let ended = lock::hand_over(keeper, hand, words, ours).and_then(|()| session.end(keeper));
    match verdict {
        Ok(Verdict::Performed(_)) => ended.map_err(|e| (e, false)),
        Ok(verdict) => Err((Error::Batch(verdict), matches!(verdict, Verdict::Undone(_)))),
        Err(error) => Err((error, false)),
    }
}

/// What is to be changed at the sites of a key for this value.
fn sites_of(keeper: &Keeper, key: &Key, value: u64, how: How) -> Result<Vec<Site>, Error> {
    let mut sites = Vec::new();
    for entry in &key.sites {
        let mut now = [0; MAX_LEN];
        let now = &mut now[..usize::from(entry.len).min(MAX_LEN)];
        peek(keeper, entry.code, now)?;
        match X86_64::change(entry, now, value, how) {
            Ok(site) => sites.extend(site),
            Err(Refusal::Length { .. }) => {
                return Err(Error::Damaged(format!(
                    "{} has eight bytes, which only one store can change: --protocol word",
                    key.full_name()
                )));
            }
            Err(why) => {
                return Err(Error::Damaged(format!(
                    "the code of {} at {:#x} is not what it should be (is another tool at work there, or `textpoke record`?): \
                     {why}; nothing was changed",
                    key.full_name(),
                    entry.code
                )));
            }
        }
    }
    Ok(sites)
}

pub(super) fn read(keeper: &Keeper) -> Result<Tables, Error> {
    let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
    Ok(Tables::read(&mut Pages::new(keeper.memory()), &maps))
}
