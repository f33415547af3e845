//! From probes to a plan: trampolines near the text, and the sites that jump to them.

use textpoke_core::isa::Isa as _;
use textpoke_core::{Plan, Site};

use crate::arch::{self, Isa};
use crate::error::Error;
use crate::image::Image;
use crate::inject::Area;
use crate::place::{self, page_up};
use crate::proc::Mapping;
use crate::trampoline::{self, Copy, Kind};

/// One place to be traced.
pub struct Probe<'a> {
    /// What records say, one after the other: indices into the trace's table of sites.
    pub sites: Vec<u32>,
    /// What the stack is like there.
    pub kind: Kind,
    /// Run-time address of the first displaced byte.
    pub addr: u64,
    /// The bytes that stand there now and change.
    pub old: Vec<u8>,
    /// Bit `i` ≥ 1: an instruction begins at `addr + i`.
    pub inner: u8,
    /// Makes the jump to the address given that takes the place of the old bytes, or says why there is none.
    pub jump: &'a dyn Fn(u64) -> Result<Jump, String>,
    /// Makes a copy of the displaced instructions that works at the address given, or says why there is none.
    pub relocate: &'a dyn Fn(u64) -> Result<Copy, String>,
}

/// What takes the place of the old bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jump {
    /// As many bytes.
    pub bytes: Vec<u8>,
    /// Bit `i` ≥ 1: an instruction of it begins there.
    pub inner: u8,
}

/// Trampolines and sites, ready to be put into the target.
pub struct Compiled {
    /// Executable areas with their contents: the agent image first, trampolines behind it.
    pub areas: Vec<(Area, Vec<u8>)>,
    /// The plan, ascending.
    pub sites: Vec<Site>,
    /// The numbers that each site records.
    pub numbers: Vec<Vec<u32>>,
    /// Probes that could not be reached or copied: their site numbers and why.
    pub refused: Vec<(u32, String)>,
}

/// More than any trampoline takes, in bytes, for finding room before they are made.
const BOUND: u64 = 192;

/// Makes trampolines for all probes. `maps` tells what is mapped in the target now.
pub fn compile(image: &Image, probes: &[Probe<'_>], maps: &[Mapping]) -> Result<Compiled, Error> {
    let mut order: Vec<&Probe<'_>> = probes.iter().collect();
    order.sort_unstable_by_key(|p| p.addr);
    let clusters = place::clusters(order.iter().map(|p| (p.addr, p.addr + p.old.len() as u64)).collect());
    let mut taken = maps.to_vec();
    let mut compiled = Compiled {
        areas: Vec::new(),
        sites: Vec::with_capacity(order.len()),
        numbers: Vec::new(),
        refused: Vec::new(),
    };
    let mut offset = 0;
    let mut rest = order.as_slice();
    for (start, end) in clusters {
        let (mine, others) = rest.split_at(rest.partition_point(|p| p.addr < end));
        rest = others;
        let bound = page_up(image.len() as u64) + mine.len() as u64 * BOUND;
        let addr = place::near(&taken, start, end, bound)?;
        let mut bytes = image.at(addr).map_err(|e| Error::Image(e.to_string()))?;
        fill(&mut bytes, PAGE);
        for probe in mine {
            match emit(image, addr, &mut bytes, probe) {
                Ok(site) => {
                    compiled.sites.push(site);
                    compiled.numbers.push(probe.sites.clone());
                }
                Err(why) => compiled.refused.extend(probe.sites.iter().map(|&site| (site, why.clone()))),
            }
        }
        fill(&mut bytes, PAGE);
        let len = bytes.len() as u64;
        taken.push(Mapping {
            start: addr,
            end: addr + len,
            prot: 0,
            shared: true,
            offset: 0,
            inode: 0,
            path: String::new(),
        });
        taken.sort_unstable_by_key(|m| m.start);
        compiled.areas.push((Area { addr, len, offset }, bytes));
        offset += len;
    }
    if !compiled.sites.is_empty() {
        Plan::<Isa>::new(&compiled.sites)
            .and_then(|plan| plan.suits(arch::kind(&compiled.sites)))
            .map_err(|e| Error::Damaged(format!("the analysis made no valid plan ({e}); please report this")))?;
    }
    Ok(compiled)
}

fn emit(image: &Image, area: u64, bytes: &mut Vec<u8>, probe: &Probe<'_>) -> Result<Site, String> {
    let at = area + bytes.len() as u64;
    let made = trampoline::emit(image, area, at, &probe.sites, probe.kind, probe.relocate)?;
    let jump = (probe.jump)(at)?;
    let mut site = Site::single(probe.addr, &probe.old, &jump.bytes).ok_or("the jump has another length")?;
    (site.inner, site.new_inner) = (probe.inner, jump.inner);
    (site.copy, site.copy_at) = (made.copy, made.at);
    bytes.extend_from_slice(&made.bytes);
    // The next trampoline begins on a 16-byte boundary, as decoders like it.
    fill(bytes, 16);
    Ok(site)
}

const PAGE: usize = textpoke_trace::layout::PAGE;

/// Fills up to a multiple of `unit` with traps: nobody gets there.
pub(crate) fn fill(bytes: &mut Vec<u8>, unit: usize) {
    let missing = bytes.len().next_multiple_of(unit) - bytes.len();
    bytes.extend(Isa::TRAP.iter().cycle().take(missing));
}
