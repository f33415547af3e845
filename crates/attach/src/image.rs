//! The agent image: from the ELF file that the program carries to bytes that can be mapped into a target.

use std::fmt;

use object::elf::{PF_W, PT_LOAD, SHF_WRITE, SHT_NOBITS};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, Rela, SectionHeader};
use object::{LittleEndian, Object, ObjectSymbol};

use crate::arch;

/// Why bytes are no agent image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadImage(String);

impl fmt::Display for BadImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the agent image is unusable ({}): build textpoke again", self.0)
    }
}

impl std::error::Error for BadImage {}

fn bad<T>(why: impl fmt::Display) -> Result<T, BadImage> {
    Err(BadImage(why.to_string()))
}

/// The image, not yet at an address. It begins with the page of [parameters](textpoke_trace::params::Params).
#[derive(Clone, Debug)]
pub struct Image {
    bytes: Vec<u8>,
    /// Offsets of 8-byte words that hold the base address plus the addend.
    relocations: Vec<(usize, u64)>,
    probe_entry: u64,
    probe_exit: u64,
    trap_handler: u64,
    restorer: u64,
    agent_main: u64,
}

impl Image {
    /// Reads the ELF file.
    ///
    /// # Errors
    /// When it has data that would have to be writable, needs relocations other than relative ones, lacks a symbol, or
    /// is damaged.
    pub fn load(elf: &[u8]) -> Result<Self, BadImage> {
        let file = ElfFile64::<LittleEndian>::parse(elf).map_err(|e| BadImage(e.to_string()))?;
        let bytes = segments(&file, elf)?;
        let relocations = relocations(&file, elf, bytes.len())?;
        let find = |name: &str| {
            let symbol = file.symbols().find(|s| s.name() == Ok(name)).map(|s| s.address());
            match symbol {
                Some(at) if (at as usize) < bytes.len() => Ok(at),
                _ => bad(format_args!("no {name}")),
            }
        };
        if find("textpoke_params")? != 0 {
            return bad("it does not begin with its parameters");
        }
        Ok(Self {
            probe_entry: find("textpoke_probe_entry")?,
            probe_exit: find("textpoke_probe_exit")?,
            trap_handler: find("textpoke_trap")?,
            restorer: if arch::RESTORER { find("textpoke_restorer")? } else { 0 },
            agent_main: find("textpoke_sidecar")?,
            relocations,
            bytes,
        })
    }

    /// Bytes of the image.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never true of a loaded image.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes as they must be for the image to work at `base`.
    ///
    /// # Errors
    /// When `base` is not a page or the image would end behind the address space.
    pub fn at(&self, base: u64) -> Result<Vec<u8>, BadImage> {
        if !base.is_multiple_of(textpoke_trace::layout::PAGE as u64)
            || base.checked_add(self.bytes.len() as u64).is_none()
        {
            return bad(format_args!("it cannot stand at {base:#x}"));
        }
        let mut bytes = self.bytes.clone();
        for &(offset, addend) in &self.relocations {
            bytes[offset..offset + 8].copy_from_slice(&base.wrapping_add(addend).to_le_bytes());
        }
        Ok(bytes)
    }

    /// Offset of the page of parameters.
    pub fn params(&self) -> u64 {
        0
    }

    /// Offset of the probe that entry trampolines call.
    pub fn probe_entry(&self) -> u64 {
        self.probe_entry
    }

    /// Offset of the probe that exit trampolines call, 128 bytes further down the stack.
    pub fn probe_exit(&self) -> u64 {
        self.probe_exit
    }

    /// Offset of the SIGTRAP handler.
    pub fn trap_handler(&self) -> u64 {
        self.trap_handler
    }

    /// Offset of the code that signal handlers return to, where it is the agent's.
    pub fn restorer(&self) -> u64 {
        self.restorer
    }

    /// Offset of the sidecar's first instruction. It wants a stack pointer and nothing else.
    pub fn agent_main(&self) -> u64 {
        self.agent_main
    }
}

#[cfg(test)]
impl Image {
    /// An image of nothing, for what only needs offsets.
    pub(crate) fn for_tests() -> Self {
        Self {
            bytes: vec![0; 0x4000],
            relocations: Vec::new(),
            probe_entry: 0x1000,
            probe_exit: 0x1200,
            trap_handler: 0x1400,
            restorer: 0x1500,
            agent_main: 0x1600,
        }
    }
}

fn segments(file: &ElfFile64<'_, LittleEndian>, elf: &[u8]) -> Result<Vec<u8>, BadImage> {
    let endian = LittleEndian;
    let mut bytes = Vec::new();
    for segment in file.elf_program_headers().iter().filter(|p| p.p_type(endian) == PT_LOAD) {
        if segment.p_flags(endian).contains(PF_W) {
            return bad("it has a writable segment");
        }
        let Ok(data) = segment.data(endian, elf) else { return bad("a segment lies outside the file") };
        if segment.p_memsz(endian) != data.len() as u64 {
            return bad("it has zeroed data");
        }
        let start = segment.p_vaddr(endian) as usize;
        // The image is a few pages; an address far away is damage.
        let Some(end) = start.checked_add(data.len()).filter(|&end| end < 1 << 24) else {
            return bad("a segment lies far away");
        };
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(data);
    }
    let sections = file.elf_section_table();
    for section in sections.iter().filter(|s| s.sh_flags(endian).contains(SHF_WRITE)) {
        let name = sections.section_name(endian, section).unwrap_or_default();
        // Written by the loader only, which is us.
        let fixed = name.starts_with(b".data.rel.ro") || name == b".dynamic";
        if section.sh_size(endian) > 0 && (!fixed || section.sh_type(endian) == SHT_NOBITS) {
            return bad(format_args!("section {} is writable", String::from_utf8_lossy(name)));
        }
    }
    if bytes.is_empty() { bad("it has no segment") } else { Ok(bytes) }
}

fn relocations(file: &ElfFile64<'_, LittleEndian>, elf: &[u8], len: usize) -> Result<Vec<(usize, u64)>, BadImage> {
    let endian = LittleEndian;
    let mut found = Vec::new();
    for section in file.elf_section_table().iter() {
        let Ok(Some((table, _))) = section.rela(endian, elf) else { continue };
        for entry in table {
            if entry.r_type(endian, false) != arch::RELATIVE {
                return bad(format_args!("relocation of type {}", entry.r_type(endian, false)));
            }
            let offset = entry.r_offset(endian) as usize;
            if offset.checked_add(8).is_none_or(|end| end > len) {
                return bad("a relocation lies outside");
            }
            found.push((offset, entry.r_addend(endian) as u64));
        }
    }
    if file.elf_header().e_machine(endian) != arch::MACHINE {
        return bad("it is for another machine");
    }
    Ok(found)
}
