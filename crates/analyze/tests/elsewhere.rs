//! Programs for AArch64 and RISC-V that are rewritten to run every displaced instruction from its copy do in the
//! emulator what they did before.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use std::process::Command;

use support::cross::Cross;
use textpoke_analyze::{ExitKind, Function, Image, Options, Reason};

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// Rewrites a program and runs both; returns its functions, with entries and exits of each if it can tell them.
fn same_output(cross: Cross, program: &Path, options: &Options, arguments: &[&str]) -> Vec<(Function, u64, u64)> {
    let bytes = std::fs::read(program).expect("read");
    let image = Image::parse(&bytes).expect("an ELF file");
    let functions = image.functions_with(options);
    let rewritten = support::rewrite(&bytes, &image, &functions, |_| true);
    let least = if image.is_static() { 300 } else { 20 };
    assert!(rewritten.entries >= least, "{cross:?}: only {} entries", rewritten.entries);
    let copy = program.with_extension("rewritten");
    support::install(&copy, &rewritten.bytes);
    let (expected, _) = cross.run(program, arguments, &[]);
    let counters = [("COUNTERS", format!("{:#x}", rewritten.counters)), ("COUNTED", functions.len().to_string())];
    // Those of a program that is loaded anywhere moved with it; it cannot find them.
    let told = if image.is_shared() { &[][..] } else { &counters };
    let (found, counted) = cross.run(&copy, arguments, told);
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

/// Both kinds of sites on RISC-V; the others have one.
fn kinds(cross: Cross) -> impl Iterator<Item = Options> {
    let near: &[bool] = if cross == Cross::Riscv64 { &[false, true] } else { &[false] };
    near.iter().map(|&near| Options { near, ..Options::default() })
}

fn mixed(cross: Cross, flags: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    cross.compile(&program, &[source("mixed.c")], flags);
    for options in kinds(cross) {
        check_mixed(cross, flags, &same_output(cross, &program, &options, &[]));
    }
}

fn check_mixed(cross: Cross, flags: &[&str], counted: &[(Function, u64, u64)]) {
    let mut pairs = 0;
    for (function, entries, exits) in counted {
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
        mixed(Cross::Aarch64, flags);
    }
}

/// Addresses come from relocations there, and copies from places that only differ by what was added.
#[test]
fn programs_that_are_loaded_anywhere() {
    for cross in Cross::ALL.into_iter().filter(|c| c.is_here()) {
        for level in ["-O2", "-Os"] {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("program");
            cross.compile(&program, &[source("mixed.c")], &[level, "-fPIE", "-pie"]);
            same_output(cross, &program, &Options::default(), &[]);
        }
    }
}

/// Exceptions pass frames whose calls were displaced, and threads count at the same time.
#[test]
fn exceptions_and_threads() {
    for cross in Cross::ALL.into_iter().filter(|c| c.has("g++")) {
        for level in ["-O0", "-O2", "-Os"] {
            let dir = tempfile::tempdir().unwrap();
            let program = dir.path().join("program");
            // Too large for JAL alone.
            cross.compile(&program, &[source("exceptions.cpp")], &[level]);
            same_output(cross, &program, &Options::default(), &[]);
        }
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
        mixed(Cross::Riscv64, flags);
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
fn whole(cross: Cross, files: &[PathBuf], flags: &[&str], arguments: &[&str], own: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    let mut files = files.to_vec();
    files.push(source("report.c"));
    cross.compile(&program, &files, flags);
    for options in kinds(cross) {
        let counted = same_output(cross, &program, &options, arguments);
        let called: Vec<_> = counted.iter().filter(|(_, entries, _)| *entries > 0).collect();
        let patched = called.iter().filter(|(f, ..)| f.exit == ExitKind::Patched).count();
        // Most copies of a large program are too far for JAL; the rest must do the same all the more.
        if !options.near {
            for name in own {
                assert!(called.iter().any(|(f, ..)| f.name == *name), "{cross:?} {flags:?}: {name} was not counted");
            }
            let all = called.len();
            assert!(all > 200 && 2 * patched > all, "{cross:?} {flags:?}: {patched} of {all} with all exits");
        }
    }
}

/// Lua without its own `main`, and one that runs a script.
fn lua_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "c"));
    files.sort();
    files.push(source("script.c"));
    files
}

#[test]
fn lua() {
    let folder = sources("lua-src").join("lua-5.4.9");
    let files = lua_files(&folder);
    let include = format!("-I{}", folder.display());
    let script = source("script.lua");
    let arguments = [script.to_str().unwrap()];
    for cross in Cross::ALL.into_iter().filter(|c| c.is_here()) {
        for flags in [&["-Os"][..], &["-O2", "-fno-inline"]] {
            let own = ["luaV_execute", "luaH_getint", "luaD_precall"];
            let flags = [&[include.as_str()], flags].concat();
            whole(cross, &files, &flags, &arguments, &own);
        }
    }
}

/// A program of one thread calls its functions equally often on every instruction set.
#[test]
fn the_same_calls_everywhere() {
    let folder = sources("lua-src").join("lua-5.4.9");
    let files = lua_files(&folder);
    let include = format!("-I{}", folder.display());
    // Nothing is merged, split, or left for somebody else to return from; strings are hashed the same on every run.
    let mut flags = vec![include.as_str(), "-Dluai_makeseed(L)=7", "-O1", "-fno-inline", "-fno-optimize-sibling-calls"];
    flags.extend(["-fno-pie", "-no-pie"]);
    let script = source("script.lua");
    let arguments = [script.to_str().unwrap()];
    let mut tables: Vec<BTreeMap<String, u64>> = Vec::new();
    for machine in Cross::ALL.into_iter().chain([Cross::Host]).filter(|c| c.is_here()) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        machine.compile(&program, &[&files[..], &[source("report.c")]].concat(), &flags);
        let counted = same_output(machine, &program, &Options::default(), &arguments);
        let own = counted.into_iter().filter(|(f, ..)| f.name.starts_with("lua") && f.entry.is_ok());
        // Strings of the program are cached by their address.
        tables.push(own.map(|(f, entries, _)| (f.name, entries)).filter(|(n, _)| !n.starts_with("luaS_")).collect());
    }
    for pair in tables.windows(2) {
        let both: Vec<_> = pair[0].iter().filter(|(name, _)| pair[1].contains_key(*name)).collect();
        assert!(both.iter().filter(|(_, calls)| **calls > 0).count() > 150, "too few to compare");
        for (name, calls) in both {
            assert_eq!(*calls, pair[1][name], "{name}");
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
            whole(cross, &files, &flags, &[], &["sqlite3_exec", "sqlite3_step", "sqlite3_prepare_v2"]);
        }
    }
}
