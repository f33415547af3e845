//! Analyses files and counts what was found.

use std::collections::BTreeMap;

use globset::GlobSet;
use textpoke_analyze::{ExitKind, Function, Image, Isa, Jump, Kind, Site, Way};

use crate::error::{Error, Result};
use crate::names;

/// A file and its functions.
#[derive(Debug)]
pub struct Survey {
    /// Path for people.
    pub path: String,
    /// Build id as hexadecimal text; empty if there is none.
    pub build_id: String,
    /// The instruction set of its code.
    pub isa: Isa,
    /// What to add to an address as linked; 0 when a file was named, not a process.
    pub bias: u64,
    /// The wanted functions, cold parts left out.
    pub functions: Vec<Function>,
}

impl Survey {
    /// Analyses the bytes of an ELF file. `mapped` is where an offset of the file is in a process.
    ///
    /// # Errors
    /// The file cannot be analysed; the message says why.
    pub fn of(path: &str, bytes: &[u8], mapped: Option<(u64, u64)>, wanted: Option<&GlobSet>) -> Result<Self> {
        let image = Image::parse(bytes).map_err(|e| Error::new(format!("{path}: {e}")))?;
        let bias = mapped.map_or(0, |(start, offset)| bias(&image, start, offset));
        let mut functions = image.functions();
        functions.retain(|f| f.kind == Kind::Function && wanted.is_none_or(|w| matches(f, w)));
        let build_id = image.build_id().unwrap_or_default();
        Ok(Self {
            path: path.to_string(),
            build_id: build_id.iter().map(|b| format!("{b:02x}")).collect(),
            isa: image.isa(),
            bias,
            functions,
        })
    }
}

/// Run-time address minus address as linked, for the segment that holds `offset` of the file.
fn bias(image: &Image<'_>, start: u64, offset: u64) -> u64 {
    let holds = |s: &&textpoke_analyze::Segment| {
        // Mappings begin at the page that a segment begins in.
        offset + 0x1000 > s.offset && offset < s.offset + s.size
    };
    let segment = image.executable_segments().find(holds);
    segment.map_or(0, |s| start.wrapping_add(s.offset.wrapping_sub(offset)).wrapping_sub(s.vaddr))
}

fn matches(function: &Function, wanted: &GlobSet) -> bool {
    function.names().any(|name| wanted.is_match(name) || wanted.is_match(names::demangle(name)))
}

/// The word for how an entry is patched.
#[must_use]
pub fn way(way: Way) -> &'static str {
    match way {
        Way::Displace => "displace",
        Way::Sled => "sled",
    }
}

/// The name of the protocol that changes a site, with threads that take traps and can be parked.
#[must_use]
pub fn protocol(site: &Site) -> &'static str {
    site.protocol().map_or("none", textpoke_core::Kind::name)
}

/// The instruction that is put over a site.
#[must_use]
pub fn jump(site: &Site) -> &'static str {
    match (site.isa(), site.jump) {
        (_, Jump::Pair { .. }) => "auipc+jalr",
        (Isa::X86_64, Jump::One) => "jmp",
        (Isa::Aarch64, Jump::One) => "b",
        (Isa::Riscv64, Jump::One) => "jal",
    }
}

/// The word for how exits are known, as in `meta.json`.
#[must_use]
pub fn exit(kind: ExitKind) -> &'static str {
    match kind {
        ExitKind::Patched => "patched",
        ExitKind::Inferred => "inferred",
        ExitKind::EntryOnly => "entry-only",
    }
}

/// Numbers over all surveyed functions.
#[derive(Debug, Default, serde::Serialize)]
pub struct Summary {
    /// Functions looked at, without cold parts.
    pub functions: usize,
    /// How many can be traced.
    pub traceable: usize,
    /// How many by each way.
    pub ways: BTreeMap<&'static str, usize>,
    /// How many by each protocol.
    pub protocols: BTreeMap<&'static str, usize>,
    /// How many by each instruction that is put over them.
    pub jumps: BTreeMap<&'static str, usize>,
    /// Of those that can be traced: how the end of a call is known.
    pub exits: BTreeMap<&'static str, usize>,
    /// How many are refused for each reason.
    pub refused: BTreeMap<String, usize>,
}

impl Summary {
    /// Counts.
    #[must_use]
    pub fn of(surveys: &[Survey]) -> Self {
        let mut summary = Self::default();
        for function in surveys.iter().flat_map(|s| &s.functions) {
            summary.functions += 1;
            match &function.entry {
                Ok(site) => {
                    summary.traceable += 1;
                    *summary.ways.entry(way(site.way)).or_default() += 1;
                    *summary.protocols.entry(protocol(site)).or_default() += 1;
                    *summary.jumps.entry(jump(site)).or_default() += 1;
                    *summary.exits.entry(exit(function.exit)).or_default() += 1;
                }
                Err(reason) => *summary.refused.entry(reason.to_string()).or_default() += 1,
            }
        }
        summary
    }
}
