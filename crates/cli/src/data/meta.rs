//! `meta.json`: everything about a trace that is not a record.

use serde::{Deserialize, Serialize};

/// The format version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Name of the file inside the trace directory.
pub const FILE_NAME: &str = "meta.json";

/// The whole of `meta.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Meta {
    /// Format version, [`VERSION`].
    pub version: u32,
    /// The traced command line, argument by argument; empty when it could not be read.
    #[serde(default)]
    pub command: Vec<String>,
    /// Process id of the traced program.
    pub pid: u32,
    /// Path of its executable.
    #[serde(default)]
    pub exe: String,
    /// Wall clock at the start of the trace, nanoseconds since 1970.
    #[serde(default)]
    pub started_unix_ns: u64,
    /// Time stamp counter at the start of the trace.
    pub tsc_start: u64,
    /// Time stamp counter at the end; 0 while the trace is being written (or its writer was killed).
    #[serde(default)]
    pub tsc_end: u64,
    /// Ticks of the CPU's counter per second; greater than 0.
    pub tsc_hz: f64,
    /// Traced functions; sites refer to them by index.
    pub functions: Vec<Function>,
    /// Patched sites; the index is the site id in the records.
    pub sites: Vec<Site>,
    /// One entry per record file.
    #[serde(default)]
    pub threads: Vec<Thread>,
    /// Records lost in all threads together.
    #[serde(default)]
    pub lost: u64,
    /// Functions that matched but were not traced, each with the reason.
    #[serde(default)]
    pub refused: Vec<Refused>,
    /// How the trace ended.
    #[serde(default)]
    pub end: End,
    /// True when the text was read back after detaching and is byte for byte what it was.
    #[serde(default)]
    pub verified: bool,
    /// Default of `-D` when the trace is read, as given to `record`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Default of `-t` in nanoseconds when the trace is read, as given to `record`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ns: Option<u64>,
}

/// A traced function.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Function {
    /// Symbol name, mangled as in the ELF file.
    pub name: String,
    /// Path of the ELF file.
    pub file: String,
    /// Address in the traced process. Written as hexadecimal text; a number is read too.
    #[serde(with = "address")]
    pub addr: u64,
    /// Length in bytes.
    #[serde(default)]
    pub size: u64,
    /// How the end of a call is known.
    pub exit: ExitKind,
}

/// How the end of a call of a function is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExitKind {
    /// Every return and tail jump has an exit site.
    Patched,
    /// Some or none has; the rest is inferred from what the caller does next.
    Inferred,
    /// Calls are counted, durations are not taken (returns-twice and stack-switching functions).
    EntryOnly,
}

impl ExitKind {
    /// The word used in `meta.json` and `report --json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Patched => "patched",
            Self::Inferred => "inferred",
            Self::EntryOnly => "entry-only",
        }
    }
}

/// A patched place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Index into [`Meta::functions`].
    pub function: u32,
    /// What a record of this site means.
    pub kind: SiteKind,
}

/// What a record of a site means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SiteKind {
    /// The function is entered.
    Entry,
    /// The function returns.
    Return,
    /// The function leaves by a jump to another function.
    TailJump,
}

/// A thread's record file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thread {
    /// Thread id.
    pub tid: u32,
    /// Thread name when it was last seen (`comm`); may be empty.
    #[serde(default)]
    pub name: String,
    /// File name inside the trace directory.
    pub file: String,
    /// Records in the file, markers of loss included.
    pub records: u64,
    /// Records lost by this thread.
    #[serde(default)]
    pub lost: u64,
    /// Time stamp counter when the thread was seen to have ended; absent when it lived on.
    /// Calls still open then end here instead of at the end of the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_tsc: Option<u64>,
}

/// A function that was wanted but is not traced.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Refused {
    /// Symbol name, mangled.
    pub name: String,
    /// Path of the ELF file.
    #[serde(default)]
    pub file: String,
    /// Why, in a few words.
    pub reason: String,
}

/// How a trace ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Time limit or request: the tracer detached, the program lives on.
    Detached,
    /// The program ended by itself.
    TargetExited,
    /// A signal ended the program.
    TargetKilled,
    /// The program replaced itself by another (`execve`).
    Exec,
    /// Ctrl-C, or the tracer itself was killed before it could write how it ended.
    #[default]
    Interrupted,
}

impl End {
    /// For a person.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Detached => "detached, the program lived on",
            Self::TargetExited => "the program ended",
            Self::TargetKilled => "the program was killed by a signal",
            Self::Exec => "the program replaced itself (exec)",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Addresses as `"0x…"`: JSON numbers above 2^53 do not survive many readers.
mod address {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(addr: &u64, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{addr:#x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Text(String),
        }
        match Either::deserialize(d)? {
            Either::Number(n) => Ok(n),
            Either::Text(text) => {
                let digits = text.strip_prefix("0x").unwrap_or(&text);
                u64::from_str_radix(digits, 16).map_err(|_| de::Error::custom(format!("{text:?} is not an address")))
            }
        }
    }
}
