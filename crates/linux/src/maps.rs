//! `/proc/self/maps`: what is mapped where, with which protections.

use std::string::String;
use std::vec::Vec;

use textpoke_core::Site;

use crate::range::{Prot, Range};
use crate::sys::{self, Result, flags};

/// One mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where, and its protections.
    pub range: Range,
    /// Whether stores reach others who map the same object.
    pub shared: bool,
    /// Where in the mapped file it begins; 0 if it is none.
    pub offset: u64,
}

/// Why sites cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Nothing executable is mapped at this address.
    NotText(u64),
    /// The mapping of this address is shared: stores would change a file, or other programs.
    Shared(u64),
}

/// Reads all mappings of this process, ascending.
///
/// # Errors
/// Where /proc is not mounted.
pub fn read() -> Result<Vec<Mapping>> {
    let fd = sys::open(b"/proc/self/maps\0", flags::O_RDONLY | flags::O_CLOEXEC)?;
    let mut text = Vec::new();
    let result = loop {
        let at = text.len();
        text.resize(at + 16384, 0);
        match sys::read(fd, &mut text[at..]) {
            Ok(0) => {
                text.truncate(at);
                break Ok(());
            }
            Ok(n) => text.truncate(at + n),
            Err(errno) => break Err(errno),
        }
    };
    let _ = sys::close(fd);
    result?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(parse).collect())
}

/// The mappings that hold `sites`, both ascending: the ranges of a window.
pub fn holding(mappings: &[Mapping], sites: &[Site]) -> core::result::Result<Vec<Range>, Unfit> {
    let mut ranges: Vec<Range> = Vec::new();
    for site in sites {
        let mut at = site.addr;
        while at < site.end() {
            let i = mappings.partition_point(|m| m.range.end <= at);
            let Some(found) = mappings.get(i).filter(|m| m.range.start <= at && m.range.prot.0 & flags::PROT_EXEC != 0)
            else {
                return Err(Unfit::NotText(at));
            };
            if found.shared {
                return Err(Unfit::Shared(at));
            }
            if ranges.last() != Some(&found.range) {
                ranges.push(found.range);
            }
            at = found.range.end;
        }
    }
    Ok(ranges)
}

fn parse(line: &str) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let [r, w, x, s, ..] = *rest.as_bytes() else { return None };
    let offset = u64::from_str_radix(rest.split(' ').nth(1)?, 16).ok()?;
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    let prot = bit(r == b'r', flags::PROT_READ) | bit(w == b'w', flags::PROT_WRITE) | bit(x == b'x', flags::PROT_EXEC);
    Some(Mapping {
        range: Range::new(u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?, Prot(prot)),
        shared: s == b's',
        offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_mapping() {
        let line = "7f1c2a5e1000-7f1c2a60b000 r-xp 00001000 fe:00 12345   /usr/lib/x y.so";
        let want =
            Mapping { range: Range::new(0x7f1c_2a5e_1000, 0x7f1c_2a60_b000, Prot::RX), shared: false, offset: 0x1000 };
        assert_eq!(parse(line), Some(want));
        assert!(parse("1000-2000 rw-s 0 0 0").is_some_and(|m| m.shared && m.range.prot.writes()));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn sites_find_their_mappings() {
        let map = |start, end, prot, shared| Mapping { range: Range::new(start, end, prot), shared, offset: 0 };
        let all = [
            map(0x1000, 0x2000, Prot::RX, false),
            map(0x2000, 0x3000, Prot(flags::PROT_READ), false),
            map(0x4000, 0x5000, Prot::RX, false),
            map(0x5000, 0x6000, Prot::RX, false),
            map(0x6000, 0x7000, Prot::RX, true),
        ];
        let site = |addr| Site::single(addr, &[0x90; 5], &[0xcc; 5]).unwrap();
        assert_eq!(holding(&all, &[site(0x1000), site(0x1800)]).unwrap(), [all[0].range]);
        assert_eq!(holding(&all, &[site(0x1000), site(0x4ffe)]).unwrap(), [all[0].range, all[2].range, all[3].range]);
        assert_eq!(holding(&all, &[site(0x1ffe)]), Err(Unfit::NotText(0x2000)));
        assert_eq!(holding(&all, &[site(0x3000)]), Err(Unfit::NotText(0x3000)));
        assert_eq!(holding(&all, &[site(0x5ffe)]), Err(Unfit::Shared(0x6000)));
    }

    #[test]
    fn the_own_text_is_there() {
        let here = the_own_text_is_there as *const () as u64;
        let all = read().unwrap();
        let site = Site::single(here, &[0x90], &[0xcc]).unwrap();
        assert_eq!(holding(&all, &[site]).unwrap().len(), 1);
    }
}
