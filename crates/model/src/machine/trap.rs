//! The way of a trap: pending, looked at, table read, answered by `core::trap::resolve`.

use textpoke_core::trap::{Effect, Regs, Resolution, Table};
use textpoke_core::{Direction, Site};

use super::thread::put;
use super::{Machine, Sink};
use crate::action::{Action, Answer};
use crate::property::Violation;
use crate::scenario::IsaId;
use crate::state::*;
use crate::text::Text;

/// Where the program's own trap instruction stands: in no site.
const OWN_ADDRESS: u64 = 0x7000;

impl Machine {
    /// Whether the trap instruction at `spot` stands in memory.
    pub(super) fn trap_stands(&self, text: u32, spot: Spot) -> bool {
        if spot.site == OWN {
            // A thread that was moved although its trap was pending: no trap instruction stands in the copy.
            return spot.offset == 0;
        }
        let lane = self.text.lane(usize::from(spot.site), usize::from(spot.offset));
        (text >> (2 * lane) & 3) as u8 == self.text.trap(lane)
    }

    fn trap_address(&self, spot: Spot) -> u64 {
        match (spot.site, spot.offset) {
            (OWN, 0) => OWN_ADDRESS,
            (OWN, moved_from) => {
                let site = &self.sites[0][0];
                site.copy + u64::from(site.copy_at[usize::from(moved_from)]) - self.isa().trap_pc_advance()
            }
            (site, offset) => self.text.addr(usize::from(site)) + u64::from(offset),
        }
    }

    /// The next moment of thread `t`'s trap.
    pub(super) fn trap<const N: usize>(&self, s: &State<N>, t: usize, out: &mut impl Sink<N>) {
        let th = s.threads[t];
        let who = self.who::<N>(th, t);
        let Some(spot) = th.spot() else { return };
        match th.stage() {
            Stage::Program => {}
            Stage::Pending if s.misc & HANDLER == 0 => {
                if spot == Spot::head(OWN) {
                    // The program's own handler has it, as it would without us.
                    return out.take(who, Action::Answers { answer: Answer::Own }, Ok(put(s, t, th.outside())));
                }
                out.take(who, Action::NoHandler, Err(Violation::LostTrap));
            }
            // Two reads, the trap instruction's first.
            Stage::Pending | Stage::Looked if (th.stage() == Stage::Looked) == self.world.table_first => {
                let still = self.trap_stands(s.text, spot);
                out.take(who, Action::Looks { still }, Ok(put(s, t, th.looked(still))));
            }
            Stage::Pending | Stage::Looked => {
                let table = s.table();
                out.take(who, Action::Reads { table }, Ok(put(s, t, th.read(table))));
            }
            Stage::Holds => {
                let (answer, to) = self.answer(th, spot);
                // x86-64: the return from the trap ends the NMI's blocking of NMIs.
                let unmasks = th.visit() != Visit::None && self.isa() == IsaId::X86;
                let to = to.map(|th| if unmasks { th.with(UNMASKED) } else { th });
                let acted = match answer {
                    Answer::New => Text::version(th.set(), Direction::Install),
                    Answer::Old => Text::version(th.set(), Direction::Remove),
                    _ => 0,
                };
                let stale = self.world.after_return && acted != 0 && s.right() != 0 && acted & s.right() == 0;
                let to = if stale { Err(Violation::Stale) } else { to };
                out.take(who, Action::Answers { answer }, to.map(|th| put(s, t, th)));
            }
        }
    }

    fn answer(&self, th: Thread, spot: Spot) -> (Answer, Result<Thread, Violation>) {
        let at = self.trap_address(spot);
        let sites = &self.sites[usize::from(th.set())];
        let table = match th.table() {
            0 => None,
            n if n % 2 == 1 => Some(Table { sites, dir: Direction::Install }),
            _ => Some(Table { sites, dir: Direction::Remove }),
        };
        let effect = match self.isa().resolve(table, at, &Regs::default(), th.still()) {
            Resolution::Do(effect) => effect,
            Resolution::NotOurs if th.still() && th.changed() && self.world.looks_again => {
                return (Answer::LookAgain, Ok(th.trapped(spot)));
            }
            Resolution::NotOurs => {
                return match (spot.site, spot.offset) {
                    (OWN, 0) => (Answer::Own, Ok(th.outside())),
                    (OWN, _) => (Answer::Nobody, Err(Violation::SpuriousTrap)),
                    _ => (Answer::Nobody, Err(Violation::LostTrap)),
                };
            }
        };
        if spot.site == OWN {
            return (
                Answer::Wrong,
                Err(if spot.offset == 0 { Violation::WrongEffect } else { Violation::MidInstruction }),
            );
        }
        let site = &sites[usize::from(spot.site)];
        let offset = usize::from(spot.offset);
        if effect == (Effect::Goto { pc: at }) {
            return (Answer::Again, Ok(if offset == 0 { th.outside() } else { th.inside(spot) }));
        }
        let late = Effect::Goto { pc: site.copy.wrapping_add(u64::from(site.copy_at[offset])) };
        match offset {
            0 if self.acts_as(site, effect, site.stand_in, Direction::Install) => {
                (Answer::New, Ok(self.goes_on(th, spot, effect, Direction::Install)))
            }
            0 if self.acts_as(site, effect, site.copy, Direction::Remove) => {
                (Answer::Old, Ok(self.goes_on(th, spot, effect, Direction::Remove)))
            }
            1.. if effect == late => (Answer::Late, Ok(th.outside())),
            _ => (Answer::Wrong, Err(Violation::WrongEffect)),
        }
    }

    /// Where a thread goes on that acted as a form: usually elsewhere, but what stands in for a form may also be the end of
    /// that form in its place.
    fn goes_on(&self, th: Thread, spot: Spot, effect: Effect, dir: Direction) -> Thread {
        let site = usize::from(spot.site);
        let behind =
            |pc: u64| pc.checked_sub(self.text.addr(site)).filter(|&o| o > 0 && o < self.text.len(site) as u64);
        match effect {
            Effect::Goto { pc } if let Some(offset) = behind(pc) => {
                th.inside(Spot { offset: offset as u8, came: Text::version(th.set(), dir), ..spot })
            }
            _ => th.outside(),
        }
    }

    /// Whether `effect` is that of the form which stands at `site` after a batch in direction `dir`.
    fn acts_as(&self, site: &Site, effect: Effect, code: u64, dir: Direction) -> bool {
        let by_code = code != 0 && effect == Effect::Goto { pc: code };
        by_code || self.isa().effect(site.addr, site.after(dir)) == Some(effect)
    }
}
