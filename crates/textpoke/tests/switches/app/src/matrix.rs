//! {true, false} × {likely, unlikely} × {this crate, another crate}, inlined, generic and in arrays; calls and numbers.

use other::{OTHER_MANY, OTHER_OFF, OTHER_ON};
use textpoke::keys::{Changes, KeyError, Misuse};
use textpoke::{call, read_imm, static_branch_likely, static_branch_unlikely, static_call, static_imm, static_key};

static_key! {
    static OFF: bool = false;
    static ON: bool = true;
    static MANY: [bool; 3] = true;
}

#[inline(never)]
fn here() -> [bool; 4] {
    [static_branch_likely!(OFF), static_branch_unlikely!(OFF), static_branch_likely!(ON), static_branch_unlikely!(ON)]
}

/// Another crate's keys in this crate's branches.
#[inline(never)]
fn foreign() -> [bool; 4] {
    [
        static_branch_likely!(OTHER_OFF),
        static_branch_unlikely!(other::OTHER_OFF),
        static_branch_likely!(OTHER_ON),
        static_branch_unlikely!(OTHER_ON),
    ]
}

/// The jump is too far for its short form.
#[inline(never)]
fn far(n: u64) -> u64 {
    let mut n = n;
    if static_branch_unlikely!(OFF) {
        n += 1000;
    }
    macro_rules! grow { ($($i:literal)*) => { $(n = std::hint::black_box(n ^ $i);)* } }
    grow!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
    grow!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32);
    if static_branch_likely!(OFF) {
        n += 1000;
    }
    n
}

/// Everything acts on what the keys are.
fn check(off: bool, on: bool) {
    let want = [off, off, on, on];
    assert_eq!(here(), want);
    assert_eq!(foreign(), want);
    assert_eq!(other::seen(), want);
    assert_eq!(other::seen_inlined(), want);
    assert_eq!(other::seen_for::<u8>(), want);
    assert_eq!(other::seen_for::<u32>(), want);
    assert_eq!(far(0), if off { far_of(1000) + 1000 } else { far_of(0) });
    assert_eq!([OFF.is_enabled(), ON.is_enabled(), OTHER_OFF.is_enabled(), OTHER_ON.is_enabled()], [off, on, off, on]);
}

/// The same numbers twice take each other back.
fn far_of(n: u64) -> u64 {
    n
}

fn set(off: bool, on: bool) {
    OFF.set(off).unwrap();
    ON.set(on).unwrap();
    OTHER_OFF.set(off).unwrap();
    OTHER_ON.set(on).unwrap();
}

pub fn run() {
    check(false, true);
    // Inverted, back, and each alone; twice each, since setting what is set is nothing.
    for (off, on) in [(true, false), (false, true), (true, true), (true, true), (false, false), (false, true)] {
        set(off, on);
        check(off, on);
    }
    counts();
    arrays();
    batches();
    calls();
    numbers();
    listed();
}

fn counts() {
    OFF.inc().unwrap();
    OFF.inc().unwrap();
    assert!(OFF.count() == 2 && here()[0]);
    assert_eq!(OFF.disable(), Err(KeyError::Misuse(Misuse::Counted(2))));
    OFF.dec().unwrap();
    assert!(here()[1], "one is left");
    OFF.dec().unwrap();
    assert!(!here()[0] && !here()[1] && OFF.count() == 0);
    assert_eq!(OFF.dec(), Err(KeyError::Misuse(Misuse::NotCounted)));
    ON.inc().unwrap();
    ON.dec().unwrap();
    assert!(here()[2], "on from the start counts as one");
}

fn arrays() {
    let seen = || [static_branch_unlikely!(MANY[0]), static_branch_likely!(MANY[1]), static_branch_unlikely!(MANY[2])];
    let others = || [static_branch_likely!(OTHER_MANY[0]), static_branch_unlikely!(other::OTHER_MANY[3])];
    for i in 0..3 {
        MANY[i].disable().unwrap();
        assert_eq!(seen(), std::array::from_fn(|n| n != i));
        MANY[i].enable().unwrap();
    }
    OTHER_MANY[3].enable().unwrap();
    assert_eq!(others(), [false, true]);
}

fn batches() {
    Changes::new().enable(&OFF).disable(&ON).enable(&OTHER_OFF).disable(&OTHER_ON).apply().unwrap();
    check(true, false);
    // One of them cannot be: none is.
    let failed = Changes::new().disable(&OFF).enable(&ON).dec(&OTHER_ON).apply();
    assert_eq!(failed, Err(KeyError::Misuse(Misuse::NotCounted)));
    check(true, false);
    // In order, where one is named twice.
    Changes::new().inc(&OFF).dec(&OFF).dec(&OFF).enable(&ON).disable(&OTHER_OFF).enable(&OTHER_ON).apply().unwrap();
    check(false, true);
}

extern "C" fn add(a: u32, b: u64) -> u64 {
    u64::from(a) + b
}
extern "C" fn multiply(a: u32, b: u64) -> u64 {
    u64::from(a) * b
}
extern "C" fn six(a: u8, b: i16, c: u32, d: i64, e: bool, f: *const u8) -> i64 {
    i64::from(a) + i64::from(b) + i64::from(c) + d + i64::from(e) + f.addr() as i64
}
extern "C" fn note(to: *mut u32) {
    // SAFETY: the caller's variable.
    unsafe { *to += 1 };
}

static_call! {
    static OPERATION: extern "C" fn(u32, u64) -> u64 = add;
    static NOTHING: extern "C" fn(*mut u32) = None;
    static SIX: extern "C" fn(u8, i16, u32, i64, bool, *const u8) -> i64 = six;
}

fn calls() {
    let operation = || call!(OPERATION(6, 7));
    let twice = || call!(OPERATION(1, call!(OPERATION(2, 3))));
    assert_eq!((operation(), twice()), (13, 6));
    OPERATION.set(Some(multiply)).unwrap();
    assert_eq!((operation(), twice()), (42, 6));
    OPERATION.set(None).unwrap();
    assert_eq!((operation(), twice()), (0, 0));
    OPERATION.set(Some(add)).unwrap();
    assert_eq!(operation(), 13);
    let mut noted = 0;
    let mut nothing = || {
        call!(NOTHING(&raw mut noted));
        noted
    };
    assert_eq!(nothing(), 0);
    NOTHING.set(Some(note)).unwrap();
    assert_eq!(nothing(), 1);
    NOTHING.set(None).unwrap();
    assert_eq!(nothing(), 1);
    assert_eq!(call!(SIX(1, -2, 3, -4, true, std::ptr::without_provenance(5))), 4);
}

static_imm! {
    static BYTE: u8 = 200;
    static SIGNED: i16 = -3;
    static WORD: u32 = 0x8000_0001;
    static WIDE: u64 = 0x1234_5678_9abc_def0;
    static NEGATIVE: i64 = i64::MIN;
}

fn numbers() {
    // Nothing but AMD's manual says that eight bytes may change at once.
    // SAFETY: no other thread runs.
    unsafe { textpoke::keys::assume_word_stores() };
    let all = || (read_imm!(BYTE), read_imm!(SIGNED), read_imm!(WORD), read_imm!(WIDE), read_imm!(NEGATIVE));
    assert_eq!(all(), (200, -3, 0x8000_0001, 0x1234_5678_9abc_def0, i64::MIN));
    BYTE.set(7).unwrap();
    SIGNED.set(i16::MAX).unwrap();
    Changes::new().imm(&WORD, 5).imm(&WIDE, u64::MAX).imm(&NEGATIVE, -1).apply().unwrap();
    assert_eq!(all(), (7, i16::MAX, 5, u64::MAX, -1));
    assert_eq!((BYTE.get(), NEGATIVE.get()), (7, -1));
}

fn listed() {
    let all = textpoke::keys::all().unwrap();
    let key = |name: &str| all.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{name} in {all:#?}"));
    let off = key("app::matrix::OFF");
    assert!(off.file.ends_with("matrix.rs") && off.line > 0 && off.sites.len() >= 4 && off.value == 0, "{off:?}");
    assert!(key("other::OTHER_ON").value == 1 && key("other::OTHER_MANY[3]").count == 1);
    assert!(key("app::matrix::OPERATION").sites.len() >= 3);
    assert_eq!(key("app::matrix::WIDE").value, u64::MAX);
    assert!(all.iter().all(|key| !key.name.contains("UNUSED")));
}
