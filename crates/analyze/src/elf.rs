//! The ELF container: headers, segments, sections, and reading by virtual address.
//!
//! The program headers are what the kernel and the dynamic linker believe, so they decide what is
//! code. Section headers only refine that, and only where they agree with a segment.

use core::ops::Range;

use crate::error::Error;
use crate::isa::Isa;

/// A `PT_LOAD` segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Virtual address as linked (add the load bias for the run-time address).
    pub vaddr: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Bytes that come from the file. The segment may be larger in memory.
    pub size: u64,
    /// Mapped executable.
    pub executable: bool,
    /// Mapped writable.
    pub writable: bool,
}

/// An allocated section that agrees with the segments.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub name: String,
    pub kind: u32,
    pub vaddr: u64,
    pub offset: u64,
    pub size: u64,
    pub executable: bool,
    pub link: u32,
}

/// What of the dynamic table is of use here. Addresses are virtual, sizes in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dynamic {
    pub symtab: u64,
    pub strtab: u64,
    pub strsz: u64,
    pub hash: u64,
    pub gnu_hash: u64,
    pub rela: Range<u64>,
    pub jmprel: Range<u64>,
    pub relr: Range<u64>,
    pub init: u64,
    pub fini: u64,
    pub needed: usize,
}

/// A little-endian ELF64 program or library of a known instruction set, read from memory.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) dynamic: Dynamic,
    /// By file order; index is the section index, with ignored sections as `None`.
    pub(crate) sections: Vec<Option<Section>>,
    pub(crate) eh_frame_hdr: Option<u64>,
    isa: Isa,
    entry: u64,
    shared: bool,
    interpreted: bool,
    segments: Vec<Segment>,
    build_id: Option<&'a [u8]>,
}

pub(crate) const SHT_SYMTAB: u32 = 2;
pub(crate) const SHT_RELA: u32 = 4;
const SHT_NOBITS: u32 = 8;
/// Two bits of `e_flags` (RISC-V ELF psABI, "File Header").
const RISCV_FLOAT_ABI: u32 = 6;
const RISCV_FLOAT_ABI_DOUBLE: u32 = 4;
pub(crate) const SHT_DYNSYM: u32 = 11;

impl<'a> Image<'a> {
    /// Reads the headers of an ELF file.
    ///
    /// # Errors
    /// When the file is not a complete, linked ELF64 program or library of a known instruction set with code in it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.get(..4) != Some(b"\x7fELF") {
            return Err(Error::NotElf);
        }
        let header = Error::Truncated { what: "the ELF header" };
        match *bytes.get(4).ok_or(header.clone())? {
            2 => {}
            1 => return Err(Error::Elf32),
            _ => return Err(Error::NotElf),
        }
        if *bytes.get(5).ok_or(header.clone())? == 2 {
            return Err(Error::BigEndian);
        }
        if bytes.len() < 64 {
            return Err(header);
        }
        let machine = u16_at(bytes, 18).unwrap_or(0);
        let isa = Isa::of_machine(machine).ok_or(Error::ForeignIsa { machine })?;
        let flags = u32_at(bytes, 48).unwrap_or(0);
        if isa == Isa::Riscv64 && flags & RISCV_FLOAT_ABI != RISCV_FLOAT_ABI_DOUBLE {
            return Err(Error::RiscvAbi);
        }
        let kind = u16_at(bytes, 16).unwrap_or(0);
        if kind != 2 && kind != 3 {
            return Err(Error::NotLinked { kind });
        }
        let mut image = Self {
            bytes,
            dynamic: Dynamic::default(),
            sections: Vec::new(),
            eh_frame_hdr: None,
            isa,
            entry: u64_at(bytes, 24).unwrap_or(0),
            shared: kind == 3,
            interpreted: false,
            segments: Vec::new(),
            build_id: None,
        };
        image.read_segments()?;
        image.read_sections();
        Ok(image)
    }

    fn read_segments(&mut self) -> Result<(), Error> {
        let what = Error::Truncated { what: "the program header table" };
        let offset = u64_at(self.bytes, 32).unwrap_or(0);
        let size = u64::from(u16_at(self.bytes, 54).unwrap_or(0));
        let count = u64::from(u16_at(self.bytes, 56).unwrap_or(0));
        let mut dynamic = None;
        let mut notes = Vec::new();
        for index in 0..count {
            let at = index.checked_mul(size).and_then(|o| o.checked_add(offset)).ok_or(what.clone())?;
            let row = slice(self.bytes, at, 56).ok_or(what.clone())?;
            let (kind, flags) = (u32_at(row, 0).unwrap_or(0), u32_at(row, 4).unwrap_or(0));
            let field = |i| u64_at(row, i).unwrap_or(0);
            let (offset, vaddr, filesz) = (field(8), field(16), field(32));
            match kind {
                1 if filesz > 0 => {
                    slice(self.bytes, offset, filesz).ok_or(Error::Truncated { what: "a segment" })?;
                    vaddr.checked_add(filesz).ok_or(Error::Truncated { what: "a segment" })?;
                    self.segments.push(Segment {
                        vaddr,
                        offset,
                        size: filesz,
                        executable: flags & 1 != 0,
                        writable: flags & 2 != 0,
                    });
                }
                2 => dynamic = Some((offset, filesz)),
                3 => self.interpreted = true,
                4 => notes.push((offset, filesz)),
                0x6474_e550 => self.eh_frame_hdr = Some(vaddr),
                _ => {}
            }
        }
        if !self.segments.iter().any(|s| s.executable) {
            return Err(Error::NoCode);
        }
        self.segments.sort_by_key(|s| s.vaddr);
        if let Some((offset, size)) = dynamic {
            self.dynamic = slice(self.bytes, offset, size).map(read_dynamic).unwrap_or_default();
        }
        self.build_id =
            notes.into_iter().filter_map(|(offset, size)| slice(self.bytes, offset, size)).find_map(find_build_id);
        Ok(())
    }

    /// A file without section headers, or with headers that make no sense, has no sections.
    fn read_sections(&mut self) {
        let offset = u64_at(self.bytes, 40).unwrap_or(0);
        let size = u64::from(u16_at(self.bytes, 58).unwrap_or(0));
        let count = u64::from(u16_at(self.bytes, 60).unwrap_or(0));
        let names = u16_at(self.bytes, 62).unwrap_or(0);
        if offset == 0 || size < 64 {
            return;
        }
        let row = |index: u64| {
            index.checked_mul(size).and_then(|o| o.checked_add(offset)).and_then(|at| slice(self.bytes, at, 64))
        };
        let strings =
            row(u64::from(names)).and_then(|r| slice(self.bytes, u64_at(r, 24)?, u64_at(r, 32)?)).unwrap_or_default();
        let mut sections = Vec::new();
        for index in 0..count {
            let Some(row) = row(index) else { return };
            let (name, kind) = (u32_at(row, 0).unwrap_or(0), u32_at(row, 4).unwrap_or(0));
            let field = |i| u64_at(row, i).unwrap_or(0);
            let (flags, vaddr, offset, size) = (field(8), field(16), field(24), field(32));
            let section = Section {
                name: string_at(strings, u64::from(name)).unwrap_or_default().to_owned(),
                kind,
                vaddr,
                offset,
                size,
                executable: flags & 4 != 0,
                link: u32_at(row, 40).unwrap_or(0),
            };
            let allocated = flags & 2 != 0;
            let usable = kind != SHT_NOBITS
                && slice(self.bytes, offset, size).is_some()
                && (!allocated || self.agrees(&section));
            sections.push(usable.then_some(section));
        }
        self.sections = sections;
    }

    /// Whether the segments put the section where its header says.
    fn agrees(&self, section: &Section) -> bool {
        self.segments.iter().any(|s| {
            section.vaddr >= s.vaddr
                && section.vaddr.checked_add(section.size).is_some_and(|end| end <= s.vaddr + s.size)
                && section.offset.checked_sub(s.offset) == Some(section.vaddr - s.vaddr)
                && (!section.executable || s.executable)
        })
    }

    /// The instruction set of its code.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The entry point as linked; 0 for most libraries.
    pub fn entry_point(&self) -> u64 {
        self.entry
    }

    /// `ET_DYN`: a shared library or a position-independent program, loaded with a bias.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// A program that asks for no dynamic linker and needs no library, so that it contains its own C library.
    pub fn is_static(&self) -> bool {
        !self.interpreted && self.dynamic.needed == 0 && self.entry != 0
    }

    /// Made by the Go compiler, whose runtime knows all code by address and moves stacks.
    pub(crate) fn is_go(&self) -> bool {
        let of_go =
            |name: &str| matches!(name, ".gopclntab" | ".data.rel.ro.gopclntab" | ".note.go.buildid" | ".go.buildinfo");
        self.sections.iter().flatten().any(|s| of_go(&s.name))
    }

    /// The GNU build id, where the linker left one.
    pub fn build_id(&self) -> Option<&'a [u8]> {
        self.build_id
    }

    /// The `PT_LOAD` segments with bytes in the file, by address.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The executable `PT_LOAD` segments, by address.
    pub fn executable_segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|s| s.executable)
    }

    /// The bytes from a virtual address to the end of what the file gives for its segment.
    pub fn bytes_from(&self, vaddr: u64) -> Option<&'a [u8]> {
        let segment = self.segments.iter().find(|s| vaddr >= s.vaddr && vaddr - s.vaddr < s.size)?;
        let skip = vaddr - segment.vaddr;
        slice(self.bytes, segment.offset + skip, segment.size - skip)
    }

    /// Exactly `len` bytes at a virtual address.
    pub fn bytes_at(&self, vaddr: u64, len: u64) -> Option<&'a [u8]> {
        self.bytes_from(vaddr)?.get(..usize::try_from(len).ok()?)
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().flatten().find(|s| s.name == name && s.vaddr != 0)
    }

    pub(crate) fn section_bytes(&self, section: &Section) -> &'a [u8] {
        slice(self.bytes, section.offset, section.size).unwrap_or_default()
    }
}

fn read_dynamic(table: &[u8]) -> Dynamic {
    let mut d = Dynamic::default();
    let (mut rela, mut relasz, mut jmprel, mut pltrelsz, mut relr, mut relrsz) = (0, 0, 0, 0, 0, 0);
    for row in table.chunks_exact(16) {
        let (tag, value) = (u64_at(row, 0).unwrap_or(0), u64_at(row, 8).unwrap_or(0));
        match tag {
            0 => break,
            1 => d.needed += 1,
            2 => pltrelsz = value,
            4 => d.hash = value,
            5 => d.strtab = value,
            6 => d.symtab = value,
            7 => rela = value,
            8 => relasz = value,
            10 => d.strsz = value,
            12 => d.init = value,
            13 => d.fini = value,
            23 => jmprel = value,
            35 => relrsz = value,
            36 => relr = value,
            0x6fff_fef5 => d.gnu_hash = value,
            _ => {}
        }
    }
    d.rela = rela..rela.saturating_add(relasz);
    d.jmprel = jmprel..jmprel.saturating_add(pltrelsz);
    d.relr = relr..relr.saturating_add(relrsz);
    d
}

fn find_build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut rest = notes;
    loop {
        let (namesz, descsz, kind) = (u32_at(rest, 0)?, u32_at(rest, 4)?, u32_at(rest, 8)?);
        let desc = 12usize.checked_add(usize::try_from(namesz).ok()?.checked_next_multiple_of(4)?)?;
        let end = desc.checked_add(usize::try_from(descsz).ok()?)?;
        if kind == 3 && rest.get(12..16) == Some(b"GNU\0") {
            return rest.get(desc..end);
        }
        rest = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
}

pub(crate) fn slice(bytes: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// A NUL-terminated UTF-8 string in a string table.
pub(crate) fn string_at(strings: &[u8], at: u64) -> Option<&str> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|&b| b == 0)?;
    core::str::from_utf8(&rest[..end]).ok()
}
