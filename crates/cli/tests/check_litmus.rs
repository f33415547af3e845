//! `check --litmus`: one test in full, folders as tables, exit codes.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{refusal, textpoke};

fn check(args: &[&str]) -> (String, i32) {
    let output = textpoke(&[&["check", "--litmus"], args].concat());
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

/// The skeletons of our own protocols.
fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/herd")
}

fn own_file(name: &str) -> String {
    own().join(name).display().to_string()
}

#[test]
fn an_allowed_test_shows_an_execution() {
    let (text, code) = check(&[&own_file("arm-word-no-isb.litmus")]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("asks   exists (1:X6=1 /\\ 1:X9=0)"), "{text}");
    assert!(text.contains("aarch64       Allowed    as expected"), "{text}");
    assert!(text.contains("P0    STR W0,[X1]  stores \"NOP\" at P1:site"), "{text}");
    assert!(text.contains("P1    LDR W6,[X5]  reads 1 at flag, stored by P0"), "{text}");
    assert!(text.contains("P1    site: B out  fetches the \"B .+8\" that stood there first"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100) && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn flags_and_models_are_shown() {
    let (text, code) = check(&[&own_file("arm-mov-to-b.litmus")]);
    assert!(code == 0 && text.contains("flag violates-CMODX-requirements"), "{text}");
    let (text, code) = check(&[&own_file("riscv-two-sites.litmus")]);
    assert!(code == 0 && text.contains("Ziccid        Forbidden  as expected"), "{text}");
    assert!(text.contains("An execution that shows it (Ziccif-only, ir-decode-w, ir-decode, ir3-fetch)"), "{text}");
    let (text, code) = check(&[&own_file("arm-word.litmus")]);
    assert!(code == 0 && text.contains("Forbidden") && !text.contains("An execution"), "{text}");
}

#[test]
fn json() {
    let (text, code) = check(&[&own_file("arm-pair.litmus"), "--json"]);
    let test: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &test["outcome"], &test["test"]), (0, &"agrees".into(), &"arm-pair".into()));
    assert_eq!(test["verdicts"][0]["model"], "aarch64");
    assert_eq!(test["verdicts"][0]["verdict"], "Allowed");
    assert_eq!(test["flags"][0], "violates-CMODX-requirements");
    assert!(test["witness"]["lines"].as_array().unwrap().iter().any(|line| line["instruction"] == "BL .+8"), "{text}");
    let (text, code) = check(&[&own().display().to_string(), "--json"]);
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, all["tests"].as_array().unwrap().len()), (0, 20));
    assert_eq!(all["agree"], true);
}

#[test]
fn a_folder_is_a_table() {
    let (text, code) = check(&[&own().display().to_string()]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("20 of 20 tests with an expected verdict agree"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let path = folder.path().display().to_string();
    let nothing = refusal(&["check", "--litmus", &path], 2);
    assert!(nothing.contains("has no files that end in .litmus"), "{nothing}");
    put("good.litmus", &fs::read_to_string(own().join("arm-word.litmus")).unwrap());
    put("bad.litmus", "AArch64 bad\n{}\nP0 ;\nLDXR W0,[X1] ;\nexists (0:X0=0)");
    put("verdicts.tsv", "file\tvariant\tverdict\ngood.litmus\tnone\tForbidden\nbad.litmus\tnone\texpected-failure\n");
    let (text, code) = check(&[&path]);
    assert_eq!(code, 0, "{text}");
    let why = "bad.litmus: line 4, column 1: the instruction LDXR is outside of the surface";
    assert!(text.contains(why) && text.contains("2 of 2 tests"), "{text}");
    // A refusal that nobody expects is no agreement, and a wrong verdict is worse.
    put("verdicts.tsv", "file\tvariant\tverdict\ngood.litmus\tnone\tForbidden\nbad.litmus\tnone\tAllowed\n");
    let (text, code) = check(&[&path]);
    assert!(code == 2 && text.contains("1 of 2 tests"), "{text}");
    put("verdicts.tsv", "file\tvariant\tverdict\ngood.litmus\tnone\tAllowed\n");
    let (text, code) = check(&[&path]);
    assert!(code == 1 && text.contains("good.litmus: aarch64: Forbidden, expected Allowed"), "{text}");
    let (text, code) = check(&[&folder.path().join("good.litmus").display().to_string()]);
    assert!(code == 1 && text.contains("expected Allowed"), "{text}");
    put("verdicts.tsv", "file\tvariant\tverdict\ngood.litmus\tnone\tPerhaps\n");
    let broken = refusal(&["check", "--litmus", &path], 2);
    assert!(broken.contains("verdicts.tsv, line 2: this verdict is not known"), "{broken}");
}

#[test]
fn what_is_not_understood_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.litmus");
    fs::write(&file, "AArch64 t\n{}\nP0 ;\n LDXR W0,[X1] ;\n").unwrap();
    let file = file.display().to_string();
    let text = refusal(&["check", "--litmus", &file], 2);
    assert!(text.contains("t.litmus: line 4, column 2: the instruction LDXR is outside of the surface"), "{text}");
    let (text, code) = check(&[&file, "--json"]);
    let test: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &test["outcome"], &test["refusal"]["line"]), (2, &"refused".into(), &4.into()));
    let missing = refusal(&["check", "--litmus", "/nowhere/t.litmus"], 2);
    assert!(missing.contains("/nowhere/t.litmus: it does not exist"), "{missing}");
    assert!(refusal(&["check", "--litmus", &file, "--cpus", "3"], 2).contains("cannot be used with"));
    assert!(refusal(&["check", "--litmus", &file, "--all"], 2).contains("cannot be used with"));
}
