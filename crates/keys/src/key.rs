//! Keys that are on or off.

use core::sync::atomic::Ordering;

use crate::abi::{Key, Kind};

/// A key that is on or off, made by [`static_key!`](crate::static_key); `DEFAULT` is what it is in the file.
#[repr(transparent)]
#[derive(Debug)]
pub struct StaticKey<const DEFAULT: bool>(Key);

impl<const DEFAULT: bool> StaticKey<DEFAULT> {
    /// For the macro only: a key that is not in its section is not found.
    #[doc(hidden)]
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
        let initial = core::ptr::without_provenance(DEFAULT as usize);
        Self(Key::new(Kind::Branch, 1, DEFAULT as u32, initial, name, file, line))
    }

    /// For the macro only.
    #[doc(hidden)]
    pub const fn array<const N: usize>(name: &'static str, file: &'static str, line: u32) -> [Self; N] {
        assert!(N > 0 && N <= u16::MAX as usize, "an array of keys has 1 to 65535 of them");
        let mut all = [const { Self::new("", "", 0) }; N];
        let mut i = 0;
        while i < N {
            let key = &mut all[i].0;
            (key.name, key.name_len) = (name.as_ptr(), name.len() as u32);
            (key.file, key.file_len) = (file.as_ptr(), file.len() as u32);
            (key.line, key.index) = (line, i as u32);
            i += 1;
        }
        all
    }

    /// Whether every thread sees it on. It changes when the code has: somebody who reads *on* here (Acquire; pairs with
    /// the Release of the flip) finds every branch on.
    pub fn is_enabled(&self) -> bool {
        !self.0.value.load(Ordering::Acquire).is_null()
    }

    /// How many have it on: see `inc` and `dec`.
    pub fn count(&self) -> u32 {
        self.0.count.load(Ordering::Acquire)
    }

    /// The key as the tables know it.
    pub const fn raw(&self) -> &Key {
        &self.0
    }
}

#[doc(hidden)]
pub const fn default_of<const DEFAULT: bool>(_: &StaticKey<DEFAULT>) -> bool {
    DEFAULT
}

#[doc(hidden)]
pub const fn default_in<const DEFAULT: bool, const N: usize>(_: &[StaticKey<DEFAULT>; N], index: u16) -> bool {
    assert!((index as usize) < N, "no key of the array has this index");
    DEFAULT
}

/// Defines a static key, or an array of keys.
///
/// ```
/// textpoke_keys::static_key! {
///     /// Whether to tell more.
///     pub static VERBOSE: bool = false;
///     static FEATURES: [bool; 8] = true;
/// }
/// assert!(!VERBOSE.is_enabled() && FEATURES[7].is_enabled());
/// ```
#[macro_export]
macro_rules! static_key {
    ($($(#[$meta:meta])* $vis:vis static $name:ident: $type:tt = $default:literal);* $(;)?) => {
        $($crate::static_key!(@ $type $(#[$meta])* $vis $name $default);)*
    };
    (@ bool $(#[$meta:meta])* $vis:vis $name:ident $default:literal) => {
        $(#[$meta])*
        #[allow(unsafe_code, reason = "the section of the keys")]
        #[unsafe(link_section = "textpoke_keys")]
        $vis static $name: $crate::key::StaticKey<$default> =
            $crate::key::StaticKey::new(concat!(module_path!(), "::", stringify!($name)), file!(), line!());
    };
    (@ [bool; $n:expr] $(#[$meta:meta])* $vis:vis $name:ident $default:literal) => {
        $(#[$meta])*
        #[allow(unsafe_code, reason = "the section of the keys")]
        #[unsafe(link_section = "textpoke_keys")]
        $vis static $name: [$crate::key::StaticKey<$default>; $n] =
            $crate::key::StaticKey::array(concat!(module_path!(), "::", stringify!($name)), file!(), line!());
    };
}
