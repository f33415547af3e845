//! The engine's lock, taken from outside by a [`Hand`]: whoever changes code in the process waits meanwhile.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::inject::poke;
use crate::keeper::Keeper;

use super::hand::Hand;
use super::holder;
use super::words::{self, FORKED, KNOWN, TAKEN_OVER, WAITED_FOR, Words};

/// How long a live holder is waited for. A batch takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the same holder is believed to be at work before it is looked for.
const GLANCE: Duration = Duration::from_millis(50);

/// How often threads of the program let us go first, a millisecond each, before they forget about us.
const AHEAD: u32 = 200;

/// Takes the lock. While it is waited for, the program's threads run on and are served.
///
/// # Errors
/// [`Error::Locked`] when a holder that lives does not give it back.
pub fn take(keeper: &mut Keeper, hand: &mut Hand, words: Words) -> Result<(), Error> {
    let start = Instant::now();
    let me = hand.tid();
    let mark = words.fork_mark();
    match hand.exchange_if(keeper, mark, FORKED, TAKEN_OVER)? {
        FORKED => {
            // No thread of a fork child touches the lock before the mark changes.
            hand.exchange(keeper, words.lock(), me | WAITED_FOR)?;
            taken_over(keeper, hand, words)?;
            return hand.exchange(keeper, mark, KNOWN).map(drop);
        }
        TAKEN_OVER => {
            while half(keeper, mark)? == TAKEN_OVER {
                pause(keeper, start, words)?;
            }
        }
        _ => {}
    }
    let taken = take_from_others(keeper, hand, words, start);
    // We may have been the only one who waited.
    poke(keeper, words.ahead(), &0u32.to_le_bytes())?;
    taken
}

fn take_from_others(keeper: &mut Keeper, hand: &mut Hand, words: Words, start: Instant) -> Result<(), Error> {
    let me = hand.tid();
    let mut seen = (0, Instant::now());
    loop {
        let found = hand.exchange_if(keeper, words.lock(), 0, me)?;
        if found == 0 {
            return own(keeper, hand, words);
        }
        poke(keeper, words.ahead(), &AHEAD.to_le_bytes())?;
        if found != seen.0 {
            seen = (found, Instant::now());
        }
        if seen.1.elapsed() > GLANCE {
            let started = words::word(keeper.memory(), words.started()).map_err(|_| Error::Gone(keeper.pid()))?;
            if !holder::is_alive(keeper.pid(), found & !WAITED_FOR, started) {
                // First, so that nobody takes the dead one's start time for ours.
                hand.store(keeper, words.started(), 0)?;
                if hand.exchange_if(keeper, words.lock(), found, me | WAITED_FOR)? == found {
                    return taken_over(keeper, hand, words);
                }
            }
            seen.1 = Instant::now();
        }
        pause(keeper, start, words)?;
    }
}

/// Gives the lock back.
///
/// # Errors
/// The hand was lost.
pub fn give_back(keeper: &mut Keeper, hand: &mut Hand, words: Words) -> Result<(), Error> {
    hand.store(keeper, words.started(), 0)?;
    if hand.exchange(keeper, words.lock(), 0)? & WAITED_FOR != 0 {
        hand.wake(keeper, words.lock())?;
    }
    Ok(())
}

/// Makes another process that shares the memory the holder: the one that lives as long as code may be changing.
///
/// # Errors
/// The hand was lost.
pub fn hand_over(keeper: &mut Keeper, hand: &mut Hand, words: Words, to: (u32, u64)) -> Result<(), Error> {
    hand.store(keeper, words.started(), 0)?;
    loop {
        let now = half(keeper, words.lock())?;
        if hand.exchange_if(keeper, words.lock(), now, to.0 | now & WAITED_FOR)? == now {
            return hand.store(keeper, words.started(), to.1);
        }
    }
}

fn taken_over(keeper: &mut Keeper, hand: &mut Hand, words: Words) -> Result<(), Error> {
    own(keeper, hand, words)?;
    let epoch = half(keeper, words.epoch())?;
    poke(keeper, words.epoch(), &epoch.wrapping_add(1).to_le_bytes())
}

/// The hand is no thread of the process: its start time tells it from who may have its number later.
fn own(keeper: &mut Keeper, hand: &mut Hand, words: Words) -> Result<(), Error> {
    let started = hand.started();
    hand.store(keeper, words.started(), started)
}

fn half(keeper: &Keeper, at: u64) -> Result<u32, Error> {
    words::half(keeper.memory(), at).map_err(|_| Error::Gone(keeper.pid()))
}

fn pause(keeper: &mut Keeper, start: Instant, words: Words) -> Result<(), Error> {
    if start.elapsed() > PATIENCE {
        return Err(Error::Locked(keeper.pid(), half(keeper, words.lock())? & !WAITED_FOR));
    }
    keeper.pump()?;
    std::thread::sleep(Duration::from_micros(200));
    Ok(())
}
