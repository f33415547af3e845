//! Each axiom by small tests: what it forbids, and that the neighbour without it is allowed.

use textpoke_model::herd::{Flag, Verdict, decide, parse};

/// A test from columns of `a / b / c`.
fn program(arch: &str, header: &str, init: &str, columns: &[(&str, &str)], condition: &str) -> String {
    let cells: Vec<Vec<&str>> = columns.iter().map(|(_, code)| code.split('/').map(str::trim).collect()).collect();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut text = format!("{arch} t\n{header}\n{{ {init} }}\n{} ;\n", names.join("|"));
    for row in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
        let row: Vec<&str> = cells.iter().map(|column| column.get(row).copied().unwrap_or("")).collect();
        text += &format!("{} ;\n", row.join("|"));
    }
    text + condition
}

fn arm(header: &str, init: &str, columns: &[(&str, &str)], condition: &str) -> Verdict {
    let text = program("AArch64", header, init, columns, condition);
    decide(&parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))).unwrap().verdicts[0].1
}

/// One letter for each model, `A` or `F`.
fn riscv(init: &str, columns: &[(&str, &str)], condition: &str) -> String {
    let text = program("RISCV", "", init, columns, condition);
    let decision = decide(&parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))).unwrap();
    decision.verdicts.iter().map(|(_, verdict)| if *verdict == Verdict::Allowed { 'A' } else { 'F' }).collect()
}

const ALLOWED: Verdict = Verdict::Allowed;
const FORBIDDEN: Verdict = Verdict::Forbidden;

/// Two processes over x, z and y, which X1, X2 and X3 point to in both; X8 is 1.
fn two(p0: &str, p1: &str, condition: &str) -> Verdict {
    let init = "0:X1=x; 0:X2=z; 0:X3=y; 0:X8=1; 1:X1=x; 1:X2=z; 1:X3=y; 1:X8=1;";
    arm("", init, &[("P0", p0), ("P1", p1)], condition)
}

#[test]
fn arm_message_passing() {
    let stale = "exists (1:X4=1 /\\ 1:X5=0)";
    let plain = "STR W8,[X1] / STR W8,[X3]";
    let ordered = "STR W8,[X1] / DMB ST / STR W8,[X3]";
    for (writer, reader, verdict) in [
        (plain, "LDR W4,[X3] / DMB LD / LDR W5,[X1]", ALLOWED),
        (ordered, "LDR W4,[X3] / LDR W5,[X1]", ALLOWED),
        (ordered, "LDR W4,[X3] / DMB LD / LDR W5,[X1]", FORBIDDEN),
        (ordered, "LDR W4,[X3] / DSB ISHLD / LDR W5,[X1]", FORBIDDEN),
        (ordered, "LDR W4,[X3] / DMB ST / LDR W5,[X1]", ALLOWED),
        (ordered, "LDR W4,[X3] / EOR W6,W4,W4 / LDR W5,[X1,W6,SXTW]", FORBIDDEN),
        (ordered, "LDR W4,[X3] / CBNZ W4,a / a: LDR W5,[X1]", ALLOWED),
        (ordered, "LDR W4,[X3] / CBNZ W4,a / a: ISB / LDR W5,[X1]", FORBIDDEN),
        (ordered, "LDR W4,[X3] / ISB / LDR W5,[X1]", ALLOWED),
        (ordered, "LDR W4,[X3] / EOR W6,W4,W4 / LDR W7,[X3,W6,SXTW] / ISB / LDR W5,[X1]", FORBIDDEN),
        // Through the process's own store.
        (ordered, "LDR W4,[X3] / STR W4,[X2] / LDR W7,[X2] / EOR W6,W7,W7 / LDR W5,[X1,W6,SXTW]", FORBIDDEN),
        (ordered, "LDR W4,[X3] / STR W8,[X2] / LDR W7,[X2] / EOR W6,W7,W7 / LDR W5,[X1,W6,SXTW]", ALLOWED),
        // Two loads that got the same are in no order.
        (
            ordered,
            "LDR W4,[X3] / EOR W6,W4,W4 / LDR W7,[X2,W6,SXTW] / LDR W7,[X2] / EOR W6,W7,W7 / LDR W5,[X1,W6,SXTW]",
            ALLOWED,
        ),
        // Through a conditional select, an address is no dependency; a branch with ISB still is one.
        (ordered, "LDR W4,[X3] / CMP W4,#1 / CSEL X6,X1,X1,EQ / LDR W5,[X6]", ALLOWED),
        (ordered, "LDR W4,[X3] / CMP W4,#1 / CSEL X6,X1,X1,EQ / CBNZ X6,a / a: ISB / LDR W5,[X1]", FORBIDDEN),
        ("STR W8,[X1] / STLR W8,[X3]", "LDAR W4,[X3] / LDR W5,[X1]", FORBIDDEN),
        ("STR W8,[X1] / STLR W8,[X3]", "LDAPR W4,[X3] / LDR W5,[X1]", FORBIDDEN),
        (plain, "LDAR W4,[X3] / LDR W5,[X1]", ALLOWED),
    ] {
        assert_eq!(two(writer, reader, stale), verdict, "{writer} | {reader}");
    }
}

#[test]
fn arm_store_buffering_and_load_buffering() {
    let sb = "exists (0:X4=0 /\\ 1:X4=0)";
    for (fence, verdict) in [("NOP", ALLOWED), ("DMB ST", ALLOWED), ("DMB LD", ALLOWED), ("DMB SY", FORBIDDEN)] {
        let p0 = format!("STR W8,[X1] / {fence} / LDR W4,[X3]");
        let p1 = format!("STR W8,[X3] / {fence} / LDR W4,[X1]");
        assert_eq!(two(&p0, &p1, sb), verdict, "{fence}");
    }
    let released =
        |load: &str| two(&format!("STLR W8,[X1] / {load} W4,[X3]"), &format!("STLR W8,[X3] / {load} W4,[X1]"), sb);
    assert_eq!((released("LDAR"), released("LDAPR")), (FORBIDDEN, ALLOWED));
    let lb = "exists (0:X4=1 /\\ 1:X4=1)";
    for (between, stored, verdict) in [
        ("NOP", "W8", ALLOWED),
        ("NOP", "W4", FORBIDDEN),
        ("EOR W6,W4,W4 / ADD W6,W6,#1", "W6", FORBIDDEN),
        ("EOR W6,W4,W4 / LDR W7,[X2,W6,SXTW]", "W8", FORBIDDEN),
        ("LDR W7,[X2]", "W8", ALLOWED),
        ("DMB LD", "W8", FORBIDDEN),
        ("CBNZ W4,a / a:", "W8", FORBIDDEN),
        ("CMP W4,#1 / CSEL W6,W8,W8,EQ", "W6", FORBIDDEN),
    ] {
        let p0 = format!("LDR W4,[X1] / {between} / STR {stored},[X3]");
        let p1 = format!("LDR W4,[X3] / {between} / STR {stored},[X1]");
        assert_eq!(two(&p0, &p1, lb), verdict, "{between} {stored}");
    }
}

#[test]
fn arm_is_multi_copy_atomic_and_coherent() {
    let init = "0:X1=x; 0:X8=1; 1:X3=y; 1:X8=1; 2:X1=x; 2:X3=y; 3:X1=x; 3:X3=y;";
    let iriw = |fence: &str| {
        let first = format!("LDR W4,[X1] / {fence} / LDR W5,[X3]");
        let second = format!("LDR W4,[X3] / {fence} / LDR W5,[X1]");
        let columns = [("P0", "STR W8,[X1]"), ("P1", "STR W8,[X3]"), ("P2", &first), ("P3", &second)];
        arm("", init, &columns, "exists (2:X4=1 /\\ 2:X5=0 /\\ 3:X4=1 /\\ 3:X5=0)")
    };
    assert_eq!((iriw("NOP"), iriw("DMB LD")), (ALLOWED, FORBIDDEN));
    // A load is before the store that depends on it, and before the next store of that location.
    let twice = "LDR W4,[X1] / EOR W6,W4,W4 / ADD W6,W6,#1 / STR W6,[X3] / MOV W7,#2 / STR W7,[X3]";
    let other = "LDR W4,[X3] / EOR W6,W4,W4 / ADD W6,W6,#1 / STR W6,[X1]";
    assert_eq!(two(twice, other, "exists (0:X4=1 /\\ 1:X4=2)"), FORBIDDEN);
    let corr = two("STR W8,[X1]", "LDR W4,[X1] / LDR W5,[X1]", "exists (1:X4=1 /\\ 1:X5=0)");
    let cowr = two("STR W8,[X1] / LDR W4,[X1]", "NOP", "exists (0:X4=0)");
    let corw = two("LDR W4,[X1] / STR W8,[X1]", "NOP", "exists (0:X4=1)");
    let coww = two("STR W8,[X1] / MOV W9,#2 / STR W9,[X1]", "NOP", "exists (x=1)");
    assert_eq!([corr, cowr, corw, coww], [FORBIDDEN; 4]);
}

/// The patcher's column, what it does between the store and the flag, and what the executor does between flag and site.
fn patched(header: &str, patcher: &str, executor: &str) -> Verdict {
    let init = "0:X0=NOP; 0:X1=P1:s; 0:X3=y; 0:X8=1; 1:X1=P1:s; 1:X3=y;";
    let p0 = format!("STR W0,[X1] / {patcher} / STR W8,[X3]");
    let p1 = format!("LDR W4,[X3] / CBZ W4,e / {executor} / s: B e / MOV W9,#1 / e:");
    arm(header, init, &[("P0", &p0), ("P1", &p1)], "exists (1:X4=1 /\\ 1:X9=0)")
}

#[test]
fn arm_fetches() {
    let whole = "DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH";
    for (header, patcher, executor, verdict) in [
        ("", whole, "ISB", FORBIDDEN),
        ("", "DC CIVAC,X1 / DSB ISH / IC IALLUIS / DSB ISH", "ISB", FORBIDDEN),
        ("", "DC CVAU,X1 / IC IVAU,X1 / DSB ISH", "ISB", ALLOWED),
        ("", "DC CVAU,X1 / DSB ISH / IC IVAU,X1", "ISB", ALLOWED),
        ("", "DC CVAU,X3 / DSB ISH / IC IVAU,X1 / DSB ISH", "ISB", ALLOWED),
        ("", whole, "DSB SY", ALLOWED),
        ("", "DC CVAU,X1 / DMB ISH", "DSB ISH / IC IVAU,X1 / DSB ISH / ISB", FORBIDDEN),
        ("", "DMB ST", "DMB ISH / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / ISB", FORBIDDEN),
        ("", "DMB ST", "DMB LD / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / ISB", ALLOWED),
        ("", "DMB ST", "DSB LD / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / ISB", FORBIDDEN),
        ("", "DMB SY", "DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / ISB", ALLOWED),
        ("", "DMB SY", "ISB / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / ISB", FORBIDDEN),
        ("CacheType=IDC", "DSB ISH / IC IVAU,X1 / DSB ISH", "ISB", FORBIDDEN),
        ("CacheType=IDC", "DSB ISH", "ISB", ALLOWED),
        ("CacheType=DIC", "DMB ST", "ISB", FORBIDDEN),
        ("CacheType=DIC", "DMB ST", "NOP", ALLOWED),
        ("CacheType=DIC", "NOP", "ISB", ALLOWED),
    ] {
        assert_eq!(patched(header, patcher, executor), verdict, "{header}: {patcher} | {executor}");
    }
}

#[test]
fn arm_fetches_of_the_own_stores() {
    let init = "0:X0=NOP; 0:X1=P0:s;";
    let own = |code: &str, condition: &str| arm("", init, &[("P0", code)], condition);
    let old = |code: &str| own(&format!("{code} / s: B e / MOV W9,#1 / e:"), "exists (0:X9=0)");
    assert_eq!(old("STR W0,[X1] / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / ISB"), FORBIDDEN);
    assert_eq!(old("STR W0,[X1] / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH"), ALLOWED);
    assert_eq!(old("STR W0,[X1] / DSB ISH / IC IVAU,X1 / DSB ISH / DC CVAU,X1 / DSB ISH / ISB"), ALLOWED);
    assert_eq!(old("DC CVAU,X1 / DSB ISH / STR W0,[X1] / DSB ISH / IC IVAU,X1 / DSB ISH / ISB"), ALLOWED);
    // What is stored after it was executed was not fetched.
    assert_eq!(own("s: B e / MOV W9,#1 / e: STR W0,[X1]", "exists (0:X9=1)"), FORBIDDEN);
}

#[test]
fn arm_fetches_and_what_follows_them() {
    let init = "0:X0=NOP; 0:X1=P1:s; 0:X2=P1:r; 0:X3=y; 0:X8=1; 1:X1=P1:s; 1:X3=y; 1:X8=2;";
    let run =
        |header: &str, p0: &str, p1: &str, condition: &str| arm(header, init, &[("P0", p0), ("P1", p1)], condition);
    // Whoever executes the new word reads and stores after it.
    let p0 = "STR W8,[X3] / DMB ST / STR W0,[X1]";
    let new = "s: B e / MOV W9,#1 / e: r:";
    assert_eq!(run("", p0, &format!("{new} LDR W4,[X3]"), "exists (1:X9=1 /\\ 1:X4=0)"), FORBIDDEN);
    assert_eq!(run("", p0, &format!("{new} STR W8,[X3]"), "exists (1:X9=1 /\\ y=1)"), FORBIDDEN);
    // Two words, r before s; who executes the new s and then r may still have the old one.
    let (both, stale) = ("s: B r / MOV W9,#1 / r: B e / MOV W5,#1 / e:", "exists (1:X9=1 /\\ 1:X5=0)");
    let whole = "STR W0,[X2] / DC CVAU,X2 / DSB ISH / IC IVAU,X2 / DSB ISH / STR W0,[X1]";
    assert_eq!(run("", whole, both, stale), FORBIDDEN, "a completed IC is one for all");
    assert_eq!(run("", "STR W0,[X2] / DC CVAU,X2 / DSB ISH / STR W0,[X1]", both, stale), ALLOWED);
    assert_eq!(run("CacheType=IDC", "STR W0,[X2] / DMB ST / STR W0,[X1]", both, stale), ALLOWED);
    assert_eq!(run("CacheType=DIC", "STR W0,[X2] / DMB ST / STR W0,[X1]", both, stale), FORBIDDEN);
    // Maintenance by an address that was loaded.
    let init = "0:X0=NOP; 0:X1=P1:s; 0:X3=y; 1:X3=y;";
    let p0 = "STR W0,[X1] / DC CVAU,X1 / DSB ISH / STR X1,[X3]";
    let maintained = |by: &str| {
        let p1 = format!("LDR X4,[X3] / IC IVAU,{by} / DSB ISH / ISB / s: B e / MOV W9,#1 / e:");
        arm("", &format!("{init} 1:X5=P1:s;"), &[("P0", p0), ("P1", &p1)], "exists (1:X4=P1:s /\\ 1:X9=0)")
    };
    assert_eq!((maintained("X4"), maintained("X5")), (FORBIDDEN, ALLOWED));
    // A store is before the IC only if a DSB says so; DMB ST does not.
    let sb = |barrier: &str| {
        let p1 = format!(
            "STR W8,[X3] / {barrier} / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / ISB / s: B e / MOV W9,#1 / e:"
        );
        let init = "0:X0=NOP; 0:X1=P1:s; 0:X3=y; 1:X1=P1:s; 1:X3=y; 1:X8=1;";
        arm("", init, &[("P0", "STR W0,[X1] / DMB SY / LDR W4,[X3]"), ("P1", &p1)], "exists (0:X4=0 /\\ 1:X9=0)")
    };
    assert_eq!((sb("DMB ST"), sb("DSB ST"), sb("DMB ISH")), (ALLOWED, FORBIDDEN, FORBIDDEN));
}

#[test]
fn arm_exceptions_synchronise() {
    let init = "0:X0=NOP; 0:X1=P0:s;";
    let code = "STR W0,[X1] / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / SVC #0 / s: B e / MOV W9,#1 / e:";
    let call = |header: &str| arm(header, init, &[("P0", code), ("P0.F", "ERET")], "exists (0:X9=0)");
    assert_eq!(call(""), FORBIDDEN);
    assert_eq!(call("Variant=ifetch,exs"), ALLOWED);
    assert_eq!(call("Variant=ifetch,exs,eis"), FORBIDDEN);
    assert_eq!(call("Variant=ifetch,exs,eos"), FORBIDDEN);
    // An undefined instruction goes to the handler, or ends the thread where faults are fatal.
    let undefined = |header: &str, condition: &str| {
        arm(header, "0:X9=7;", &[("P0", "s: UDF #1 / MOV W9,#1"), ("P0.F", "MOV W9,#2")], condition)
    };
    assert_eq!(undefined("", "exists (0:X9=2 /\\ fault(P0:s))"), ALLOWED);
    assert_eq!(undefined("Variant=fatal", "exists (0:X9=7 /\\ fault(P0:s,UndefinedInstruction))"), ALLOWED);
    assert_eq!(undefined("Variant=fatal", "exists (0:X9=2)"), FORBIDDEN);
}

#[test]
fn only_unordered_changes_of_other_instructions_are_flagged() {
    let flags = |executor: &str| {
        let init = "0:X0=NOP; 0:X1=P1:s; 0:X3=y; 0:X8=1; 1:X3=y;";
        let p0 = "STR W0,[X1] / DC CVAU,X1 / DSB ISH / IC IVAU,X1 / DSB ISH / STR W8,[X3]";
        let text = program("AArch64", "", init, &[("P0", p0), ("P1", executor)], "exists (1:X9=1)");
        decide(&parse(&text).unwrap()).unwrap().flags
    };
    assert_eq!(flags("s: MOV W9,#1"), [Flag::Cmodx]);
    assert_eq!(flags("s: B e / MOV W9,#1 / e:"), []);
    assert_eq!(flags("LDR W4,[X3] / CBZ W4,e / ISB / s: MOV W9,#1 / e:"), []);
    assert_eq!(flags("LDR W4,[X3] / CBZ W4,e / s: MOV W9,#1 / e:"), [Flag::Cmodx]);
}

/// Two harts over x, y and z, which a1, a2 and a4 point to in both; t1 is 1.
fn harts(p0: &str, p1: &str, condition: &str) -> String {
    riscv("0:a1=x; 0:a2=y; 0:a4=z; 0:t1=1; 1:a1=x; 1:a2=y; 1:a4=z; 1:t1=1;", &[("P0", p0), ("P1", p1)], condition)
}

#[test]
fn riscv_data() {
    let stale = "exists (1:s0=1 /\\ 1:s1=0)";
    let ordered = "sw t1,0(a1) / fence w,w / sw t1,0(a2)";
    for (writer, reader, verdict) in [
        ("sw t1,0(a1) / sw t1,0(a2)", "lw s0,0(a2) / fence r,r / lw s1,0(a1)", "AAAAA"),
        (ordered, "lw s0,0(a2) / lw s1,0(a1)", "AAAAA"),
        (ordered, "lw s0,0(a2) / fence r,r / lw s1,0(a1)", "FFFFF"),
        (ordered, "lw s0,0(a2) / fence w,w / lw s1,0(a1)", "AAAAA"),
        (ordered, "lw s0,0(a2) / fence.tso / lw s1,0(a1)", "FFFFF"),
        (ordered, "lw s0,0(a2) / fence.i / lw s1,0(a1)", "FFFFF"),
        (ordered, "lw s0,0(a2) / xor s2,s0,s0 / add a3,a1,s2 / lw s1,0(a3)", "FFFFF"),
        (ordered, "lw s0,0(a2) / bnez s0,a / a: lw s1,0(a1)", "AAAAA"),
        (ordered, "lw s0,0(a2) / sw s0,0(a4) / lw s3,0(a4) / xor s2,s3,s3 / add a3,a1,s2 / lw s1,0(a3)", "FFFFF"),
        (ordered, "lw s0,0(a2) / sw t1,0(a4) / lw s3,0(a4) / xor s2,s3,s3 / add a3,a1,s2 / lw s1,0(a3)", "AAAAA"),
        (
            ordered,
            "lw s0,0(a2) / xor s2,s0,s0 / add a3,a4,s2 / lw s3,0(a3) / lw s3,0(a4) / xor s2,s3,s3 / add a3,a1,s2 / lw s1,0(a3)",
            "AAAAA",
        ),
    ] {
        assert_eq!(harts(writer, reader, stale), verdict, "{writer} | {reader}");
    }
    let sb = |fence: &str| {
        let (p0, p1) = (format!("sw t1,0(a1) / {fence} / lw s0,0(a2)"), format!("sw t1,0(a2) / {fence} / lw s0,0(a1)"));
        harts(&p0, &p1, "exists (0:s0=0 /\\ 1:s0=0)")
    };
    assert_eq!((sb("nop").as_str(), sb("fence.tso").as_str(), sb("fence").as_str()), ("AAAAA", "AAAAA", "FFFFF"));
    let lb_with = |between: &str, stored: &str| {
        let p0 = format!("lw s0,0(a1) / {between} / sw {stored},0(a2)");
        let p1 = format!("lw s0,0(a2) / {between} / sw {stored},0(a1)");
        harts(&p0, &p1, "exists (0:s0=1 /\\ 1:s0=1)")
    };
    assert_eq!(lb_with("xor s2,s0,s0 / addi s2,s2,1", "s2"), "FFFFF");
    assert_eq!(lb_with("bnez s0,a / a:", "t1"), "FFFFF");
    assert_eq!(lb_with("xor s2,s0,s0 / add a3,a4,s2 / lw s3,0(a3)", "t1"), "FFFFF");
    assert_eq!(lb_with("lw s3,0(a4)", "t1"), "AAAAA");
    let lb = |stored: &str| {
        let (p0, p1) = (format!("lw s0,0(a1) / sw {stored},0(a2)"), format!("lw s0,0(a2) / sw {stored},0(a1)"));
        harts(&p0, &p1, "exists (0:s0=1 /\\ 1:s0=1)")
    };
    assert_eq!((lb("t1").as_str(), lb("s0").as_str()), ("AAAAA", "FFFFF"));
    assert_eq!(harts("sw t1,0(a1)", "lw s0,0(a1) / lw s1,0(a1)", stale), "FFFFF");
    let twice = "lw s0,0(a1) / xor s2,s0,s0 / addi s2,s2,1 / sw s2,0(a2) / li s3,2 / sw s3,0(a2)";
    let other = "lw s0,0(a2) / xor s2,s0,s0 / addi s2,s2,1 / sw s2,0(a1)";
    assert_eq!(harts(twice, other, "exists (0:s0=1 /\\ 1:s0=2)"), "FFFFF");
}

#[test]
fn riscv_fetches_differ_by_model() {
    let init = "0:t0=instr:\"li s0, 2\"; 0:a0=P1:s; 0:a1=x; 0:t1=1; 1:a0=P1:s; 1:a1=x; 1:t1=2; 1:a2=z;";
    let after = |code: &str, condition: &str| {
        riscv(init, &[("P0", "sw t1,0(a1) / fence w,w / sw t0,0(a0)"), ("P1", code)], condition)
    };
    // A fetch of the new word, then a load, or a store that is overwritten.
    assert_eq!(after("s: nop / lw s1,0(a1)", "exists (1:s0=2 /\\ 1:s1=0)"), "AFAFA");
    assert_eq!(after("s: nop / fence.i / lw s1,0(a1)", "exists (1:s0=2 /\\ 1:s1=0)"), "AFAFF");
    assert_eq!(after("s: nop / sw t1,0(a1)", "exists (1:s0=2 /\\ x=1)"), "AFFFA");
    // Under every model an instruction is fetched before it loads.
    let init = "0:a1=x; 0:t1=1; 0:a0=P1:s; 0:t0=instr:\"lw s0,0(a1)\"; 1:a1=x; 1:s0=5;";
    let p0 = "sw t1,0(a1) / fence w,w / sw t0,0(a0)";
    assert_eq!(riscv(init, &[("P0", p0), ("P1", "s: nop")], "exists (1:s0=0)"), "FFFFF");
    assert_eq!(riscv(init, &[("P0", p0), ("P1", "s: nop")], "exists (1:s0=1)"), "AAAAA");
    // An instruction that is stored after it was to be executed: only an order between fetch and store keeps it away.
    let init = "0:t0=instr:\"li s0, 2\"; 0:a0=P0:s;";
    assert_eq!(riscv(init, &[("P0", "s: nop / sw t0,0(a0)")], "exists (0:s0=2)"), "AFFFA");
}

#[test]
fn forall_and_negation() {
    let both = |condition: &str| two("STR W8,[X1]", "LDR W4,[X1]", condition);
    assert_eq!(both("forall (1:X4=0 \\/ 1:X4=1)"), Verdict::Required);
    assert_eq!(both("forall (1:X4=1)"), ALLOWED);
    assert_eq!(both("forall (1:X4=2)"), FORBIDDEN);
    assert_eq!(both("~exists (1:X4=2)"), FORBIDDEN);
    assert_eq!(both("exists (~(1:X4=0) /\\ [x]=1)"), ALLOWED);
    assert_eq!(both(""), Verdict::Required);
}
