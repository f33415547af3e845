//! The program as its users see it: a child process with pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use textpoke_workload::{Report, verify};

struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_textpoke-workload"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut running =
            Self { stdin: child.stdin.take(), out: BufReader::new(child.stdout.take().expect("piped")), child };
        assert_eq!(running.line(), "ready");
        running
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("readable output");
        line.trim().to_owned()
    }

    fn finish(mut self) -> (Report, ExitStatus) {
        let report = Report::from_json(&self.line()).expect("a report");
        (report, self.child.wait().expect("a child of ours"))
    }
}

#[test]
fn a_run_at_full_speed_can_be_verified() {
    let (report, status) = Running::start(&["--seconds", "0.5", "--rate", "0", "--workers", "5"]).finish();
    assert!(status.success());
    assert_eq!(report.errors, Vec::<String>::new());
    assert_eq!(report.workers.len(), 5);
    assert!(report.workers.iter().all(|worker| worker.transactions > 0));
    assert!(report.forks > 0 && report.spawns > 0 && report.threads > 0 && report.signals > 0);
    assert_eq!(report.eintr, 0);
    assert_eq!(verify(&report), Ok(()));

    let mut wrong = report.clone();
    wrong.workers[2].checksum = "0123456789abcdef".into();
    assert!(verify(&wrong).expect_err("a wrong checksum").contains("worker 2"));
    let mut wrong = report.clone();
    wrong.workers[0].transactions += 1;
    assert!(verify(&wrong).is_err());
    let mut wrong = report.clone();
    wrong.shared_checksum = "0123456789abcdef".into();
    assert!(verify(&wrong).expect_err("wrong balances").contains("shared"));
    let mut wrong = report;
    wrong.eintr = 1;
    assert!(verify(&wrong).expect_err("an interruption").contains("interrupted"));
}

#[test]
fn control_stops_it_by_a_line_or_by_the_end_of_input() {
    let mut by_line = Running::start(&["--control"]);
    let stdin = by_line.stdin.as_mut().expect("piped");
    stdin.write_all(b"what\nstop\n").expect("written");
    let (report, status) = by_line.finish();
    assert!(status.success());
    assert_eq!(verify(&report), Ok(()));

    let mut by_end = Running::start(&["--control"]);
    drop(by_end.stdin.take());
    let (report, status) = by_end.finish();
    assert!(status.success());
    assert_eq!(verify(&report), Ok(()));
}

#[test]
fn a_signal_ends_it_in_order() {
    let running = Running::start(&["--rate", "0"]);
    let killed = Command::new("kill").arg(running.child.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    let (report, status) = running.finish();
    assert!(status.success());
    assert_eq!(verify(&report), Ok(()));
}

#[test]
fn a_report_is_verified_from_standard_input() {
    let (report, _) = Running::start(&["--seconds", "0.1"]).finish();
    for (report, good) in [(report.clone(), true), (Report { eintr: 3, ..report }, false)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_textpoke-workload"))
            .args(["--verify", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        writeln!(child.stdin.take().expect("piped"), "ready\n{}", report.to_json()).expect("written");
        assert_eq!(child.wait().expect("a child of ours").success(), good);
    }
}

#[test]
fn unusable_arguments_have_their_own_exit_code() {
    let output = Command::new(env!("CARGO_BIN_EXE_textpoke-workload")).arg("--frob").output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--frob"));
}
