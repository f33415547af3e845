//! Numbers that are operands of the instruction that reads them.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use crate::abi::{Key, Kind};
use crate::change::{Ask, Change, Machine};

/// What an immediate value can be: a plain number of 1 to 8 bytes.
pub trait Immediate: Copy {
    /// From the register that it was loaded to.
    fn from_bits(bits: u64) -> Self;
    /// As it is loaded, with zeros above.
    fn to_bits(self) -> u64;
}

macro_rules! immediate {
    ($($number:ty: $bits:ty),*) => {$(
        impl Immediate for $number {
            fn from_bits(bits: u64) -> Self {
                bits as $number
            }
            fn to_bits(self) -> u64 {
                u64::from(self as $bits)
            }
        }
    )*};
}
immediate!(u8: u8, u16: u16, u32: u32, u64: u64, i8: u8, i16: u16, i32: u32, i64: u64);

/// A number that costs one MOV to read and that can be changed, made by [`static_imm!`](crate::static_imm).
#[repr(transparent)]
pub struct StaticImm<T, const INITIAL: u64, M> {
    key: Key,
    value: PhantomData<fn() -> (T, M)>,
}

impl<T: Immediate, const INITIAL: u64, M> StaticImm<T, INITIAL, M> {
    /// For the macro only.
    #[doc(hidden)]
    pub const fn new(name: &'static str, file: &'static str, line: u32) -> Self {
        let initial = core::ptr::without_provenance(INITIAL as usize);
        let key = Key::new(Kind::Imm, size_of::<T>() as u8, 0, initial, name, file, line);
        Self { key, value: PhantomData }
    }

    /// The value that every thread reads, from memory.
    pub fn get(&self) -> T {
        T::from_bits(self.key.value.load(Ordering::Acquire).addr() as u64)
    }

    /// The key as the tables know it.
    pub const fn raw(&self) -> &Key {
        &self.key
    }

    /// Changes it. When it returns, every thread that reads it reads the new value. No thread ever reads a mixture.
    ///
    /// # Errors
    /// The machine's. Nothing has changed then.
    pub fn set(&'static self, value: T) -> Result<(), M::Error>
    where
        M: Machine,
    {
        M::apply(&[Change { key: &self.key, ask: Ask::Set(value.to_bits()) }])
    }

    #[doc(hidden)]
    pub fn __of(&self, bits: u64) -> T {
        T::from_bits(bits)
    }

    /// What the macro reads where no instruction can hold it.
    #[doc(hidden)]
    pub fn __load(&self) -> T {
        T::from_bits(self.key.value.load(Ordering::Relaxed).addr() as u64)
    }
}

impl<T: Immediate, const INITIAL: u64, M> core::fmt::Debug for StaticImm<T, INITIAL, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("StaticImm").field(&self.get().to_bits()).finish()
    }
}

#[doc(hidden)]
pub const fn initial_of<T, const INITIAL: u64, M>(_: &StaticImm<T, INITIAL, M>) -> u64 {
    INITIAL
}

#[doc(hidden)]
pub const fn is_wide<T, const INITIAL: u64, M>(_: &StaticImm<T, INITIAL, M>) -> u8 {
    (size_of::<T>() > 4) as u8
}

/// Defines immediate values: `static_imm! { in MyMachine; pub static LIMIT: u32 = 100; }`. Types: `u8` to `u64`, `i8` to
/// `i64`.
#[macro_export]
macro_rules! static_imm {
    (in $machine:ty; $($values:tt)*) => {
        $crate::__static_imms! { () $machine; $($values)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __static_imms {
    (($($hooks:tt)*) $machine:ty;
        $($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $initial:expr);* $(;)?) => {
        $($crate::__static_imm!([$(#[$meta])*] [$vis] $name $type, $initial, $machine);)*
        $crate::__object!($($hooks)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __static_imm {
    ([$($meta:tt)*] [$vis:vis] $name:ident $type:ty, $initial:expr, $machine:ty) => {
        $($meta)*
        #[allow(unsafe_code, reason = "the section of the keys")]
        #[unsafe(link_section = "textpoke_keys")]
        $vis static $name: $crate::StaticImm<$type, {
            let initial: $type = $initial;
            // Sign and size go, the bits stay.
            (initial as u64) & (u64::MAX >> (64 - 8 * size_of::<$type>()))
        }, $machine> = $crate::StaticImm::new(concat!(module_path!(), "::", stringify!($name)), file!(), line!());
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __imm {
    ((), $key:path) => {
        $crate::__imm!(@ ($crate::__note!()), (), $key)
    };
    (($coming:path, $going:path), $key:path) => {
        $crate::__imm!(@ ($crate::__note!(), $crate::__hooks!()), (coming = sym $coming, going = sym $going,), $key)
    };
    (@ ($($shared:expr),*), ($($operands:tt)*), $key:path) => {
        $crate::__read!($key, ($($shared),*), ($($operands)*))
    };
}

/// Reads an immediate value, for a kernel or wherever no library looks after the tables.
#[macro_export]
macro_rules! read_imm {
    ($key:path) => {
        $crate::__imm!((), $key)
    };
}
