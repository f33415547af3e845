//! The ELF files that a process runs, read as they were when it mapped them.

use std::fs;
use std::path::{Path, PathBuf};

use textpoke_analyze::Image;
use textpoke_attach::proc::{self, Mapping};

use crate::error::{Error, Result};

/// One mapped ELF file.
#[derive(Debug)]
pub struct Module {
    /// Its path as the process sees it.
    pub path: PathBuf,
    /// What was added to its addresses when it was loaded.
    pub bias: u64,
    /// Its executable mappings, run-time addresses.
    pub text: Vec<(u64, u64)>,
    /// The file's contents.
    pub bytes: Vec<u8>,
}

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct Unusable {
    /// Its path as the process sees it.
    pub path: PathBuf,
    /// Why, for a person.
    pub reason: String,
}

/// The ELF files with executable mappings for which `wanted` says yes, in address order.
///
/// # Errors
/// The process ended or may not be looked at.
pub fn of_process(pid: i32, wanted: impl Fn(&Path) -> bool) -> Result<(Vec<Module>, Vec<Unusable>)> {
    let maps = proc::maps(pid).map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => {
            Error::new(format!("not allowed to look into process {pid}: it must be yours, or use sudo"))
        }
        _ => Error::new(format!("there is no process {pid}; see `ps -e` for those there are")),
    })?;
    let mut files: Vec<(&str, u64, Vec<&Mapping>)> = Vec::new();
    for map in maps.iter().filter(|m| m.prot & libc::PROT_EXEC != 0 && m.path.starts_with('/') && m.inode != 0) {
        match files.iter_mut().find(|(path, inode, _)| *path == map.path && *inode == map.inode) {
            Some((_, _, texts)) => texts.push(map),
            None => files.push((&map.path, map.inode, vec![map])),
        }
    }
    let mut modules = Vec::new();
    let mut unusable = Vec::new();
    for (path, _, texts) in files {
        let path = PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(path));
        if path.starts_with("/memfd:textpoke") || !wanted(&path) {
            continue;
        }
        match module(pid, &path, &texts) {
            Ok(module) => modules.push(module),
            Err(reason) => unusable.push(Unusable { path, reason }),
        }
    }
    Ok((modules, unusable))
}

fn module(pid: i32, path: &Path, texts: &[&Mapping]) -> std::result::Result<Module, String> {
    if let Some(odd) = texts.iter().find(|m| m.prot & libc::PROT_WRITE != 0 || m.shared) {
        return Err(format!("its code at {:#x} is mapped writable or shared", odd.start));
    }
    let bytes = contents(pid, path, texts[0])?;
    let image = Image::parse(&bytes).map_err(|e| e.to_string())?;
    let bias = bias(&image, texts).ok_or("its mappings do not fit its program headers")?;
    let text = texts.iter().map(|m| (m.start, m.end)).collect();
    Ok(Module { path: path.to_path_buf(), bias, text, bytes })
}

/// The file behind a mapping, also when its name is gone or stands for another file by now.
fn contents(pid: i32, path: &Path, map: &Mapping) -> std::result::Result<Vec<u8>, String> {
    let rooted = PathBuf::from(format!("/proc/{pid}/root{}", path.display()));
    let same = |p: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(p).is_ok_and(|m| m.ino() == map.inode)
    };
    for candidate in [rooted.as_path(), path] {
        if same(candidate) {
            return fs::read(candidate).map_err(|e| e.to_string());
        }
    }
    // Needs privileges that the tracer may not have.
    let direct = format!("/proc/{pid}/map_files/{:x}-{:x}", map.start, map.end);
    fs::read(direct).map_err(|_| "the file was replaced or deleted since the program was started".to_owned())
}

fn bias(image: &Image<'_>, texts: &[&Mapping]) -> Option<u64> {
    const PAGE: u64 = 4096;
    let bias_of = |map: &Mapping| {
        image.executable_segments().find_map(|s| {
            let page = s.offset / PAGE * PAGE;
            (page..s.offset + s.size).contains(&map.offset).then(|| {
                let vaddr = s.vaddr - (s.offset - page) + (map.offset - page);
                map.start.wrapping_sub(vaddr)
            })
        })
    };
    let bias = bias_of(texts[0])?;
    texts.iter().all(|m| bias_of(m) == Some(bias)).then_some(bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_its_own_program_at_its_bias() {
        let (modules, _) = of_process(std::process::id() as i32, |_| true).unwrap();
        let exe = fs::read_link("/proc/self/exe").unwrap();
        let me = modules.iter().find(|m| m.path == exe).expect("the test program itself");
        let image = Image::parse(&me.bytes).unwrap();
        let name = "this_process_has_its_own_program_at_its_bias";
        let here = this_process_has_its_own_program_at_its_bias as fn() as usize as u64;
        let functions = image.functions();
        let found = functions.iter().find(|f| f.vaddr + me.bias == here).expect("this very function");
        assert!(found.names().any(|n| n.contains(name)), "{}", found.name);
        assert!(me.text.iter().any(|&(start, end)| (start..end).contains(&here)));
    }

    #[test]
    fn a_process_that_is_not_there_is_one_clear_error() {
        let error = of_process(0x3fff_fff0, |_| true).unwrap_err();
        assert!(error.to_string().contains("there is no process"), "{error}");
    }
}
