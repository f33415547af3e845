//! Putting things in order after whoever changed keys died in the middle of it.

use textpoke_core::isa::X86_64;
use textpoke_core::{Direction, Kind as Protocol, Plan, Run, Site, Verdict, drive};
use textpoke_keys::abi::Kind;
use textpoke_keys::form::{Forms, How, MAX_LEN};

use crate::error::Error;
use crate::inject::peek;
use crate::keeper::Keeper;
use crate::proc;

use super::flip::{COUNT, change, forget, read};
use super::hand::Hand;
use super::outside::Outside;
use super::tables::Tables;
use super::words::{self, Words};

/// Most changes that are believed to be under way.
const MOST_CHANGES: u32 = 1 << 20;

/// Makes the sites of all keys that were being changed what the keys' published values say, whatever stands there. The
/// lock is held. Answers how many sites were changed.
///
/// # Errors
/// What cannot be put in order stays listed.
pub fn put(keeper: &mut Keeper, hand: &mut Hand, words: Words) -> Result<usize, Error> {
    let lost = |_| Error::Gone(keeper.pid());
    let count = words::half(keeper.memory(), words.change_count()).map_err(lost)?;
    let at = words::word(keeper.memory(), words.changes()).map_err(lost)?;
    if count == 0 {
        return Ok(0);
    }
    if count > MOST_CHANGES {
        return Err(Error::Damaged("the list of changes in the process is damaged".into()));
    }
    let mut list = vec![0; count as usize * 16];
    peek(keeper, at, &mut list)?;
    let tables = read(keeper)?;
    let (mut plain, mut mixed) = (Vec::new(), Vec::new());
    for pair in list.as_chunks::<16>().0 {
        let key = u64::from_le_bytes(*pair.first_chunk().unwrap_or(&[0; 8]));
        // An object that is unmapped by now needs nothing.
        let Some(key) = tables.key_at(key) else { continue };
        for entry in &key.sites {
            let mut now = [0; MAX_LEN];
            let now = &mut now[..usize::from(entry.len).min(MAX_LEN)];
            peek(keeper, entry.code, now)?;
            match X86_64::change(entry, now, key.value, How::Store) {
                Ok(site) => plain.extend(site),
                // Traps, or a mixture.
                Err(_) => mixed.extend(X86_64::mend(entry, now, key.value).map_err(|why| {
                    Error::Damaged(format!("the code at {:#x} was changed by somebody else: {why}", entry.code))
                })?),
            }
        }
        // Going off it was counted out before the code changed, coming on it is counted in behind it.
        if key.kind == Kind::Branch && (key.value != 0) != (key.count != 0) {
            hand.exchange_if(keeper, key.at + COUNT, key.count, key.value as u32)?;
        }
    }
    change(keeper, hand, &mut plain).map_err(|(error, _)| error)?;
    finish(keeper, hand, &mut mixed)?;
    close_windows(keeper, hand, &tables)?;
    forget(keeper, hand, words)?;
    Ok(plain.len() + mixed.len())
}

/// Ends a batch of `breakpoint` that somebody else began. Threads that run into its traps are helped on by the keeper.
fn finish(keeper: &mut Keeper, hand: &mut Hand, sites: &mut [Site]) -> Result<(), Error> {
    if sites.is_empty() {
        return Ok(());
    }
    sites.sort_unstable_by_key(|site| site.addr);
    Plan::<X86_64>::new(sites).map_err(|e| Error::Damaged(format!("the tables in the process are damaged: {e}")))?;
    let mut outside = Outside::new(keeper, hand, sites);
    match drive(Run::finish(Protocol::Breakpoint, Direction::Install), &mut outside) {
        Verdict::Performed(_) => Ok(()),
        verdict => Err(outside.error.take().unwrap_or(Error::Batch(verdict))),
    }
}

/// Text of objects with keys that the dead one left writable gets the protections that its file asks for.
fn close_windows(keeper: &mut Keeper, hand: &mut Hand, tables: &Tables) -> Result<(), Error> {
    const EXECUTE: u32 = 1;
    const WRITE: u32 = 2;
    let maps = proc::maps(keeper.pid()).map_err(|_| Error::Gone(keeper.pid()))?;
    let code =
        tables.objects.iter().flat_map(|object| &object.segments).filter(|s| s.flags & (EXECUTE | WRITE) == EXECUTE);
    let open: Vec<_> = code
        .flat_map(|segment| maps.iter().filter(|m| m.start < segment.end && segment.start < m.end))
        .filter(|m| m.prot & libc::PROT_WRITE != 0)
        .map(|m| (m.start, m.end, (m.prot & !libc::PROT_WRITE) as u64))
        .collect();
    hand.protect(keeper, &open)
}
