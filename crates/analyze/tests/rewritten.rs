//! Programs that are rewritten to run every displaced instruction from its copy do what they did before.

mod support;

use std::path::Path;
use std::process::Command;

use textpoke_analyze::{ExitKind, Function, Image, Reason};

/// Standard output of a program that must succeed.
fn output(command: &mut Command) -> (String, String) {
    let done = command.output().expect("started");
    assert!(done.status.success(), "{command:?}: {} {}", done.status, String::from_utf8_lossy(&done.stderr));
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(done.stdout), text(done.stderr))
}

/// Rewrites a program and runs both; returns the functions and what the rewritten one said on standard error.
fn same_output(program: &Path, dir: &Path, names: &[&str]) -> (Vec<Function>, String) {
    let bytes = std::fs::read(program).expect("read");
    let image = Image::parse(&bytes).expect("an ELF file");
    let functions = image.functions();
    let rewritten = support::rewrite(&bytes, &image, &functions, |_| true);
    assert!(rewritten.entries > 0);
    for name in names {
        let function = functions.iter().find(|f| f.name == *name).unwrap_or_else(|| panic!("no {name}"));
        // Without padding between functions, as -Os leaves them, the smallest have no room.
        let tiny = function.size < 5 && function.entry == Err(Reason::TooShort);
        assert!(function.entry.is_ok() || tiny, "{name}: {:?}", function.entry);
    }
    let copy = dir.join("rewritten");
    support::install(&copy, &rewritten.bytes);
    let (expected, _) = output(&mut Command::new(program));
    let mut command = Command::new(&copy);
    command.env("COUNTERS", format!("{:#x}", rewritten.counters)).env("COUNTED", functions.len().to_string());
    if image.is_shared() {
        // The counters moved with the program; it cannot find them.
        command.env_remove("COUNTERS");
    }
    let (found, counters) = output(&mut command);
    assert_eq!(found, expected);
    (functions, counters)
}

const MIXED: [&str; 13] = [
    "fib",
    "tiny",
    "constant",
    "choose",
    "interpret",
    "plus",
    "minus",
    "apply",
    "indexed",
    "sum",
    "floating",
    "variable",
    "compare",
];

#[test]
fn c_at_every_level_of_optimisation() {
    for options in [
        &["-O0"][..],
        &["-O1"],
        &["-O2"],
        &["-O3"],
        &["-Os"],
        &["-O2", "-fcf-protection=full"],
        &["-O2", "-fno-asynchronous-unwind-tables"],
        &["-O2", "-fpatchable-function-entry=5"],
        &["-O2", "-fno-omit-frame-pointer"],
        &["-O2", "-no-pie", "-static"],
        &["-O2", "-fno-plt", "-fPIE", "-pie"],
        &["-O2", "-s"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let Some(program) = support::compile(dir.path(), "mixed.c", options) else { return };
        let stripped = options.contains(&"-s");
        same_output(&program, dir.path(), if stripped { &[] } else { &MIXED });
    }
}

#[test]
fn every_call_is_paired_with_its_exit() {
    for level in ["-O0", "-O1", "-O2", "-O3", "-Os"] {
        let dir = tempfile::tempdir().unwrap();
        let Some(program) = support::compile(dir.path(), "mixed.c", &[level, "-no-pie", "-fno-pie"]) else { return };
        let (functions, counters) = same_output(&program, dir.path(), &MIXED);
        let mut calls_of_fib = 0;
        let mut pairs = 0;
        for line in counters.lines() {
            let numbers: Vec<u64> = line.split(' ').map(|n| n.parse().expect("a number")).collect();
            let [index, entries, exits] = numbers[..] else { panic!("{line}") };
            let function = &functions[index as usize];
            if function.name == "fib" {
                calls_of_fib = entries;
            }
            // These are still running when the counters are read, or left by a long jump.
            let unfinished = ["main", "_start", "report", "jumper"].contains(&function.name.as_str());
            if function.exit == ExitKind::Patched && !unfinished {
                assert_eq!(entries, exits, "{level} {}", function.name);
                pairs += u64::from(entries > 0);
            }
        }
        if level == "-O0" {
            assert_eq!(calls_of_fib, 21891);
        }
        assert!(pairs >= 5, "{level}: {pairs} functions were called and had all exits patched");
    }
}

#[test]
fn exceptions_and_threads() {
    for options in
        [&["-O0", "-pthread"][..], &["-O2", "-pthread"], &["-O2", "-no-pie", "-pthread"], &["-Os", "-pthread"]]
    {
        let dir = tempfile::tempdir().unwrap();
        let Some(program) = support::compile(dir.path(), "exceptions.cpp", options) else { return };
        same_output(&program, dir.path(), &["main"]);
    }
}

#[test]
fn hand_written_entries() {
    for options in [&["-no-pie"][..], &["-pie"]] {
        let dir = tempfile::tempdir().unwrap();
        let Some(program) = support::compile(dir.path(), "assembly.S", options) else { return };
        let names = [
            "hop",
            "hop_first",
            "count",
            "call_first",
            "call_register",
            "where",
            "conditional",
            "carry",
            "red_zone",
            "tail",
            "helper",
            "repz",
        ];
        let (functions, _) = same_output(&program, dir.path(), &names);
        let exits = |name: &str| functions.iter().find(|f| f.name == name).map_or(0, |f| f.exits.len());
        assert_eq!(exits("red_zone"), 1);
        assert_eq!(exits("tail"), 2);
    }
}

#[test]
fn the_shell_of_this_machine() {
    let shell = Path::new("/bin/bash");
    if !shell.exists() {
        eprintln!("skipped: no {}", shell.display());
        return;
    }
    let bytes = std::fs::read(shell).unwrap();
    let image = Image::parse(&bytes).unwrap();
    let functions = image.functions();
    let rewritten = support::rewrite(&bytes, &image, &functions, |_| true);
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("bash");
    support::install(&copy, &rewritten.bytes);
    let script = r#"
        f() { local n=$1; (( n > 0 )) && f $((n - 1)); echo "$n"; }; f 20
        declare -A map; for i in {1..500}; do map[k$((i % 7))]+=$i; done; for k in "${!map[@]}"; do echo "$k ${#map[$k]}"; done
        [[ abcde =~ b(c)d ]] && echo "${BASH_REMATCH[1]}"; x=abc; echo "${x/b/Z} ${x^^} ${x:1}"
        case $x in *b*) echo yes;; esac; (exit 3); echo $?; trap 'echo bye' EXIT
        printf '%05d %s %q\n' 42 x 'a b'; echo {a,b}{1,2}; for (( i = 0; i < 9; i++ )); do echo -n $(( i ** 3 % 7 )); done
        echo one two | while read -r a b; do echo "$b $a"; done; kill -0 $$ && echo alive
    "#;
    let run = |program: &Path| output(Command::new(program).args(["-c", script])).0;
    assert_eq!(run(&copy), run(shell));
}
