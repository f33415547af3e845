//! Patch protocols: each is a program of steps, one file each, and [`Run`] walks it.

pub mod breakpoint;
pub mod displace;
pub mod nmi_assist;
pub mod pair;
pub mod park;
pub mod park_twice;
pub mod prepared_pair;
pub mod short_jump;
pub mod word;

use crate::site::Direction;
use crate::step::{Outcome, Reason, Step, Verdict};

/// A protocol by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One old instruction, trap first: [`breakpoint`].
    Breakpoint,
    /// Several old instructions under one new one: [`displace`].
    Displace,
    /// One aligned store: [`word`].
    Word,
    /// A two-byte jump over the tail while it changes: [`short_jump`].
    ShortJump,
    /// Two instructions into two others, trap first: [`pair`].
    Pair,
    /// The first of two instructions, once: [`prepared_pair::PLANT`].
    Plant,
    /// The second of two instructions, the first of which is planted: [`prepared_pair`].
    PreparedPair,
    /// One instruction while everybody else is parked: [`park`].
    Park,
    /// Several instructions, parking twice and waiting in between: [`park_twice`].
    ParkTwice,
    /// Parking, where NMIs write too: [`nmi_assist`].
    NmiAssist,
}

impl Kind {
    /// Every protocol.
    pub const ALL: [Self; 10] = [
        Self::Breakpoint,
        Self::Displace,
        Self::Word,
        Self::ShortJump,
        Self::Pair,
        Self::Plant,
        Self::PreparedPair,
        Self::Park,
        Self::ParkTwice,
        Self::NmiAssist,
    ];

    /// The name in documents and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Breakpoint => "breakpoint",
            Self::Displace => "displace",
            Self::Word => "word",
            Self::ShortJump => "short_jump",
            Self::Pair => "pair",
            Self::Plant => "plant",
            Self::PreparedPair => "prepared_pair",
            Self::Park => "park",
            Self::ParkTwice => "park_twice",
            Self::NmiAssist => "nmi_assist",
        }
    }

    /// The steps in one direction, the final [`Step::Done`] excepted.
    pub const fn program(self, dir: Direction) -> &'static [Step] {
        match (self, dir) {
            (Self::Breakpoint, _) => breakpoint::PROGRAM,
            (Self::Displace, Direction::Install) => displace::INSTALL,
            (Self::Displace, Direction::Remove) => displace::REMOVE,
            (Self::Word, _) => word::PROGRAM,
            (Self::ShortJump, _) => short_jump::PROGRAM,
            (Self::Pair, _) => pair::PROGRAM,
            (Self::Plant, Direction::Install) => prepared_pair::PLANT,
            (Self::Plant, Direction::Remove) => prepared_pair::UNPLANT,
            (Self::PreparedPair, _) => prepared_pair::TOGGLE,
            (Self::Park, _) => park::PROGRAM,
            (Self::ParkTwice, _) => park_twice::PROGRAM,
            (Self::NmiAssist, _) => nmi_assist::PROGRAM,
        }
    }

    /// Whether threads may run into traps.
    pub const fn traps(self) -> bool {
        matches!(self, Self::Breakpoint | Self::Displace | Self::Pair | Self::ParkTwice)
    }

    /// Whether everybody else is parked.
    pub const fn parks(self) -> bool {
        matches!(self, Self::Plant | Self::Park | Self::ParkTwice | Self::NmiAssist)
    }

    /// The steps that undo a batch in direction `dir` after it failed somewhere. They must cope with every mixture, not
    /// only with what stands there between batches.
    pub const fn way_back(self, dir: Direction) -> &'static [Step] {
        match (self, dir) {
            (Self::Displace, Direction::Remove) => displace::REINSTALL,
            (Self::NmiAssist, _) => nmi_assist::BACK,
            (_, _) => self.program(dir.opposite()),
        }
    }

    /// What undoes a batch instead when the step that failed was the wait until nobody is inside, or one before it; empty
    /// if [`way_back`](Kind::way_back) does that, too. Whoever would not leave then must not be waited for.
    pub const fn retreat(self) -> &'static [Step] {
        match self {
            Self::Pair => pair::RETREAT,
            Self::ParkTwice => park_twice::RETREAT,
            _ => &[],
        }
    }
}

/// A protocol under way: a small value that can be copied, compared and hashed, so that a checker can fork it.
///
/// When a step fails before any text changed, whoever is parked is released, the window closed, the table withdrawn, and
/// the run is over. When one fails later, the run performs [`Kind::way_back`], the first look excepted: whatever mixture
/// of forms the sites are in, trapping every head first, or parking everybody, makes them unreachable, and from there the
/// way back is the ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run<'p> {
    forth: &'p [Step],
    back: &'p [Step],
    retreat: &'p [Step],
    dir: Direction,
    at: u8,
    going: Going,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Going {
    Forth,
    /// Announced; the way back begins with the next step.
    Turning(Reason),
    Back(Reason),
    /// Nothing was changed; only those who are parked are to be released, the window to be closed and the table to be
    /// withdrawn.
    Closing(Reason),
    /// Somebody else's unfinished batch: like the way back, but there was no way forth.
    Repairing,
    Over(Verdict),
}

impl Run<'static> {
    /// One of the built-in protocols in one direction.
    pub const fn new(kind: Kind, dir: Direction) -> Self {
        Self::custom(kind.program(dir), kind.way_back(dir), dir).retreating(kind.retreat())
    }

    /// What `repair` performs after a patcher was killed at any moment: the old bytes come back.
    pub const fn repair(kind: Kind) -> Self {
        Self::finish(kind, Direction::Remove)
    }

    /// Brings the sites to what they are after a batch in direction `to`, whatever mixture of forms somebody else's
    /// unfinished batch left. There is no way back from it: the first failure breaks it, and it can be begun again.
    pub const fn finish(kind: Kind, to: Direction) -> Self {
        Self::repairing(kind.way_back(to.opposite()), to)
    }
}

impl<'p> Run<'p> {
    /// A program of one's own, with the program that undoes it. The checker runs mutilated ones this way.
    pub const fn custom(forth: &'p [Step], back: &'p [Step], dir: Direction) -> Self {
        Self { forth, back, retreat: &[], dir, at: 0, going: Going::Forth }
    }

    /// [`finish`](Run::finish) by a program of one's own.
    pub const fn repairing(program: &'p [Step], to: Direction) -> Self {
        let mut run = Self::custom(program, &[], to);
        run.going = Going::Repairing;
        run
    }

    /// The same run with a way back of its own for failures up to the wait until nobody is inside; none if it is empty.
    pub const fn retreating(mut self, retreat: &'p [Step]) -> Self {
        self.retreat = retreat;
        self
    }

    /// The direction that the trap table must have at this moment: the way back acts as the old instructions.
    pub const fn direction(&self) -> Direction {
        match self.going {
            Going::Forth | Going::Closing(_) | Going::Repairing => self.dir,
            Going::Turning(_) | Going::Back(_) => self.dir.opposite(),
            // A repair never turns.
            Going::Over(Verdict::Broken(..)) if self.back.is_empty() => self.dir,
            Going::Over(Verdict::Undone(_) | Verdict::Broken(..)) => self.dir.opposite(),
            Going::Over(_) => self.dir,
        }
    }

    /// The next step, given how the last one went. After [`Step::Done`] it stays done.
    pub fn next(&mut self, last: Outcome) -> Step {
        if let Outcome::Failed(cause) = last {
            // The failed step is the one before `at`.
            let reason = Reason { step: self.at.saturating_sub(1), cause };
            self.going = match self.going {
                Going::Forth if self.changed() => {
                    if !self.retreat.is_empty() && !self.waited() {
                        self.back = self.retreat;
                    }
                    Going::Turning(reason)
                }
                Going::Forth => {
                    self.at = 0;
                    Going::Closing(reason)
                }
                Going::Turning(first) | Going::Back(first) => Going::Over(Verdict::Broken(first, reason)),
                Going::Repairing => Going::Over(Verdict::Broken(reason, reason)),
                Going::Closing(first) => Going::Over(Verdict::Broken(first, reason)),
                over @ Going::Over(_) => over,
            };
        }
        loop {
            match self.going {
                Going::Over(verdict) => return Step::Done(verdict),
                Going::Turning(reason) => {
                    self.going = Going::Back(reason);
                    // The window is still open or must be opened again; the old bytes are not there to be verified.
                    self.at = 0;
                    return Step::Undo(reason);
                }
                Going::Closing(reason) => {
                    // The failed step may have done its work, or part of it: it is cleaned up behind, too.
                    let begun = &self.forth[..usize::from(reason.step).saturating_add(1).min(self.forth.len())];
                    self.at += 1;
                    match self.at {
                        1 if begun.contains(&Step::Park) => return Step::Unpark,
                        2 if begun.contains(&Step::Open) => return Step::Close,
                        3 if begun.contains(&Step::Publish) => return Step::Retire,
                        1..=3 => {}
                        _ => self.going = Going::Over(Verdict::Undone(reason)),
                    }
                }
                Going::Forth => match self.take(self.forth) {
                    Some(step) => return step,
                    None => self.going = Going::Over(Verdict::Performed(self.dir)),
                },
                Going::Repairing => match self.take(self.forth) {
                    // The mixture is not what stood there before any batch.
                    Some(Step::Verify { after: false }) => {}
                    Some(step) => return step,
                    None => self.going = Going::Over(Verdict::Performed(self.dir)),
                },
                Going::Back(reason) => match self.take(self.back) {
                    Some(Step::Verify { after: false }) => {}
                    Some(step) => return step,
                    None => self.going = Going::Over(Verdict::Undone(reason)),
                },
            }
        }
    }

    fn take(&mut self, program: &[Step]) -> Option<Step> {
        let step = program.get(usize::from(self.at)).copied()?;
        self.at += 1;
        Some(step)
    }

    /// Whether a store was begun, or one announced that others may perform.
    fn changed(&self) -> bool {
        self.begun().iter().any(|s| matches!(s, Step::Store { .. } | Step::Announce { .. }))
    }

    /// Whether the wait until nobody is inside, if there is one, is over.
    fn waited(&self) -> bool {
        let (begun, rest) = self.forth.split_at(usize::from(self.at).min(self.forth.len()));
        !rest.contains(&Step::AwaitNoneInside) && begun.last() != Some(&Step::AwaitNoneInside)
    }

    fn begun(&self) -> &[Step] {
        &self.forth[..usize::from(self.at).min(self.forth.len())]
    }
}

#[cfg(test)]
mod tests;
