//! The assembly of sites, tables and hooks on AArch64: texts that the macros put together.

/// A branch: label 771 is the site, one instruction of four bytes at a multiple of four.
#[doc(hidden)]
#[macro_export]
macro_rules! __branch_site {
    () => {
        ".if {jumps}
        771: b {to}
        .else
        771: nop
        .endif
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
        "775: adrp x0, textpoke_object
        add x0, x0, :lo12:textpoke_object
        b {coming}
        776: adrp x0, textpoke_object
        add x0, x0, :lo12:textpoke_object
        b {going}
        "
    };
}

/// Where a call leads before its key is set: it loads the function from the key, or returns 0.
#[doc(hidden)]
#[macro_export]
macro_rules! __trampoline {
    ($key:path) => {
        ::core::arch::naked_asm!(
            "adrp x16, :got:{key}",
            "ldr x16, [x16, :got_lo12:{key}]",
            "ldr x16, [x16, 8]",
            "cbz x16, 2f",
            "br x16",
            "2: mov x0, 0",
            "ret",
            key = sym $key,
        )
    };
}

/// A call with six registers; the result in X0.
#[doc(hidden)]
#[macro_export]
macro_rules! __call_site {
    ($registers:ident, $result:ident, ($($shared:expr),*), ($($operands:tt)*)) => {
        ::core::arch::asm!(
            "771: bl {trampoline}",
            $crate::__entry!("{trampoline}", "{flags}", "4", "0"),
            $($shared,)*
            $($operands)*
            inlateout("x0") $registers[0] => $result,
            inlateout("x1") $registers[1] => _,
            inlateout("x2") $registers[2] => _,
            inlateout("x3") $registers[3] => _,
            inlateout("x4") $registers[4] => _,
            inlateout("x5") $registers[5] => _,
            clobber_abi("C"),
        )
    };
}

/// Reads an immediate value: from the key, because no instruction that
/// holds a number may change while others execute it.
#[doc(hidden)]
#[macro_export]
macro_rules! __read {
    ($key:path, ($($shared:expr),*), ($($operands:tt)*)) => {
        $key.__load()
    };
}
