//! The archive that a kernel unpacks into its first file system: cpio in the form `newc` (Linux
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    inode: u32,
}

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const DEVICE: u32 = 0o020_000;

impl Archive {
    pub fn new() -> Self {
        Self { bytes: Vec::new(), folders: BTreeSet::new(), inode: 0 }
    }

    /// A file, and the folders that it is in.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.folders_of(path);
        self.entry(path, FILE | mode, (0, 0), contents);
    }

    /// What the first process has for input and output.
    pub fn console(&mut self) {
        self.folders_of("dev/console");
        self.entry("dev/console", DEVICE | 0o600, (5, 1), &[]);
    }

    fn folders_of(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let folder = &path[..at];
            if self.folders.insert(folder.to_owned()) {
                self.entry(folder, FOLDER | 0o755, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.inode += 1;
        let length = contents.len() as u32;
        let name_length = name.len() as u32 + 1;
        // inode, mode, uid, gid, links, time, size, the device it is on (2), the device it is (2), name, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, length, 0, 0, device.0, device.1, name_length, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_header_name_and_contents_in_words() {
        let mut archive = Archive::new();
        archive.file("a/b", 0o755, b"hello");
        archive.file("a/c", 0o644, b"");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let folder = text.find("070701").unwrap();
        assert_eq!((folder, &text[14..22]), (0, "000041ed"));
        let file = 110 + 2;
        assert_eq!(&text[file..file + 6], "070701");
        assert_eq!((&text[file + 14..file + 22], &text[file + 54..file + 62]), ("000081ed", "00000005"));
        assert_eq!(&bytes[file + 110..file + 124], b"a/b\0\0\0hello\0\0\0");
        assert_eq!(text.matches("070701").count(), 4, "one folder, two files and the end");
        assert!(bytes.len().is_multiple_of(4));
    }
}
