//! Mistakes in protocol files are told where they stand, whatever the file is.

use proptest::prelude::*;
use textpoke_model::file::{Error, File, parse, print};
use textpoke_model::{Check, Options, checks, explore::Limits};

const HEAD: &str = "protocol p\nisa x86-64\n";
const SITE: &str = "site A at 0x1005\n old 0f 1f 44 00 00\n new e8 e7 57 07 01\n";
const BATCH: &str = "batch old -> new\n open\n store whole\n close\n";

fn error(text: &str) -> Error {
    match parse(text.as_bytes()) {
        Err(e) => e,
        Ok(_) => panic!("this is no mistake:\n{text}"),
    }
}

/// The mistake in `text` stands where `<` and `>` enclose something there, and says all of `words`.
#[track_caller]
fn told(text: &str, words: &[&str]) {
    let (line, marked) = text.lines().enumerate().find(|(_, l)| l.contains('<')).expect("a marked place");
    let column = marked.chars().position(|c| c == '<').unwrap();
    let width = marked.replace("->", "__").chars().position(|c| c == '>').unwrap() - column - 1;
    let text: String = text.replace("->", "\u{1}").replace(['<', '>'], "").replace('\u{1}', "->");
    let e = error(&text);
    assert_eq!(
        (e.at.line, e.at.column, e.at.width),
        (line + 1, column + 1, width.max(1)),
        "{}",
        e.render("f", text.as_bytes())
    );
    for word in words {
        assert!(e.message.contains(word), "{e} says nothing of {word}");
    }
}

fn with_batch(sites: &str) -> String {
    format!("{HEAD}{sites}{BATCH}")
}

fn with_site(rest: &str) -> String {
    format!("{HEAD}{SITE}{rest}")
}

#[test]
fn a_small_file_is_enough() {
    let file = parse(format!("{HEAD}{SITE}{BATCH}").as_bytes()).unwrap();
    assert_eq!((file.cpus, file.profiles.len(), file.name.as_str()), (2, 2, "p"));
    let crlf = format!("{HEAD}{SITE}{BATCH}").replace('\n', "\r\n");
    assert_eq!(parse(crlf.as_bytes()).unwrap(), file);
}

#[test]
fn an_error_shows_its_line() {
    let text = "protocol p\nisa x86-65  # which?\n";
    let shown = error(text).render("x.tp", text.as_bytes());
    let expected = "x.tp:2:5: unknown instruction set \"x86-65\"; did you mean \"x86-64\"? \
                    known are: x86-64, aarch64, riscv64\n 2 | isa x86-65  # which?\n   |     ^^^^^^";
    assert_eq!(shown, expected);
}

#[test]
fn words_that_nobody_knows() {
    told("<hello>", &["protocol NAME"]);
    told("<>", &["protocol NAME"]);
    told("protocol p\n<iso> x86-64", &["did you mean \"isa\"", "batch", "handler"]);
    told("protocol p\nisa x86-64\nprofile <arm64>", &["not a profile of x86-64", "intel, amd"]);
    told("protocol p\nprofile <intel>\nisa aarch64\n", &["not a profile of aarch64"]);
    told(&with_site("batch old -> new\n open\n <snyc> cores\n"), &["unknown word", "did you mean \"sync\""]);
    told(&with_site("batch old -> new\n <sync corse>\n"), &["did you mean \"sync cores\""]);
    told(&with_site("batch old -> new\n <store everything>\n"), &["store whole", "store trap"]);
    told(&with_site("batch old -> new\n store whole by <3>\n"), &["1, 2, 4 or 8"]);
    told(&with_site("batch old -> new\n open <by 8>\n"), &["only a store"]);
    told(&with_site("<handler flees>\n"), &["handler stays", "handler leaves"]);
    told(
        &with_site("<assume 4 bytes at once>\n"),
        &["did you mean \"assume 2 bytes at once\"", "assume 8 bytes at once"],
    );
    told(&with_site("sometimes <new-run>\n"), &["did you mean \"new-ran\""]);
    told(&with_site("expect unsafe <broken>\n"), &["torn", "deadlock"]);
    told(&with_site("<expect>\n"), &["expect safe"]);
    told("protocol p\nisa x86-64\ncpus <6>", &["2 to 5"]);
    told("protocol p\nisa x86-64\ncpus 3\n<cpus> 3", &["in line 3"]);
    told("protocol p\nhandler leaves\n<handler stays>\n", &["in line 2", "handler leaves"]);
    told("protocol p\nisa x86-64\n<open>\n", &["behind a line like `batch old -> new`"]);
    told("protocol p\nisa x86-64\n<old> 90\n", &["site A at"]);
    told("protocol p\n<site A at 0x1000>\n", &["isa x86-64"]);
}

#[test]
fn sites_that_make_no_sense() {
    told(&with_batch("site <B at> 0x1000\n"), &["site A at 0x1005"]);
    told(&with_batch("site A at <4096>\n"), &["0x1005"]);
    told(&with_batch("site A at 0x1000\n old 90\n new <90 90>\n"), &["1 bytes", "2", "same length"]);
    told(&with_batch("site A at 0x1000\n old 90 90 90 90 90 90 90 90 <90>\n"), &["at most 8 bytes"]);
    told(&with_batch("site A at 0x1000\n old 90 <9>\n"), &["\"9\"", "0f 1f"]);
    told(&with_batch("site A at 0x1000\n old 90 <0x90>\n"), &["without 0x"]);
    told(&with_batch("site A at 0x1000\n old 90 <|> 90\n"), &["commas"]);
    told(&with_batch("site A at 0x1000\n old 90,<,> 90\n"), &["missing"]);
    told(&with_batch("site A at 0x1000\n old 90 90 <,>\n"), &["missing"]);
    told(&with_batch("site A at 0x1000\n old< >\n"), &["bytes are missing"]);
    told(&with_batch("<site A at 0x1000>\n old 90\n"), &["no `new`"]);
    told(&with_batch("site A at 0x1000\n <new> 90\n"), &["`old` comes before"]);
    told(&with_batch("site A at 0x1000\n old 90\n new <call 90>\n"), &["`old`"]);
    told(&with_batch("site A at 0x1000\n old 90, 90\n told old <90 91>\n"), &["other bytes"]);
    told(&with_batch(&format!("{SITE} copy at 0x9000 offsets <0 1>\n")), &["1 offset"]);
    told(&with_batch(&format!("{SITE} <copy at 0x1007>\n")), &["inside the site"]);
    told(&with_batch(&format!("{SITE} <copy>\n")), &["copy at 0x9000"]);
    let second = |at: &str| format!("{SITE}site B at <{at}>\n old 90\n new 91\n");
    told(&with_batch(&second("0x1009")), &["overlaps", "0x1005"]);
    told(&with_batch(&second("0x1000")), &["ascend"]);
    let then = format!("{SITE} then e8 e7 57 07 02\n<site B at 0x1010>\n old 90\n new 91\n");
    told(&with_batch(&then), &["no `then` form, and others have"]);
    let eight = |name, at| format!("site {name} at {at}\n old 01 02 03 04 05 06 07 08\n new 09 02 03 04 05 06 07 08\n");
    let two = eight("A", "0x1000") + &eight("B", "0x1010");
    let three = format!("{two}<site C at 0x1020>\n old 01\n new 02\n");
    told(&with_batch(&three), &["17 bytes", "16"]);
    told(&with_batch("site A at 0x1000\n old 01 02 03\n new 02 04 06\n then <03 05 07>\n"), &["four values"]);
    let arm = "protocol p\nisa aarch64\n";
    told(&format!("{arm}site A at <0x1002>\n"), &["multiples of 4"]);
    told(&format!("{arm}site A at 0x1000\n old <1f 20>\n"), &["multiple of 4"]);
}

#[test]
fn batches_that_make_no_sense() {
    told(&with_site("batch <older> -> new\n"), &["old -> new"]);
    told(&with_site("<batch new -> then>\n open\n close\n"), &["no `then` form"]);
    told(&with_site("<batch old -> new>\n"), &["no steps"]);
    told(&with_site(&format!("{BATCH}<batch old -> new as above>\n")), &["leaves `new`"]);
    told(&with_site(&format!("{BATCH}batch new -> old as above\n <open>\n")), &["another part"]);
    told(&with_site(&format!("{BATCH}batch new -> old as above\n<back>\n")), &["way back included"]);
    told(&with_site("batch old -> new <as above>\n open\n"), &["no batch above"]);
    told(&with_site(&format!("{BATCH}<retreat>\n")), &["no steps"]);
    told(&with_site("<back> as forth\n"), &["say `batch old -> new` first"]);
    told(&with_site("failures 1\n<batch old -> new>\n open\n store whole\n close\n"), &["line 6", "back as forth"]);
    let removal = "batch new -> old\n open\n store whole\n close\nback as forth\n";
    told(&with_site(&format!("<killed then restored>\n{removal}")), &["say `repair`"]);
    told(&with_site(&format!("{BATCH}<repair>\n open\n")), &["killed then restored"]);
    told(&with_site(&format!("<everybody parked>\n{BATCH}")), &["nmis on every CPU"]);
    let undone = format!("failures 1\nundone batch given up\n{BATCH}back as forth\n");
    assert!(parse(with_site(&format!("{undone}batch old -> new as above\n")).as_bytes()).is_ok());
    told(&with_site(&format!("{undone}<batch new -> old as above>\n")), &["leaves `old`"]);
    told(
        &with_site(&format!("{undone}batch old -> new as above\n<batch old -> new as above>\n")),
        &["line 7", "one batch follows"],
    );
    told(&with_site(&format!("nmis on every CPU\n<nmi reads early>\n{BATCH}")), &["aarch64 and riscv64"]);
    told(&with_site(&format!("nmis none\n<nmi entry visit>\n{BATCH}")), &["line 6"]);
    told(&with_site(&format!("<fetch ahead 1>\n{BATCH}")).replace("isa x86-64", "profile intel"), &["amd"]);
    told(&with_site(&format!("{BATCH}<expect amd safe>\n")).replace("isa x86-64", "profile intel"), &["not about amd"]);
    told(&with_site(&format!("{BATCH}expect safe\n<expect safe>\n")), &["line 10"]);
}

#[test]
fn stores_that_cannot_be_made() {
    let short = "protocol p\nisa riscv64\nsite A at 0x1002\n old 0x0001\n new 0xa801\nbatch old -> new\n open\n";
    told(&format!("{short} <store trap>\n"), &["4 bytes", "site A has 2"]);
    let halves =
        "protocol p\nisa riscv64\nsite A at 0x1002\n old 0x00000013\n new 0x0480006f\nbatch old -> new\n open\n";
    told(&format!("{halves} <store head trap>\n"), &["not modelled"]);
    told(&format!("{halves} <store hop by 2>\n"), &["no short jump"]);
    let four = "protocol p\nisa riscv64\nstores in any order\nsite A at 0x1002\n old 0x00000013 0x0001\n new 0x0480006f 0x0002\n\
                site B at 0x1012\n old 0x00000013 0x0001\n new 0x0480006f 0x0002\nsite C at 0x1022\n old 0x00000013 0x0001\n \
                new 0x0480006f 0x0002\nbatch old -> new\n open\n <store whole>\n close\n";
    told(four, &["pieces", "16"]);
    let third = "batch old -> new\n open\n record\n close\nbatch new -> old as above\nbatch old -> new as above\n";
    assert!(parse(with_site(third).as_bytes()).is_ok(), "the same record twice is one record");
}

/// Bytes that are almost files.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let texts: Vec<String> = checks()
        .flat_map(|c: &Check| c.isas.iter().map(move |isa| print(&File::of(c, &Options::new(isa.profiles()[0])))))
        .collect();
    let words: Vec<String> = texts.iter().flat_map(|t| t.split_inclusive([' ', '\n']).map(String::from)).collect();
    let cut =
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::option::of(prop::sample::select(words)));
    (prop::sample::select(texts), prop::collection::vec(cut, 1..4)).prop_map(|(text, cuts)| {
        let mut words: Vec<String> = text.split_inclusive([' ', '\n']).map(String::from).collect();
        for (at, to, with) in cuts {
            let at = at.index(words.len());
            match with {
                Some(word) if to.index(2) == 0 => words.insert(at, word),
                Some(word) => words[at] = word,
                None => drop(words.remove(at)),
            }
        }
        words.concat().into_bytes()
    })
}

/// Reading ends, an error is inside of the file, and what can be read can be printed and explored.
fn sane(bytes: &[u8]) {
    let file = match parse(bytes) {
        Ok(file) => file,
        Err(e) => {
            let lines: Vec<_> = bytes.split(|&b| b == b'\n').collect();
            let line = lines.get(e.at.line - 1).unwrap_or_else(|| panic!("{e}: no such line"));
            let chars = String::from_utf8_lossy(line).chars().count();
            assert!(e.at.column >= 1 && e.at.column <= chars + 1, "{e}: no such column");
            assert!(e.at.column + e.at.width <= chars + 2, "{e}: not so wide");
            assert!(!e.message.is_empty() && e.render("f", bytes).starts_with("f:"));
            return;
        }
    };
    let text = print(&file);
    assert_eq!(parse(text.as_bytes()).as_ref(), Ok(&file), "{text}");
    for &profile in &file.profiles {
        let options = Options { limits: Limits { memory: 1 << 20, ..Limits::default() }, ..Options::new(profile) };
        let report = file.run(profile, &options, &mut |_, _| {});
        assert_ne!(report.verdict, textpoke_model::Verdict::TooBig, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_of_any_kind_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        sane(&bytes);
        sane(&[b"protocol p\nisa x86-64\n", &bytes[..]].concat());
    }

    #[test]
    fn lines_of_any_text_are_answered(text in "(protocol|site A at|old|new|batch|# )?[ -~\n\té∀]{0,60}") {
        sane(text.as_bytes());
        sane(format!("{HEAD}{SITE}{text}").as_bytes());
    }

    #[test]
    fn damaged_files_are_answered(bytes in damaged()) {
        sane(&bytes);
    }
}
