//! Runs named steps one after the other, times them, and says at the end what failed.
//!
//! A failed step does not stop the others: one run should tell everything that is wrong.

use crate::workspace::Workspace;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub struct Steps<'a> {
    workspace: &'a Workspace,
    done: Vec<Done>,
    tests: Counts,
}

struct Done {
    name: String,
    time: Duration,
    result: Result<(), String>,
}

/// Tests as the test runner's own closing lines count them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl<'a> Steps<'a> {
    pub fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, done: Vec::new(), tests: Counts::default() }
    }

    /// A step that is a function of ours.
    pub fn check(&mut self, name: &str, body: impl FnOnce() -> Result<(), String>) {
        println!("\n==> {name}");
        let start = Instant::now();
        let result = body();
        if let Err(message) = &result {
            println!("{message}");
        }
        self.note(name, start.elapsed(), result);
    }

    /// A step that is a cargo command.
    pub fn cargo(&mut self, name: &str, args: &[&str], environment: &[(&str, &str)]) {
        let mut command = self.workspace.cargo(args);
        command.envs(environment.iter().copied());
        self.check(name, || status(&mut command));
    }

    /// A cargo command that runs tests: its output is passed on line by line, and counted.
    pub fn tests(&mut self, name: &str, args: &[&str], environment: &[(&str, &str)]) {
        let mut command = self.workspace.cargo(args);
        command.envs(environment.iter().copied());
        let mut counts = Counts::default();
        self.check(name, || {
            let mut child =
                command.stdout(Stdio::piped()).spawn().map_err(|error| format!("cannot run cargo: {error}"))?;
            let output = child.stdout.take().ok_or("no pipe to cargo")?;
            for line in BufReader::new(output).lines() {
                let line = line.map_err(|error| format!("cannot read the output of cargo: {error}"))?;
                println!("{line}");
                counts.add(&line);
            }
            let status = child.wait().map_err(|error| format!("cannot wait for cargo: {error}"))?;
            match (status.success(), counts.passed) {
                (false, _) => Err(format!("{name}: {status}")),
                // A filter or a manifest gone wrong must not look like success.
                (true, 0) => Err(format!("{name}: no test ran")),
                (true, _) => Ok(()),
            }
        });
        self.tests.passed += counts.passed;
        self.tests.failed += counts.failed;
    }

    fn note(&mut self, name: &str, time: Duration, result: Result<(), String>) {
        let mark = if result.is_ok() { "ok" } else { "FAILED" };
        println!("<== {name}: {mark}, {:.1} s", time.as_secs_f64());
        // What runs next writes to the same place without our buffer.
        let _ = std::io::stdout().flush();
        self.done.push(Done { name: name.into(), time, result });
    }

    /// Prints the table and fails if a step did.
    pub fn finish(self) -> Result<(), String> {
        println!("\n{:<32} {:>8}", "step", "seconds");
        for done in &self.done {
            let mark = if done.result.is_ok() { "" } else { "  FAILED" };
            println!("{:<32} {:>8.1}{mark}", done.name, done.time.as_secs_f64());
        }
        let total: Duration = self.done.iter().map(|done| done.time).sum();
        println!("{:<32} {:>8.1}", "all", total.as_secs_f64());
        let failed: Vec<&str> =
            self.done.iter().filter(|done| done.result.is_err()).map(|done| done.name.as_str()).collect();
        if self.tests != Counts::default() {
            println!("{} passed, {} failed", self.tests.passed, self.tests.failed);
        }
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
    }
}

pub fn status(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let status = command.status().map_err(|error| format!("cannot run {program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program}: {status}")) }
}

impl Counts {
    /// Adds a line such as `test result: ok. 5 passed; 0 failed; 0 ignored; ...`; ignores any other.
    fn add(&mut self, line: &str) {
        let Some((_, numbers)) = line.split_once("test result: ") else { return };
        let before = |word: &str| {
            let (head, _) = numbers.split_once(word)?;
            head.rsplit([' ', ';']).find(|part| !part.is_empty())?.parse::<u64>().ok()
        };
        self.passed += before(" passed").unwrap_or(0);
        self.failed += before(" failed").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 20 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.13s");
        counts.add("test result: FAILED. 3 passed; 2 failed; 0 ignored");
        counts.add("test shop::tests::a ... ok");
        assert_eq!(counts, Counts { passed: 23, failed: 2 });
    }

    #[test]
    fn a_failed_step_does_not_hide_in_the_crowd() {
        let workspace = Workspace::find().expect("this repository");
        let mut steps = Steps::new(&workspace);
        steps.check("good", || Ok(()));
        steps.check("bad", || Err("because".into()));
        steps.check("good again", || Ok(()));
        assert_eq!(steps.finish(), Err("failed: bad".into()));
    }

    #[test]
    fn a_command_that_fails_is_an_error() {
        assert_eq!(status(&mut Command::new("true")), Ok(()));
        assert!(status(&mut Command::new("false")).is_err());
    }
}
