//! Exit sites: places from which a function is left, with room for a jump.

use crate::body::Body;
use crate::displace::{Ground, Room};
use crate::flow::runs_into_next;
use crate::indirect::Jump;
use crate::isa::{Arch, Flow};
use crate::reason::{Obstacle, Reason};
use crate::site::Site;

/// How a function is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitEvent {
    /// It returns.
    Return,
    /// It jumps to another function, which returns for it.
    TailJump,
}

/// A place where a function is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitSite {
    /// The displaced run. From its start on, control goes straight to the exit.
    pub site: Site,
    /// How the function is left.
    pub event: ExitEvent,
}

/// The exits of one function.
#[derive(Debug, Default)]
pub(crate) struct Exits {
    pub sites: Vec<ExitSite>,
    pub blocked: Vec<(u64, Reason)>,
}

/// What tells jumps apart.
pub(crate) struct Jumps<'j> {
    /// What the indirect jump at an index is.
    pub indirect: &'j dyn Fn(usize) -> Jump,
    /// Whether an address is in a cold part whose function is not known.
    pub foreign: &'j dyn Fn(u64) -> bool,
}

/// Where the exits of a function are looked for.
pub(crate) struct Place<'p, 'g, 'a, I: Arch> {
    pub ground: &'p Ground<'g, 'a>,
    pub body: &'p Body<I>,
    /// Per instruction: it belongs to a sequence that no jump may interrupt.
    pub inside: &'p [bool],
    pub entry: Option<Site>,
    /// Tried in this order.
    pub rooms: &'p [Room],
}

/// Finds every exit of a function and a site for each where there is room.
pub(crate) fn exits<I: Arch>(place: &Place<'_, '_, '_, I>, jumps: &Jumps<'_>) -> Exits {
    let mut found = Exits::default();
    let Place { ground, body, .. } = *place;
    let reached = body.reached(ground.marks);
    for (index, insn) in body.insns.iter().enumerate() {
        let ip = insn.ip;
        let outside = insn.target().filter(|&t| !body.contains(t));
        let event = match insn.flow {
            Flow::Return => ExitEvent::Return,
            Flow::Jump(_) => match outside {
                // It may come back, if the cold part is this function's after all.
                Some(target) if (jumps.foreign)(target) => {
                    found.blocked.push((ip, Reason::SharedCode));
                    continue;
                }
                Some(_) => ExitEvent::TailJump,
                None => continue,
            },
            Flow::Branch(_) if outside.is_some() => {
                found.blocked.push((ip, Reason::ConditionalExit));
                continue;
            }
            Flow::JumpIndirect => match (jumps.indirect)(index) {
                Jump::Table | Jump::Goto => continue,
                Jump::Tail => ExitEvent::TailJump,
                Jump::Either | Jump::Unknown(_) => {
                    found.blocked.push((ip, Reason::UnresolvedJump));
                    continue;
                }
            },
            _ => {
                if runs_out(body, index) {
                    found.blocked.push((ip, Reason::SharedCode));
                }
                continue;
            }
        };
        // What nothing reaches may be data that looks like an exit, and data must not be written to.
        if !reached[index] {
            found.blocked.push((ip, Reason::Undecodable));
            continue;
        }
        match first_fit(place.rooms, |room| window(place, index, room)) {
            Ok(site) => found.sites.push(ExitSite { site, event }),
            Err(reason) => found.blocked.push((ip, reason)),
        }
    }
    found
}

/// The site for the first jump that there is room for; if there is none, why not for the last, which needs least.
pub(crate) fn first_fit(rooms: &[Room], site: impl Fn(Room) -> Result<Site, Reason>) -> Result<Site, Reason> {
    let mut last = Reason::TooShort;
    for &room in rooms {
        match site(room) {
            Err(reason) => last = reason,
            found => return found,
        }
    }
    Err(last)
}

/// Control runs over the end of the function, into whatever follows.
fn runs_out<I: Arch>(body: &Body<I>, index: usize) -> bool {
    let insn = &body.insns[index];
    let last = body.insns.get(index + 1).is_none_or(|next| next.ip != insn.next_ip());
    last && runs_into_next::<I>(insn)
}

/// The run for the exit at `index`: the exit alone if it or the padding behind it has room, else
/// with as few instructions in front of it as are needed.
fn window<I: Arch>(place: &Place<'_, '_, '_, I>, index: usize, room: Room) -> Result<Site, Reason> {
    let Place { ground, body, inside, entry, .. } = *place;
    let insns = &body.insns;
    let last = &insns[index];
    I::movable(last)?;
    let end = last.next_ip() + ground.padding::<I>(last.next_ip());
    let mut first = index;
    while end - insns[first].ip < room.length {
        if ground.marks.entered(insns[first].ip) {
            return Err(Reason::BranchInto);
        }
        let before = body.before(first).ok_or(Reason::TooShort)?;
        if insns[before].flow != Flow::Next {
            return Err(Reason::BranchInto);
        }
        I::movable(&insns[before])?;
        first = before;
    }
    let start = insns[first].ip;
    if entry.is_some_and(|e| start < e.end() && e.vaddr < last.next_ip().max(start + room.length)) {
        return Err(Reason::OverlapsEntry);
    }
    let run = &insns[first..=index];
    if inside[first..=index].contains(&true) {
        return Err(Reason::NotRelocatable(Obstacle::Sequence));
    }
    // Of a long instruction in front of the exit, only that one is displaced: the exit follows in place.
    let displaced = run.iter().take_while(|i| i.ip - start < room.length).count();
    ground.site::<I>(&run[..displaced], I::jump(room.length, run, room.spare), room.length)
}
