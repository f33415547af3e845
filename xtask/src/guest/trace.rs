//! Recording in guests: the program `textpoke` of the other instruction sets at work on a real kernel.
//!
//! SQLite and Lua do something that is always the same, once here and once in the guest, and each of their functions must
//! be called as often there as here. A program with threads is attached to again and again, with recorders that end and
//! with recorders that are killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Arch, Ended, Job, run};
use crate::cross::{AARCH64_LINUX, RISCV64_LINUX, Rust};
use crate::workspace::Workspace;

/// Where a compiler inlines or clones functions depends on the instruction set; without, both call the same ones. And a
/// plain `char` is signed.
const FLAGS: [&str; 8] = [
    "-O1",
    "-w",
    "-fno-inline",
    "-fno-ipa-cp",
    "-fno-ipa-sra",
    "-fno-ipa-icf",
    "-fno-partial-inlining",
    "-fsigned-char",
];

/// Rounds of attaching, and of killing the recorder.
const ROUNDS: [&str; 2] = ["10", "25"];

/// One emulated CPU of a busy machine may be very slow.
const LIMIT: Duration = Duration::from_secs(1200);

/// Runs on every instruction set that there are guests of.
pub fn all(workspace: &Workspace) -> Result<(), String> {
    let here = Programs::build(workspace, "gcc", "here")?;
    for arch in Arch::TRACED {
        if let Some(why) = arch.lacks() {
            println!("guest: recording on {} is left out: {why}", arch.debian());
            continue;
        }
        one(workspace, arch, &here)?;
    }
    Ok(())
}

fn one(workspace: &Workspace, arch: Arch, here: &Programs) -> Result<(), String> {
    let target = match arch {
        Arch::Arm64 => AARCH64_LINUX,
        Arch::Riscv64 => RISCV64_LINUX,
    };
    let rust = match Rust::find(target) {
        Ok(rust) => rust,
        Err(why) => {
            println!("guest: recording on {} is left out: {why}", arch.debian());
            return Ok(());
        }
    };
    let mut build = rust.cargo(workspace, "build");
    crate::steps::status(build.args([crate::ci::PROFILE, "--package", "textpoke-cli"]))?;
    let textpoke = workspace.root().join("target/cross").join(target.triple).join("ci/textpoke");
    let there = Programs::build(workspace, &arch.compiler(), arch.debian())?;

    let mut files = there.files(arch)?;
    files.push((textpoke, "bin/textpoke".into()));
    let job = |words: &str| Job::new(words.split(' '), LIMIT);
    let jobs = [
        job("textpoke record -o /tmp/database -- database"),
        job("textpoke report --json /tmp/database"),
        job("textpoke record -o /tmp/script -- script /bin/script.lua"),
        job("textpoke report --json /tmp/script"),
        job(&format!("again {} --for 1", ROUNDS[0])),
        job(&format!("again {} --for 1 --force --runtime", ROUNDS[0])),
        job("textpoke info /tmp/again-0"),
        job(&format!("again {} kill --force", ROUNDS[1])),
    ];
    let ended = run(workspace, arch, &files, &jobs)?;
    if let Some((job, ended)) = jobs.iter().zip(&ended).find(|(_, ended)| ended.code != 0) {
        return Err(format!("on {}, `{}` ended with {}", arch.debian(), job.words.join(" "), ended.code));
    }
    if !ended[6].output.contains("byte for byte as it was") {
        return Err(format!("on {}, the text of a program is not as it was:\n{}", arch.debian(), ended[6].output));
    }
    for (name, report, arguments) in [("database", &ended[1], &[][..]), ("script", &ended[3], &["script.lua"])] {
        let counted = same_calls(&here.record(workspace, name, arguments)?, &calls(report)?)
            .map_err(|why| format!("{name} on {}: {why}", arch.debian()))?;
        println!("guest: {name} on {}: {counted} functions are called as often as here", arch.debian());
    }
    Ok(())
}

/// C programs, compiled for one instruction set.
struct Programs {
    folder: PathBuf,
    script: PathBuf,
}

impl Programs {
    fn build(workspace: &Workspace, compiler: &str, name: &str) -> Result<Self, String> {
        let folder = workspace.root().join("target/xtask/guest/programs").join(name);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let sqlite = workspace.package("libsqlite3-sys")?.join("sqlite3");
        let lua = lua(&workspace.package("lua-src")?)?;
        let own = workspace.root().join("crates/analyze/tests/programs");
        let guest = workspace.root().join("xtask/guest");
        let compile = |name: &str, include: &Path, defines: &[&str], sources: &[PathBuf]| {
            let to = folder.join(name);
            // A minute for SQLite; nothing of it depends on what is worked on here.
            if newer(&to, sources) {
                return Ok(());
            }
            let mut command = Command::new(compiler);
            command.args(FLAGS).args(defines).arg("-I").arg(include).args(sources).arg("-o").arg(to);
            crate::steps::status(command.args(["-lm", "-lpthread"]))
        };
        let no_threads = ["-DSQLITE_THREADSAFE=0", "-DSQLITE_OMIT_LOAD_EXTENSION"];
        compile("database", &sqlite, &no_threads, &[sqlite.join("sqlite3.c"), own.join("database.c")])?;
        // The order of tables is a matter of addresses and of the time otherwise.
        let sources = [c_files(&lua)?, vec![own.join("script.c")]].concat();
        compile("script", &lua, &["-Dluai_makeseed(L)=42u"], &sources)?;
        compile("busy", &guest, &[], &[guest.join("busy.c")])?;
        compile("again", &guest, &[], &[guest.join("again.c")])?;
        Ok(Self { folder, script: own.join("script.lua") })
    }

    /// What a guest gets: the programs and what they are linked with.
    fn files(&self, arch: Arch) -> Result<Vec<(PathBuf, String)>, String> {
        let mut files: Vec<(PathBuf, String)> =
            ["database", "script", "busy", "again"].map(|name| (self.folder.join(name), format!("bin/{name}"))).into();
        files.push((self.script.clone(), "bin/script.lua".into()));
        for library in [arch.loader(), "libc.so.6", "libm.so.6", "libgcc_s.so.1"] {
            let asked = Command::new(arch.compiler()).arg(format!("-print-file-name={library}")).output();
            let asked = asked.map_err(|error| format!("cannot run {}: {error}", arch.compiler()))?;
            files.push((String::from_utf8_lossy(&asked.stdout).trim().into(), format!("lib/{library}")));
        }
        Ok(files)
    }

    /// Records a program on this machine.
    fn record(&self, workspace: &Workspace, name: &str, arguments: &[&str]) -> Result<Calls, String> {
        let textpoke = crate::tools::program(workspace)?;
        let trace = self.folder.join(format!("{name}.textpoke"));
        let folder = self.script.parent().ok_or("the script is in a folder")?;
        let mut command = Command::new(&textpoke);
        command.args(["record", "--force", "-o"]).arg(&trace).arg("--").arg(self.folder.join(name)).args(arguments);
        said(command.current_dir(folder))?;
        let report = said(Command::new(&textpoke).args(["report", "--json"]).arg(&trace))?;
        calls(&Ended { code: 0, output: report })
    }
}

/// The folder of the newest Lua 5.4 in the sources.
fn lua(sources: &Path) -> Result<PathBuf, String> {
    let found = std::fs::read_dir(sources).map_err(|error| format!("{}: {error}", sources.display()))?;
    let folders = found.flatten().map(|entry| entry.path());
    let folder =
        folders.filter(|path| path.join("lapi.c").exists() && path.to_string_lossy().contains("lua-5.4")).max();
    folder.ok_or_else(|| format!("{} has no Lua 5.4", sources.display()))
}

fn c_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let found = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "c"));
    files.sort();
    Ok(files)
}

/// Whether `made` is newer than everything that it is made from.
fn newer(made: &Path, from: &[PathBuf]) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    let made = time(made);
    made.is_some() && from.iter().all(|path| time(path) < made)
}

/// What a command prints; what it complains about if it fails.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// How often each function was called.
type Calls = BTreeMap<String, u64>;

fn calls(report: &Ended) -> Result<Calls, String> {
    let report: Value = serde_json::from_str(&report.output).map_err(|error| format!("the report: {error}"))?;
    let mut calls = Calls::new();
    for function in report["functions"].as_array().ok_or("the report has no functions")? {
        let (Some(name), Some(count)) = (function["name"].as_str(), function["calls"].as_u64()) else {
            return Err(format!("the report has a function without name or calls: {function}"));
        };
        *calls.entry(name.to_owned()).or_default() += count;
    }
    Ok(calls)
}

/// The least share of the functions called here that must have been traced there, too. What is missing on either side was
/// refused there (too short, used as data), which the report of each says.
const SHARE: f64 = 0.95;

/// Compares two recordings of one program; the number of functions compared is the answer.
fn same_calls(here: &Calls, there: &Calls) -> Result<usize, String> {
    let both: Vec<_> = here.iter().filter_map(|(name, &n)| Some((name, n, *there.get(name)?))).collect();
    let mut complaints: Vec<String> =
        both.iter().filter(|(_, a, b)| a != b).map(|(name, a, b)| format!("{name}: {a} here, {b} there")).collect();
    if (both.len() as f64) < SHARE * here.len() as f64 {
        let missing: Vec<&str> = here.keys().filter(|name| !there.contains_key(*name)).map(String::as_str).collect();
        complaints.push(format!("{} of {} are missing: {}", missing.len(), here.len(), missing.join(" ")));
    }
    if complaints.is_empty() { Ok(both.len()) } else { Err(complaints.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(calls: &[(&str, u64)]) -> Calls {
        calls.iter().map(|&(name, n)| (name.to_owned(), n)).collect()
    }

    #[test]
    fn calls_are_summed_by_name() {
        let report =
            r#"{"functions": [{"name": "a", "calls": 2}, {"name": "b", "calls": 1}, {"name": "a", "calls": 3}]}"#;
        assert_eq!(calls(&Ended { code: 0, output: report.into() }), Ok(made(&[("a", 5), ("b", 1)])));
        assert!(calls(&Ended { code: 0, output: "{}".into() }).is_err());
    }

    #[test]
    fn differences_and_gaps_are_told() {
        let here = made(&[("a", 5), ("b", 1)]);
        assert_eq!(same_calls(&here, &made(&[("a", 5), ("b", 1), ("only_there", 9)])), Ok(2));
        assert!(same_calls(&here, &made(&[("a", 5), ("b", 2)])).unwrap_err().contains("b: 1 here, 2 there"));
        assert!(same_calls(&here, &made(&[("a", 5)])).unwrap_err().contains("missing: b"));
    }
}
