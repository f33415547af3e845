//! Landing pads: where the unwinder enters a function, from the exception tables that C++, Rust
//! and other compilers write to `.gcc_except_table`.

use crate::elf::Image;

/// The landing pads of the function whose exception table is at `lsda`, or `None` if the table
/// does not have the usual form. `start` is the start of the unwind entry.
pub(crate) fn landing_pads(image: &Image<'_>, lsda: u64, start: u64) -> Option<Vec<u64>> {
    let mut at = Cursor { bytes: image.bytes_from(lsda)?, vaddr: lsda };
    let base = match at.byte()? {
        OMIT => start,
        encoding => at.pointer(encoding)?,
    };
    if at.byte()? != OMIT {
        at.uleb()?;
    }
    let encoding = at.byte()?;
    let length = usize::try_from(at.uleb()?).ok()?;
    let mut rows = Cursor { bytes: at.bytes.get(..length)?, vaddr: at.vaddr };
    let mut pads = Vec::new();
    while !rows.bytes.is_empty() {
        rows.pointer(encoding)?;
        rows.pointer(encoding)?;
        let pad = rows.pointer(encoding)?;
        rows.uleb()?;
        if pad != 0 {
            pads.push(base.checked_add(pad)?);
        }
    }
    Some(pads)
}

const OMIT: u8 = 0xff;

struct Cursor<'a> {
    bytes: &'a [u8],
    vaddr: u64,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        self.vaddr += 1;
        Some(first)
    }

    fn uleb(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn fixed(&mut self, len: u8) -> Option<u64> {
        (0..len).try_fold(0, |value, i| Some(value | u64::from(self.byte()?) << (8 * i)))
    }

    /// A DWARF pointer without indirection: absolute, or relative to itself.
    fn pointer(&mut self, encoding: u8) -> Option<u64> {
        let here = self.vaddr;
        let value = match encoding & 0x0f {
            0x01 => self.uleb()?,
            0x02 => self.fixed(2)?,
            0x03 => self.fixed(4)?,
            0x00 | 0x04 | 0x0c => self.fixed(8)?,
            0x0b => i64::from(u32::try_from(self.fixed(4)?).ok()?.cast_signed()).cast_unsigned(),
            _ => return None,
        };
        match encoding & 0xf0 {
            0x00 => Some(value),
            0x10 if value == 0 => Some(0),
            0x10 => Some(here.wrapping_add(value)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_uleb_call_sites() {
        // Omitted base, omitted types, uleb rows: two call sites, one with a landing pad at +0x90.
        let bytes = [0xff, 0xff, 0x01, 0x09, 0x10, 0x05, 0x90, 0x01, 0x00, 0x20, 0x05, 0x00, 0x00];
        let file = crate::testfile::with_data(&bytes);
        let image = Image::parse(&file).unwrap();
        let at = crate::testfile::DATA;
        assert_eq!(landing_pads(&image, at, 0x1000), Some(vec![0x1090]));
    }

    #[test]
    fn refuses_a_table_that_is_cut_off() {
        let bytes = [0xff, 0xff, 0x01, 0x7f, 0x10];
        let file = crate::testfile::with_data(&bytes);
        let image = Image::parse(&file).unwrap();
        assert_eq!(landing_pads(&image, crate::testfile::DATA, 0x1000), None);
    }
}
