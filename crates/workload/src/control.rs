//! Being told to stop through standard input.

use crate::sys;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Reads commands, one a line. It polls the descriptor and therefore must see every byte itself:
/// std's buffered reader would take two lines at once and leave nothing to poll for.
#[derive(Default)]
pub(crate) struct Control {
    /// The unfinished last line.
    line: Vec<u8>,
}

impl Control {
    /// Waits `timeout` at most. True: somebody wrote `stop`, or closed our standard input.
    pub fn says_stop(&mut self, timeout: Duration) -> bool {
        self.read_from(io::stdin().as_fd(), timeout).unwrap_or(true)
    }

    fn read_from(&mut self, fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
        match sys::poll_readable(fd, timeout) {
            Ok(true) => {}
            // EINTR is no answer: the caller looks again.
            Ok(false) | Err(_) => return Ok(false),
        }
        let mut chunk = [0; 256];
        let length = std::fs::File::from(fd.try_clone_to_owned()?).read(&mut chunk)?;
        self.line.extend_from_slice(&chunk[..length]);
        let mut stop = length == 0;
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let rest = self.line.split_off(end + 1);
            stop |= self.line.trim_ascii() == b"stop";
            self.line = rest;
        }
        Ok(stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn stop_is_found_behind_other_lines_and_across_pieces() {
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let mut control = Control::default();
        let mut say = |bytes: &[u8]| {
            writer.write_all(bytes).expect("written");
            control.read_from(reader.as_fd(), SHORT).expect("read")
        };
        assert!(!say(b"unstoppable\nst"));
        assert!(!say(b"op"));
        assert!(say(b"\n"));
        assert!(say(b"first\nstop\nlast\n"));
    }

    #[test]
    fn silence_is_not_stop_but_the_end_is() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut control = Control::default();
        assert!(!control.read_from(reader.as_fd(), SHORT).expect("read"));
        drop(writer);
        assert!(control.read_from(reader.as_fd(), SHORT).expect("read"));
    }
}
