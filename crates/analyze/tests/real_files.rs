//! What must hold for every decision on real files, checked without the code that decided.

use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};
use textpoke_analyze::{Ends, ExitKind, Function, Image, Kind, MAX_COPY, Site};

/// Files of this machine that are analysed if they are there; the test itself always is.
const FILES: [&str; 8] = [
    "/usr/bin/python3.11",
    "/bin/bash",
    "/usr/bin/sqlite3",
    "/usr/bin/git",
    "/usr/lib/x86_64-linux-gnu/libsqlite3.so.0",
    "/usr/lib/x86_64-linux-gnu/libc.so.6",
    "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
];

fn decode(bytes: &[u8], ip: u64) -> Vec<Instruction> {
    Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE).into_iter().collect()
}

fn sites(functions: &[Function]) -> Vec<Site> {
    functions.iter().flat_map(|f| f.entry.iter().copied().chain(f.exits.iter().map(|e| e.site))).collect()
}

fn branch_target(insn: &Instruction) -> Option<u64> {
    (insn.op0_kind() == OpKind::NearBranch64).then(|| insn.near_branch_target())
}

/// Every copied instruction does what the original does: the same bytes but for what depends on the place.
fn check_copy(site: &Site, bias: u64, dest: u64) {
    let copy = site.relocate(bias, dest).expect("near enough");
    assert!(copy.bytes.len() <= MAX_COPY, "{site:?}");
    let old = decode(site.code(), site.vaddr.wrapping_add(bias));
    let new = decode(&copy.bytes, dest);
    let mut offset_of_last = 0;
    for insn in &old {
        let offset = (insn.ip() - old[0].ip()) as usize;
        let at = usize::from(copy.at[offset]);
        assert!(at >= offset_of_last && at < copy.bytes.len(), "{site:?}");
        offset_of_last = at;
        let moved = new.iter().position(|n| n.ip() == dest + at as u64).expect("a copy begins there");
        assert_eq!(offset > 0, site.inner >> offset & 1 != 0);
        if insn.is_call_near() || insn.is_call_near_indirect() {
            let last = new.last().expect("a jump");
            assert!(last.is_jmp_short_or_near() || last.is_jmp_near_indirect());
            assert_eq!(branch_target(insn), branch_target(last), "{site:?}");
            let low = new[moved].immediate32to64() as u64;
            let high = if new.len() > moved + 2 { u64::from(new[moved + 1].immediate32()) } else { low >> 32 };
            assert_eq!(low & 0xffff_ffff | high << 32, insn.next_ip(), "{site:?}");
        } else if let Some(target) = branch_target(insn) {
            let reached = new[moved..].iter().take(3).filter_map(branch_target).any(|t| t == target);
            assert!(reached, "{site:?}");
        } else if insn.is_ip_rel_memory_operand() {
            assert_eq!(new[moved].ip_rel_memory_address(), insn.ip_rel_memory_address(), "{site:?}");
            assert_eq!(new[moved].code(), insn.code());
        } else {
            let bytes = &site.code()[offset..offset + insn.len()];
            assert_eq!(&copy.bytes[at..at + insn.len()], bytes, "{site:?}");
        }
    }
    let goes_on = new.last().and_then(branch_target) == Some(site.vaddr.wrapping_add(bias) + site.code().len() as u64);
    assert_eq!(goes_on, site.ends == Ends::FallsThrough || site.ends == Ends::Jump && goes_on, "{site:?}");
}

fn check(path: &Path) {
    let bytes = std::fs::read(path).expect("read");
    let image = Image::parse(&bytes).expect("an x86-64 ELF file");
    let functions = image.functions();
    let mut all = sites(&functions);
    all.sort_by_key(|s| s.vaddr);
    for pair in all.windows(2) {
        assert!(pair[0].end() <= pair[1].vaddr, "{pair:?} overlap in {}", path.display());
    }
    let inside = |target: u64| {
        let before = all.partition_point(|s| s.vaddr < target);
        before.checked_sub(1).map(|i| all[i]).filter(|s| target < s.end())
    };
    for function in &functions {
        let code = image.bytes_at(function.vaddr, function.size).expect("inside the file");
        for insn in decode(code, function.vaddr) {
            let Some(target) = branch_target(&insn) else { continue };
            if let Some(site) = inside(target) {
                panic!("{:#x} in {} branches into {site:?} of {}", insn.ip(), function.name, path.display());
            }
        }
        assert!(function.kind == Kind::Function || function.entry.is_err());
        assert!(function.exit == ExitKind::Inferred || function.blocked_exits.is_empty());
    }
    for site in &all {
        assert_eq!(image.bytes_at(site.vaddr, site.len() as u64), Some(site.bytes()));
        assert!(site.len() >= site.patched() && site.code().len() <= site.len());
        check_copy(site, 0, 0x1000_0000);
        check_copy(site, 0x7f12_3400_0000, 0x7f12_5400_0000);
    }
    report(path, &functions);
}

/// Most functions of any compiler's output can be patched; far fewer means that something broke.
fn report(path: &Path, functions: &[Function]) {
    let real: Vec<&Function> = functions.iter().filter(|f| f.kind == Kind::Function).collect();
    let entries = real.iter().filter(|f| f.entry.is_ok()).count();
    let exits = real.iter().filter(|f| f.entry.is_ok() && f.exit == ExitKind::Patched).count();
    let percent = |part: usize, whole: usize| part * 100 / whole.max(1);
    println!(
        "{}: {} functions, {} % of entries, {} % of these with all exits",
        path.display(),
        real.len(),
        percent(entries, real.len()),
        percent(exits, entries),
    );
    assert!(percent(entries, real.len()) >= 77, "{}", path.display());
    assert!(percent(exits, entries) >= 70, "{}", path.display());
}

#[test]
fn this_test() {
    check(&std::env::current_exe().expect("known"));
}

#[test]
fn programs_and_libraries() {
    for file in FILES.map(Path::new) {
        if file.exists() {
            check(file);
        } else {
            println!("{}: not here", file.display());
        }
    }
}

#[test]
fn cold_parts_are_no_functions() {
    let file = Path::new("/usr/bin/python3.11");
    if !file.exists() {
        println!("{}: not here", file.display());
        return;
    }
    let bytes = std::fs::read(file).unwrap();
    let functions = Image::parse(&bytes).unwrap().functions();
    let cold = functions.iter().filter(|f| f.kind == Kind::Cold).count();
    // A third of the unwind entries of CPython as Debian builds it.
    assert!(cold * 4 > functions.len() && cold * 2 < functions.len(), "{cold} of {}", functions.len());
}

#[test]
fn section_headers_are_not_needed() {
    let file = Path::new("/bin/bash");
    if !file.exists() {
        println!("{}: not here", file.display());
        return;
    }
    let mut bytes = std::fs::read(file).unwrap();
    let with = Image::parse(&bytes).unwrap().functions();
    bytes[40..48].fill(0);
    let without = Image::parse(&bytes).unwrap().functions();
    let entries = |functions: &[Function]| {
        functions.iter().filter_map(|f| Some((f.name.clone(), f.entry.ok()?.vaddr))).collect::<Vec<_>>()
    };
    assert_eq!(entries(&with), entries(&without));
    let exits = |functions: &[Function]| functions.iter().map(|f| f.exits.len()).sum::<usize>();
    assert_eq!(exits(&with), exits(&without));
}
