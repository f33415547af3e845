//! The branch on a key.
//!
//! On AArch64 and RISC-V it is one instruction of four bytes, a NOP or a jump. On x86-64:
//!
//! ```text
//!                off (8 or 5 bytes)                  on
//! JMP rel32      0f 1f 84 | e9 d d d d               0f 1f c0 | e9 d d d d
//!                one NOP of eight bytes              a NOP of three bytes, and the jump
//! JMP rel8       0f 1f 44 | eb d                     0f 1f c0 | eb d
//! ```
//!
//! The jump always stands there, written by the assembler, which takes the short form where the distance permits. Where
//! the branch is off, it is the operand of a NOP: `0f 1f /0` with the SIB byte `e9` or `eb` and a displacement. One byte
//! tells the two apart, the third one. So a flip is a store of one byte, in both directions, without anything half
//! done, and no text has to be made writable for it.

/// Whether a static key is on; to be used where it mostly is not. Costs one NOP while the code goes straight on.
///
/// `static_branch_unlikely!(KEY)` or, in an array, `static_branch_unlikely!(KEYS[2])` with a constant index. The block
/// for *on* is laid out of line. The compiler may move memory accesses over the branch as over any other: data that goes
/// with a key is published by atomics, not by the key.
#[doc(hidden)]
#[macro_export]
macro_rules! __branch {
    ($hooks:tt, $likely:literal, $key:path) => {
        $crate::__branch!(@ $hooks, $likely, $key, $crate::key::default_of(&$key), 0)
    };
    ($hooks:tt, $likely:literal, $key:path [ $index:expr ]) => {
        $crate::__branch!(@ $hooks, $likely, $key, $crate::key::default_in(&$key, $index), $index)
    };
    (@ (), $likely:literal, $key:path, $default:expr, $index:expr) => {
        $crate::__branch!(@@ ($crate::__note!()), (), $likely, $key, $default, $index)
    };
    (@ ($coming:path, $going:path), $likely:literal, $key:path, $default:expr, $index:expr) => {
        $crate::__branch!(@@ ($crate::__note!(), $crate::__hooks!()), (coming = sym $coming, going = sym $going,),
            $likely, $key, $default, $index)
    };
    (@@ ($($shared:expr),*), ($($operands:tt)*), $likely:literal, $key:path, $default:expr, $index:expr) => {
        'textpoke: {
            // SAFETY: either form of the site goes on behind it or at the label, and changes nothing else.
            #[allow(unsafe_code, reason = "a site is an instruction")]
            unsafe {
                ::core::arch::asm!(
                    $crate::__branch_site!(),
                    $crate::__entry!("{to}", "{flags}", $crate::__branch_length!(), "{index}"),
                    $($shared,)*
                    to = label { break 'textpoke !$likely },
                    jumps = const ($default != $likely) as u8,
                    flags = const if $likely { $crate::abi::LIKELY } else { 0 },
                    index = const { let index: u16 = $index; index },
                    k = sym $key,
                    $($operands)*
                    options(nomem, nostack, preserves_flags),
                )
            };
            $likely
        }
    };
}

/// Whether a static key is on, for a kernel or wherever no library looks after the tables; to be used where it mostly is.
///
/// As [`static_branch_unlikely!`](crate::static_branch_unlikely); the block for *off* is laid out of line.
#[macro_export]
macro_rules! static_branch_likely {
    ($($key:tt)*) => { $crate::__branch!((), true, $($key)*) };
}

/// Whether a static key is on, for a kernel or wherever no library looks after the tables; to be used where it mostly is
/// not.
///
/// `static_branch_unlikely!(KEY)` or, in an array, `static_branch_unlikely!(KEYS[2])` with a constant index. The compiler
/// may move memory accesses over the branch as over any other.
#[macro_export]
macro_rules! static_branch_unlikely {
    ($($key:tt)*) => { $crate::__branch!((), false, $($key)*) };
}
