//! Smallest ELF files around literal bytes, for tests.

/// Where the code of a test file is.
pub(crate) const CODE: u64 = 0x40_1000;
/// Where the data of a test file is.
pub(crate) const DATA: u64 = 0x50_0000;

/// A symbol of a test file: name, address, size.
pub(crate) type Sym = (&'static str, u64, u64);

/// A position-independent file with this code and no symbols.
pub(crate) fn with_data(data: &[u8]) -> Vec<u8> {
    file(&[0xc3], data, &[], 3)
}

/// A file of type `kind` (2 fixed address, 3 position independent) with code, data and function symbols.
pub(crate) fn file(code: &[u8], data: &[u8], symbols: &[Sym], kind: u16) -> Vec<u8> {
    let mut strings = vec![0u8];
    let mut symtab = vec![0u8; 24];
    for (name, vaddr, size) in symbols {
        symtab.extend((strings.len() as u32).to_le_bytes());
        // Global function in section 1.
        symtab.extend([0x12, 0, 1, 0]);
        symtab.extend(vaddr.to_le_bytes());
        symtab.extend(size.to_le_bytes());
        strings.extend(name.as_bytes());
        strings.push(0);
    }
    let names = b"\0.text\0.rodata\0.symtab\0.strtab\0.shstrtab\0";
    let mut out = vec![0u8; 64 + 2 * 56];
    let mut put = |bytes: &[u8]| {
        let at = out.len() as u64;
        out.extend(bytes);
        at
    };
    let (code_at, data_at) = (put(code), put(data));
    let (symtab_at, strings_at, names_at) = (put(&symtab), put(&strings), put(names));
    let mut rows: Vec<u8> = vec![0; 64];
    let mut section = |name: u32, kind: u32, flags: u64, vaddr: u64, at: u64, size: usize, link: u32| {
        rows.extend(name.to_le_bytes());
        rows.extend(kind.to_le_bytes());
        for field in [flags, vaddr, at, size as u64] {
            rows.extend(field.to_le_bytes());
        }
        rows.extend(link.to_le_bytes());
        rows.extend([0; 20]);
    };
    section(1, 1, 6, CODE, code_at, code.len(), 0);
    section(7, 1, 2, DATA, data_at, data.len(), 0);
    section(15, 2, 0, 0, symtab_at, symtab.len(), 4);
    section(23, 3, 0, 0, strings_at, strings.len(), 0);
    section(31, 3, 0, 0, names_at, names.len(), 0);
    let rows_at = put(&rows);
    out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    out[16..18].copy_from_slice(&kind.to_le_bytes());
    out[18] = 62;
    out[32..40].copy_from_slice(&64u64.to_le_bytes());
    out[40..48].copy_from_slice(&rows_at.to_le_bytes());
    out[54] = 56;
    out[56] = 2;
    out[58] = 64;
    out[60] = 6;
    out[62] = 5;
    let mut segment = |index: usize, flags: u32, at: u64, vaddr: u64, size: usize| {
        let row = &mut out[64 + index * 56..][..56];
        row[..4].copy_from_slice(&1u32.to_le_bytes());
        row[4..8].copy_from_slice(&flags.to_le_bytes());
        for (i, field) in [at, vaddr, vaddr, size as u64, size as u64].into_iter().enumerate() {
            row[8 + i * 8..16 + i * 8].copy_from_slice(&field.to_le_bytes());
        }
    };
    segment(0, 5, code_at, CODE, code.len());
    segment(1, 4, data_at, DATA, data.len());
    out
}
