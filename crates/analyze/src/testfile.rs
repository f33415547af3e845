//! Smallest ELF files around literal bytes, for tests.

/// Where the code of a test file is.
pub(crate) const CODE: u64 = 0x40_1000;
/// Where the data of a test file is.
pub(crate) const DATA: u64 = 0x50_0000;

/// Builds a file with one segment of code and one of data.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    code: Vec<u8>,
    data: Vec<u8>,
    symbols: Vec<(String, u64, u64, u8)>,
    sections: Vec<(String, u32, u64, u64)>,
    fixed: bool,
    writable: bool,
    /// `e_machine` and `e_flags`, unless it is x86-64.
    machine: Option<(u8, u8)>,
}

impl File {
    /// Position-independent code at [`CODE`].
    pub fn new(code: &[u8]) -> Self {
        Self { code: code.to_vec(), ..Self::default() }
    }

    /// AArch64 code at [`CODE`].
    pub fn aarch64(code: &[u32]) -> Self {
        let bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
        Self { machine: Some((183, 0)), ..Self::new(&bytes) }
    }

    /// RISC-V code at [`CODE`]: instructions of four bytes, and of two where the lowest bits say so.
    pub fn riscv64(code: &[u32]) -> Self {
        let len = |word: u32| if word & 3 == 3 { 4 } else { 2 };
        let bytes: Vec<u8> = code.iter().flat_map(|&word| word.to_le_bytes().into_iter().take(len(word))).collect();
        Self { machine: Some((243, 5)), ..Self::new(&bytes) }
    }

    /// How many bytes of code there are.
    pub fn code_len(&self) -> u64 {
        self.code.len() as u64
    }

    /// A function at an offset in the code.
    pub fn function(self, name: &str, offset: u64, size: u64) -> Self {
        self.symbol(name, offset, size, 2)
    }

    /// A symbol of an ELF type: 0 label, 1 object, 2 function, 10 IFUNC.
    pub fn symbol(mut self, name: &str, offset: u64, size: u64, kind: u8) -> Self {
        self.symbols.push((name.to_owned(), CODE + offset, size, kind));
        self
    }

    /// Linked at a fixed address.
    pub fn fixed(mut self) -> Self {
        self.fixed = true;
        self
    }

    /// With writable code.
    pub fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// Data at [`DATA`].
    pub fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// Adds a section to the data.
    pub fn section(mut self, name: &str, kind: u32, bytes: &[u8]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        self.sections.push((name.to_owned(), kind, DATA + self.data.len() as u64, bytes.len() as u64));
        self.data.extend(bytes);
        self
    }

    /// Adds unwind entries: offset, size, CFA offset from `rsp` at the first instruction, address of the exception table.
    pub fn unwind(self, entries: &[(u64, u32, u8, u64)]) -> Self {
        let mut table = Vec::new();
        let mut record = |body: &[u8]| {
            // Padded with DW_CFA_nop.
            let len = (body.len() + 4).next_multiple_of(8) - 4;
            table.extend((len as u32).to_le_bytes());
            table.extend(body);
            table.resize(table.len() + len - body.len(), 0);
        };
        for &(offset, size, cfa, lsda) in entries {
            // Each entry has a common part of its own, "zLR" with absolute addresses.
            let mut cie = vec![0, 0, 0, 0, 1];
            cie.extend(b"zLR\0");
            cie.extend([1, 0x78, 16, 2, 0, 0, 0x0c, 7, cfa, 0x90, 1]);
            record(&cie);
            // The distance from this field back to the common part.
            let mut fde = ((cie.len() as u32 + 4).next_multiple_of(8) + 4).to_le_bytes().to_vec();
            fde.extend((CODE + offset).to_le_bytes());
            fde.extend(u64::from(size).to_le_bytes());
            fde.push(8);
            fde.extend(lsda.to_le_bytes());
            record(&fde);
        }
        table.extend([0; 4]);
        self.section(".eh_frame", 1, &table)
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut symtab = vec![0u8; 24];
        for (name, vaddr, size, kind) in &self.symbols {
            symtab.extend((strings.len() as u32).to_le_bytes());
            symtab.extend([0x10 | kind, 0, 1, 0]);
            symtab.extend(vaddr.to_le_bytes());
            symtab.extend(size.to_le_bytes());
            strings.extend(name.as_bytes());
            strings.push(0);
        }
        let mut names = vec![0u8];
        let mut rows = vec![0u8; 64];
        let mut out = vec![0u8; 64 + 2 * 56];
        let mut put = |bytes: &[u8]| {
            let at = out.len() as u64;
            out.extend(bytes);
            at
        };
        let (code_at, data_at) = (put(&self.code), put(&self.data));
        let (symtab_at, strings_at) = (put(&symtab), put(&strings));
        let mut section = |name: &str, kind: u32, flags: u64, vaddr: u64, at: u64, size: u64, link: u32| {
            rows.extend((names.len() as u32).to_le_bytes());
            names.extend(name.as_bytes());
            names.push(0);
            rows.extend(kind.to_le_bytes());
            for field in [flags, vaddr, at, size] {
                rows.extend(field.to_le_bytes());
            }
            rows.extend(link.to_le_bytes());
            rows.extend([0; 20]);
        };
        section(".text", 1, 6, CODE, code_at, self.code.len() as u64, 0);
        section(".symtab", 2, 0, 0, symtab_at, symtab.len() as u64, 3);
        section(".strtab", 3, 0, 0, strings_at, strings.len() as u64, 0);
        for (name, kind, vaddr, size) in &self.sections {
            section(name, *kind, 2, *vaddr, data_at + vaddr - DATA, *size, 0);
        }
        let count = self.sections.len() as u8 + 5;
        let names_at = put(&names);
        // The names of the sections, whose own name stays empty.
        rows.extend([0u8; 4]);
        rows.extend(3u32.to_le_bytes());
        for field in [0, 0, names_at, names.len() as u64] {
            rows.extend(field.to_le_bytes());
        }
        rows.extend([0; 24]);
        let rows_at = put(&rows);
        out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        out[16] = if self.fixed { 2 } else { 3 };
        (out[18], out[48]) = self.machine.unwrap_or((62, 0));
        out[32] = 64;
        out[40..48].copy_from_slice(&rows_at.to_le_bytes());
        out[54] = 56;
        out[56] = 2;
        out[58] = 64;
        out[60] = count;
        out[62] = count - 1;
        let mut segment = |index: usize, flags: u32, at: u64, vaddr: u64, size: usize| {
            let row = &mut out[64 + index * 56..][..56];
            row[..4].copy_from_slice(&1u32.to_le_bytes());
            row[4..8].copy_from_slice(&flags.to_le_bytes());
            for (i, field) in [at, vaddr, vaddr, size as u64, size as u64].into_iter().enumerate() {
                row[8 + i * 8..16 + i * 8].copy_from_slice(&field.to_le_bytes());
            }
        };
        segment(0, if self.writable { 7 } else { 5 }, code_at, CODE, self.code.len());
        segment(1, 4, data_at, DATA, self.data.len());
        out
    }
}

/// A file with this data and one instruction of code.
pub(crate) fn with_data(data: &[u8]) -> Vec<u8> {
    File::new(&[0xc3]).data(data).build()
}
