//! The assembly of sites, tables and hooks on RISC-V: texts that the macros put together.

/// A branch: label 771 is the site, one instruction of four bytes at a multiple of four.
#[doc(hidden)]
#[macro_export]
macro_rules! __branch_site {
    () => {
        ".balign 4
        .option push
        .option norvc
        .if {jumps}
        771: jal zero, {to}
        .else
        771: nop
        .endif
        .option pop
        "
    };
}

/// What stands in the table for the length of a branch.
#[doc(hidden)]
#[macro_export]
macro_rules! __branch_length {
    () => {
        "4"
    };
}

/// The slot with the key's address: where it is made, and how far it is away. Not every linker makes one by itself here.
#[doc(hidden)]
#[macro_export]
macro_rules! __slot {
    (made) => {
        ".pushsection textpoke_slots, \"awo?\", @progbits, .Ltextpoke_\\n
        .balign 8
        778: .quad {k}
        .popsection
        "
    };
    (seen) => {
        "778b - ."
    };
}

/// What runs when an object comes (775) and goes (776).
#[doc(hidden)]
#[macro_export]
macro_rules! __hooks_code {
    () => {
        "775: lla a0, textpoke_object
        tail {coming}
        776: lla a0, textpoke_object
        tail {going}
        "
    };
}

/// Where a call leads before its key is set: it loads the function from the key, or returns 0.
#[doc(hidden)]
#[macro_export]
macro_rules! __trampoline {
    ($key:path) => {
        ::core::arch::naked_asm!(
            "1: auipc t1, %got_pcrel_hi({key})",
            "ld t1, %pcrel_lo(1b)(t1)",
            "ld t1, 8(t1)",
            "beqz t1, 2f",
            "jr t1",
            "2: li a0, 0",
            "ret",
            key = sym $key,
        )
    };
}

/// A call with six registers; the result in A0.
#[doc(hidden)]
#[macro_export]
macro_rules! __call_site {
    ($registers:ident, $result:ident, ($($shared:expr),*), ($($operands:tt)*)) => {
        ::core::arch::asm!(
            ".balign 4",
            ".option push",
            ".option norvc",
            "771: jal ra, 776f",
            ".option pop",
            // The trampoline may be further away than JAL reaches, one mebibyte; what leads there is not.
            ".subsection 1",
            "776: tail {trampoline}",
            ".subsection 0",
            $crate::__entry!("776b", "{flags}", "4", "0"),
            $($shared,)*
            $($operands)*
            inlateout("a0") $registers[0] => $result,
            inlateout("a1") $registers[1] => _,
            inlateout("a2") $registers[2] => _,
            inlateout("a3") $registers[3] => _,
            inlateout("a4") $registers[4] => _,
            inlateout("a5") $registers[5] => _,
            clobber_abi("C"),
        )
    };
}

/// Reads an immediate value: from the key, because a number takes several
/// instructions, which do not change together.
#[doc(hidden)]
#[macro_export]
macro_rules! __read {
    ($key:path, ($($shared:expr),*), ($($operands:tt)*)) => {
        $key.__load()
    };
}
