//! Proves decisions by running them: rewrites an ELF file so that every site is a jump to the copy
//! of its instructions, in a new segment at the end of the file.
//!
//! The rewritten program must do what the original does. It is the final state of patching every
//! site of the file at once, only harsher: the displaced bytes behind the jump become breakpoints.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::path::{Path, PathBuf};
use std::process::Command;

use textpoke_analyze::{Ends, Function, Image, Site};

const PAGE: u64 = 0x1000;

/// What was put into a rewritten file.
#[derive(Debug, Default)]
pub struct Rewritten {
    pub bytes: Vec<u8>,
    pub entries: usize,
    pub exits: usize,
    /// Link-time address of the counters: entries and exits of each function, 8 bytes each.
    pub counters: u64,
}

/// Rewrites a file. Sites that `keep` refuses stay as they are.
pub fn rewrite(bytes: &[u8], image: &Image<'_>, functions: &[Function], keep: impl Fn(&Function) -> bool) -> Rewritten {
    let top = load_end(bytes).next_multiple_of(PAGE);
    let mut out = bytes.to_vec();
    out.resize(out.len().next_multiple_of(PAGE as usize), 0);
    let copies_at = out.len() as u64;
    // The program headers move to the front of the new code, so that the kernel maps them.
    let headers = 64 * 56;
    let mut copies = vec![0u8; headers];
    let counters = top + 0x1000_0000;
    let mut rewritten = Rewritten { counters, ..Default::default() };
    let mut place = |site: &Site, counter: u64, out: &mut Vec<u8>| {
        let stub = top + copies.len() as u64;
        count(&mut copies, top, counter);
        copy(&mut copies, top, site, image.is_shared());
        let offset = file_offset(image, site.vaddr);
        let jump = site.jump_to(0, stub).expect("near").bytes;
        out[offset..offset + jump.len()].copy_from_slice(&jump);
        out[offset + jump.len()..offset + site.len()].fill(0xcc);
    };
    for (index, function) in functions.iter().enumerate().filter(|(_, f)| keep(f)) {
        let counter = counters + 16 * index as u64;
        if let Ok(site) = &function.entry {
            rewritten.entries += 1;
            place(site, counter, &mut out);
        }
        for exit in &function.exits {
            rewritten.exits += 1;
            place(&exit.site, counter + 8, &mut out);
        }
    }
    assert!(top + (copies.len() as u64) < counters, "too many copies for the layout");
    let table = program_headers(bytes, top, copies_at, copies.len() as u64, counters, 16 * functions.len() as u64);
    copies[..table.len()].copy_from_slice(&table);
    out.extend(copies);
    out[32..40].copy_from_slice(&copies_at.to_le_bytes());
    out[56..58].copy_from_slice(&((table.len() / 56) as u16).to_le_bytes());
    rewritten.bytes = out;
    rewritten
}

/// The copy of a site, as the library makes it. Only the address that a call pushes is absolute,
/// which a file with a load bias cannot know: there it is computed.
fn copy(copies: &mut Vec<u8>, base: u64, site: &Site, shared: bool) {
    let dest = base + copies.len() as u64;
    let made = site.relocate(0, dest).expect("the copy is within reach");
    if !shared || site.ends != Ends::Call {
        copies.extend(made.bytes);
        return;
    }
    let call = usize::from(*made.at.iter().filter(|&&at| at != 0xff).max().expect("an instruction"));
    copies.extend(&made.bytes[..call]);
    assert_eq!(made.bytes[call], 0x68, "addresses as linked fit a push");
    // push rax; push rax; lea rax,[rip+x]; mov [rsp+8],rax; pop rax
    copies.extend([0x50, 0x50, 0x48, 0x8d, 0x05]);
    let returns = site.vaddr + site.code().len() as u64;
    let here = base + copies.len() as u64 + 4;
    copies.extend(i32::try_from(returns as i64 - here as i64).expect("near").to_le_bytes());
    copies.extend([0x48, 0x89, 0x44, 0x24, 0x08, 0x58]);
    let longer = 15 - 5;
    copies.extend(&site.relocate(0, dest + longer).expect("within reach").bytes[call + 5..]);
}

/// `lea rsp,[rsp-128]; pushf; lock inc qword [rip+x]; popf; lea rsp,[rsp+128]`
fn count(copies: &mut Vec<u8>, base: u64, counter: u64) {
    copies.extend([0x48, 0x8d, 0x64, 0x24, 0x80, 0x9c, 0xf0, 0x48, 0xff, 0x05]);
    let end = base + copies.len() as u64 + 4;
    copies.extend(i32::try_from(counter as i64 - end as i64).expect("near").to_le_bytes());
    copies.extend([0x9d, 0x48, 0x8d, 0xa4, 0x24, 0x80, 0, 0, 0]);
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn headers(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let at = word(bytes, 32) as usize;
    let count = u16::from_le_bytes([bytes[56], bytes[57]]) as usize;
    bytes[at..at + count * 56].chunks_exact(56)
}

fn load_end(bytes: &[u8]) -> u64 {
    headers(bytes).filter(|h| h[0] == 1).map(|h| word(h, 16) + word(h, 40)).max().expect("a segment")
}

fn program_headers(bytes: &[u8], vaddr: u64, offset: u64, size: u64, counters: u64, counted: u64) -> Vec<u8> {
    let mut table = Vec::new();
    let row = |kind: u32, flags: u32, offset: u64, vaddr: u64, filesz: u64, memsz: u64| {
        let mut row = Vec::new();
        row.extend(kind.to_le_bytes());
        row.extend(flags.to_le_bytes());
        for field in [offset, vaddr, vaddr, filesz, memsz, PAGE] {
            row.extend(field.to_le_bytes());
        }
        row
    };
    for header in headers(bytes) {
        if header[..4] == [6, 0, 0, 0] {
            table.extend(row(6, 4, offset, vaddr, 62 * 56, 62 * 56));
        } else {
            table.extend(header);
        }
    }
    // Loadable segments must come in order of their addresses; these are the highest.
    table.extend(row(1, 5, offset, vaddr, size, size));
    table.extend(row(1, 6, 0, counters, 0, counted));
    table
}

fn file_offset(image: &Image<'_>, vaddr: u64) -> usize {
    let segment = image.segments().iter().find(|s| vaddr >= s.vaddr && vaddr - s.vaddr < s.size).expect("mapped");
    (segment.offset + vaddr - segment.vaddr) as usize
}

/// Compiles a file of `tests/programs` with the C or C++ compiler of the system; `None` without one.
pub fn compile(dir: &Path, source: &str, options: &[&str]) -> Option<PathBuf> {
    let compiler = if source.ends_with(".cpp") { "c++" } else { "cc" };
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(source);
    let output = dir.join("program");
    let built = Command::new(compiler).arg(source).args(options).arg("-o").arg(&output).output();
    match built {
        Ok(done) => {
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            Some(output)
        }
        Err(error) => {
            eprintln!("skipped: no compiler {compiler} here ({error})");
            None
        }
    }
}

/// Writes an executable file.
pub fn install(path: &Path, bytes: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, bytes).expect("written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("made executable");
}
