//! The macros of the crate `tracing`, whose callsites cost one NOP while no subscriber wants them. Feature `tracing`.
//!
//! ```
//! use textpoke::tracing::{Level, event, info, span};
//!
//! fn serve(n: u32) {
//!     let _span = span!(Level::INFO, "serve", n).entered();
//!     info!(n, "served");
//!     event!(Level::TRACE, "in detail");
//! }
//! serve(3);
//! ```
//!
//! Each callsite has a key, which follows what the subscribers answer when they are asked for their interest, also
//! when a filter is reloaded (`tracing::callsite::rebuild_interest_cache`). It is on until the callsite is reached for the
//! first time: then it is registered, and turned off if nobody is interested. Filters that decide by the *fields* of an
//! event are asked without them, and are heard if they answer "sometimes", as `EnvFilter` does.

use std::sync::Once;

use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::field::FieldSet;
use tracing_core::metadata::{Kind, Metadata};
use tracing_core::subscriber::Interest;

use crate::keys::StaticKey;

#[doc(hidden)]
pub use tracing as __tracing;
pub use tracing::{Level, Span};
#[doc(hidden)]
pub use tracing_core as __core;

/// A callsite that turns its key by the interest in it. Made by the macros only.
#[doc(hidden)]
#[derive(Debug)]
pub struct Keyed {
    pub key: &'static StaticKey<true>,
    pub metadata: &'static Metadata<'static>,
    pub registered: Once,
}

impl Keyed {
    /// Registers it, the first time.
    pub fn reached(&'static self) {
        self.registered.call_once(|| tracing_core::callsite::register(self));
    }

    /// What there is to know about a callsite but its fields.
    pub const fn describe(
        level: Level,
        target: &'static str,
        kind: Kind,
        file: &'static str,
        line: u32,
        module: &'static str,
        site: &'static Self,
    ) -> Metadata<'static> {
        let fields = FieldSet::new(&[], Identifier(site));
        Metadata::new("textpoke", target, level, Some(file), Some(line), Some(module), fields, kind)
    }
}

impl Callsite for Keyed {
    fn set_interest(&self, interest: Interest) {
        // Where the code cannot be changed the callsite stays as it is, which is right when it is on, and `tracing` decides.
        let _ = self.key.set(!interest.is_never());
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tracing_is_on {
    ($kind:ident, $level:expr) => {{
        $crate::static_key! { static KEY: bool = true; }
        static SITE: $crate::tracing::Keyed =
            $crate::tracing::Keyed { key: &KEY, metadata: &METADATA, registered: ::std::sync::Once::new() };
        static METADATA: $crate::tracing::__core::Metadata<'static> = $crate::tracing::Keyed::describe(
            $level,
            module_path!(),
            $crate::tracing::__core::metadata::Kind::$kind,
            file!(),
            line!(),
            module_path!(),
            &SITE,
        );
        // Not in line: most of the time nobody is interested.
        let on = $crate::static_branch_unlikely!(KEY);
        if on {
            SITE.reached();
        }
        on
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tracing_event {
    ($level:expr, $($event:tt)+) => {
        if $crate::__tracing_is_on!(EVENT, $level) {
            $crate::tracing::__tracing::event!($level, $($event)+);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tracing_span {
    ($level:expr, $($span:tt)+) => {
        if $crate::__tracing_is_on!(SPAN, $level) {
            $crate::tracing::__tracing::span!($level, $($span)+)
        } else {
            $crate::tracing::Span::none()
        }
    };
}

/// An event, as [`tracing::event!`], without `target:` and the like in front of the level.
#[doc(inline)]
pub use crate::__tracing_event as event;
/// A span, as [`tracing::span!`], without `target:` and the like in front of the level; [`Span::none`] while it is off.
#[doc(inline)]
pub use crate::__tracing_span as span;

macro_rules! levels {
    ($dollar:tt $($name:ident $hidden:ident $level:ident,)*) => {$(
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $hidden {
            ($dollar($dollar event:tt)+) => {
                $crate::__tracing_event!($crate::tracing::Level::$level, $dollar($dollar event)+)
            };
        }
        #[doc = concat!("An event of the level ", stringify!($level), ", as the macro of the same name in `tracing`.")]
        #[doc(inline)]
        pub use $hidden as $name;
    )*};
}
levels! {
    $
    error __tracing_error ERROR,
    warn __tracing_warn WARN,
    info __tracing_info INFO,
    debug __tracing_debug DEBUG,
    trace __tracing_trace TRACE,
}
