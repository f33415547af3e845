//! `sites` on real files.

mod support;

use serde_json::Value;
use support::{refusal, stdout};

/// The program itself: an ELF file that is there whatever machine this is.
const SELF: &str = env!("CARGO_BIN_EXE_textpoke");

/// A small program that is on every Linux, so that not every run here analyses forty thousand functions.
const SMALL: &str = "/bin/sh";

#[test]
fn functions_of_a_file() {
    let document: Value =
        serde_json::from_str(&stdout(&["sites", SELF, "--json", "-F", "textpoke_cli::text::*"])).unwrap();
    let functions = document["files"][0]["functions"].as_array().unwrap();
    let parse = functions.iter().find(|f| f["name"] == "textpoke_cli::text::parse_time").unwrap();
    assert_eq!((&parse["way"], &parse["protocol"]), (&Value::from("displace"), &Value::from("displace")), "{parse}");
    assert!(parse["symbol"].as_str().unwrap().starts_with("_"), "mangled: {parse}");
    assert!(parse["displaced_bytes"].as_u64().unwrap() >= 5);
    assert!(!parse["exits"].as_array().unwrap().is_empty());
    let summary = &document["summary"];
    assert_eq!(summary["functions"].as_u64().unwrap(), functions.len() as u64);

    let table = stdout(&["sites", SMALL]);
    assert!(table.contains("ADDRESS") && table.contains("  displace  ") && table.contains("can be traced"), "{table}");
    let summary = stdout(&["sites", SMALL, "--summary"]);
    assert!(!summary.contains("ADDRESS") && table.ends_with(&summary), "{summary}");
}

#[test]
fn functions_of_a_process() {
    // This test's own process: its program is at an address that differs from the linked one.
    let me = std::process::id().to_string();
    let document: Value =
        serde_json::from_str(&stdout(&["sites", &me, "--json", "-F", "*functions_of_a_process*"])).unwrap();
    let exe = std::env::current_exe().unwrap();
    let files = document["files"].as_array().unwrap();
    let own = files.iter().find(|f| f["path"] == exe.to_str().unwrap()).unwrap();
    let found = own["functions"].as_array().unwrap();
    let here = functions_of_a_process as fn() as usize as u64;
    let hex = format!("{here:#x}");
    assert!(found.iter().any(|f| f["addr"] == hex.as_str()), "{hex} in {found:?}");
}

#[test]
fn what_cannot_be_analysed_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = temp.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_string()
    };
    let whole = std::fs::read(SELF).unwrap();
    assert!(refusal(&["sites", "no/such/file"], 1).contains("does not exist"));
    assert!(refusal(&["sites", temp.path().to_str().unwrap()], 1).contains("is a directory"));
    assert!(refusal(&["sites", &at("script", b"#!/bin/sh\n")], 1).contains("not an ELF file"));
    assert!(refusal(&["sites", &at("cut", &whole[..4096])], 1).contains("cut"));
    let mut elf32 = whole[..4096].to_vec();
    elf32[4] = 1;
    assert!(refusal(&["sites", &at("elf32", &elf32)], 1).contains("32-bit"));
    assert!(refusal(&["sites", "4294967295"], 1).contains("no process"));
    assert!(refusal(&["sites", SMALL, "-F", "no_such_function"], 1).contains("matches"));
    assert!(refusal(&["sites", SMALL, "-F", "[a"], 2).contains("not a glob"));
}

/// A program for another instruction set is understood on this machine, whichever it is.
#[test]
fn functions_of_a_file_for_another_machine() {
    let temp = tempfile::tempdir().unwrap();
    let expected = [
        ("aarch64-linux-gnu-gcc", "aarch64", &["word"][..], "b"),
        ("riscv64-linux-gnu-gcc", "riscv64", &["word", "park", "park_twice", "displace", "none"], "jal"),
    ];
    for (compiler, isa, sled, jump) in expected {
        let (source, program) = (temp.path().join("two.c"), temp.path().join(isa));
        std::fs::write(&source, "int plain(int x) { return x * 3 + 1; }\nint main(void) { return plain(2); }\n")
            .unwrap();
        let built = std::process::Command::new(compiler)
            .args(["-O1", "-static", "-fpatchable-function-entry=2", "-o"])
            .args([&program, &source])
            .output();
        let Ok(built) = built else {
            eprintln!("skipped: no {compiler} here (cargo xtask setup installs it)");
            continue;
        };
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let program = program.to_str().unwrap();
        let document: Value = serde_json::from_str(&stdout(&["sites", program, "--json"])).unwrap();
        let file = &document["files"][0];
        assert_eq!(file["isa"], isa);
        let plain = file["functions"].as_array().unwrap().iter().find(|f| f["name"] == "plain").unwrap();
        assert_eq!(plain["jump"], jump, "{plain}");
        assert!(sled.contains(&plain["protocol"].as_str().unwrap()), "{plain}");
        assert_eq!(plain["exit"], "patched", "{plain}");
        let summary = stdout(&["sites", program, "--summary"]);
        assert!(summary.contains("protocol: park") && summary.contains("exits: all patched"), "{summary}");
    }
}
