//! What a batch costs and refuses.

use textpoke::core::{Cause, Direction, Kind, Verdict};
use textpoke::linux::process::{self, Error};

use crate::arena::Arena;
use crate::forms::{Form, Function};
use crate::tools::{self, call, turn};

/// `n` functions with NOP and JMP, 64 bytes each.
fn functions(n: u32) -> Vec<Function> {
    let mut arena = Arena::new(u64::from(n) * 64 + 64);
    let start = arena.start() + 32;
    let functions =
        (0..n).map(|i| Function::place(&mut arena, start + 64 * u64::from(i), i, 5, Form::Nop, Form::Jmp32)).collect();
    arena.seal();
    functions
}

#[test]
fn the_number_of_synchronisations_does_not_depend_on_the_number_of_sites() {
    let _turn = turn();
    process::prepare().unwrap();
    let syncs = [1, 10_000].map(|n| {
        let functions = functions(n);
        let sites: Vec<_> = functions.iter().map(|f| f.site).collect();
        // SAFETY: generated functions that can bear both forms.
        let install = unsafe { process::apply(&sites, Kind::Breakpoint, Direction::Install) }.unwrap();
        assert!(functions.iter().all(|f| call(f.entry, 0) == f.when_new(0)));
        // SAFETY: as above.
        let remove = unsafe { process::apply(&sites, Kind::Breakpoint, Direction::Remove) }.unwrap();
        assert!(functions.iter().all(|f| call(f.entry, 0) == f.when_old(0)));
        (install.syncs, remove.syncs)
    });
    assert_eq!(syncs, [(3, 3); 2]);
}

#[test]
fn unexpected_bytes_are_found_and_nothing_is_written() {
    let _turn = turn();
    process::prepare().unwrap();
    let functions = functions(3);
    let mut sites: Vec<_> = functions.iter().map(|f| f.site).collect();
    sites[2].old[3] ^= 1;
    // SAFETY: the generated functions are not changed, because the last one is not as it should be.
    let result = unsafe { process::apply(&sites, Kind::Breakpoint, Direction::Install) };
    let Err(Error::Failed(Verdict::Undone(reason))) = result else { panic!("{result:?}") };
    assert_eq!(reason.cause, Cause::Mismatch(sites[2].addr + 3));
    assert!(functions.iter().all(|f| call(f.entry, 0) == f.when_old(0)));
}

#[test]
fn memory_that_is_no_private_text_is_refused() {
    let _turn = turn();
    process::prepare().unwrap();
    let data = [0x90u8; 16];
    let mut sites = [functions(1)[0].site; 2];
    sites[1].addr = data.as_ptr() as u64;
    sites.sort_by_key(|site| site.addr);
    // SAFETY: refused.
    let result = unsafe { process::apply(&sites, Kind::Breakpoint, Direction::Install) };
    assert!(matches!(result, Err(Error::Unfit(_))), "{result:?}");
}

/// Under `PR_SET_MDWE` no memory can become executable that was not, so no window can be opened.
#[test]
fn where_text_cannot_be_made_writable_it_is_patched_through_proc() {
    const PR_SET_MDWE: u32 = 65;
    const REFUSE_EXEC_GAIN: usize = 1;
    if !tools::is_child("mdwe") {
        let child = tools::child("batches::where_text_cannot_be_made_writable_it_is_patched_through_proc", "mdwe");
        return tools::assert_success("child", { child }.status().unwrap());
    }
    let functions = functions(100);
    let sites: Vec<_> = functions.iter().map(|f| f.site).collect();
    // SAFETY: restricts this process, which is about to end.
    if unsafe { textpoke::linux::sys::prctl(PR_SET_MDWE, [REFUSE_EXEC_GAIN, 0, 0, 0]) }.is_err() {
        return println!("this kernel has no PR_SET_MDWE (Linux 6.3)");
    }
    process::prepare().unwrap();
    for (kind, works) in [(Kind::Breakpoint, true), (Kind::Word, false)] {
        // SAFETY: generated functions that can bear both forms.
        let result = unsafe { process::apply(&sites, kind, Direction::Install) };
        assert_eq!(result.is_ok(), works, "{result:?}");
        assert!(functions.iter().all(|f| call(f.entry, 0) == if works { f.when_new(0) } else { f.when_old(0) }));
        if works {
            // SAFETY: as above.
            unsafe { process::apply(&sites, kind, Direction::Remove) }.unwrap();
        }
    }
}
