//! The last check: no two sites of a file may share a byte, whatever was decided before.

use crate::functions::{ExitKind, Function};
use crate::reason::Reason;
use crate::site::Site;

/// Which site of which function.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    end: u64,
    function: usize,
    /// `None` is the entry.
    exit: Option<usize>,
}

/// Gives up sites until none overlaps another: an exit before an entry, otherwise both.
pub(crate) fn separate(functions: &mut [Function]) {
    let mut places = Vec::new();
    for (function, f) in functions.iter().enumerate() {
        let place = |site: &Site, exit| Place { start: site.vaddr, end: site.end(), function, exit };
        places.extend(f.entry.as_ref().ok().map(|s| place(s, None)));
        places.extend(f.exits.iter().enumerate().map(|(i, e)| place(&e.site, Some(i))));
    }
    places.sort_by_key(|p| (p.start, p.end));
    let mut dropped: Vec<(usize, Option<usize>)> = Vec::new();
    let mut furthest: Option<Place> = None;
    for place in places {
        if let Some(before) = furthest.filter(|b| place.start < b.end) {
            match (before.exit, place.exit) {
                (None, Some(_)) => dropped.push((place.function, place.exit)),
                (Some(_), None) => dropped.push((before.function, before.exit)),
                _ => {
                    dropped.push((place.function, place.exit));
                    dropped.push((before.function, before.exit));
                }
            }
        }
        if furthest.is_none_or(|b| place.end > b.end) {
            furthest = Some(place);
        }
    }
    dropped.sort_unstable();
    dropped.dedup();
    // From the back, so that the indices of exits that come first stay right.
    for (function, exit) in dropped.into_iter().rev() {
        let f = &mut functions[function];
        match exit {
            None => f.entry = Err(Reason::SharedCode),
            Some(index) => {
                let lost = f.exits.remove(index);
                f.blocked_exits.push((lost.site.vaddr, Reason::SharedCode));
                if f.exit == ExitKind::Patched {
                    f.exit = ExitKind::Inferred;
                }
            }
        }
    }
}
