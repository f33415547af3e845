//! `docs/protocols` says what the checker says. `TEXTPOKE_BLESS=1 cargo test -p textpoke-model --test docs` writes it.

use std::path::Path;

#[test]
fn the_generated_parts_are_current() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocols");
    let mut pages: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    pages.retain(|p| p.extension().is_some_and(|e| e == "md"));
    pages.push(dir.with_file_name("protocol-files.md"));
    assert!(pages.len() >= 6);
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let current = textpoke_model::docs::regenerate(&text).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
        if std::env::var_os("TEXTPOKE_BLESS").is_some() {
            std::fs::write(&page, &current).unwrap();
        } else {
            let differs = text.lines().zip(current.lines()).position(|(a, b)| a != b);
            assert!(text == current, "{} is not current from line {differs:?} on: bless it", page.display());
        }
    }
}
