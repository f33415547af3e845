//! Changing keys.

use std::ffi::{c_int, c_void};

use textpoke::__keys::abi::{Key, Kind};
use textpoke::__keys::change::{Ask, Change, Machine};
use textpoke::keys::{Process, StaticKey, assume_word_stores};

use crate::error::{Failure, report};

/// `textpoke_change`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Request {
    /// A key of any kind.
    pub key: *const c_void,
    /// `enum textpoke_ask`.
    pub ask: u32,
    /// For `TEXTPOKE_SET`.
    pub value: u64,
}

/// The key that a pointer leads to, if that can be one of this kind.
///
/// # Safety
/// The pointer is null, misaligned, or leads to a key that stays where it is for as long as it is used.
unsafe fn key_at(key: *const Key) -> Result<&'static Key, Failure> {
    if key.is_null() || !key.is_aligned() {
        return Err(Failure::argument(format!("there can be no key at {key:p}")));
    }
    // SAFETY: the caller's duty.
    Ok(unsafe { &*key })
}

/// The same for a branch.
///
/// # Safety
/// As above.
pub(crate) unsafe fn branch_at(key: *const Key) -> Result<&'static StaticKey<false>, Failure> {
    // SAFETY: the caller's duty.
    let key = unsafe { key_at(key) }?;
    if key.kind != Kind::Branch as u8 {
        return Err(Failure::argument(format!("the key at {key:p} is not on or off: set it")));
    }
    // SAFETY: nothing but a key with a type around it.
    Ok(unsafe { &*core::ptr::from_ref(key).cast::<StaticKey<false>>() })
}

/// The number as the sites hold it.
fn fitting(key: &Key, value: u64) -> Result<u64, Failure> {
    let spare = 64 - 8 * u32::from(key.width.clamp(1, 8));
    let bits = value << spare >> spare;
    // Unsigned, or negative in 64 bits.
    if bits == value || ((value << spare) as i64 >> spare) as u64 == value {
        return Ok(bits);
    }
    Err(Failure::argument(format!("{value} does not fit into {} byte(s)", key.width)))
}

/// What is asked, checked.
///
/// # Safety
/// As for [`textpoke_apply`].
unsafe fn change(request: &Request) -> Result<Change, Failure> {
    // SAFETY: the caller's duty.
    let key = unsafe { key_at(request.key.cast()) }?;
    let ask = match (Kind::from_u8(key.kind), request.ask) {
        (Some(Kind::Branch), 0) => Ask::Enable,
        (Some(Kind::Branch), 1) => Ask::Disable,
        (Some(Kind::Branch), 2) => Ask::Increment,
        (Some(Kind::Branch), 3) => Ask::Decrement,
        (Some(Kind::Call), 4) => Ask::Set(request.value),
        (Some(Kind::Imm), 4) => Ask::Set(fitting(key, request.value)?),
        (_, ask) => return Err(Failure::argument(format!("{ask} cannot be asked of the key at {key:p}"))),
    };
    Ok(Change { key, ask })
}

/// Makes several changes together.
///
/// # Safety
/// `changes` leads to so many changes; their keys, and functions for calls, stay where they are, and a function has the
/// type of its call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_apply(changes: *const Request, count: usize) -> c_int {
    if count != 0 && (changes.is_null() || !changes.is_aligned()) {
        return report(Err(Failure::argument("no changes there")));
    }
    let asked = if count == 0 {
        &[]
    } else {
        // SAFETY: the caller's duty.
        unsafe { std::slice::from_raw_parts(changes, count) }
    };
    // SAFETY: the caller's duty.
    let checked: Result<Vec<Change>, Failure> = asked.iter().map(|request| unsafe { change(request) }).collect();
    report(checked.and_then(|changes| if changes.is_empty() { Ok(()) } else { Ok(Process::apply(&changes)?) }))
}

/// Turns a key on.
///
/// # Safety
/// `key` leads to a key that stays where it is; so below.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_key_enable(key: *const Key) -> c_int {
    // SAFETY: the caller's duty.
    report(unsafe { branch_at(key) }.and_then(|key| Ok(key.enable()?)))
}

/// Turns a key off.
///
/// # Safety
/// As for [`textpoke_key_enable`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_key_disable(key: *const Key) -> c_int {
    // SAFETY: the caller's duty.
    report(unsafe { branch_at(key) }.and_then(|key| Ok(key.disable()?)))
}

/// One user more.
///
/// # Safety
/// As for [`textpoke_key_enable`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_key_inc(key: *const Key) -> c_int {
    // SAFETY: the caller's duty.
    report(unsafe { branch_at(key) }.and_then(|key| Ok(key.inc()?)))
}

/// One user less.
///
/// # Safety
/// As for [`textpoke_key_enable`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_key_dec(key: *const Key) -> c_int {
    // SAFETY: the caller's duty.
    report(unsafe { branch_at(key) }.and_then(|key| Ok(key.dec()?)))
}

/// Gives an immediate value another number.
///
/// # Safety
/// As for [`textpoke_key_enable`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_imm_set(key: *const Key, value: u64) -> c_int {
    // SAFETY: the caller's duty.
    unsafe { set(key, Kind::Imm, value) }
}

/// Exchanges the function of a call.
///
/// # Safety
/// As for [`textpoke_apply`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_call_replace(key: *const Key, function: *const c_void) -> c_int {
    // SAFETY: the caller's duty.
    unsafe { set(key, Kind::Call, function.expose_provenance() as u64) }
}

/// # Safety
/// As for [`textpoke_apply`].
unsafe fn set(key: *const Key, kind: Kind, value: u64) -> c_int {
    // SAFETY: the caller's duty.
    let key = match unsafe { key_at(key) } {
        Ok(key) if key.kind == kind as u8 => key,
        Ok(key) => return report(Err(Failure::argument(format!("the key at {key:p} is of another kind")))),
        Err(failure) => return report(Err(failure)),
    };
    let request = Request { key: core::ptr::from_ref(key).cast(), ask: 4, value };
    // SAFETY: the caller's duty.
    unsafe { textpoke_apply(&raw const request, 1) }
}

/// Allows changes by single stores everywhere.
///
/// # Safety
/// That of [`assume_word_stores`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn textpoke_assume_word_stores() {
    // SAFETY: the caller's duty.
    unsafe { assume_word_stores() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use textpoke::{read_imm, static_imm, static_key};

    static_key! { static ON: bool = false; }
    static_imm! {
        static SMALL: i8 = 5;
        static PLAIN: u16 = 5;
    }

    #[test]
    fn what_cannot_be_is_told() {
        let argument = Code::Argument as c_int;
        let (on, small, plain) = (core::ptr::from_ref(ON.raw()), SMALL.raw(), PLAIN.raw());
        // SAFETY: the keys are statics; bad pointers are not followed.
        unsafe {
            assert_eq!(textpoke_key_enable(core::ptr::null()), argument);
            assert_eq!(textpoke_key_enable(on.cast::<u8>().add(8).cast()), argument);
            assert_eq!(textpoke_key_enable(small), argument);
            assert_eq!(textpoke_imm_set(on, 1), argument);
            assert_eq!(textpoke_call_replace(small, core::ptr::null()), argument);
            for bad in [256, 1 << 40, (-129i64) as u64] {
                assert_eq!(textpoke_imm_set(small, bad), argument, "{bad:#x}");
            }
            for (good, reads) in [((-128i64) as u64, -128), (255, -1), (7, 7)] {
                assert_eq!(textpoke_imm_set(small, good), 0);
                assert_eq!(read_imm!(SMALL), reads);
            }
            assert_eq!(textpoke_imm_set(plain, 65536), argument);
            assert_eq!(textpoke_imm_set(plain, 65535), 0);
            assert_eq!(textpoke_apply(core::ptr::null(), 0), 0);
            assert_eq!(textpoke_apply(core::ptr::null(), 1), argument);
            let request = |key: *const Key, ask, value| Request { key: key.cast(), ask, value };
            for bad in [request(on, 4, 1), request(on, 5, 0), request(small, 0, 0)] {
                let both = [request(on, 2, 0), bad];
                assert_eq!(textpoke_apply(both.as_ptr(), 2), argument);
            }
            assert_eq!(ON.count(), 0, "all or none");
            assert_eq!(textpoke_key_dec(on), Code::NotCounted as c_int);
            let twice = [request(on, 2, 0), request(on, 2, 0)];
            assert_eq!(textpoke_apply(twice.as_ptr(), 2), 0);
            assert_eq!(textpoke_key_disable(on), Code::Counted as c_int);
            assert_eq!((textpoke_key_dec(on), textpoke_key_disable(on), ON.is_enabled()), (0, 0, false));
        }
    }
}
