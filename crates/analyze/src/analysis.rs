//! Puts the parts together: from an image to its functions with their sites.

use core::marker::PhantomData;
use core::ops::Range;
use std::collections::{HashMap, HashSet};

use crate::body::Body;
use crate::displace::{self, Ground, Room};
use crate::ehframe::{Cfa, Fde, Unwind};
use crate::elf::Image;
use crate::exits::{Jumps, Place, exits, first_fit};
use crate::flow::{Edge, assign_cold_parts, sweep};
use crate::fragments::{Fragment, containing, fragments};
use crate::functions::{ExitKind, Function, Kind};
use crate::indirect::{Jump, adds_up, classify};
use crate::isa::{Arch, for_isa};
use crate::lsda::landing_pads;
use crate::names::{Special, special};
use crate::overlap::separate;
use crate::patch_points::patch_points;
use crate::pointers::{Pointers, pointers};
use crate::reason::{Obstacle, Reason};
use crate::rseq::sequences;
use crate::scratch::{clobbered, live_in};
use crate::site::Site;
use crate::symbols::{self_checked, symbols};
use crate::tables::{Reach, Tables};
use crate::text::{Mark, Marks, Text};

/// What the caller knows and the file does not show.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Addresses as linked that other patches own, such as static keys. Nothing touches them.
    pub reserved: Vec<Range<u64>>,
    /// All trampolines will be within 1 MiB of their sites, so that on RISC-V one JAL reaches them: sites of 4 bytes.
    /// Without it, sites have 8 bytes there, for AUIPC and JALR, wherever there is room and a register, and else 4.
    /// The other instruction sets have one kind of jump only.
    pub near: bool,
}

impl Image<'_> {
    /// All functions of the file, by address, with how each can be patched.
    pub fn functions(&self) -> Vec<Function> {
        self.functions_with(&Options::default())
    }

    /// [`Image::functions`], with what the caller knows.
    pub fn functions_with(&self, options: &Options) -> Vec<Function> {
        for_isa!(self.isa(), I => {
            let mut analysis = Analysis::<I>::of(self);
            analysis.resolve_jumps();
            analysis.decide(options)
        })
    }
}

struct Analysis<'i, 'a, I> {
    image: &'i Image<'a>,
    text: Text,
    marks: Marks,
    unwind: Unwind<'a>,
    all: Vec<Fragment>,
    edges: Vec<Edge>,
    indirect: Vec<bool>,
    pointers: Pointers,
    /// Per unwind entry: its exception table cannot be read.
    opaque: Vec<bool>,
    jumps: HashMap<u64, Jump>,
    checked: Vec<Range<u64>>,
    /// What compilers made has unwind entries in this file.
    unwound: bool,
    isa: PhantomData<I>,
}

impl<'i, 'a, I: Arch> Analysis<'i, 'a, I> {
    fn of(image: &'i Image<'a>) -> Self {
        let text = Text::of(image);
        let mut marks = Marks::new(&text);
        let unwind = Unwind::of(image);
        let symbols = symbols(image);
        let mut all = fragments::<I>(image, &text, &symbols, &unwind, &mut marks);
        let found = pointers::<I>(image, &text);
        for start in [image.entry_point(), image.dynamic.init, image.dynamic.fini] {
            marks.set(Mark::Taken, start);
        }
        for resolver in &found.resolvers {
            if let Ok(index) = all.binary_search_by_key(resolver, |f| f.start) {
                all[index].ifunc = true;
            }
        }
        let flow = sweep::<I>(image, &text, &all, &mut marks);
        let mut analysis = Self {
            image,
            text,
            marks,
            opaque: vec![false; unwind.fdes.len()],
            unwind,
            all,
            edges: flow.edges,
            indirect: flow.indirect,
            pointers: found,
            jumps: HashMap::new(),
            checked: self_checked(&symbols),
            unwound: false,
            isa: PhantomData,
        };
        let covered = analysis.all.iter().filter(|f| analysis.unwind.covering(f.start).is_some()).count();
        analysis.unwound = image.is_go() || 2 * covered >= analysis.all.len();
        analysis.mark_landing_pads();
        analysis
    }

    fn mark_landing_pads(&mut self) {
        for (index, fde) in self.unwind.fdes.iter().enumerate() {
            let Some(lsda) = fde.lsda else { continue };
            let Some(pads) = landing_pads(self.image, lsda, fde.start) else {
                self.opaque[index] = true;
                continue;
            };
            let from = containing(&self.all, fde.start);
            for pad in pads {
                self.marks.set(Mark::Pad, pad);
                if let Some(from) = from.filter(|&f| pad < self.all[f].start || pad >= self.all[f].end) {
                    self.edges.push(Edge { from, to: pad });
                }
            }
        }
    }

    /// Reads the jump tables of all functions, then tells what each indirect jump is, and last
    /// gives the cold parts to their functions.
    fn resolve_jumps(&mut self) {
        let mut body = Body::<I>::default();
        let indirect: Vec<usize> = (0..self.all.len()).filter(|&i| self.indirect[i]).collect();
        let mut targets = Vec::new();
        let mut tables = Vec::new();
        for &from in &indirect {
            body.load(self.image, &self.marks, core::iter::once(&self.all[from]));
            let mut found = self.tables().of(&body, Reach::Function);
            // The tables of cold parts are read again below, together with their functions.
            if !self.all[from].cold && !found.offsets && adds_up(&body, &self.marks) {
                found = self.tables().of(&body, Reach::Anywhere);
            }
            self.edges.extend(found.code.iter().filter(|&&to| !body.contains(to)).map(|&to| Edge { from, to }));
            targets.extend(found.code);
            tables.extend(found.addresses);
        }
        for to in targets {
            self.marks.set(Mark::Table, to);
        }
        self.mark_taken(tables);
        assign_cold_parts(&mut self.all, &self.edges, &self.marks);
        let parts = self.parts();
        let mut done = HashSet::new();
        for &index in &indirect {
            let function = self.all[index].owner.unwrap_or(index);
            if !done.insert(function) {
                continue;
            }
            let own = parts.get(&function).map_or(&[][..], Vec::as_slice);
            body.load(self.image, &self.marks, core::iter::once(&function).chain(own).map(|&i| &self.all[i]));
            let lost = self.all[function].cold;
            let targets = self.tables().of(&body, if lost { Reach::Anywhere } else { Reach::Function });
            // The table may be named in one part of the function and used in another.
            for &to in &targets.code {
                self.marks.set(Mark::Table, to);
            }
            let jumps = classify(&body, &targets, &self.marks, &self.unwind);
            self.jumps.extend(jumps);
        }
    }

    fn tables(&self) -> Tables<'_, 'a> {
        Tables {
            image: self.image,
            text: &self.text,
            all: &self.all,
            marks: &self.marks,
            unwind: &self.unwind,
            pointers: &self.pointers,
        }
    }

    /// Marks the code addresses that data holds, but for the words of jump tables: these are known.
    fn mark_taken(&mut self, mut tables: Vec<Range<u64>>) {
        tables.sort_unstable_by_key(|t| t.start);
        let mut next = 0;
        let mut end = 0;
        for &(at, target) in &self.pointers.words {
            while let Some(table) = tables.get(next).filter(|t| t.start <= at) {
                end = end.max(table.end);
                next += 1;
            }
            if at >= end {
                self.marks.set(Mark::Taken, target);
            }
        }
    }

    /// The cold parts of each function.
    fn parts(&self) -> HashMap<usize, Vec<usize>> {
        let mut parts: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, fragment) in self.all.iter().enumerate() {
            if let Some(owner) = fragment.owner {
                parts.entry(owner).or_default().push(index);
            }
        }
        parts
    }

    fn decide(&self, options: &Options) -> Vec<Function> {
        let rseq = sequences(self.image);
        let mut reserved = patch_points(self.image);
        reserved.extend(options.reserved.iter().cloned());
        reserved.sort_unstable_by_key(|r| r.start);
        let ground = Ground {
            image: self.image,
            text: &self.text,
            marks: &self.marks,
            patched: &self.pointers.patched,
            rseq: &rseq,
            reserved: &reserved,
            checked: &self.checked,
        };
        let parts = self.parts();
        let mut body = Body::<I>::default();
        let clobbered = clobbered::<I>(self.image, &self.marks, &self.text, &self.all);
        let mut functions: Vec<Function> = Vec::with_capacity(self.all.len());
        for (index, fragment) in self.all.iter().enumerate() {
            let own = parts.get(&index).map_or(&[][..], Vec::as_slice);
            let rooms = rooms::<I>(fragment, clobbered.get(index).copied().unwrap_or(0), options.near);
            functions.push(self.function(&ground, &mut body, fragment, own, &rooms));
        }
        separate(&mut functions);
        functions
    }

    fn function(
        &self,
        ground: &Ground<'_, '_>,
        body: &mut Body<I>,
        fragment: &Fragment,
        own: &[usize],
        rooms: &[Room],
    ) -> Function {
        let mut function = Function {
            name: fragment.name.clone(),
            aliases: fragment.aliases.clone(),
            vaddr: fragment.start,
            size: fragment.end - fragment.start,
            source: fragment.source,
            global: fragment.global,
            kind: if fragment.cold { Kind::Cold } else { Kind::Function },
            entry: Err(Reason::Cold),
            exits: Vec::new(),
            blocked_exits: Vec::new(),
            exit: ExitKind::Inferred,
        };
        if fragment.cold {
            return function;
        }
        let special = function.names().find_map(special);
        if let Some(Special::Refused(reason)) = special {
            function.entry = Err(reason);
            function.exit = ExitKind::EntryOnly;
            return function;
        }
        body.load(self.image, &self.marks, core::iter::once(fragment).chain(own.iter().map(|&i| &self.all[i])));
        let mut inside = vec![false; body.insns.len()];
        I::sequences(body, &mut inside);
        function.entry = self.entry(ground, body, fragment, &inside, rooms);
        // Without its entry nobody needs its exits.
        if function.entry.is_err() {
            return function;
        }
        if special == Some(Special::EntryOnly) || I::switches_stack(&body.insns) {
            function.exit = ExitKind::EntryOnly;
            return function;
        }
        let place = Place { ground, body: &*body, inside: &inside, entry: function.entry.ok(), rooms };
        let jumps = Jumps {
            indirect: &|at| self.jumps.get(&body.insns[at].ip).copied().unwrap_or(Jump::Unknown(None)),
            foreign: &|target| containing(&self.all, target).is_some_and(|i| self.all[i].cold),
        };
        let found = exits(&place, &jumps);
        function.exits = found.sites;
        function.blocked_exits = found.blocked;
        let opaque = self.opaque_table(body);
        let unresolved = body.insns.iter().any(|i| matches!(self.jumps.get(&i.ip), Some(Jump::Unknown(_))));
        if fragment.overlaps || opaque || unresolved {
            // A jump or the unwinder may land between the displaced instructions of an exit.
            let reason = if fragment.overlaps {
                Reason::SharedCode
            } else if opaque {
                Reason::UnreadableExceptionTable
            } else {
                Reason::UnresolvedJump
            };
            function.blocked_exits.extend(function.exits.drain(..).map(|e| (e.site.vaddr, reason)));
        }
        if function.blocked_exits.is_empty() {
            function.exit = ExitKind::Patched;
        }
        function
    }

    fn entry(
        &self,
        ground: &Ground<'_, '_>,
        body: &Body<I>,
        fragment: &Fragment,
        inside: &[bool],
        rooms: &[Room],
    ) -> Result<Site, Reason> {
        if fragment.ifunc {
            return Err(Reason::Ifunc);
        }
        match self.unwind.covering(fragment.start).or_else(|| self.behind_sled(body, fragment.start)) {
            None if self.unwound => return Err(Reason::NoUnwindEntry),
            // A symbol in the middle of an unwind entry, where the frame is not that of a fresh call.
            Some(fde)
                if fde.start != fragment.start
                    && self.unwind.cfa_at(fde.start.max(fragment.start)) != Some(I::ENTRY) =>
            {
                return Err(Reason::Cold);
            }
            _ => {}
        }
        if !body.sound {
            return Err(Reason::Undecodable);
        }
        if self.opaque_table(body) {
            return Err(Reason::UnreadableExceptionTable);
        }
        let first = body.index(fragment.start).ok_or(Reason::OutsideText)?;
        let mut site = first_fit(rooms, |room| {
            let live = if room.spare == 0 { 0 } else { live_in(body, first, room.spare) };
            let site = displace::entry::<I>(ground, &body.insns[first..], fragment.end, room.without(live))?;
            let run =
                body.insns.partition_point(|i| i.ip < site.vaddr)..body.insns.partition_point(|i| i.ip < site.end());
            if inside[run].contains(&true) {
                return Err(Reason::NotRelocatable(Obstacle::Sequence));
            }
            Ok(site)
        })?;
        // Whoever jumps here may have data below its stack pointer, where the ABI allows that at all.
        site.red_zone &= [fragment.start, site.vaddr].iter().any(|&at| self.marks.get(Mark::Branch, at));
        let starts = |to: u64| to == fragment.start || to == site.vaddr;
        let jumps_back = body.insns.iter().any(|insn| insn.jump_target().is_some_and(starts));
        if jumps_back || self.marks.get(Mark::Table, fragment.start) || self.marks.get(Mark::Table, site.vaddr) {
            return Err(Reason::LoopToEntry);
        }
        self.not_jumped_into(body, &site)?;
        Ok(site)
    }

    /// An unresolved jump cannot lead between the displaced instructions if the unwind table says
    /// that the frame looks different there: the table holds for every way control takes.
    fn not_jumped_into(&self, body: &Body<I>, site: &Site) -> Result<(), Reason> {
        for insn in &body.insns {
            let Some(Jump::Unknown(frame)) = self.jumps.get(&insn.ip) else { continue };
            let frame = frame.filter(|f| *f != Cfa::Expression).ok_or(Reason::UnresolvedJump)?;
            for offset in (1..8).filter(|i| site.inner >> i & 1 != 0) {
                let here = self.unwind.cfa_at(site.vaddr + offset).ok_or(Reason::UnresolvedJump)?;
                // Tables without epilogues show a frame where there is none any more.
                if here == frame || here == I::ENTRY {
                    return Err(Reason::UnresolvedJump);
                }
            }
        }
        Ok(())
    }

    /// The unwind entry of a function that GCC made a sled for: it begins behind the landing mark and the NOPs.
    fn behind_sled(&self, body: &Body<I>, start: u64) -> Option<&Fde> {
        let insns = body.insns.get(body.index(start)?..)?;
        let mark = usize::from(insns.first().is_some_and(I::is_landing_mark));
        let behind = insns[mark..].iter().find(|i| !I::is_nop(i)).filter(|i| i.ip != start)?.ip;
        self.unwind.covering(behind).filter(|fde| fde.start == behind)
    }

    /// Some part of the function has an exception table that cannot be read.
    fn opaque_table(&self, body: &Body<I>) -> bool {
        let fdes = &self.unwind.fdes;
        body.parts.iter().any(|&(start, end)| {
            let inside = fdes.partition_point(|f| f.start < start)..fdes.partition_point(|f| f.start < end);
            self.opaque[inside].contains(&true)
        })
    }
}

/// The jumps to try at the sites of a function, with the registers that they may use.
fn rooms<I: Arch>(fragment: &Fragment, clobbered: u32, near: bool) -> Vec<Room> {
    let mut names = core::iter::once(&fragment.name).chain(&fragment.aliases);
    let spare = if names.any(|n| I::has_own_convention(n)) { 0 } else { clobbered };
    I::lengths(near).iter().map(|&length| Room { length, spare }).collect()
}
