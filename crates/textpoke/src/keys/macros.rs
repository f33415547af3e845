//! The macros of `textpoke-keys`, with this process as the machine.

/// Defines static keys, and arrays of them.
///
/// ```
/// textpoke::static_key! {
///     /// Whether to tell more.
///     pub static VERBOSE: bool = false;
///     static CHECKED: bool = true;
///     static LEVELS: [bool; 5] = false;
/// }
/// VERBOSE.enable()?;
/// LEVELS[3].inc()?;
/// assert!(VERBOSE.is_enabled() && CHECKED.is_enabled() && LEVELS[3].count() == 1);
/// # Ok::<(), textpoke::keys::KeyError>(())
/// ```
#[macro_export]
macro_rules! static_key {
    ($($keys:tt)*) => {
        $crate::__keys::__static_key! { ($crate::keys::coming, $crate::keys::going) $crate::keys::Process; $($keys)* }
    };
}

/// Whether a static key is on; to be used where it mostly is not.
///
/// `static_branch_unlikely!(KEY)` or, in an array, `static_branch_unlikely!(KEYS[2])` with a constant index. What is done
/// if it is on is laid out of line. The compiler may move memory accesses over the branch as over any other: data that
/// goes with a key is published by atomics.
///
/// ```
/// textpoke::static_key! { static VERBOSE: bool = false; }
/// if textpoke::static_branch_unlikely!(VERBOSE) {
///     println!("much");
/// }
/// ```
#[macro_export]
macro_rules! static_branch_unlikely {
    ($($key:tt)*) => { $crate::__keys::__branch!(($crate::keys::coming, $crate::keys::going), false, $($key)*) };
}

/// Whether a static key is on; to be used where it mostly is. What is done if it is off is laid out of line. Otherwise as
/// [`static_branch_unlikely!`](crate::static_branch_unlikely).
#[macro_export]
macro_rules! static_branch_likely {
    ($($key:tt)*) => { $crate::__keys::__branch!(($crate::keys::coming, $crate::keys::going), true, $($key)*) };
}

/// Defines static calls: functions of type `extern "C" fn` with up to six integers or pointers and such a result or none.
/// Each starts as the function given, or as `None`: then calls do nothing and return zero.
///
/// ```
/// extern "C" fn twice(n: u32) -> u32 {
///     2 * n
/// }
/// extern "C" fn thrice(n: u32) -> u32 {
///     3 * n
/// }
/// textpoke::static_call! {
///     static SCALE: extern "C" fn(u32) -> u32 = twice;
///     static HOOK: extern "C" fn(u32, *const u8) = None;
/// }
/// let scaled = || textpoke::call!(SCALE(4));
/// assert_eq!(scaled(), 8);
/// SCALE.set(Some(thrice))?;
/// assert_eq!(scaled(), 12);
/// SCALE.set(None)?;
/// assert_eq!(scaled(), 0);
/// textpoke::call!(HOOK(1, std::ptr::null()));
/// # Ok::<(), textpoke::keys::KeyError>(())
/// ```
#[macro_export]
macro_rules! static_call {
    ($($calls:tt)*) => {
        $crate::__keys::__static_calls! { ($crate::keys::coming, $crate::keys::going) $crate::keys::Process; $($calls)* }
    };
}

/// Calls a static call: `call!(SCALE(4))`.
#[macro_export]
macro_rules! call {
    ($($call:tt)*) => { $crate::__keys::__call!(($crate::keys::coming, $crate::keys::going), $($call)*) };
}

/// Defines immediate values: numbers of types `u8` to `u64` and `i8` to `i64` that stand in the code that reads them.
///
/// A read is one MOV. Each read of a thread is the old or the new number as a whole, and the new one when the call that
/// set it has returned. It orders no other memory accesses. Values of eight bytes are changed by one store only: on
/// processors whose vendor does not document that, setting one needs
/// [`assume_word_stores`](crate::keys::assume_word_stores).
///
/// ```
/// textpoke::static_imm! { static LIMIT: u32 = 100; }
/// let limit = || textpoke::read_imm!(LIMIT);
/// assert_eq!(limit(), 100);
/// LIMIT.set(250)?;
/// assert_eq!(limit(), 250);
/// # Ok::<(), textpoke::keys::KeyError>(())
/// ```
#[macro_export]
macro_rules! static_imm {
    ($($values:tt)*) => {
        $crate::__keys::__static_imms! { ($crate::keys::coming, $crate::keys::going) $crate::keys::Process; $($values)* }
    };
}

/// Reads an immediate value: `read_imm!(LIMIT)`.
#[macro_export]
macro_rules! read_imm {
    ($value:path) => {
        $crate::__keys::__imm!(($crate::keys::coming, $crate::keys::going), $value)
    };
}
