//! The ELF files that a process runs, from `/proc/PID/maps`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An executable mapping of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// Address behind the last.
    pub end: u64,
    /// Where in the file it begins, bytes.
    pub offset: u64,
    /// Path as the kernel shows it, without ` (deleted)`.
    pub path: String,
    /// The file was replaced or removed since it was mapped.
    pub deleted: bool,
    /// Device and inode, which tell files apart when paths do not.
    pub id: String,
}

/// The first executable mapping of each file that the process runs, in order of address.
///
/// # Errors
/// No such process, or not ours.
pub fn executable_files(pid: u32) -> Result<Vec<Mapping>> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::new(format!("there is no process {pid}")),
        ErrorKind::PermissionDenied => {
            Error::new(format!("process {pid} belongs to somebody else; run as its user or as root"))
        }
        _ => Error::io(format!("cannot read the mappings of process {pid}"), &e),
    })?;
    let mut files: Vec<Mapping> = Vec::new();
    for mapping in text.lines().filter_map(parse) {
        if !files.iter().any(|f| f.id == mapping.id && f.path == mapping.path) {
            files.push(mapping);
        }
    }
    if files.is_empty() {
        return Err(Error::new(format!("process {pid} runs no program file; it is a kernel thread or has ended")));
    }
    Ok(files)
}

/// One line of `maps`, if it is executable and of a file.
fn parse(line: &str) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let trimmed = rest.trim_start();
        let (word, after) = trimmed.split_once(' ').unwrap_or((trimmed, ""));
        rest = after;
        word
    };
    let (range, flags, offset, device, inode) = (field(), field(), field(), field(), field());
    let path = rest.trim_start();
    if !flags.contains('x') || !path.starts_with('/') || inode == "0" {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let (path, deleted) = match path.strip_suffix(" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    Some(Mapping {
        start: number(start)?,
        end: number(end)?,
        offset: number(offset)?,
        path: path.to_string(),
        deleted,
        id: format!("{device}:{inode}"),
    })
}

/// The bytes of a mapped file: through the mapping itself, which also finds deleted files; else by
/// its path as the process sees it (it may live in a container).
///
/// # Errors
/// None of the ways leads to the file.
pub fn read(pid: u32, mapping: &Mapping) -> Result<Vec<u8>> {
    let by_mapping = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end);
    if let Ok(bytes) = fs::read(by_mapping) {
        return Ok(bytes);
    }
    let exe = Path::new("/proc").join(pid.to_string()).join("exe");
    let is_exe = fs::read_link(&exe)
        .is_ok_and(|target| target.to_str().is_some_and(|t| t.trim_end_matches(" (deleted)") == mapping.path));
    if is_exe && let Ok(bytes) = fs::read(&exe) {
        return Ok(bytes);
    }
    if mapping.deleted {
        return Err(Error::new(format!(
            "{} was replaced or removed since process {pid} mapped it; run as root to read it",
            mapping.path
        )));
    }
    let place = PathBuf::from(format!("/proc/{pid}/root{}", mapping.path));
    fs::read(&place).map_err(|e| Error::io(format!("cannot read {}", mapping.path), &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = "7f0000001000-7f0000003000 r-xp 00001000 fe:01 77   /lib/a b.so (deleted)";
        let mapping = parse(line).unwrap();
        assert_eq!((mapping.start, mapping.offset), (0x7f00_0000_1000, 0x1000));
        assert_eq!((mapping.path.as_str(), mapping.deleted), ("/lib/a b.so", true));
        assert!(parse("7ffd0000-7ffe0000 r-xp 00000000 00:00 0    [vdso]").is_none());
        assert!(parse("7f0000001000-7f0000003000 rw-p 00001000 fe:01 77 /lib/a.so").is_none());
        assert!(parse("").is_none());
    }

    #[test]
    fn this_process_runs_its_own_program() {
        let me = std::process::id();
        let files = executable_files(me).unwrap();
        let exe = std::env::current_exe().unwrap();
        let own = files.iter().find(|f| Path::new(&f.path) == exe).unwrap();
        assert!(read(me, own).unwrap().starts_with(b"\x7fELF"));
    }

    #[test]
    fn no_such_process() {
        let error = executable_files(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("no process"), "{error}");
    }
}
