//! The one error type of the program: a line for a person that says what to do next.

use std::fmt;
use std::io;

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command ends early.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The command failed or was refused; the text is printed as `textpoke: TEXT`, exit code 1.
    Failed(String),
    /// The arguments contradict each other in a way that clap cannot see; exit code 2.
    Usage(String),
    /// The reader of standard output went away (`textpoke report | head`): not a failure.
    BrokenPipe,
}

impl Error {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// An I/O error with what was being done, in plain words: `what: no space left on the disk`.
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::Failed(format!("{what}: {}", plain(error)))
    }

    /// An error of writing standard output, where a broken pipe is the reader's normal good-bye.
    pub fn stdout(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::io("cannot write to standard output", error)
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) => f.write_str(text),
            Self::BrokenPipe => f.write_str("the reader of the output went away"),
        }
    }
}

impl std::error::Error for Error {}

/// The operating system's reason without the error number that means nothing to most readers.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it does not exist".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::AlreadyExists => "it already exists".into(),
        io::ErrorKind::StorageFull => "no space left on the disk".into(),
        io::ErrorKind::NotADirectory => "not a directory".into(),
        io::ErrorKind::IsADirectory => "it is a directory".into(),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => {
            let text = error.to_string();
            match text.find(" (os error ") {
                Some(cut) => text[..cut].to_string(),
                None => text,
            }
        }
    }
}

/// Attaches "what was being done" to the error of an I/O call.
pub trait Doing<T> {
    /// Replaces the I/O error by one line: `what()`, a colon, the reason.
    ///
    /// # Errors
    /// The same case as `self`.
    fn doing<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| Error::io(what(), &e))
    }
}
