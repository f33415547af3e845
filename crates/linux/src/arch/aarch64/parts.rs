//! Which CPUs this machine has, as far as their errata go.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use textpoke_cpu::errata;

use crate::sys::{self, flags};

/// More CPUs than any machine has numbers for.
const CPUS: u32 = 8192;

const UNKNOWN: u8 = 0;
const ALL_GOOD: u8 = 1;
const SOME_BAD: u8 = 2;

static ANSWER: AtomicU8 = AtomicU8::new(UNKNOWN);

/// Whether every CPU is known to perform as much cache maintenance by itself as its `CTR_EL0` says. Where Linux does not
/// tell (`regs/identification/midr_el1` in sysfs, since 4.11), or a CPU is offline and shows none, the answer is no.
///
/// Looked up once. A CPU that comes later is of a kind that was there before or was counted as unknown.
pub fn caches_keep_promises() -> bool {
    match ANSWER.load(Relaxed) {
        ALL_GOOD => true,
        SOME_BAD => false,
        _ => {
            let good = look();
            ANSWER.store(if good { ALL_GOOD } else { SOME_BAD }, Relaxed);
            good
        }
    }
}

fn look() -> bool {
    // Numbers may have gaps only where CPUs are missing; `possible` is not parsed, the files are simply tried.
    let mut seen = 0;
    for cpu in 0..CPUS {
        match midr(cpu) {
            Some(Some(midr)) if !errata::needs_every_step(midr) => seen += 1,
            // The folder of the CPU is there, but not the register; or it is one of the parts.
            Some(_) => return false,
            None => break,
        }
    }
    seen > 0
}

/// `None`: there is no such CPU. `Some(None)`: it does not tell.
fn midr(cpu: u32) -> Option<Option<u64>> {
    let mut path = [0u8; 80];
    let folder = put(&mut path, 0, b"/sys/devices/system/cpu/cpu");
    let folder = put_number(&mut path, folder, cpu);
    let how = flags::O_RDONLY | flags::O_CLOEXEC;
    // The rest of `path` is zeros.
    let fd = sys::open(&path[..=folder], how | flags::O_DIRECTORY).ok()?;
    let _ = sys::close(fd);
    let end = put(&mut path, folder, b"/regs/identification/midr_el1");
    let Ok(fd) = sys::open(&path[..=end], how) else { return Some(None) };
    let mut text = [0u8; 32];
    let read = sys::read(fd, &mut text);
    let _ = sys::close(fd);
    Some(read.ok().and_then(|n| parse(text[..n].trim_ascii())))
}

fn parse(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"0x")?;
    u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
}

fn put(path: &mut [u8], at: usize, piece: &[u8]) -> usize {
    path[at..at + piece.len()].copy_from_slice(piece);
    at + piece.len()
}

fn put_number(path: &mut [u8], at: usize, number: u32) -> usize {
    let at = if number >= 10 { put_number(path, at, number / 10) } else { at };
    put(path, at, &[b'0' + (number % 10) as u8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read_as_the_kernel_prints_them() {
        assert_eq!(parse(b"0x00000000413fd0c1"), Some(0x413f_d0c1));
        assert_eq!((parse(b"413fd0c1"), parse(b"")), (None, None));
        let mut path = [0u8; 8];
        assert_eq!((put_number(&mut path, 0, 1024), &path[..4]), (4, &b"1024"[..]));
    }

    #[test]
    fn the_answer_stays() {
        assert_eq!(caches_keep_promises(), caches_keep_promises());
        assert!(midr(CPUS).is_none());
    }
}
