//! `textpoke keys` on programs that nobody prepared for it.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[path = "live/target.rs"]
#[allow(dead_code, reason = "each test file uses a part")]
mod target;
use target::{Target, find, stderr, textpoke};

/// Where cargo puts what it builds.
fn built() -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    dir.pop();
    dir
}

fn example() -> PathBuf {
    built().join("examples/keys_target")
}

/// What a program sees now.
fn look(target: &mut Target) -> String {
    target.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let (mut line, mut byte) = (Vec::new(), [0]);
    let out = target.child.stdout.as_mut().unwrap();
    while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

fn keys(target: &Target, arguments: &[&str]) -> Output {
    textpoke(&[&["keys", &target.id()], arguments].concat())
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32, because: &str) {
    let text = stderr(output);
    assert!(output.status.code() == Some(code) && text.contains(because), "{:?}: {text}", output.status);
    assert!(code == 2 || text.lines().count() == 1, "one line: {text}");
}

/// Lists and flips, whatever was done to the file.
fn can_be_flipped(program: &Path) {
    let mut target = Target::start(&mut Command::new(program));
    let list: serde_json::Value = serde_json::from_str(&said(&keys(&target, &["--json"]))).unwrap();
    let sites = |name: &str| {
        let key = list["keys"].as_array().unwrap().iter().find(|key| key["name"] == format!("keys_target::{name}"));
        key.unwrap_or_else(|| panic!("{name} in {list}"))["sites"].as_array().unwrap().len()
    };
    assert_eq!((sites("VERBOSE"), sites("FAST"), sites("LIMIT"), sites("HOOK")), (2, 2, 1, 1), "{program:?}");
    assert_eq!(look(&mut target), "false false true true [false, false, false] 100 -2 42");
    said(&keys(&target, &["enable", "VERBOSE", "FEATURES[1]"]));
    said(&keys(&target, &["set", "LIMIT", "0x1f4"]));
    said(&keys(&target, &["set", "BIG", "-77"]));
    assert_eq!(look(&mut target), "true true true true [false, true, false] 500 -77 42", "{program:?}");
    said(&keys(&target, &["disable", "--all"]));
    assert_eq!(look(&mut target), "false false false false [false, false, false] 500 -77 42", "{program:?}");
    let (well, text) = target.finish();
    assert!(well, "{text}");
}

#[test]
fn a_program_as_it_is() {
    can_be_flipped(&example());
}

#[test]
fn a_program_without_symbols_sections_and_file() {
    let Some(strip) = find("strip") else { return };
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("stripped");
    assert!(Command::new(strip).arg("-s").arg("-o").arg(&program).arg(example()).status().unwrap().success());
    let mut bytes = fs::read(&program).unwrap();
    // No section headers at all.
    bytes[40..48].fill(0);
    bytes[58..64].fill(0);
    fs::write(&program, bytes).unwrap();
    can_be_flipped(&program);
    let target = Target::start(&mut Command::new(&program));
    fs::remove_file(&program).unwrap();
    assert!(said(&keys(&target, &["inc", "VERBOSE"])).contains("off -> on"));
    let list = said(&keys(&target, &[]));
    assert!(list.contains("-> stripped (deleted)+0x"), "{list}");
}

/// Compiles a source file with the macros' crate that cargo has built.
fn rustc(source: &str, to: &Path, flags: &[&str]) {
    let newest = |name: &str| {
        let files = fs::read_dir(built().join("deps")).unwrap().flatten();
        let fits = |f: &fs::DirEntry| f.file_name().to_string_lossy().starts_with(&format!("lib{name}-"));
        let rlibs = files.filter(|f| fits(f) && f.path().extension().is_some_and(|e| e == "rlib"));
        rlibs.max_by_key(|f| f.metadata().unwrap().modified().unwrap()).unwrap().path()
    };
    let output = Command::new("rustc")
        .args(["--edition=2024", "-O", "--extern"])
        .arg(format!("textpoke_keys={}", newest("textpoke_keys").display()))
        .arg("-L")
        .arg(format!("dependency={}", built().join("deps").display()))
        .args(flags)
        .args([Path::new("-o"), to, &Path::new(env!("CARGO_MANIFEST_DIR")).join(source)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_static_position_independent_program() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("keys_target");
    rustc("examples/keys_target.rs", &program, &["-Ctarget-feature=+crt-static"]);
    can_be_flipped(&program);
}

#[test]
fn a_library_that_another_program_loads_and_unloads() {
    let Some(python) = find("python3") else { return };
    let script = "import ctypes, sys, _ctypes\nprint('ready', flush=True)\nlibrary = None\nfor line in sys.stdin:\n  \
                  if line == 'unload\\n': _ctypes.dlclose(library._handle); library = None; print('gone', flush=True)\n  \
                  else:\n    library = library or ctypes.CDLL(sys.argv[1])\n    print(library.plugged(), flush=True)";
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libkeys_plugin.so");
    rustc("../attach/examples/keys_plugin.rs", &library, &["--crate-type=cdylib"]);
    let mut target = Target::start(Command::new(python).args(["-c", script]).arg(library));
    refused(&keys(&target, &[]), 1, "has no keys");
    refused(&keys(&target, &["enable", "PLUGGED"]), 1, "has no keys");
    for _ in 0..2 {
        assert_eq!(look(&mut target), "0");
        assert!(said(&keys(&target, &["enable", "PLUGGED"])).contains("keys_plugin::PLUGGED  off -> on"));
        assert_eq!(look(&mut target), "1");
        target.child.stdin.as_mut().unwrap().write_all(b"unload\n").unwrap();
        let mut gone = [0; 5];
        target.child.stdout.as_mut().unwrap().read_exact(&mut gone).unwrap();
        refused(&keys(&target, &[]), 1, "has no keys");
    }
    let (well, text) = target.finish();
    assert!(well, "{text}");
}

#[test]
fn the_list_is_for_people_and_the_errors_say_what_to_do() {
    let target = Target::start(&mut Command::new(example()));
    let list = said(&keys(&target, &[]));
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("KEY") && lines[0].ends_with("WHERE"), "{list}");
    let line = |name: &str| {
        let found = lines.iter().find(|l| l.starts_with(&format!("keys_target::{name} ")));
        found.unwrap_or_else(|| panic!("{name}: {list}")).split_whitespace().collect::<Vec<_>>()
    };
    let place = format!("{}:", "crates/cli/examples/keys_target.rs");
    assert_eq!(line("VERBOSE")[1..3], ["off", "2"]);
    assert!(line("FEATURES[2]")[3].starts_with(&place), "{list}");
    assert_eq!(line("SCALE")[1..3], ["->", "keys_target::twice"]);
    assert_eq!(line("HOOK")[1..3], ["->", "nothing"]);
    assert_eq!(line("LIMIT")[1..3], ["100", "1"]);
    assert_eq!(said(&keys(&target, &["list", "*FEAT*"])).lines().count(), 4);

    refused(&keys(&target, &["enable", "VERBOS"]), 1, "did you mean keys_target::VERBOSE?");
    refused(&keys(&target, &["enable", "FEATURES"]), 1, "an array of 3 keys");
    refused(&keys(&target, &["enable", "LIMIT"]), 1, "is a number, not on or off: use set");
    refused(&keys(&target, &["set", "VERBOSE", "1"]), 1, "use enable");
    refused(&keys(&target, &["set", "LIMIT", "5000000000"]), 1, "has 32 bits, too few");
    refused(&keys(&target, &["dec", "VERBOSE"]), 1, "is off");
    refused(&keys(&target, &["enable", "SCALE"]), 1, "is a call");
    refused(&keys(&target, &["set", "LIMIT", "many"]), 2, "100, -3 or 0xff");
    refused(&keys(&target, &["enable"]), 2, "NAME");
    refused(&keys(&target, &["--module", "libc*"]), 1, "no file with keys matches");
    refused(&textpoke(&["keys", "1073741808"]), 1, "there is no process");
    refused(&textpoke(&["keys", &std::process::id().to_string(), "list", "x"]), 1, "");
    for user in ["inc", "inc"] {
        said(&keys(&target, &[user, "VERBOSE"]));
    }
    refused(&keys(&target, &["disable", "VERBOSE"]), 1, "is on for 2 users");
    assert!(said(&keys(&target, &[])).contains("on (2 users)"));
}

#[test]
fn another_user_may_neither_look_nor_flip() {
    let Some(setpriv) = find("setpriv") else { return };
    let target = Target::start(&mut Command::new(example()));
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("textpoke");
    fs::copy(target::TEXTPOKE, &copy).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), open).unwrap();
    for arguments in [&[][..], &["enable", "VERBOSE"]] {
        let output = Command::new(&setpriv)
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&copy)
            .args(["keys", &target.id()])
            .args(arguments)
            .output()
            .unwrap();
        if !stderr(&output).starts_with("textpoke") {
            println!("left out: this test must be root to become somebody else: {}", stderr(&output));
            return;
        }
        refused(&output, 1, "not allowed");
    }
}

/// Compiles C with the header, without the library: nobody in the program changes keys.
fn cc(dir: &Path, name: &str, source: &str, flags: &[&str]) -> Option<PathBuf> {
    const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../capi/include");
    const NOBODY: &str = "#include <textpoke.h>\n#include <stdio.h>\n\
        void textpoke_object_coming(const void *object) { (void)object; }\n\
        void textpoke_object_going(const void *object) { (void)object; }\n";
    let (file, program) = (dir.join(name).with_extension("c"), dir.join(name));
    fs::write(&file, format!("{NOBODY}#line 1 \"{name}.c\"\n{source}")).unwrap();
    let output = Command::new(find("cc")?)
        .args(["-O2", "-I", HEADER, "-o"])
        .args([&program, &file])
        .args(flags)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    Some(program)
}

const ARRAYS: &str = "TEXTPOKE_KEYS_DEFINE_FALSE(features, 3);\n\
    TEXTPOKE_KEY_DEFINE_TRUE(fast);\n\
    TEXTPOKE_KEYS_DEFINE_TRUE(levels, 2);\n";

#[test]
fn arrays_of_c_have_positions() {
    let dir = tempfile::tempdir().unwrap();
    let main = "int main(void) { puts(\"ready\"); fflush(stdout); while (getchar() == '\\n') {\n\
        printf(\"%d%d%d %d %d\\n\", textpoke_unlikely_at(features, 0), textpoke_unlikely_at(features, 1),\n\
        textpoke_likely_at(features, 2), textpoke_likely(fast), textpoke_likely_at(levels, 1)); fflush(stdout); } }";
    let Some(program) = cc(dir.path(), "arrays", &format!("{ARRAYS}{main}"), &[]) else { return };
    let mut target = Target::start(&mut Command::new(program));
    let list = said(&keys(&target, &[]));
    let names: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["fast", "features[0]", "features[1]", "features[2]", "levels[0]", "levels[1]"], "{list}");
    said(&keys(&target, &["enable", "features[2]"]));
    said(&keys(&target, &["disable", "levels[1]", "fast"]));
    assert_eq!(look(&mut target), "001 0 0");
    let (well, text) = target.finish();
    assert!(well, "{text}");
}

/// The keys are in a library, the sites in it and in a program for a fixed address, which has a copy of what it uses.
#[test]
fn of_copied_keys_the_copies_are_shown_and_flipped() {
    let dir = tempfile::tempdir().unwrap();
    let more = "TEXTPOKE_KEY_DEFINE_FALSE(own);\nint in_library(void) { return 100 * textpoke_unlikely_at(features, 1)\n\
        + 10 * textpoke_unlikely(fast) + textpoke_likely(own); }";
    let Some(library) = cc(dir.path(), "libcopied.so", &format!("{ARRAYS}{more}"), &["-fPIC", "-shared"]) else {
        return;
    };
    let declared = "TEXTPOKE_KEYS_DECLARE_FALSE(features, 3); TEXTPOKE_KEY_DECLARE_TRUE(fast); int in_library(void);\n";
    let main = "int main(void) { puts(\"ready\"); fflush(stdout); while (getchar() == '\\n') {\n\
        printf(\"%d%d %d %03d\\n\", textpoke_unlikely_at(features, 0), textpoke_unlikely_at(features, 2),\n\
        textpoke_likely(fast), in_library()); fflush(stdout); } }";
    let flags = ["-fno-pie", "-no-pie", library.to_str().unwrap(), &format!("-Wl,-rpath,{}", dir.path().display())];
    let program = cc(dir.path(), "copying", &format!("{declared}{main}"), &flags).unwrap();
    let mut target = Target::start(&mut Command::new(program));
    let list: serde_json::Value = serde_json::from_str(&said(&keys(&target, &["--json"]))).unwrap();
    assert_eq!(list["faults"].as_array().unwrap().len(), 0, "{list}");
    let one = |key: &serde_json::Value| {
        let (name, index) = (key["name"].as_str().unwrap(), key["index"].as_u64().map(|i| format!("[{i}]")));
        (format!("{name}{}", index.unwrap_or_default()), key["sites"].as_array().unwrap().len())
    };
    let mut all: Vec<(String, usize)> = list["keys"].as_array().unwrap().iter().map(one).collect();
    all.sort();
    let wants = [("fast", 2), ("features[0]", 1), ("features[1]", 1), ("features[2]", 1), ("levels[0]", 0)];
    let wants = wants.iter().chain(&[("levels[1]", 0), ("own", 1)]).map(|&(name, sites)| (name.to_owned(), sites));
    assert_eq!(all, wants.collect::<Vec<_>>());
    assert_eq!(look(&mut target), "00 1 010");
    said(&keys(&target, &["enable", "features[*]", "own"]));
    assert_eq!(look(&mut target), "11 1 111");
    said(&keys(&target, &["disable", "fast"]));
    assert_eq!(look(&mut target), "11 0 101");
    let (well, text) = target.finish();
    assert!(well, "{text}");
}

/// A key whose branches are in another object, and one that has none.
#[test]
fn a_key_in_an_object_without_sites_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let source = "enum Nobody {}\ntextpoke_keys::static_key! { in Nobody;\n\
        #[unsafe(no_mangle)] pub static LONELY: bool = false;\n\
        #[unsafe(no_mangle)] pub static UNUSED: bool = true;\n}";
    let file = dir.path().join("lonely.rs");
    fs::write(&file, source).unwrap();
    let library = dir.path().join("liblonely.so");
    rustc(file.to_str().unwrap(), &library, &["--crate-type=cdylib"]);
    let main = "TEXTPOKE_KEY_DECLARE_FALSE(LONELY); int main(void) { puts(\"ready\"); fflush(stdout);\n\
        while (getchar() == '\\n') { printf(\"%d\\n\", textpoke_unlikely(LONELY)); fflush(stdout); } }";
    let flags = ["-fPIC", library.to_str().unwrap(), &format!("-Wl,-rpath,{}", dir.path().display())];
    let Some(program) = cc(dir.path(), "elsewhere", main, &flags) else { return };
    let mut target = Target::start(&mut Command::new(program));
    let list = said(&keys(&target, &[]));
    let line = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(
        line("lonely::LONELY").contains("off        1  ") && line("lonely::LONELY").ends_with("lonely.rs:2"),
        "{list}"
    );
    assert!(line("lonely::UNUSED").contains("on         0  "), "{list}");
    assert_eq!(look(&mut target), "0");
    assert!(said(&keys(&target, &["enable", "LONELY"])).contains("off -> on"));
    assert!(said(&keys(&target, &["disable", "UNUSED"])).contains("on -> off"));
    assert_eq!(look(&mut target), "1");
    let (well, text) = target.finish();
    assert!(well, "{text}");
}
