//! Reading the tables of processes that mean harm.

use proptest::prelude::*;
use textpoke_attach::keys::Tables;
use textpoke_attach::proc::Mapping;
use textpoke_keys::find::Memory;

/// Where the object is mapped.
const BASE: u64 = 0x5555_0000_0000;
const PAGE: usize = 4096;

/// One object: a page of headers, note and names; of code; of tables and keys.
struct Image(Vec<u8>);

impl Memory for Image {
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> bool {
        let from = addr.checked_sub(BASE).and_then(|at| self.0.get(usize::try_from(at).ok()?..)?.get(..buf.len()));
        from.is_some_and(|bytes| {
            buf.copy_from_slice(bytes);
            true
        })
    }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}

/// A sound object with a branch, a number, and three sites.
fn image() -> Vec<u8> {
    let mut b = vec![0; 3 * PAGE];
    put(&mut b, 0, b"\x7fELF\x02\x01\x01");
    put(&mut b, 32, &64u64.to_le_bytes());
    put(&mut b, 54, &56u16.to_le_bytes());
    put(&mut b, 56, &4u16.to_le_bytes());
    let header = |b: &mut [u8], i: usize, kind: u32, flags: u32, start: usize, size: usize| {
        let at = 64 + i * 56;
        put(b, at, &kind.to_le_bytes());
        put(b, at + 4, &flags.to_le_bytes());
        put(b, at + 8, &(start as u64).to_le_bytes());
        put(b, at + 16, &(start as u64).to_le_bytes());
        put(b, at + 40, &(size as u64).to_le_bytes());
    };
    header(&mut b, 0, 1, 4, 0, PAGE);
    header(&mut b, 1, 1, 5, PAGE, PAGE);
    header(&mut b, 2, 1, 6, 2 * PAGE, PAGE);
    header(&mut b, 3, 4, 4, 0x200, 52);
    let (note, sites, keys, slots) = (0x200usize, 2 * PAGE + 0x100, 2 * PAGE + 0x200, 2 * PAGE + 0x80);
    let relative = |at: usize, to: usize| (to as i32 - at as i32).to_le_bytes();
    for (i, word) in [9u32, 28, 1].into_iter().enumerate() {
        put(&mut b, note + 4 * i, &word.to_le_bytes());
    }
    put(&mut b, note + 12, b"textpoke\0");
    let desc = note + 24;
    put(&mut b, desc, &1u32.to_le_bytes());
    put(&mut b, desc + 4, &[16, 0, 64, 0]);
    for (i, to) in [sites, sites + 48, keys, keys + 128, 2 * PAGE].into_iter().enumerate() {
        put(&mut b, desc + 8 + 4 * i, &relative(desc + 8 + 4 * i, to));
    }
    for (i, (kind, len, key)) in [(0x80u8, 8u8, 0usize), (0, 5, 0), (2, 5, 1)].into_iter().enumerate() {
        let at = sites + 16 * i;
        put(&mut b, at, &relative(at, PAGE + 16 * i));
        put(&mut b, at + 4, &relative(at + 4, PAGE + 256));
        put(&mut b, at + 8, &relative(at + 8, slots + 8 * key));
        put(&mut b, at + 12, &[kind, len, 0, 0]);
    }
    put(&mut b, 0x400, b"demo::ONE\x1b[2Jdemo.rs");
    for (i, (kind, width)) in [(0u8, 1u8), (2, 4)].into_iter().enumerate() {
        let at = keys + 64 * i;
        put(&mut b, slots + 8 * i, &(BASE + at as u64).to_le_bytes());
        put(&mut b, at, &[kind, width]);
        put(&mut b, at + 24, &(BASE + 0x400).to_le_bytes());
        put(&mut b, at + 32, &(BASE + 0x40d).to_le_bytes());
        put(&mut b, at + 40, &[13, 0, 0, 0, 7, 0, 0, 0, 42, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    }
    b
}

fn maps() -> Vec<Mapping> {
    let map = |page: u64, prot| Mapping {
        start: BASE + page * PAGE as u64,
        end: BASE + (page + 1) * PAGE as u64,
        prot,
        shared: false,
        offset: page * PAGE as u64,
        inode: 7,
        path: "/bin/demo".into(),
    };
    let (r, w, x) = (libc::PROT_READ, libc::PROT_WRITE, libc::PROT_EXEC);
    vec![map(0, r), map(1, r | x), map(2, r | w)]
}

fn read(bytes: Vec<u8>) -> Tables {
    Tables::read(&mut Image(bytes), &maps())
}

/// What must hold of everything that is believed.
fn check(tables: &Tables) {
    for key in &tables.keys {
        assert!(key.name.len() <= 64 << 10 && !key.name.contains(char::is_control), "{:?}", key.name);
        assert!(!key.file.contains(char::is_control));
        for site in &key.sites {
            let code = BASE + PAGE as u64..=BASE + 2 * PAGE as u64;
            assert!(code.contains(&site.code) && code.contains(&(site.code + u64::from(site.len))));
            assert_eq!(site.kind, key.kind);
        }
    }
    assert!(tables.faults.iter().all(|fault| !fault.contains(char::is_control)));
}

#[test]
fn a_sound_object_is_read_and_its_names_are_made_safe() {
    let tables = read(image());
    check(&tables);
    assert_eq!(tables.faults, [] as [String; 0]);
    assert_eq!(tables.keys.iter().map(|key| key.sites.len()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!((tables.keys[0].name.as_str(), tables.keys[0].file.as_str()), ("demo::ONE\\u{1b}[2J", "demo.rs"));
    assert_eq!((tables.keys[0].line, tables.keys[0].index), (42, None));
}

#[test]
fn a_file_that_is_only_read_is_no_loaded_object() {
    let mut maps = maps();
    maps.iter_mut().for_each(|map| map.prot = libc::PROT_READ);
    assert_eq!(Tables::read(&mut Image(image()), &maps), Tables::default());
}

#[test]
fn tables_that_lead_elsewhere_are_left_out_and_told() {
    let note = 0x200 + 24;
    for (at, why) in [(note + 12, "sites is damaged"), (note + 20, "keys is damaged"), (note + 24, "note is damaged")] {
        let mut bytes = image();
        put(&mut bytes, at, &0x7fff_ff00u32.to_le_bytes());
        let tables = read(bytes);
        assert!(tables.keys.is_empty() && tables.faults.len() == 1 && tables.faults[0].contains(why), "{tables:?}");
    }
    // A key whose name is not there yet.
    let mut bytes = image();
    put(&mut bytes, 2 * PAGE + 0x200 + 24, &0x10u64.to_le_bytes());
    let tables = read(bytes);
    assert_eq!((tables.keys.len(), tables.faults.len()), (1, 2), "{tables:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_that_a_process_holds_misleads_or_crashes_the_reader(
        changes in prop::collection::vec((0usize..3 * PAGE, any::<u8>()), 1..8),
        aimed in prop::collection::vec((prop_oneof![64usize..288, 0x200usize..0x240, 0x2080usize..0x2280], any::<u32>()), 0..4),
        cut in prop_oneof![Just(3 * PAGE), 0usize..3 * PAGE],
    ) {
        let mut bytes = image();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        for (at, word) in aimed {
            put(&mut bytes, at, &word.to_le_bytes());
        }
        bytes.truncate(cut);
        check(&read(bytes));
    }
}
