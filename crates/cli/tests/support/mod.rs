//! Makes small trace directories and runs the program on them.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use textpoke_cli::data::meta::{End, ExitKind, Function, Meta, Refused, Site, SiteKind, VERSION};
use textpoke_cli::data::record::Record;
use textpoke_cli::data::writer::TraceWriter;

/// Where every made-up stack begins.
pub const SP: u64 = 0x7ffd_0000_0000;

/// What happens in a made-up thread, at a time in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The function with this number is entered.
    Enter(usize, u64),
    /// The innermost call returns through an exit site.
    Exit(u64),
    /// The innermost call returns without a record.
    Vanish,
    /// Records are lost.
    Lost(u64, u64),
}

/// Builds a trace.
pub struct TestTrace {
    /// The tables, to be changed before `write`.
    pub meta: Meta,
    threads: Vec<(u32, String, Vec<Step>)>,
}

impl TestTrace {
    /// A trace of 1000 ns with these functions: name, file, how exits are known.
    pub fn new(functions: &[(&str, &str, ExitKind)]) -> Self {
        let function = |(i, &(name, file, exit)): (usize, &(&str, &str, ExitKind))| Function {
            name: name.into(),
            file: file.into(),
            addr: 0x7f00_0000_0000 + i as u64 * 64,
            size: 60,
            exit,
        };
        let sites = (0..functions.len() as u32)
            .flat_map(|function| [SiteKind::Entry, SiteKind::Return].map(|kind| Site { function, kind }));
        let meta = Meta {
            version: VERSION,
            command: vec!["/opt/prog".into(), "--fast".into()],
            pid: 41,
            exe: "/opt/prog".into(),
            started_unix_ns: 1_795_223_696_000_000_000,
            tsc_start: 5000,
            tsc_end: 6000,
            tsc_hz: 1e9,
            functions: functions.iter().enumerate().map(function).collect(),
            sites: sites.collect(),
            threads: Vec::new(),
            lost: 0,
            refused: vec![Refused { name: "_Z4tinyv".into(), file: "/opt/prog".into(), reason: "too short".into() }],
            end: End::Detached,
            verified: true,
            depth: None,
            min_ns: None,
        };
        Self { meta, threads: Vec::new() }
    }

    /// Adds a thread.
    pub fn thread(mut self, tid: u32, name: &str, steps: &[Step]) -> Self {
        self.threads.push((tid, name.into(), steps.to_vec()));
        self
    }

    /// Writes the directory.
    pub fn write(self, dir: &Path) -> PathBuf {
        let mut writer = TraceWriter::create(dir, false).unwrap();
        for (slot, (tid, name, steps)) in self.threads.iter().enumerate() {
            let key = writer.add_thread(*tid, slot as u32, name).unwrap();
            let mut stack = Vec::new();
            for &step in steps {
                match step {
                    Step::Enter(function, ns) => {
                        let sp = SP - stack.len() as u64 * 64;
                        writer.append(key, Record::new(5000 + ns, sp, function as u32 * 2)).unwrap();
                        stack.push((function, sp));
                    }
                    Step::Exit(ns) => {
                        let (function, sp) = stack.pop().unwrap();
                        let site = function as u32 * 2 + 1;
                        writer.append(key, Record::new(5000 + ns, sp, site)).unwrap();
                    }
                    Step::Vanish => drop(stack.pop().unwrap()),
                    Step::Lost(count, ns) => writer.append_lost(key, 5000 + ns, count).unwrap(),
                }
            }
        }
        writer.finish(self.meta).unwrap();
        dir.to_path_buf()
    }
}

/// Two threads with everything in it: recursion, an inferred exit, a counted function, a call that
/// is still open, a C++ and a Rust name, lost records.
pub fn sample() -> TestTrace {
    use ExitKind::{EntryOnly, Inferred, Patched};
    use Step::{Enter, Exit, Lost, Vanish};
    TestTrace::new(&[
        ("main", "/opt/prog", Patched),
        ("_ZN3app4work17h0123456789abcdefE", "/opt/prog", Patched),
        ("_ZN4Base4pollEi", "/opt/lib/libbase.so.1.2", Inferred),
        ("fork", "/opt/prog", EntryOnly),
    ])
    .thread(
        41,
        "main",
        &[
            Enter(0, 0),
            Enter(1, 100),
            Enter(1, 150), // recursion
            Exit(250),
            Exit(300),
            Enter(2, 400),
            Vanish, // ends, as far as anybody can tell, when the next call begins
            Enter(3, 500),
            Vanish,
            Enter(1, 600),
            Exit(700),
        ],
    )
    .thread(42, "worker<&>", &[Enter(1, 200), Exit(260), Lost(7, 300), Enter(1, 350), Exit(360)])
}

/// Runs the program.
pub fn textpoke(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_textpoke")).args(args).output().unwrap()
}

/// Standard output of a run that must succeed.
pub fn stdout(args: &[&str]) -> String {
    let output = textpoke(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on standard error of a run that must end with `code`.
pub fn refusal(args: &[&str], code: i32) -> String {
    let output = textpoke(args);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    if code == 1 {
        assert_eq!(errors.lines().count(), 1, "one line is enough: {errors}");
        assert!(errors.starts_with("textpoke: "), "{errors}");
    }
    errors
}
