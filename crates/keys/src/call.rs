//! Calls whose target is the operand of the CALL.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use crate::abi::{Key, Kind};
use crate::change::{Ask, Change, Machine};

/// What can be an argument of a static call: what the C calling convention puts in one integer register.
pub trait Argument: Copy {
    /// The register.
    fn to_register(self) -> u64;
}

/// What a static call can return; without a function it is zero.
pub trait Returned {
    /// From the first result register.
    fn from_register(result: u64) -> Self;
}

macro_rules! integers {
    ($($number:ty),*) => {$(
        impl Returned for $number {
            fn from_register(result: u64) -> Self {
                result as $number
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

macro_rules! arguments {
    ($($number:ty),*) => {$(
        impl Argument for $number {
            fn to_register(self) -> u64 {
                self as u64
            }
        }
    )*};
}
arguments!(u8, u16, u64, usize, i8, i16, i32, i64, isize);

impl Argument for u32 {
    fn to_register(self) -> u64 {
        // RISC-V's convention has all numbers of 32 bits sign-extended, and the others do not look.
        self as i32 as u64
    }
}

impl Argument for bool {
    fn to_register(self) -> u64 {
        u64::from(self)
    }
}

impl Returned for bool {
    fn from_register(result: u64) -> Self {
        result & 1 != 0
    }
}

impl Returned for () {
    fn from_register(_: u64) {}
}

impl<T> Argument for *const T {
    fn to_register(self) -> u64 {
        self.expose_provenance() as u64
    }
}

impl<T> Argument for *mut T {
    fn to_register(self) -> u64 {
        self.expose_provenance() as u64
    }
}

impl<T> Returned for *const T {
    fn from_register(result: u64) -> Self {
        core::ptr::with_exposed_provenance(result as usize)
    }
}

impl<T> Returned for *mut T {
    fn from_register(result: u64) -> Self {
        core::ptr::with_exposed_provenance_mut(result as usize)
    }
}

/// A function type that a static call can have: `extern "C" fn` of up to six [`Argument`]s.
pub trait Signature: Copy {
    /// The arguments, a tuple.
    type Arguments;
    /// The result.
    type Result: Returned;
    /// The six argument registers.
    fn registers(arguments: Self::Arguments) -> [u64; 6];
    /// Address of the function.
    fn address(self) -> *const ();
    /// Whether there is a result, which is 0 where there is no function.
    const ZERO: u8;
}

macro_rules! signatures {
    ($(($($name:ident $at:tt),*))*) => {$(
        impl<$($name: Argument,)* R: Returned> Signature for extern "C" fn($($name),*) -> R {
            type Arguments = ($($name,)*);
            type Result = R;
            #[allow(unused_variables, reason = "there may be no arguments")]
            fn registers(arguments: Self::Arguments) -> [u64; 6] {
                #[allow(unused_mut, reason = "there may be no arguments")]
                let mut registers = [0; 6];
                $(registers[$at] = arguments.$at.to_register();)*
                registers
            }
            fn address(self) -> *const () {
                self as *const ()
            }
            const ZERO: u8 = if size_of::<R>() == 0 { 0 } else { crate::abi::ZERO };
        }
    )*};
}
signatures!(()(A 0)(A 0, B 1)(A 0, B 1, C 2)(A 0, B 1, C 2, D 3)(A 0, B 1, C 2, D 3, E 4)(A 0, B 1, C 2, D 3, E 4, F 5));

/// A function that all its call sites call directly, and that can be exchanged, made by
/// [`static_call!`](crate::static_call).
#[repr(transparent)]
pub struct StaticCall<F, M> {
    key: Key,
    function: PhantomData<fn() -> (F, M)>,
}

impl<F: Signature, M> StaticCall<F, M> {
    /// For the macro only: `function` is a function of type F or null.
    #[doc(hidden)]
    pub const fn new(function: *const (), name: &'static str, file: &'static str, line: u32) -> Self {
        Self { key: Key::new(Kind::Call, 8, 0, function, name, file, line), function: PhantomData }
    }

    /// Address of the function that every thread calls, or null.
    pub fn get(&self) -> *const () {
        self.key.value.load(Ordering::Acquire)
    }

    /// The key as the tables know it.
    pub const fn raw(&self) -> &Key {
        &self.key
    }

    /// Exchanges the function, or takes it away. When it returns, every thread that gets to a call site calls the new one;
    /// the old one may still be running.
    ///
    /// # Errors
    /// The machine's: among others, when the function is more than 2 GiB away from a call site. Nothing has changed then.
    pub fn set(&'static self, function: Option<F>) -> Result<(), M::Error>
    where
        M: Machine,
    {
        let address = function.map_or(core::ptr::null(), F::address);
        M::apply(&[Change { key: &self.key, ask: Ask::Set(address.expose_provenance() as u64) }])
    }

    #[doc(hidden)]
    pub fn __registers(&self, arguments: F::Arguments) -> [u64; 6] {
        F::registers(arguments)
    }

    #[doc(hidden)]
    pub fn __result(&self, result: u64) -> F::Result {
        F::Result::from_register(result)
    }
}

impl<F: Signature, M> core::fmt::Debug for StaticCall<F, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("StaticCall").field(&self.get()).finish()
    }
}

#[doc(hidden)]
pub const fn zero_of<F: Signature, M>(_: &StaticCall<F, M>) -> u8 {
    1 | F::ZERO
}

/// Where a call site leads before anybody set its key: code that loads the function from the key.
#[doc(hidden)]
pub trait Trampoline {
    /// Not to be called otherwise.
    extern "C" fn trampoline();
}

/// Defines a static call: a function of type `extern "C" fn` with up to six integers or pointers, which starts as the
/// function given, or as none: then calls do nothing and return zero.
///
/// ```
/// extern "C" fn twice(n: u32) -> u32 {
///     2 * n
/// }
/// # enum Mine {}
/// textpoke_keys::static_call! {
///     in Mine;
///     pub static SCALE: extern "C" fn(u32) -> u32 = twice;
///     static HOOK: extern "C" fn(u32, *const u8) = None;
/// }
/// assert_eq!(textpoke_keys::call!(SCALE(4)), 8);
/// textpoke_keys::call!(HOOK(1, std::ptr::null()));
/// ```
#[macro_export]
macro_rules! static_call {
    (in $machine:ty; $($calls:tt)*) => {
        $crate::__static_calls! { () $machine; $($calls)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __static_calls {
    (($($hooks:tt)*) $machine:ty;
        $($(#[$meta:meta])* $vis:vis static $name:ident: $type:ty = $function:ident);* $(;)?) => {
        $($crate::__static_call!([$(#[$meta])*] [$vis] $name [$type] $function $machine);)*
        $crate::__object!($($hooks)*);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __static_call {
    ([$($meta:tt)*] [$vis:vis] $name:ident [$type:ty] $function:ident $machine:ty) => {
        #[doc(hidden)]
        #[allow(non_camel_case_types, reason = "named like the static, so that importing one imports both")]
        $vis enum $name {}
        impl $crate::__call::Trampoline for $name {
            #[allow(unsafe_code, reason = "no compiler may use a register here")]
            #[unsafe(naked)]
            extern "C" fn trampoline() {
                $crate::__trampoline!($name)
            }
        }
        $($meta)*
        #[allow(unsafe_code, reason = "the section of the keys")]
        #[unsafe(link_section = "textpoke_keys")]
        $vis static $name: $crate::StaticCall<$type, $machine> = $crate::StaticCall::new(
            $crate::__static_call!(@ $function $type),
            concat!(module_path!(), "::", stringify!($name)),
            file!(),
            line!(),
        );
    };
    (@ None $type:ty) => { ::core::ptr::null() };
    (@ $function:ident $type:ty) => {{
        let function: $type = $function;
        function as *const ()
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    ((), $($key:ident)::+ ($($argument:expr),*)) => {
        $crate::__call!(@ ($crate::__note!()), (), [$($key)::+] [$($key)::+] ($($argument,)*))
    };
    (($coming:path, $going:path), $($key:ident)::+ ($($argument:expr),*)) => {
        $crate::__call!(@ ($crate::__note!(), $crate::__hooks!()), (coming = sym $coming, going = sym $going,),
            [$($key)::+] [$($key)::+] ($($argument,)*))
    };
    (@ ($($shared:expr),*), ($($operands:tt)*), [$key:path] [$type:ty] ($($argument:expr,)*)) => {{
        let registers = $key.__registers(($($argument,)*));
        let result: u64;
        // SAFETY: what is called has this signature, and clobbers what its convention lets it. The stack is aligned and
        // nothing is in use below the stack pointer, since the option `nostack` is not given.
        #[allow(unsafe_code, reason = "a site is an instruction")]
        unsafe {
            $crate::__call_site!(registers, result, ($($shared),*), (
                trampoline = sym <$type as $crate::__call::Trampoline>::trampoline,
                flags = const $crate::__call::zero_of(&$key),
                k = sym $key,
                $($operands)*
            ))
        };
        $key.__result(result)
    }};
}

/// Calls a static call, for a kernel or wherever no library looks after the tables: `call!(SCALE(4))`.
#[macro_export]
macro_rules! call {
    ($($call:tt)*) => { $crate::__call!((), $($call)*) };
}
