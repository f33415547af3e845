//! A probe changes nothing that the program can see.

#![allow(unsafe_code, reason = "code made at run time, called with registers that no compiler would choose")]

#[path = "rig/context.rs"]
mod context;
mod rig;

use std::arch::naked_asm;

use context::Context;
use rig::{Rig, call, set_gs_base};
use textpoke_attach::trampoline::Kind;
use textpoke_trace::Record;
use textpoke_trace::ring::{Holes, Reader};

/// CF, PF, AF, ZF, SF, OF and DF, in all combinations.
fn flag_combinations() -> impl Iterator<Item = u64> {
    const BITS: [u32; 7] = [0, 2, 4, 6, 7, 10, 11];
    (0..1u64 << BITS.len()).map(|n| BITS.iter().enumerate().map(|(i, bit)| (n >> i & 1) << bit).sum())
}

#[test]
fn every_register_and_flag_survives_on_every_path() {
    let mut rig = Rig::new(1, 4096);
    let mut reader = Reader::default();
    for (site, kind) in [(1, Kind::Entry), (2, Kind::Exit)] {
        let probe = rig.probe(site, kind);
        let data = [0u64; 8];
        for (seed, flags) in flag_combinations().enumerate() {
            let before = Context::filled(seed as u64).with_flags(flags);
            let check = |path: &str| {
                let after = before.call(probe, false);
                assert_eq!(after.difference(&before), None, "{kind:?}, {path}, flags {flags:#x}");
                after.general[4]
            };
            set_gs_base(data.as_ptr() as u64);
            check("the program's own GS base");
            rig.shared.switch_probes_off();
            set_gs_base(0);
            check("switched off");
            rig.shared.switch_probes_on();
            check("first call of a thread");
            let sp = check("fast path");
            let records = rig.drain(&mut reader, 0, Holes::Wait);
            assert_eq!(records.len(), 2);
            assert_eq!(records[1], Record::new(records[1].tsc, sp, site));
            for _ in 0..256 {
                call(probe);
            }
            check("ring full");
            rig.drain(&mut reader, 0, Holes::Wait);
            set_gs_base(0);
            check("no free ring");
            rig.shared.free_ring(0);
        }
    }
    assert_eq!(reader.lost(), 2 * 128);
}

/// The 128 bytes below the stack pointer belong to a leaf function until it has returned.
#[test]
fn an_exit_leaves_the_red_zone_alone() {
    #[unsafe(naked)]
    extern "C" fn leaf(_trampoline: u64, _zone: &mut [u64; 16]) {
        naked_asm!(
            "lea rax, [rip + 3f]",
            "push rax",
            "mov rcx, -128",
            "2: mov [rsp + rcx], rcx",
            "add rcx, 8",
            "jnz 2b",
            "jmp rdi",
            // The trampoline's copy is a RET, so that the zone now begins 8 bytes further down.
            "3: mov rcx, -128",
            "4: mov rax, [rsp + rcx - 8]",
            "mov [rsi + rcx + 128], rax",
            "add rcx, 8",
            "jnz 4b",
            "ret",
        )
    }
    let mut rig = Rig::new(4, 4096);
    let exit = rig.probe(0, Kind::Exit);
    set_gs_base(0);
    let want: [u64; 16] = std::array::from_fn(|i| (-128 + 8 * i as i64) as u64);
    // The first call claims a ring, which takes the most stack.
    for _ in 0..100 {
        let mut zone = [0; 16];
        leaf(exit, &mut zone);
        // The deepest word is outside the zone at the moment it is read, so that a signal may have changed it.
        assert_eq!(zone[1..], want[1..]);
    }
}

/// Whoever looks for threads in trampolines looks for return addresses on stacks: none may stay behind.
#[test]
fn no_return_address_stays_behind_on_the_dead_stack() {
    #[unsafe(naked)]
    extern "C" fn dig(_probe: u64, _found: &mut [u64; 64]) {
        naked_asm!(
            "mov rcx, -512",
            "2: mov qword ptr [rsp + rcx], 0",
            "add rcx, 8",
            "jnz 2b",
            // In a register that the probe does not save.
            "mov r9, rdi",
            "xor edi, edi",
            "call r9",
            "mov rcx, -512",
            "3: mov rax, [rsp + rcx]",
            "mov [rsi + rcx + 512], rax",
            "add rcx, 8",
            "jnz 3b",
            "ret",
        )
    }
    let mut rig = Rig::new(4, 4096);
    let area = rig.text()..rig.text() + rig.regions.text[0].len;
    for kind in [Kind::Entry, Kind::Exit] {
        let probe = rig.probe(0, kind);
        set_gs_base(0);
        for _ in 0..20 {
            let mut found = [0; 64];
            dig(probe, &mut found);
            let stale: Vec<u64> = found.into_iter().filter(|word| area.contains(word)).collect();
            assert_eq!(stale, [], "{kind:?}");
        }
    }
}
