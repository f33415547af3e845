//! The whole table, and every step load-bearing.

use textpoke_model::{check_all, mutate};

#[test]
fn every_verdict_is_the_one_that_was_written_down() {
    let table = check_all(false, &mut |_, _| {});
    assert!(table.as_expected, "{table}");
}

#[test]
fn every_mutilated_protocol_fails_or_is_argued_for() {
    let fates = mutate(&mut |_, _| {});
    let wrong: Vec<String> = fates.iter().filter(|f| !f.as_it_should_be()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Every argument stands in the documents.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocols/README.md")).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for fate in &fates {
        if let Some(why) = fate.argued {
            assert!(page.contains(why), "docs/protocols/README.md does not argue: {why}");
        }
    }
}
