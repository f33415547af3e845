//! Tracers that are killed at any moment, and targets that end at any moment.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::target::{Condition, TEXTPOKE, Target, compile, stderr, textpoke};

/// Threads that call functions and check what they get, forks and spawns among them.
const BUSY: &str = r#"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int stop, wrong;
static volatile long sink;
#define NI __attribute__((noinline, noclone))
NI long leaf(long x) { sink += x; return x * 3 + 1; }
NI long middle(long x) { long s = 0; for (int i = 0; i < 10; i++) s += leaf(x + i); return s; }
static void *work(void *p) { for (long n = (long)p; !stop; n++) if (middle(n) != 30 * n + 145) wrong = 1; return 0; }
static void *children(void *p) {
    while (!stop) {
        pid_t child = fork();
        if (child == 0) _exit(middle(7) == 355 ? 7 : 1);
        int status; waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) wrong = 2;
        child = vfork();
        if (child == 0) { middle(1); execl("/bin/true", "true", (char *)0); _exit(127); }
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) wrong = 3;
    }
    return 0;
}
int main(void) {
    pthread_t t[4];
    for (long i = 0; i < 3; i++) pthread_create(&t[i], 0, work, (void *)i);
    pthread_create(&t[3], 0, children, 0);
    puts("ready"); fflush(stdout);
    while (getchar() != EOF) {}
    stop = 1;
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    printf("wrong %d\n", wrong);
    return wrong;
}
"#;

#[test]
fn a_target_outlives_its_tracer_and_is_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = compile(dir.path(), "busy", BUSY, &[]) else { return };
    let trace = dir.path().join("t");
    let trace = trace.to_str().unwrap();
    let mut target = Target::start(&mut Command::new(program));
    let before = Condition::of(target.pid());
    // From before the attachment to behind the detachment, however fast the machine is.
    for delay in [0, 1, 2, 3, 5, 7, 9, 12, 15, 18, 22, 26, 31, 37, 44, 52, 62, 75, 100, 150] {
        let mut record = Command::new(TEXTPOKE)
            .args(["record", "-p", &target.id(), "--for", "0.05", "-o", trace, "--force"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        record.kill().unwrap();
        record.wait().unwrap();
        assert!(target.alive(), "after a kill at {delay} ms: {:?}", target.finish());
        let repair = textpoke(&["repair", &target.id()]);
        assert!(target.alive(), "after the repair of a kill at {delay} ms: {:?}", target.finish());
        assert!(repair.status.success(), "{delay} ms: {}", stderr(&repair));
        Condition::of(target.pid()).assert_same(&before);
    }
    let again = textpoke(&["repair", &target.id()]);
    assert!(again.status.success() && stderr(&again).contains("nothing to repair"), "{}", stderr(&again));
    let record = textpoke(&["record", "-p", &target.id(), "--for", "0.1", "-o", trace, "--force"]);
    assert!(record.status.success(), "{}", stderr(&record));
    let (well, said) = target.finish();
    assert!(well, "{said}");
}

#[test]
fn a_target_that_is_killed_leaves_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = compile(dir.path(), "busy", BUSY, &[]) else { return };
    let trace = dir.path().join("t");
    let mut target = Target::start(&mut Command::new(program));
    let record = Command::new(TEXTPOKE)
        .args(["record", "-p", &target.id(), "-o", trace.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Until something was recorded: the file of a thread grows.
    let recorded = || {
        let files = std::fs::read_dir(&trace).into_iter().flatten().flatten();
        files.filter_map(|f| f.metadata().ok()).map(|m| m.len()).max().unwrap_or(0) > 1 << 20
    };
    while !recorded() {
        std::thread::sleep(Duration::from_millis(5));
    }
    target.child.kill().unwrap();
    target.child.wait().unwrap();
    let output = record.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = textpoke(&["report", trace.to_str().unwrap(), "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let leaf = report["functions"].as_array().unwrap().iter().find(|f| f["name"] == "leaf").unwrap();
    assert!(leaf["calls"].as_u64() > Some(10_000), "{leaf}");
}

#[test]
fn a_program_that_execs_while_traced_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("t");
    let script = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; exec /bin/echo new";
    let output = textpoke(&["record", "-o", trace.to_str().unwrap(), "--", "/bin/sh", "-c", script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "new\n", "{}", stderr(&output));
    assert!(output.status.success(), "{}", stderr(&output));
}
