//! Programs for AArch64 and RISC-V that are rewritten to run every displaced instruction from its copy do in the
//! emulator what they did before.

mod support;

use std::path::{Path, PathBuf};

use support::cross::Cross;
use textpoke_analyze::{ExitKind, Function, Image, Options, Reason};

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// Rewrites a static program and runs both; returns its functions, and entries and exits of each.
fn same_output(cross: Cross, program: &Path, options: &Options, arguments: &[&str]) -> Vec<(Function, u64, u64)> {
    let bytes = std::fs::read(program).expect("read");
    let image = Image::parse(&bytes).expect("an ELF file");
    let functions = image.functions_with(options);
    let rewritten = support::rewrite(&bytes, &image, &functions, |_| true);
    assert!(rewritten.entries > 100, "{cross:?}: only {} entries", rewritten.entries);
    let copy = program.with_extension("rewritten");
    support::install(&copy, &rewritten.bytes);
    let (expected, _) = cross.run(program, arguments, &[]);
    let counters = [("COUNTERS", format!("{:#x}", rewritten.counters)), ("COUNTED", functions.len().to_string())];
    let (found, counted) = cross.run(&copy, arguments, &counters);
    assert_eq!(found, expected);
    let numbers = counted.lines().map(|line| {
        let mut fields = line.split(' ').map(|n| n.parse::<u64>().expect("a number"));
        fields.next();
        (fields.next().expect("entries"), fields.next().expect("exits"))
    });
    functions.into_iter().zip(numbers).map(|(f, (entries, exits))| (f, entries, exits)).collect()
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

fn mixed(cross: Cross, flags: &[&str], options: &Options) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    cross.compile(&program, &[source("mixed.c")], flags);
    let counted = same_output(cross, &program, options, &[]);
    let mut pairs = 0;
    for (function, entries, exits) in &counted {
        let name = function.name.as_str();
        if MIXED.contains(&name) {
            let tiny = function.size < 8 && function.entry == Err(Reason::TooShort);
            assert!(function.entry.is_ok() || tiny, "{cross:?} {flags:?} {name}: {:?}", function.entry);
        }
        // These are still running when the counters are read, or left by a long jump.
        let unfinished = ["main", "report", "jumper"].contains(&name);
        if MIXED.contains(&name) && function.exit == ExitKind::Patched && !unfinished {
            assert_eq!(entries, exits, "{cross:?} {flags:?} {name}");
            pairs += u64::from(*entries > 0);
        }
        if name == "fib" && flags.contains(&"-O0") && function.entry.is_ok() {
            assert_eq!(*entries, 21891);
        }
    }
    assert!(pairs >= 5, "{cross:?} {flags:?}: {pairs} functions were called and had all exits patched");
}

#[test]
fn c_for_aarch64_at_every_level_of_optimisation() {
    if !Cross::Aarch64.is_here() {
        return;
    }
    for flags in [
        &["-O0"][..],
        &["-O1"],
        &["-O2"],
        &["-O3"],
        &["-Os"],
        &["-O2", "-fno-inline"],
        &["-O2", "-mbranch-protection=standard"],
        &["-O2", "-mbranch-protection=standard", "-fpatchable-function-entry=2"],
        &["-O2", "-fpatchable-function-entry=2"],
        &["-O2", "-march=armv8.3-a", "-mbranch-protection=pac-ret+leaf"],
        &["-O2", "-mno-outline-atomics", "-fno-asynchronous-unwind-tables"],
        &["-O2", "-mcmodel=large", "-fno-pie"],
    ] {
        mixed(Cross::Aarch64, flags, &Options::default());
    }
}

#[test]
fn c_for_riscv_at_every_level_of_optimisation() {
    if !Cross::Riscv64.is_here() {
        return;
    }
    for flags in [
        &["-O0"][..],
        &["-O1"],
        &["-O2"],
        &["-O3"],
        &["-Os"],
        &["-O2", "-fno-inline"],
        &["-O2", "-fpatchable-function-entry=2"],
        &["-O2", "-fpatchable-function-entry=4"],
        &["-O2", "-march=rv64g"],
        &["-O2", "-mno-relax"],
        &["-O2", "-msave-restore"],
        &["-O2", "-mcmodel=medany", "-fasynchronous-unwind-tables"],
    ] {
        for near in [false, true] {
            mixed(Cross::Riscv64, flags, &Options { near, ..Options::default() });
        }
    }
}
