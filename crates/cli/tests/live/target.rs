//! Running targets, and what must be the same about them before and after.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The program under test.
pub const TEXTPOKE: &str = env!("CARGO_BIN_EXE_textpoke");

/// Runs it.
pub fn textpoke(arguments: &[&str]) -> Output {
    Command::new(TEXTPOKE).args(arguments).output().unwrap()
}

/// Its standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Where a program of the system is; prints that a test leaves something out if it is not there.
pub fn find(program: &str) -> Option<PathBuf> {
    let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(program)).into_iter().find(|p| p.exists());
    if found.is_none() {
        println!("left out: there is no {program}; `cargo xtask setup` installs it");
    }
    found
}

/// Compiles a C program into `dir`; `None`, and a word about it, without a C compiler.
pub fn compile(dir: &Path, name: &str, source: &str, flags: &[&str]) -> Option<PathBuf> {
    let (from, to) = (dir.join(format!("{name}.c")), dir.join(name));
    fs::write(&from, source).unwrap();
    match Command::new("cc").args(["-O2", "-pthread", "-o"]).arg(&to).arg(&from).args(flags).output() {
        Ok(output) if output.status.success() => Some(to),
        Ok(output) => {
            println!("left out: cc {flags:?} fails here: {}", stderr(&output));
            None
        }
        Err(_) => {
            println!("left out: there is no C compiler");
            None
        }
    }
}

/// What tracing must leave as it was.
#[derive(Debug, PartialEq, Eq)]
pub struct Condition {
    text: BTreeMap<u64, Vec<u8>>,
    mappings: Vec<String>,
    descriptors: Vec<String>,
    signals: Vec<String>,
}

impl Condition {
    /// Of a process.
    pub fn of(pid: u32) -> Self {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut text = BTreeMap::new();
        let mut mappings = Vec::new();
        for line in maps.lines() {
            let (range, rest) = line.split_once(' ').unwrap();
            let (start, end) = range.split_once('-').unwrap();
            let [start, end] = [start, end].map(|n| u64::from_str_radix(n, 16).unwrap());
            // What the program allocates and maps meanwhile is its own business; files and ours are not.
            if rest.contains('/') {
                mappings.push(line.to_owned());
            }
            if rest.starts_with("r-xp") && rest.contains('/') {
                let mut bytes = vec![0; (end - start) as usize];
                memory.read_exact_at(&mut bytes, start).unwrap();
                text.insert(start, bytes);
            }
        }
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let mut descriptors: Vec<String> = descriptors
            .flatten()
            .filter_map(|fd| Some(format!("{:?} {:?}", fd.file_name(), fs::read_link(fd.path()).ok()?)))
            // What programs open and close all the time when they start others.
            .filter(|fd| !fd.contains("pipe:") && !fd.contains("/proc/") && !fd.contains("/dev/null"))
            .collect();
        descriptors.sort();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let kept = ["SigCgt", "SigIgn", "TracerPid"];
        let signals = status.lines().filter(|l| kept.iter().any(|k| l.starts_with(k))).map(str::to_owned).collect();
        Self { text, mappings, descriptors, signals }
    }

    /// Says where it differs from what was before.
    pub fn assert_same(&self, before: &Self) {
        assert_eq!(self.mappings, before.mappings);
        assert_eq!(self.descriptors, before.descriptors);
        assert_eq!(self.signals, before.signals);
        for (start, bytes) in &before.text {
            let now = &self.text[start];
            let differs = bytes.iter().zip(now).position(|(a, b)| a != b);
            assert_eq!(differs, None, "first difference in the text that begins at {start:#x}");
        }
    }
}

/// A running target; dropping it ends it.
pub struct Target {
    /// The process.
    pub child: Child,
}

impl Target {
    /// Starts a program and waits for its first line, which says that it is ready.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0];
        let stdout = child.stdout.as_mut().unwrap();
        while stdout.read(&mut first).unwrap() == 1 && first[0] != b'\n' {}
        Self { child }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its process id as an argument.
    pub fn id(&self) -> String {
        self.pid().to_string()
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Closes its standard input, which ends it, and answers whether it said that all was well.
    pub fn finish(mut self) -> (bool, String) {
        drop(self.child.stdin.take());
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = self.child.wait().unwrap();
        (status.success(), format!("{status}\n{out}\n{err}"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
