//! Keys that are on or off.

use core::marker::PhantomData;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::abi::{Key, Kind};
use crate::change::{Ask, Change, Machine};

/// A key that is on or off, made by [`static_key!`](crate::static_key): `DEFAULT` is what it is in the file, `M` who
/// changes it.
#[repr(transparent)]
pub struct StaticKey<const DEFAULT: bool, M> {
    key: Key,
    machine: PhantomData<fn() -> M>,
}

impl<const DEFAULT: bool, M> StaticKey<DEFAULT, M> {
    /// For the macro only: a key that is not in its section is not found.
    #[doc(hidden)]
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
        let initial = core::ptr::without_provenance(DEFAULT as usize);
        let key = Key::new(Kind::Branch, 1, DEFAULT as u32, initial, name, file, line);
        Self { key, machine: PhantomData }
    }

    /// For the macro only.
    #[doc(hidden)]
    pub const fn array<const N: usize>(name: &'static str, file: &'static str, line: u32) -> [Self; N] {
        assert!(N > 0 && N <= u16::MAX as usize, "an array of keys has 1 to 65535 of them");
        let mut all = [const { Self::new("", "", 0) }; N];
        let mut i = 0;
        while i < N {
            let key = &mut all[i].key;
            (key.name, key.name_len) = (name.as_ptr(), name.len() as u32);
            (key.file, key.file_len) = (file.as_ptr(), file.len() as u32);
            (key.line, key.index) = (line, i as u32);
            i += 1;
        }
        all
    }

    /// Whether every thread sees it on. It changes when the code has: who reads *on* here (Acquire; pairs with the
    /// Release of the change) finds every branch on.
    pub fn is_enabled(&self) -> bool {
        !self.key.value.load(Acquire).is_null()
    }

    /// How many have it on: see [`StaticKey::inc`].
    pub fn count(&self) -> u32 {
        self.key.count.load(Acquire)
    }

    /// The key as the tables know it.
    pub const fn raw(&self) -> &Key {
        &self.key
    }
}

impl<const DEFAULT: bool, M: Machine> StaticKey<DEFAULT, M> {
    /// Turns it on, if it is off. When it returns, every branch on it is taken so by every thread.
    ///
    /// # Errors
    /// The machine's. Then nothing has changed, here and below.
    pub fn enable(&'static self) -> Result<(), M::Error> {
        if self.is_enabled() && self.count() != 0 {
            return Ok(());
        }
        self.change(Ask::Enable)
    }

    /// Turns it off, if it is on.
    ///
    /// # Errors
    /// The machine's, and [`Misuse::Counted`](crate::change::Misuse::Counted) if more than one have it on.
    pub fn disable(&'static self) -> Result<(), M::Error> {
        if !self.is_enabled() && self.count() == 0 {
            return Ok(());
        }
        self.change(Ask::Disable)
    }

    /// [`StaticKey::enable`] or [`StaticKey::disable`].
    ///
    /// # Errors
    /// As these.
    pub fn set(&'static self, on: bool) -> Result<(), M::Error> {
        if on { self.enable() } else { self.disable() }
    }

    /// One more has it on. Only the first changes code.
    ///
    /// # Errors
    /// The machine's, and [`Misuse::Full`](crate::change::Misuse::Full).
    pub fn inc(&'static self) -> Result<(), M::Error> {
        // From 0 a change of the code is due or under way, and at the end there is an error to be made.
        match self.key.count.fetch_update(AcqRel, Relaxed, |n| (n != 0 && n != u32::MAX).then(|| n + 1)) {
            Ok(_) => Ok(()),
            Err(_) => self.change(Ask::Increment),
        }
    }

    /// One less has it on. The last one changes code.
    ///
    /// # Errors
    /// The machine's, and [`Misuse::NotCounted`](crate::change::Misuse::NotCounted).
    pub fn dec(&'static self) -> Result<(), M::Error> {
        match self.key.count.fetch_update(AcqRel, Relaxed, |n| (n > 1).then(|| n - 1)) {
            Ok(_) => Ok(()),
            Err(_) => self.change(Ask::Decrement),
        }
    }

    fn change(&'static self, ask: Ask) -> Result<(), M::Error> {
        M::apply(&[Change { key: &self.key, ask }])
    }
}

impl<const DEFAULT: bool, M> core::fmt::Debug for StaticKey<DEFAULT, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StaticKey").field("enabled", &self.is_enabled()).field("count", &self.count()).finish()
    }
}

#[doc(hidden)]
pub const fn default_of<const DEFAULT: bool, M>(_: &StaticKey<DEFAULT, M>) -> bool {
    DEFAULT
}

#[doc(hidden)]
pub const fn default_in<const DEFAULT: bool, M, const N: usize>(_: &[StaticKey<DEFAULT, M>; N], index: u16) -> bool {
    assert!((index as usize) < N, "no key of the array has this index");
    DEFAULT
}

/// Defines static keys and arrays of them, changed by a machine of one's own, whose type is named first.
///
/// ```
/// # enum Mine {}
/// # #[derive(Debug)] struct Nothing;
/// # impl From<textpoke_keys::change::Misuse> for Nothing { fn from(_: textpoke_keys::change::Misuse) -> Self { Self } }
/// # impl textpoke_keys::change::Machine for Mine {
/// #     type Error = Nothing;
/// #     fn apply(_: &[textpoke_keys::change::Change]) -> Result<(), Nothing> { Ok(()) }
/// # }
/// textpoke_keys::static_key! {
///     in Mine;
///     /// Whether to tell more.
///     pub static VERBOSE: bool = false;
///     static FEATURES: [bool; 8] = true;
/// }
/// assert!(!VERBOSE.is_enabled() && FEATURES[7].is_enabled());
/// ```
#[macro_export]
macro_rules! static_key {
    (in $machine:ty; $($keys:tt)*) => {
        $crate::__static_key! { () $machine; $($keys)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __static_key {
    (($($hooks:tt)*) $machine:ty;
        $($(#[$meta:meta])* $vis:vis static $name:ident: $type:tt = $default:literal);* $(;)?) => {
        $($crate::__key!($type [$(#[$meta])*] [$vis] $name $default $machine);)*
        $crate::__object!($($hooks)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __key {
    (bool [$($meta:tt)*] [$vis:vis] $name:ident $default:literal $machine:ty) => {
        $($meta)*
        #[allow(unsafe_code, reason = "the section of the keys")]
        #[unsafe(link_section = "textpoke_keys")]
        $vis static $name: $crate::StaticKey<$default, $machine> =
            $crate::StaticKey::new(concat!(module_path!(), "::", stringify!($name)), file!(), line!());
    };
    ([bool; $n:expr] [$($meta:tt)*] [$vis:vis] $name:ident $default:literal $machine:ty) => {
        $($meta)*
        #[allow(unsafe_code, reason = "the section of the keys")]
        #[unsafe(link_section = "textpoke_keys")]
        $vis static $name: [$crate::StaticKey<$default, $machine>; $n] =
            $crate::StaticKey::array(concat!(module_path!(), "::", stringify!($name)), file!(), line!());
    };
}
