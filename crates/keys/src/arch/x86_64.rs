//! The assembly of sites, tables and hooks on x86-64: texts that the macros put together.

/// A branch: label 771 is the site, 773 behind it. The byte that changes is in one aligned word with the two before it, at
/// an even address, by a prefix of the NOP where necessary, so that there is still one NOP.
#[doc(hidden)]
#[macro_export]
macro_rules! __branch_site {
    () => {
        ".p2align 1, 0x2e
        .p2align 3, 0x2e, 2
        771: .byte 0x0f, 0x1f, {jumps} * 0xc0 + (1 - {jumps}) * (0x44 + (773f - 772f - 2) * 64 / 3)
        772: jmp {to}
        773:
        "
    };
}

/// What stands in the table for the length of a branch.
#[doc(hidden)]
#[macro_export]
macro_rules! __branch_length {
    () => {
        "773b - 771b"
    };
}

/// The slot with the key's address: where it is made, and how far it is away.
#[doc(hidden)]
#[macro_export]
macro_rules! __slot {
    (made) => {
        ""
    };
    (seen) => {
        "{k}@GOTPCREL"
    };
}

/// What runs when an object comes (775) and goes (776).
#[doc(hidden)]
#[macro_export]
macro_rules! __hooks_code {
    () => {
        "775: lea rdi, [rip + textpoke_object]
        jmp [rip + {coming}@GOTPCREL]
        776: lea rdi, [rip + textpoke_object]
        jmp [rip + {going}@GOTPCREL]
        "
    };
}

/// Where a call leads before its key is set: it loads the function from the key, or returns 0.
#[doc(hidden)]
#[macro_export]
macro_rules! __trampoline {
    ($key:path) => {
        ::core::arch::naked_asm!(
            "mov r11, [rip + {key}@GOTPCREL]",
            "mov r11, [r11 + 8]",
            "test r11, r11",
            "jz 2f",
            "jmp r11",
            "2: xor eax, eax",
            "ret",
            key = sym $key,
        )
    };
}

/// A call with six registers; the result in RAX.
#[doc(hidden)]
#[macro_export]
macro_rules! __call_site {
    ($registers:ident, $result:ident, ($($shared:expr),*), ($($operands:tt)*)) => {
        ::core::arch::asm!(
            ".p2align 3, 0x2e, 4",
            "771: .byte 0xe8",
            ".long {trampoline} - . - 4",
            "773:",
            $crate::__entry!("{trampoline}", "{flags}", "5", "0"),
            $($shared,)*
            $($operands)*
            inlateout("rdi") $registers[0] => _,
            inlateout("rsi") $registers[1] => _,
            inlateout("rdx") $registers[2] => _,
            inlateout("rcx") $registers[3] => _,
            inlateout("r8") $registers[4] => _,
            inlateout("r9") $registers[5] => _,
            lateout("rax") $result,
            clobber_abi("C"),
        )
    };
}

/// Reads an immediate value: a MOV whose operand is in one aligned word.
#[doc(hidden)]
#[macro_export]
macro_rules! __read {
    ($key:path, ($($shared:expr),*), ($($operands:tt)*)) => {{
        let bits: u64;
        // SAFETY: the site loads a number to RAX and does nothing else.
        #[allow(unsafe_code, reason = "a site is an instruction")]
        unsafe {
            ::core::arch::asm!(
                ".if {wide}",
                // The eight bytes of the number are one aligned word: a NOP of six bytes, two of opcode.
                ".p2align 3, 0x2e",
                ".byte 0x66, 0x0f, 0x1f, 0x44, 0, 0",
                "771: movabs rax, {initial}",
                ".else",
                // The instruction is in one aligned word.
                ".p2align 3, 0x2e, 4",
                "771: .byte 0xb8",
                ".long {initial}",
                ".endif",
                "773:",
                $crate::__entry!("771b", "2", "773b - 771b", "0"),
                $($shared,)*
                wide = const $crate::__is_wide(&$key),
                initial = const $crate::__initial_of(&$key),
                k = sym $key,
                $($operands)*
                out("rax") bits,
                options(nomem, nostack, preserves_flags),
            )
        };
        $key.__of(bits)
    }};
}
