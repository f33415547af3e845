//! Proves decisions by running them: rewrites an ELF file so that every site is a jump to the copy
//! of its instructions, in a new segment at the end of the file.
//!
//! The rewritten program must do what the original does. It is the final state of patching every
//! site of the file at once, only harsher: the displaced bytes behind the jump become breakpoints.

#![allow(dead_code, reason = "each test file uses a part of this")]

mod aarch64;
pub mod cross;
mod riscv64;
mod x86_64;

use std::path::{Path, PathBuf};
use std::process::Command;

use textpoke_analyze::{Function, Image, Isa, Reason, Site};

const PAGE: u64 = 0x1000;

/// What was put into a rewritten file.
#[derive(Debug, Default)]
pub struct Rewritten {
    pub bytes: Vec<u8>,
    pub entries: usize,
    pub exits: usize,
    /// Sites that the copies are too far from.
    pub unreached: usize,
    /// Link-time address of the counters: entries and exits of each function, 8 bytes each.
    pub counters: u64,
}

/// Rewrites a file. Sites that `keep` refuses stay as they are.
pub fn rewrite(bytes: &[u8], image: &Image<'_>, functions: &[Function], keep: impl Fn(&Function) -> bool) -> Rewritten {
    // Loaded where its offset says, so that whoever looks for the program headers by their offset finds them.
    let base = load_base(bytes);
    let top = load_end(bytes).max(base + bytes.len() as u64).next_multiple_of(PAGE);
    let mut out = bytes.to_vec();
    out.resize((top - base) as usize, 0);
    let copies_at = out.len() as u64;
    // The program headers move to the front of the new code, so that the kernel maps them.
    let headers = 64 * 56;
    let mut copies = vec![0u8; headers];
    let counters = top + 0x1000_0000;
    let mut rewritten = Rewritten { counters, ..Default::default() };
    let mut unreached = 0;
    let mut place = |site: &Site, counter: u64, out: &mut Vec<u8>| {
        copies.resize(copies.len().next_multiple_of(8), 0);
        let stub = top + copies.len() as u64;
        let (jump, made) = match (site.jump_to(0, stub), copy(stub, counter, site, image.is_shared())) {
            (Ok(jump), Ok(made)) => (jump.bytes, made),
            // Which is for the layout of this file to blame.
            (Err(Reason::OutOfRange), _) | (_, Err(Reason::OutOfRange)) => {
                unreached += 1;
                return false;
            }
            (Err(reason), _) | (_, Err(reason)) => panic!("{site:?}: {reason}"),
        };
        copies.extend(made);
        let offset = file_offset(image, site.vaddr);
        out[offset..offset + jump.len()].copy_from_slice(&jump);
        let trap: &[u8] = match site.isa() {
            Isa::X86_64 => &[0xcc],
            Isa::Aarch64 | Isa::Riscv64 => &[0x02, 0x90],
        };
        let rest = &mut out[offset + jump.len()..offset + site.len()];
        rest.chunks_exact_mut(trap.len()).for_each(|bytes| bytes.copy_from_slice(trap));
        true
    };
    for (index, function) in functions.iter().enumerate().filter(|(_, f)| keep(f)) {
        let counter = counters + 16 * index as u64;
        if let Ok(site) = &function.entry {
            rewritten.entries += usize::from(place(site, counter, &mut out));
        }
        for exit in &function.exits {
            rewritten.exits += usize::from(place(&exit.site, counter + 8, &mut out));
        }
    }
    rewritten.unreached = unreached;
    assert!(top + (copies.len() as u64) < counters, "too many copies for the layout");
    let table = program_headers(bytes, top, copies_at, copies.len() as u64, counters, 16 * functions.len() as u64);
    copies[..table.len()].copy_from_slice(&table);
    out.extend(copies);
    out[32..40].copy_from_slice(&copies_at.to_le_bytes());
    out[56..58].copy_from_slice(&((table.len() / 56) as u16).to_le_bytes());
    rewritten.bytes = out;
    rewritten
}

/// What the jump leads to: something that counts, and the copy as the library makes it.
fn copy(at: u64, counter: u64, site: &Site, shared: bool) -> Result<Vec<u8>, Reason> {
    match site.isa() {
        Isa::X86_64 => x86_64::copy(at, counter, site, shared),
        Isa::Aarch64 => aarch64::copy(at, counter, site),
        Isa::Riscv64 => riscv64::copy(at, counter, site),
    }
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

/// Address minus offset of the first segment.
fn load_base(bytes: &[u8]) -> u64 {
    let first = headers(bytes).find(|h| h[0] == 1).expect("a segment");
    word(first, 16) - word(first, 8)
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
