//! Programs for AArch64 and RISC-V that are rewritten to run every displaced instruction from its copy do in the
//! emulator what they did before.

mod support;

use std::path::{Path, PathBuf};

use std::process::Command;

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

/// Where the sources of a crate are that this workspace depends on.
fn sources(package: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let found = packages.iter().find(|p| p["name"] == package).unwrap_or_else(|| panic!("no {package}"));
    Path::new(found["manifest_path"].as_str().expect("a path")).parent().expect("a folder").to_owned()
}

/// Compiles and rewrites a program; checks that what it says is the same, and how much of it was rewritten.
fn whole(cross: Cross, files: &[PathBuf], flags: &[&str], options: &Options, arguments: &[&str], own: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let mut files = files.to_vec();
    files.push(source("report.c"));
    cross.compile(&program, &files, flags);
    let counted = same_output(cross, &program, options, arguments);
    for name in own {
        let (_, entries, _) = counted.iter().find(|(f, ..)| f.name == *name).unwrap_or_else(|| panic!("no {name}"));
        assert!(*entries > 0, "{cross:?} {flags:?}: {name} was not counted");
    }
    let called: Vec<_> = counted.iter().filter(|(.., entries, _)| *entries > 0).collect();
    let patched = called.iter().filter(|(f, ..)| f.exit == ExitKind::Patched).count();
    // With every exit seen, the calls that end differently are those that never end, and long jumps.
    assert!(called.len() > 200 && 2 * patched > called.len(), "{cross:?} {flags:?}: {patched} of {}", called.len());
}

#[test]
fn lua() {
    let folder = sources("lua-src").join("lua-5.4.9");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "c"));
    files.sort();
    files.push(source("script.c"));
    let include = format!("-I{}", folder.display());
    let script = source("script.lua");
    let arguments = [script.to_str().unwrap()];
    for cross in Cross::ALL.into_iter().filter(|c| c.is_here()) {
        for flags in [&["-Os"][..], &["-O2", "-fno-inline"]] {
            for near in [false, true] {
                let options = Options { near, ..Options::default() };
                let own = ["luaV_execute", "luaH_getint", "luaD_precall"];
                let flags = [&[include.as_str()], flags].concat();
                whole(cross, &files, &flags, &options, &arguments, &own);
            }
        }
    }
}

#[test]
fn sqlite() {
    let folder = sources("libsqlite3-sys").join("sqlite3");
    let include = format!("-I{}", folder.display());
    let files = [folder.join("sqlite3.c"), source("database.c")];
    // A minute each for the compiler.
    let levels: &[&[&str]] = if std::env::var_os("TEXTPOKE_FULL").is_some() {
        &[&["-Os"], &["-O0"], &["-O2"], &["-O2", "-fpatchable-function-entry=2"]]
    } else {
        &[&["-Os"]]
    };
    for cross in Cross::ALL.into_iter().filter(|c| c.is_here()) {
        for &level in levels {
            let mut flags = vec![include.as_str(), "-DSQLITE_THREADSAFE=0", "-DSQLITE_OMIT_LOAD_EXTENSION"];
            flags.extend(level);
            whole(cross, &files, &flags, &Options::default(), &[], &["sqlite3VdbeExec", "sqlite3Parser", "run"]);
        }
    }
}
