//! CPython and SQLite under load, launched and attached: same results, same program afterwards, right counts.

use std::process::Command;

use super::target::{Condition, Target, compile, find, stderr, textpoke};

/// Threads that compute, spawn (vfork with all signals blocked), fork, come and go, and take timer signals. Ends when its
/// standard input does.
const PYTHON: &str = r#"
import hashlib, json, os, signal, subprocess, sys, threading, time
stop = threading.Event()
wrong = []
ticks = [0]
signal.signal(signal.SIGALRM, lambda *_: ticks.__setitem__(0, ticks[0] + 1))
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
def compute(seed):
    want = None
    while not stop.is_set():
        d = {str(k): [k * j + seed for j in range(10)] for k in range(40)}
        got = hashlib.sha256(json.dumps(d).encode()).hexdigest()
        want = want or got
        if got != want: wrong.append("hash")
        try: int("x")
        except ValueError: pass
def spawn():
    while not stop.is_set():
        r = subprocess.run(["/bin/echo", "hi"], capture_output=True)
        if r.stdout != b"hi\n" or r.returncode: wrong.append("spawn %r" % (r,))
def fork():
    while not stop.is_set():
        pid = os.fork()
        if pid == 0: os._exit(7 if sum(i * i for i in range(1000)) == 332833500 else 1)
        status = os.waitpid(pid, 0)[1]
        if os.waitstatus_to_exitcode(status) != 7: wrong.append("fork %d" % status)
        time.sleep(0.002)
def shortlived():
    while not stop.is_set():
        t = threading.Thread(target=lambda: sum(range(100))); t.start(); t.join()
        time.sleep(0.001)
jobs = [lambda: compute(1), lambda: compute(2), spawn, fork, shortlived]
threads = [threading.Thread(target=j) for j in jobs]
for t in threads: t.start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
print("ready", flush=True)
sys.stdin.read()
stop.set()
for t in threads: t.join()
signal.setitimer(signal.ITIMER_REAL, 0)
if not ticks[0]: wrong.append("no ticks")
print(wrong[:3])
sys.exit(1 if wrong else 0)
"#;

#[test]
fn python_is_attached_to_again_and_again_and_notices_nothing() {
    let Some(python) = find("python3") else { return };
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("t");
    let trace = trace.to_str().unwrap();
    let mut target = Target::start(Command::new(python).args(["-c", PYTHON]));
    // The first attachment finds lazily bound or written pages that are the program's own; from then on all is equal.
    let before = Condition::of(target.pid());
    for round in 0..12 {
        let seconds = if round % 3 == 0 { "0.2" } else { "0.02" };
        let output = textpoke(&["record", "-p", &target.id(), "--for", seconds, "-o", trace, "--force"]);
        assert!(target.alive(), "round {round}: {}{:?}", stderr(&output), target.finish());
        assert!(output.status.success(), "round {round}: {}", stderr(&output));
    }
    Condition::of(target.pid()).assert_same(&before);
    let report = textpoke(&["report", trace, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert!(report["functions"].as_array().unwrap().iter().any(|f| f["calls"].as_u64() > Some(0)));
    let (well, said) = target.finish();
    assert!(well, "{said}");
}

#[test]
fn a_launched_shell_of_sqlite_gives_the_same_answers() {
    let Some(sqlite) = find("sqlite3") else { return };
    let script = "create table t(a integer primary key, b text);\
                  with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)\
                  insert into t select i, hex(i * 7919) from n;\
                  select count(*), sum(a), max(b) from t where b like '%3%';\
                  select json_group_array(a) from (select a from t order by b limit 5);";
    let plain = Command::new(&sqlite).args([":memory:", script]).output().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("t");
    let trace = trace.to_str().unwrap();
    let traced = textpoke(&["record", "-o", trace, "--", sqlite.to_str().unwrap(), ":memory:", script]);
    assert!(traced.status.success(), "{}", stderr(&traced));
    assert_eq!(String::from_utf8_lossy(&traced.stdout), String::from_utf8_lossy(&plain.stdout));
    assert!(plain.status.success() && !plain.stdout.is_empty());
    let report = textpoke(&["report", trace, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let step = report["functions"].as_array().unwrap().iter().find(|f| f["name"] == "sqlite3_step");
    assert!(step.is_some_and(|f| f["calls"].as_u64() > Some(4)), "{step:?}");
}

#[test]
fn the_exit_code_and_the_signal_of_a_launched_program_are_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let trace = dir.path().join(code.to_string());
        let output = textpoke(&["record", "-o", trace.to_str().unwrap(), "--", "/bin/sh", "-c", script]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
    }
}

/// Calls each function a number of times that it prints itself.
const COUNTED: &str = r#"
#include <stdio.h>
#define NI __attribute__((noinline, noclone))
static volatile unsigned long sink;
NI unsigned long leaf(unsigned long x) { sink += x; return x * 3 + 1; }
NI unsigned long deep(unsigned n) { if (!n) return sink; unsigned long a = deep(n - 1); sink ^= a; a += deep(n - 1); sink += a; return sink ^ a; }
NI unsigned long tail(unsigned long x) { sink ^= x; return leaf(x + 1); }
NI unsigned long even(unsigned long x) { sink += 2; if (x & 1) return leaf(x); return x; }
int main(void) {
    for (unsigned i = 0; i < 5000; i++) { tail(i); even(i); }
    deep(10);
    puts("done");
    return 0;
}
"#;

#[test]
fn the_number_of_calls_is_the_number_of_calls() {
    let dir = tempfile::tempdir().unwrap();
    for flags in [&["-fcf-protection=full"][..], &["-O1"], &["-O3", "-fno-pie", "-no-pie"]] {
        let Some(program) = compile(dir.path(), "counted", COUNTED, flags) else { return };
        let trace = dir.path().join("t");
        let program = program.to_str().unwrap();
        let output = textpoke(&["record", "--force", "-o", trace.to_str().unwrap(), "--", program]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{}", stderr(&output));
        let report = textpoke(&["report", trace.to_str().unwrap(), "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(report["lost"], 0);
        let calls = |name: &str| {
            let functions = report["functions"].as_array().unwrap();
            functions.iter().find(|f| f["name"] == name).map(|f| f["calls"].as_u64().unwrap())
        };
        // 5,000 from `tail` and 2,500 from `even`.
        let counts = [calls("leaf"), calls("tail"), calls("even"), calls("deep")];
        assert_eq!(counts, [Some(7500), Some(5000), Some(5000), Some(2047)], "{flags:?}");
    }
}

#[test]
fn gdb_counts_the_same_calls_in_python() {
    let (Some(gdb), Some(python)) = (find("gdb"), find("python3")) else { return };
    let script = "d = {}\nfor i in range(300): d[str(i)] = sorted([i, 3, 1])\nprint(len(d))";
    let names = ["PyList_New", "PyList_Sort", "PyObject_Repr", "PyLong_FromLong"];
    let mut gdb = Command::new(gdb);
    gdb.args([
        "-q",
        "-batch",
        "-ex",
        "set breakpoint pending off",
        "-ex",
        "set debuginfod enabled off",
        "-ex",
        "starti",
    ]);
    for name in names {
        gdb.args(["-ex", &format!("break *{name}")]);
    }
    for i in 1..=names.len() {
        gdb.args(["-ex", &format!("ignore {i} 100000000")]);
    }
    gdb.args(["-ex", "continue", "-ex", "info breakpoints", "--args"]).arg(&python).args(["-I", "-S", "-c", script]);
    gdb.env("PYTHONHASHSEED", "0");
    let counted = String::from_utf8_lossy(&gdb.output().unwrap().stdout).into_owned();
    let by_gdb = |name: &str| -> Option<u64> {
        let mut lines = counted.lines().skip_while(|l| !(l.contains("breakpoint") && l.contains(&format!("<{name}"))));
        lines.next()?;
        lines.next()?.trim().strip_prefix("breakpoint already hit ")?.split(' ').next()?.parse().ok()
    };
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("t");
    let mut arguments = vec!["record", "-o", trace.to_str().unwrap()];
    names.iter().for_each(|name| arguments.extend(["-F", name]));
    arguments.extend(["--", python.to_str().unwrap(), "-I", "-S", "-c", script]);
    let output = Command::new(super::target::TEXTPOKE).args(&arguments).env("PYTHONHASHSEED", "0").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let report = textpoke(&["report", trace.to_str().unwrap(), "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["lost"], 0);
    let mut compared = 0;
    for function in report["functions"].as_array().unwrap() {
        let name = function["name"].as_str().unwrap();
        if let Some(hits) = by_gdb(name) {
            assert_eq!(function["calls"].as_u64(), Some(hits), "{name}\n{counted}");
            compared += 1;
        }
    }
    if compared == 0 {
        println!("left out: gdb could not set or count breakpoints here:\n{counted}");
    }
}

#[test]
fn the_demo_proves_itself() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = textpoke(&["demo", "--seconds", "1", "--out", out.to_str().unwrap()]);
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("byte for byte what it was") && said.contains(" 0 EINTR"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("sqlite3_step"));
    for (file, begins) in [("flame.svg", &b"<"[..]), ("trace.perfetto", b"\n"), ("trace/meta.json", b"{")] {
        assert!(std::fs::read(out.join(file)).unwrap().starts_with(begins), "{file}");
    }
}
