//! Output files: never half written, never over something by accident. `-` is standard output.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};

/// Bytes per write.
const BUFFER: usize = 1 << 20;

/// A file being written beside its final place; [`Output::commit`] puts it there.
#[derive(Debug)]
pub struct Output {
    writer: Option<Writer>,
    place: PathBuf,
    beside: Option<PathBuf>,
    written: u64,
}

#[derive(Debug)]
enum Writer {
    File(BufWriter<File>),
    // The lock alone would write at every newline byte, of which binary data has many.
    Stdout(BufWriter<io::StdoutLock<'static>>),
}

impl Output {
    /// Opens an output. Fails early, before long work, if it could not be put in place.
    ///
    /// # Errors
    /// It exists and `force` is not set, or it cannot be written.
    pub fn create(place: &Path, force: bool) -> Result<Self> {
        if place == Path::new("-") {
            let writer = Some(Writer::Stdout(BufWriter::with_capacity(BUFFER, io::stdout().lock())));
            return Ok(Self { writer, place: place.into(), beside: None, written: 0 });
        }
        match fs::metadata(place) {
            Ok(found) if found.is_dir() => {
                return Err(Error::new(format!("{} is a directory; name a file in it", place.display())));
            }
            Ok(_) if !force => {
                return Err(Error::new(format!(
                    "{} exists; choose another name, or replace it with --force",
                    place.display()
                )));
            }
            Ok(found) if !found.is_file() => {
                // A device or a pipe cannot be renamed into place.
                let file = File::create(place).doing(|| format!("cannot write {}", place.display()))?;
                let writer = Some(Writer::File(BufWriter::with_capacity(BUFFER, file)));
                return Ok(Self { writer, place: place.into(), beside: None, written: 0 });
            }
            _ => {}
        }
        let Some(name) = place.file_name().and_then(|n| n.to_str()) else {
            return Err(Error::new(format!("{} is not a file name", place.display())));
        };
        let beside = place.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let file = File::create(&beside).map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                Error::new(format!("cannot write {}: its directory does not exist", place.display()))
            }
            _ => Error::io(format!("cannot write {}", place.display()), &e),
        })?;
        let writer = Some(Writer::File(BufWriter::with_capacity(BUFFER, file)));
        Ok(Self { writer, place: place.into(), beside: Some(beside), written: 0 })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// Writing failed; nothing is left at the final place.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        match &mut self.writer {
            Some(Writer::File(file)) => {
                file.write_all(bytes).doing(|| format!("cannot write {}", self.place.display()))
            }
            Some(Writer::Stdout(out)) => out.write_all(bytes).map_err(|e| Error::stdout(&e)),
            None => Ok(()),
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the output complete and puts it in place.
    ///
    /// # Errors
    /// Writing the rest or renaming failed; nothing is left at the final place.
    pub fn commit(mut self) -> Result<()> {
        let writing = || format!("cannot write {}", self.place.display());
        match self.writer.take() {
            Some(Writer::File(mut file)) => file.flush().doing(writing)?,
            Some(Writer::Stdout(mut out)) => out.flush().map_err(|e| Error::stdout(&e))?,
            None => {}
        }
        if let Some(beside) = &self.beside {
            fs::rename(beside, &self.place).doing(writing)?;
        }
        self.beside = None;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // Not committed: the error that led here is the one to report.
            let _ = fs::remove_file(beside);
        }
    }
}
