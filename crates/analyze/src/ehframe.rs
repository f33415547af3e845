//! `.eh_frame`: where functions lie in stripped files, which entries are cold parts, and what the
//! stack looks like at an instruction.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, EhFrameOffset, EndianSlice, LittleEndian, Pointer, UnwindContext,
    UnwindSection,
};
use std::collections::HashMap;

use crate::elf::{Image, u32_at};

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Cie<'a> = gimli::CommonInformationEntry<Slice<'a>>;

/// Where the caller's frame begins, relative to a register: the canonical frame address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cfa {
    /// A DWARF register number of the instruction set plus bytes.
    Register(u16, i64),
    /// Computed; only equal to nothing.
    Expression,
}

/// One unwind entry.
#[derive(Clone, Debug)]
pub(crate) struct Fde {
    pub start: u64,
    pub end: u64,
    /// At the first instruction.
    pub cfa: Option<Cfa>,
    /// Address of the exception table.
    pub lsda: Option<u64>,
    /// The frame of a signal handler's caller: not a function that anybody calls.
    pub signal: bool,
    offset: usize,
}

/// The unwind table of a file.
pub(crate) struct Unwind<'a> {
    section: EhFrame<Slice<'a>>,
    bases: BaseAddresses,
    /// Sorted by start, one per start.
    pub fdes: Vec<Fde>,
}

impl<'a> Unwind<'a> {
    /// Reads the table; entries that make no sense are left out, and a table that breaks off is used up to there.
    pub fn of(image: &Image<'a>) -> Self {
        let (vaddr, bytes) = locate(image).unwrap_or_default();
        let section = EhFrame::new(bytes, LittleEndian);
        let mut bases = BaseAddresses::default().set_eh_frame(vaddr);
        if let Some(text) = image.section(".text") {
            bases = bases.set_text(text.vaddr);
        }
        if let Some(got) = image.section(".got.plt").or_else(|| image.section(".got")) {
            bases = bases.set_got(got.vaddr);
        }
        let mut fdes = read_fdes(&section, &bases);
        fdes.sort_by_key(|f| f.start);
        fdes.dedup_by_key(|f| f.start);
        Self { section, bases, fdes }
    }

    /// The entry that covers an address.
    pub fn covering(&self, vaddr: u64) -> Option<&Fde> {
        let index = self.fdes.partition_point(|f| f.start <= vaddr).checked_sub(1)?;
        Some(&self.fdes[index]).filter(|f| vaddr < f.end)
    }

    /// The canonical frame address at an instruction, if the table tells.
    pub fn cfa_at(&self, vaddr: u64) -> Option<Cfa> {
        let found = self.covering(vaddr)?;
        let fde =
            self.section.fde_from_offset(&self.bases, EhFrameOffset(found.offset), EhFrame::cie_from_offset).ok()?;
        let mut context = UnwindContext::new();
        let row = fde.unwind_info_for_address(&self.section, &self.bases, &mut context, vaddr).ok()?;
        Some(cfa(row.cfa()))
    }
}

fn cfa(rule: &CfaRule<usize>) -> Cfa {
    match rule {
        CfaRule::RegisterAndOffset { register, offset } => Cfa::Register(register.0, *offset),
        CfaRule::Expression(_) => Cfa::Expression,
    }
}

fn read_fdes<'a>(section: &EhFrame<Slice<'a>>, bases: &BaseAddresses) -> Vec<Fde> {
    let mut cies: HashMap<usize, Cie<'a>> = HashMap::new();
    let mut context = UnwindContext::new();
    let mut fdes = Vec::new();
    let mut entries = section.entries(bases);
    while let Ok(Some(entry)) = entries.next() {
        let CieOrFde::Fde(partial) = entry else { continue };
        // Most tables have a handful of CIEs for thousands of FDEs.
        let parsed = partial.parse(|section, bases, offset| match cies.get(&offset.0) {
            Some(cie) => Ok(cie.clone()),
            None => {
                let cie = section.cie_from_offset(bases, offset)?;
                cies.insert(offset.0, cie.clone());
                Ok(cie)
            }
        });
        let Ok(fde) = parsed else { continue };
        let Some(end) = fde.initial_address().checked_add(fde.len()) else { continue };
        // The linker leaves entries of discarded functions behind, at address 0 or empty.
        if fde.initial_address() == 0 || fde.len() == 0 {
            continue;
        }
        let first = fde
            .rows(section, bases, &mut context)
            .ok()
            .and_then(|mut rows| rows.next_row().ok().flatten().map(|row| cfa(row.cfa())));
        let lsda = match fde.lsda() {
            Some(Pointer::Direct(at)) if at != 0 => Some(at),
            _ => None,
        };
        fdes.push(Fde {
            start: fde.initial_address(),
            end,
            cfa: first,
            lsda,
            signal: fde.is_signal_trampoline(),
            offset: fde.offset(),
        });
    }
    fdes
}

/// The section, or where the header that the unwinder uses points to.
fn locate<'a>(image: &Image<'a>) -> Option<(u64, &'a [u8])> {
    if let Some(section) = image.section(".eh_frame") {
        return Some((section.vaddr, image.section_bytes(section)));
    }
    let header = image.eh_frame_hdr?;
    let bytes = image.bytes_at(header, 8)?;
    // Every linker writes the pointer as 4 bytes relative to itself (DW_EH_PE_pcrel | DW_EH_PE_sdata4).
    if bytes[..2] != [1, 0x1b] {
        return None;
    }
    let distance = u32_at(bytes, 4)?.cast_signed();
    let vaddr = (header + 4).checked_add_signed(i64::from(distance))?;
    Some((vaddr, image.bytes_from(vaddr)?))
}
