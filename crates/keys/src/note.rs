//! The pieces of assembly that every site shares: the entry of the site table, and the note that leads to the tables.

/// The entry for the site that begins at label 771 and is `$len` bytes long; operand `k` is the key.
///
/// The table's section has `SHF_LINK_ORDER`: the linker drops an entry together with the function it describes. That
/// takes a symbol in the function's section, which is made from a counter, because inlined and generic code is there
/// more than once and local labels cannot be named. `?` puts it into the function's group, if that has one.
#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    ($target:literal, $kind:literal, $len:expr, $index:literal) => {
        concat!(
            ".ifndef textpoke_count\n.set textpoke_count, 0\n.endif\n",
            ".set textpoke_count, textpoke_count + 1\n",
            ".altmacro\n",
            ".macro textpoke_entry n\n",
            ".set .Ltextpoke_\\n, 771b\n",
            $crate::__slot!(made),
            ".pushsection textpoke_sites, \"ao?\", @progbits, .Ltextpoke_\\n\n",
            ".endm\n",
            "textpoke_entry %textpoke_count\n",
            ".purgem textpoke_entry\n",
            ".noaltmacro\n",
            ".balign 4\n",
            ".long 771b - .\n",
            ".long ",
            $target,
            " - .\n",
            ".long ",
            $crate::__slot!(seen),
            "\n",
            ".byte ",
            $kind,
            ", ",
            $len,
            "\n",
            ".short ",
            $index,
            "\n",
            ".popsection\n",
        )
    };
}

/// The note, once per linked object, and the object's words that it leads to.
#[doc(hidden)]
#[macro_export]
macro_rules! __note {
    () => {
        concat!(
            ".ifndef textpoke_object\n",
            ".pushsection .data.textpoke, \"awG\", @progbits, textpoke_object, comdat\n",
            ".balign 8\n",
            ".weak textpoke_object\n.hidden textpoke_object\n",
            "774: .quad 0, 0\n",
            ".set textpoke_object, 774b\n",
            // GNU ld wants there to be the tables whose ends are named.
            ".pushsection textpoke_sites, \"ao?\", @progbits, textpoke_object\n.popsection\n",
            ".pushsection textpoke_keys, \"aw\", @progbits\n.popsection\n",
            ".popsection\n",
            ".pushsection .note.textpoke, \"aGR\", @note, textpoke_object, comdat\n",
            ".balign 4\n",
            ".long 9, 28, 1\n.asciz \"textpoke\"\n.balign 4\n",
            ".long 1\n.short 16, 64\n",
            ".weak __start_textpoke_sites, __stop_textpoke_sites, __start_textpoke_keys, __stop_textpoke_keys\n",
            ".hidden __start_textpoke_sites, __stop_textpoke_sites, __start_textpoke_keys, __stop_textpoke_keys\n",
            ".long __start_textpoke_sites - ., __stop_textpoke_sites - .\n",
            ".long __start_textpoke_keys - ., __stop_textpoke_keys - .\n",
            ".long textpoke_object - .\n",
            ".popsection\n",
            ".endif\n",
        )
    };
}

/// What runs when an object comes and goes: operands `coming` and `going` are called with the object's words. Once per
/// linked object; before its other constructors and behind its other destructors.
#[doc(hidden)]
#[macro_export]
macro_rules! __hooks {
    () => {
        concat!(
            ".ifndef textpoke_hooks\n",
            ".pushsection .text.textpoke, \"axG\", @progbits, textpoke_hooks, comdat\n",
            ".weak textpoke_hooks\n.hidden textpoke_hooks\n",
            $crate::__hooks_code!(),
            ".set textpoke_hooks, 775b\n",
            ".popsection\n",
            ".pushsection .init_array.00099, \"awG\", @init_array, textpoke_hooks, comdat\n",
            ".balign 8\n.quad 775b\n.popsection\n",
            ".pushsection .fini_array.00099, \"awG\", @fini_array, textpoke_hooks, comdat\n",
            ".balign 8\n.quad 776b\n.popsection\n",
            ".endif\n",
        )
    };
}

/// What an object has that defines keys, whether or not it has sites: the note, by which the keys are found, and what runs
/// when it comes and goes. Wherever items can stand.
///
/// Assembly by itself can only stand outside of functions, so that it is the end of a function that nobody calls; the
/// linker drops that, where it drops sections, and keeps the note.
#[doc(hidden)]
#[macro_export]
macro_rules! __object {
    () => {
        $crate::__object!(@ ($crate::__note!()), ());
    };
    ($coming:path, $going:path) => {
        $crate::__object!(@ ($crate::__note!(), $crate::__hooks!()), (coming = sym $coming, going = sym $going,));
    };
    (@ ($($shared:expr),*), ($($operands:tt)*)) => {
        #[allow(unsafe_code, reason = "a note is assembly")]
        const _: () = {
            #[used]
            static NOTED: extern "C" fn() = noted;
            #[unsafe(naked)]
            extern "C" fn noted() {
                ::core::arch::naked_asm!("ret", $($shared,)* $($operands)*)
            }
        };
    };
}
