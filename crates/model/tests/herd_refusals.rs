//! What cannot be read or decided is refused by name, with line and column.

use textpoke_model::herd::{decide, parse};

/// The refusal of this text, whether it cannot be read or cannot be decided.
fn refusal(text: &str) -> String {
    match parse(text).and_then(|test| decide(&test)) {
        Ok(decision) => panic!("decided: {:?}\n{text}", decision.verdicts),
        Err(refusal) => refusal.to_string(),
    }
}

/// A test of one process, on lines from the fourth.
fn one(code: &str) -> String {
    format!("AArch64 t\n{{ 0:X1=P0:s; 0:X2=x; 0:X3=NOP; }}\nP0 ;\n{code}\nexists (0:X9=1)")
}

#[test]
fn the_frame() {
    assert!(refusal("").starts_with("line 1, column 1: the file is empty"));
    assert_eq!(
        refusal("X86_64 t\n{}"),
        "line 1, column 1: \"X86_64\" is no instruction set that is decided here; AArch64 and RISCV are"
    );
    assert_eq!(refusal("AArch64 t\n"), "line 2, column 1: there is no initial state { … }");
    assert_eq!(refusal("AArch64 t\n(* ( *\n{}"), "line 2, column 1: this comment is not closed");
    assert_eq!(
        refusal("AArch64 t\n  Variant=vmsa\n{}"),
        "line 2, column 3: the variant vmsa is outside of the surface"
    );
    assert_eq!(refusal("AArch64 t\nCacheType=VIPT\n{}"), "line 2, column 1: the cache type VIPT is not known");
    assert_eq!(refusal("AArch64 t\nTLB=no\n{}"), "line 2, column 1: the header line tlb=… is outside of the surface");
    assert_eq!(refusal("AArch64 t\n{}\nP0 ;\nNOP"), "line 4, column 1: this row has no semicolon");
    assert_eq!(
        refusal("AArch64 t\n{}\nP0 | P2 ;"),
        "line 3, column 6: P2 is out of order; processes come as P0, P1, …, handlers after them"
    );
    assert_eq!(
        refusal("AArch64 t\n{}\nP0 ;\nNOP | NOP ;"),
        "line 4, column 6: this row has more cells than there are processes"
    );
    assert_eq!(refusal("AArch64 t\n{}\nP0 ;\na: a: NOP ;"), "line 4, column 4: P0 has the label \"a\" twice");
}

#[test]
fn the_initial_state() {
    let initial = |text: &str| refusal(&format!("AArch64 t\n{{ {text} }}\nP0 ;\ns: NOP ;"));
    assert_eq!(initial("pte_x=(oa:phy_x)"), "line 2, column 3: pte_x: page table entries are outside of the surface");
    assert_eq!(initial("int t[2]={1,2}"), "line 2, column 12: an array is outside of the surface");
    assert_eq!(initial("uint128_t x"), "line 2, column 3: the type uint128_t is outside of the surface");
    assert_eq!(initial("0:X1=P0:nowhere"), "line 2, column 8: P0 has no label \"nowhere\"");
    assert_eq!(initial("3:X1=0"), "line 2, column 3: there is no such process");
    assert_eq!(initial("0:X31=0"), "line 2, column 5: \"X31\" is no register that holds a value");
    assert_eq!(initial("0:X1=1; 0:X1=2"), "line 2, column 11: 0:X1 is given twice");
    assert_eq!(
        initial("0:X1=instr:\"LDP X0,X1,[X2]\""),
        "line 2, column 15: the instruction LDP is outside of the surface"
    );
    assert_eq!(initial("0:X1=instr:\"B there\""), "line 2, column 17: there is no label \"there\"");
}

#[test]
fn instructions() {
    for (code, what) in [
        ("s: LDXR W0,[X1] ;", "line 4, column 4: the instruction LDXR is outside of the surface"),
        ("s: LDR W0,[X1],#4 ;", "line 4, column 15: LDR with write-back is outside of the surface"),
        ("s: STR W0,[W1] ;", "line 4, column 12: W1 cannot hold an address"),
        ("s: B nowhere ;", "line 4, column 6: P0 has no label \"nowhere\""),
        ("s: BR s ;", "line 4, column 7: \"s\" stands where a register should"),
        ("s: DC ZVA,X1 ;", "line 4, column 7: DC ZVA is outside of the surface"),
        ("s: DMB NSH ;", "line 4, column 8: DMB NSH is outside of the surface"),
        ("s: NOP NOP ;", "line 4, column 8: \"NOP\" stands where nothing more should"),
        ("s: MSR VBAR_EL1,X0 ;", "line 4, column 8: MSR VBAR_EL1 is outside of the surface"),
    ] {
        assert_eq!(refusal(&one(code)), what);
    }
    let riscv = |code: &str| refusal(&format!("RISCV t\n{{}}\nP0 ;\n{code} ;\nexists (0:t0=1)"));
    assert_eq!(riscv("amoadd.w t0,t1,(t2)"), "line 4, column 1: the instruction amoadd.w is outside of the surface");
    assert_eq!(riscv("fence io,w"), "line 4, column 7: fence io is outside of the surface");
    assert_eq!(riscv("lw t0,4(q0)"), "line 4, column 9: \"q0\" stands where a register should");
}

#[test]
fn what_happens() {
    for (code, what) in [
        ("BR X3 ;\ns: NOP ;", "line 4, column 1: BR X3 jumps to the instruction \"NOP\", which is no address"),
        ("BR X2 ;\ns: NOP ;", "line 4, column 1: BR X2 jumps to the variable x, which is no code"),
        ("BR X4 ;\ns: NOP ;", "line 4, column 1: BR X4 jumps to 0, which is no address of code"),
        ("s: B .+8 ;", "line 4, column 4: B .+8 jumps outside of the code"),
        (
            "STR W3,[X1] ;\ns: ;",
            "line 4, column 1: STR W3,[X1] stores at P0:s, the end of P0: no instruction stands there",
        ),
        ("STR X3,[X1] ;\ns: NOP ;", "line 4, column 1: STR X3,[X1] stores 8 bytes at an instruction of 4"),
        (
            "STR W3,[X4] ;\ns: NOP ;",
            "line 4, column 1: STR W3,[X4] accesses the address 0, which is no variable's and no label's",
        ),
        (
            "STR W3,[X2,#4] ;\ns: NOP ;",
            "line 4, column 1: STR W3,[X2,#4] makes an address inside or outside of a variable",
        ),
        ("STR W2,[X2] ;\ns: NOP ;", "line 4, column 1: STR W2,[X2] cuts an address to 32 bits"),
        ("ADD W4,W3,#1 ;\ns: NOP ;", "line 4, column 1: ADD W4,W3,#1 calculates with an instruction's bits"),
        ("s: SVC #0 ;", "line 4, column 4: SVC #0 needs a handler: a column P0.F"),
        ("s: ERET ;", "line 4, column 4: ERET outside of a handler is not modelled"),
        ("s: B.LT e ;\ne: ;", "line 4, column 4: B.LT e looks at flags that no instruction has set"),
    ] {
        assert_eq!(refusal(&one(code)), what);
    }
    let endless = refusal(&one("s: LDR W4,[X2] ;\nCBZ W4,s ;"));
    assert!(endless.contains("more than 100 instructions are executed; loops are outside of the surface"), "{endless}");
}

/// What no allowed execution comes to is no reason to refuse.
#[test]
fn what_cannot_happen_refuses_nothing() {
    // The jump to 0 needs the load to miss the process's own store.
    let text = "AArch64 t\n{ [x]=0; 0:X2=x; 0:X1=P0:s; }\nP0 ;\nSTR X1,[X2] ;\nLDR X4,[X2] ;\nBR X4 ;\ns: NOP ;\nforall (0:X4=P0:s)";
    assert_eq!(decide(&parse(text).unwrap()).unwrap().verdicts[0].1.to_string(), "Required");
}

#[test]
fn conditions() {
    let asked = |condition: &str| refusal(&format!("AArch64 t\n{{}}\nP0 ;\ns: NOP ;\n{condition}"));
    assert_eq!(asked("exists 0:X1"), "line 5, column 12: the end stands where \"=\" should");
    assert_eq!(asked("exists 0:Q1=1"), "line 5, column 10: \"Q1\" is no register that holds a value");
    assert_eq!(asked("exists (0:X1=1"), "line 5, column 15: the end stands where \")\" should");
    assert_eq!(asked("exists 0:X1=1 \\/"), "line 5, column 17: the end stands where a register or a variable should");
    assert_eq!(asked("filter (0:X1=1)"), "line 5, column 1: a filter is outside of the surface");
    assert!(asked("exists 0:X1=instr:\"B s\"").starts_with("line 5, column 13: a label says no distance here"));
    assert_eq!(
        asked("exists fault(P0:s,Permission)"),
        "line 5, column 19: faults of the kind Permission are outside of the surface"
    );
}

/// A number is not compared with an instruction's bits, and halves of values are not made up.
#[test]
fn unknown_bits() {
    let asked = |condition: &str| {
        let text = format!("AArch64 t\n{{ 0:X3=NOP; }}\nP0 ;\nADR X1,s ;\ns: NOP ;\n{condition}");
        parse(&text).and_then(|test| decide(&test)).map(|decision| decision.verdicts[0].1.to_string())
    };
    let refused = asked("exists 0:X3=3573751839").unwrap_err().to_string();
    let what = "line 6, column 1: the condition compares a number with an instruction, whose bits are not modelled";
    assert_eq!(refused, what);
    assert_eq!(asked("exists 0:X3=1").unwrap(), "Forbidden", "1 is UDF");
    assert_eq!(asked("exists 0:X1=7").unwrap(), "Forbidden", "an address is a symbol");
    let halves = "AArch64 t\n{ 0:X1=P0:s; 0:X2=x; 0:X4=1; }\nP0 ;\nSTR X1,[X2] ;\ns: STR W4,[X2] ;\nexists x=1";
    assert_eq!(refusal(halves), "line 4, column 1: stores of 4 bytes and values of 8 meet in x");
}

/// Whatever stands in a file, it is decided or refused.
#[test]
fn no_text_makes_it_panic() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/herd");
    let mut seed = 1u64;
    let mut random = move |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % n
    };
    let (mut decided, mut refused) = (0, 0);
    for entry in std::fs::read_dir(folder).unwrap() {
        let text: Vec<char> = std::fs::read_to_string(entry.unwrap().path()).unwrap().chars().collect();
        for _ in 0..100 {
            let mut changed = text.clone();
            for _ in 0..=random(3) {
                let (at, other) = (random(changed.len()), random(changed.len()));
                match random(4) {
                    0 => drop(changed.remove(at)),
                    1 => changed.insert(at, changed[other]),
                    2 => changed.swap(at, other),
                    _ => changed[at] = ['{', '}', ';', '|', ':', '"', '(', '*', 'é', '9', '-', '\n'][random(12)],
                }
            }
            match parse(&changed.iter().collect::<String>()).and_then(|test| decide(&test)) {
                Ok(_) => decided += 1,
                Err(refusal) => {
                    assert!(refusal.line > 0 && refusal.column > 0 && !refusal.what.is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(decided > 100 && refused > 100, "{decided} decided, {refused} refused");
}
