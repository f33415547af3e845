//! Each bad input gets one clear line, and harms nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use super::target::{Condition, TEXTPOKE, Target, compile, find, stderr, textpoke};

/// One line that begins with the program's name and says this; exit code 1.
fn refused(output: &Output, what: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("textpoke: ") && said.trim_end().lines().count() == 1, "{said}");
    assert!(said.contains(what), "{said}");
}

fn record(arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("t");
    let output =
        Command::new(TEXTPOKE).args(["record", "-o", trace.to_str().unwrap()]).args(arguments).output().unwrap();
    assert!(output.status.success() || !trace.exists(), "left behind by a refusal: {}", stderr(&output));
    output
}

fn sleeper() -> Target {
    Target::start(Command::new("/bin/sh").args(["-c", "echo ready; read line; exit 0"]))
}

#[test]
fn processes_that_cannot_be_traced() {
    refused(&record(&["-p", "1073741823"]), "no process");
    let me = std::process::id().to_string();
    // A thread of this test process that is not its first.
    let (send, receive) = std::sync::mpsc::channel();
    let (_keep, kept) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let link = fs::read_link("/proc/thread-self").unwrap();
        send.send(link.file_name().unwrap().to_str().unwrap().to_owned()).unwrap();
        let _ = kept.recv();
    });
    let tid = receive.recv().unwrap();
    refused(&record(&["-p", &tid]), &format!("-p {me}"));

    let mut zombie = Command::new("/bin/true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", zombie.id());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    refused(&record(&["-p", &zombie.id().to_string()]), "zombie");
    zombie.wait().unwrap();
}

#[test]
fn a_stopped_process_stays_stopped_and_whole() {
    let target = sleeper();
    let before = Condition::of(target.pid());
    let kill = |signal: &str| assert!(Command::new("kill").args([signal, &target.id()]).status().unwrap().success());
    kill("-STOP");
    while !fs::read_to_string(format!("/proc/{}/stat", target.pid())).unwrap().contains(") T ") {
        std::thread::yield_now();
    }
    refused(&record(&["-p", &target.id()]), "kill -CONT");
    kill("-CONT");
    Condition::of(target.pid()).assert_same(&before);
}

#[test]
fn a_process_that_is_traced_already() {
    let target = sleeper();
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("first");
    let first = Command::new(TEXTPOKE)
        .args(["record", "-p", &target.id(), "-o", trace.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let maps = || fs::read_to_string(format!("/proc/{}/maps", target.pid())).unwrap();
    while !maps().contains("rw-s") {
        std::thread::yield_now();
    }
    refused(&record(&["-p", &target.id()]), "traced by");
    assert!(Command::new("kill").args(["-INT", &first.id().to_string()]).status().unwrap().success());
    let output = first.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!maps().contains("textpoke"));
}

/// Lets only what it needs through, and dies of anything else.
const FILTERED: &str = r#"
#include <stdio.h>
#include <sys/prctl.h>
int main(void) {
    puts("ready"); fflush(stdout);
    if (prctl(PR_SET_SECCOMP, 1, 0, 0, 0)) return 2;
    char c; while (__builtin_expect(1, 1)) { long n; __asm__ volatile("syscall" : "=a"(n) : "0"(0), "D"(0), "S"(&c), "d"(1) : "rcx", "r11", "memory"); if (n <= 0) break; }
    __asm__ volatile("syscall" :: "a"(60), "D"(0));
    return 0;
}
"#;

#[test]
fn a_process_under_a_system_call_filter() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = compile(dir.path(), "filtered", FILTERED, &[]) else { return };
    let target = Target::start(&mut Command::new(program));
    let status = format!("/proc/{}/status", target.pid());
    while !fs::read_to_string(&status).unwrap().contains("Seccomp:\t1") {
        std::thread::yield_now();
    }
    refused(&record(&["-p", &target.id()]), "seccomp");
    let (well, said) = target.finish();
    assert!(well, "{said}");
}

#[test]
fn files_that_are_no_program_for_us() {
    let dir = tempfile::tempdir().unwrap();
    let own = fs::read("/proc/self/exe").unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut narrow = own[..64].to_vec();
    narrow[4] = 1;
    let mut foreign = own[..4096].to_vec();
    // IBM S/390.
    foreign[18] = 22;
    for (path, what) in [
        (write("text", b"hello"), "ELF"),
        (write("short", &own[..40]), "cut short"),
        (write("cut", &own[..8192]), "cut short"),
        (write("narrow", &narrow), "32-bit"),
        (write("foreign", &foreign), "can be analysed"),
    ] {
        let output = textpoke(&["sites", &path]);
        refused(&output, what);
    }
    // Not launched: execvp(3) hands a file without a known format to the shell, which would run it as a script.
    refused(&record(&["--", "/no/such/program"]), "cannot start");
    refused(&record(&["-F", "no_such_function_anywhere", "--", "/bin/true"]), "no function matches");
}

#[test]
fn a_stripped_program_is_traced_by_its_unwind_entries() {
    let dir = tempfile::tempdir().unwrap();
    let source = "#include <stdio.h>\nstatic volatile int v;\n__attribute__((noinline)) int work(int x) { v += x; return v * 2; }\n\
                  int main(void) { for (int i = 0; i < 100; i++) work(i); puts(\"done\"); return 0; }";
    let Some(program) = compile(dir.path(), "stripped", source, &["-s"]) else { return };
    let trace = dir.path().join("t");
    let output = textpoke(&["record", "-o", trace.to_str().unwrap(), "--", program.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n", "{}", stderr(&output));
    let report = textpoke(&["report", trace.to_str().unwrap(), "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let functions = report["functions"].as_array().unwrap();
    assert!(
        functions.iter().any(|f| f["calls"] == 100 && f["name"].as_str().unwrap().starts_with("fn_")),
        "{functions:?}"
    );
}

#[test]
fn a_static_program_is_traced_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let source = "#include <stdio.h>\n#include <spawn.h>\n#include <sys/wait.h>\n#include <stdlib.h>\n\
                  __attribute__((noinline)) int work(int x) { return x * 2 + rand() % 1; }\n\
                  int main(void) { int s = 0; for (int i = 0; i < 50; i++) s += work(i);\n\
                  int r = system(\"exit 3\"); printf(\"%d %d\\n\", s, WEXITSTATUS(r)); return 0; }";
    let Some(program) = compile(dir.path(), "static", source, &["-static"]) else { return };
    let trace = dir.path().join("t");
    let output = textpoke(&["record", "-o", trace.to_str().unwrap(), "--", program.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2450 3\n", "{}", stderr(&output));
}

#[test]
fn an_output_that_exists_is_kept_and_a_full_disk_releases_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("precious"), "x").unwrap();
    let output = textpoke(&["record", "-o", taken.to_str().unwrap(), "--", "/bin/true"]);
    refused(&output, "choose another directory");
    assert_eq!(fs::read_to_string(taken.join("precious")).unwrap(), "x");

    let Some(python) = find("python3") else { return };
    let script = "import sys, threading\nstop = []\ndef f():\n  while not stop: sorted(str(i) for i in range(100))\n\
                  t = threading.Thread(target=f); t.start(); print('ready', flush=True); sys.stdin.read(); stop.append(1); t.join()";
    let mut target = Target::start(Command::new(python).args(["-c", script]));
    let before = Condition::of(target.pid());
    let disk = dir.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let Some(_mounted) = Mounted::new(&disk) else { return };
    let trace = disk.join("full");
    let output = textpoke(&["record", "-p", &target.id(), "--for", "20", "-o", trace.to_str().unwrap()]);
    assert!(stderr(&output).contains("no space left"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(target.alive());
    Condition::of(target.pid()).assert_same(&before);
    let report = textpoke(&["report", trace.to_str().unwrap()]);
    assert!(report.status.success(), "what fitted can be read: {}{}", stderr(&output), stderr(&report));
    let (well, said) = target.finish();
    assert!(well, "{said}");
}

/// A small disk; dropping it takes it away.
struct Mounted<'a>(&'a std::path::Path);

impl<'a> Mounted<'a> {
    fn new(at: &'a std::path::Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(at).output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        if !mounted {
            println!("left out: this test must be root to make a small disk");
        }
        mounted.then_some(Self(at))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn another_users_process_is_not_ours() {
    let Some(setpriv) = find("setpriv") else { return };
    let target = sleeper();
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let trace = dir.path().join("t");
    let copy = dir.path().join("textpoke");
    fs::copy(TEXTPOKE, &copy).unwrap();
    let output = Command::new(setpriv)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["record", "-p", &target.id(), "-o", trace.to_str().unwrap()])
        .output()
        .unwrap();
    if !stderr(&output).starts_with("textpoke") {
        println!("left out: this test must be root to become somebody else: {}", stderr(&output));
        return;
    }
    refused(&output, "not allowed");
}
