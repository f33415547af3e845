//! Litmus tests: the published suites beside the repository, and our own protocols' skeletons.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use textpoke_model::herd::{Flag, Outcome, Survey, survey};

/// The published suites: beside the repository, or where `TEXTPOKE_LITMUS` says.
fn published() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/litmus");
    let folder = std::env::var_os("TEXTPOKE_LITMUS").map_or(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no published litmus tests at {}; TEXTPOKE_LITMUS can name their folder", folder.display());
    None
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// What does not agree, by file.
fn others(survey: &Survey) -> Vec<(String, String)> {
    let rows = survey.rows.iter().filter_map(|row| {
        let what = match &row.outcome {
            Outcome::Agrees(_) | Outcome::RefusedAsExpected(_) => return None,
            Outcome::Disagrees(_, how) => how.clone(),
            Outcome::Decided(_) => "nothing is expected".into(),
            Outcome::Refused(refusal) => refusal.to_string(),
        };
        Some((name(&row.file), what))
    });
    rows.collect()
}

/// Everything of a suite agrees, except for these; each with what is said about it.
fn agrees(suite: &str, tests: usize, except: &[(&str, &str)]) {
    let Some(folder) = published() else { return };
    let survey = survey(&folder.join(suite)).unwrap();
    assert!(survey.rows.len() >= tests, "{suite} has {} tests", survey.rows.len());
    let found = others(&survey);
    let found: Vec<(&str, &str)> = found.iter().map(|(file, what)| (file.as_str(), what.as_str())).collect();
    assert_eq!(found, except);
}

#[test]
fn arms_catalogue() {
    // What it asks needs a page table: that two virtual addresses are one physical one.
    let page_table = "line 5, column 3: pte_x: page table entries are outside of the surface";
    agrees("aarch64", 158, &[("DIC0-IDC1.IDC1.coFW-pa2.litmus", page_table)]);
}

#[test]
fn herds_unit_tests() {
    agrees("aarch64-self", 17, &[]);
    let Some(folder) = published() else { return };
    let survey = survey(&folder.join("aarch64-self")).unwrap();
    let refused = |file: &str| {
        let row = survey.rows.iter().find(|row| name(&row.file) == file).unwrap();
        let Outcome::RefusedAsExpected(refusal) = &row.outcome else { panic!("{file}: {:?}", row.outcome) };
        refusal.what.clone()
    };
    assert_eq!(refused("S17.litmus"), "BR X1 jumps to the instruction \"NOP\", which is no address");
    assert_eq!(refused("S26.litmus"), "\"ADR X3,.+8\" was copied here, and makes an address that no label names");
    // The flag is raised where it is expected, and nowhere else.
    for row in &survey.rows {
        let raised = row.outcome.decision().is_some_and(|decision| decision.flags.contains(&Flag::Cmodx));
        assert_eq!(raised, row.expected.as_ref().is_some_and(|e| e.cmodx), "{}", row.file.display());
    }
}

#[test]
fn riscvs_tests_under_five_models() {
    agrees("riscv", 32, &[]);
    let Some(folder) = published() else { return };
    let verdicts: usize =
        survey(&folder.join("riscv")).unwrap().rows.iter().map(|r| r.expected.as_ref().unwrap().verdicts.len()).sum();
    assert_eq!(verdicts, 160, "five for each test");
}

/// The skeletons of our own protocols and of their wrong variants: the verdicts that the operational checker must give
/// too (`docs/herd.md` has the table).
#[test]
fn our_own_protocols() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/herd");
    let survey = survey(&folder).unwrap();
    assert_eq!(others(&survey), []);
    assert_eq!(survey.rows.len(), 20);
    for row in &survey.rows {
        let decision = row.outcome.decision().unwrap();
        let wanted = row.expected.as_ref().is_some_and(|e| e.cmodx);
        assert_eq!(decision.flags.contains(&Flag::Cmodx), wanted, "{}", row.file.display());
        let allowed = decision.states.iter().any(|state| state.holds);
        assert_eq!(decision.witness.is_some(), allowed, "{}", row.file.display());
    }
}

/// No verdict comes from a test's name: under another one, every test is decided the same.
#[test]
fn names_decide_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/herd");
    let mut seen = BTreeSet::new();
    for row in survey(&folder).unwrap().rows {
        let text = std::fs::read_to_string(&row.file).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        let renamed = format!("{} a test\n{rest}", first.split_whitespace().next().unwrap());
        let decision = textpoke_model::herd::decide(&textpoke_model::herd::parse(&renamed).unwrap()).unwrap();
        assert_eq!(decision.verdicts, row.outcome.decision().unwrap().verdicts);
        seen.insert(name(&row.file));
    }
    assert_eq!(seen.len(), 20);
}
