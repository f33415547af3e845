//! The macros of the crate `log`, which cost one NOP while their level is off. Feature `log`.
//!
//! ```
//! use textpoke::log::{LevelFilter, debug, info};
//!
//! textpoke::log::set_max_level(LevelFilter::Info)?;
//! info!("goes to the logger that is installed");
//! debug!("costs a NOP, and {} is not evaluated", unreachable!());
//! # #[allow(unreachable_code)]
//! # Ok::<(), textpoke::keys::KeyError>(())
//! ```
//!
//! The logger is the one of the crate `log`, and so are the records; only the question whether a level is on at all is
//! asked by a branch instead of a load and a comparison. Where the compiler has taken a level out (`log`'s features
//! `max_level_…`), nothing is left of it. Levels are off until [`set_max_level`] is called, and can be turned from
//! outside: `textpoke keys PID enable 'LEVELS[3]'`.

use crate::keys::{Changes, KeyError};

#[doc(hidden)]
pub use log as __log;
pub use log::{Level, LevelFilter};

crate::static_key! {
    /// Error, Warn, Info, Debug, Trace.
    #[doc(hidden)]
    pub static LEVELS: [bool; 5] = false;
}

/// Lets records up to this level through, here and in `log`, whose own macros go on working.
///
/// # Errors
/// When the code cannot be changed. Nothing is let through that was not before.
pub fn set_max_level(max: LevelFilter) -> Result<(), KeyError> {
    let mut changes = Changes::new();
    for (key, level) in LEVELS.iter().zip(Level::iter()) {
        if level <= max {
            changes.enable(key)
        } else {
            changes.disable(key)
        };
    }
    changes.apply()?;
    log::set_max_level(max);
    Ok(())
}

macro_rules! levels {
    ($dollar:tt $($name:ident $hidden:ident $index:literal $level:literal,)*) => {$(
        #[doc(hidden)]
        #[macro_export]
        macro_rules! $hidden {
            ($dollar($dollar record:tt)+) => {
                if $crate::static_branch_unlikely!($crate::log::LEVELS[$index]) {
                    $crate::log::__log::$name!($dollar($dollar record)+);
                }
            };
        }
        #[doc = concat!("Logs at the level ", $level, ", as the macro of the same name in `log`.")]
        #[doc(inline)]
        pub use $hidden as $name;
    )*};
}
levels! {
    $
    error __log_error 0 "Error",
    warn __log_warn 1 "Warn",
    info __log_info 2 "Info",
    debug __log_debug 3 "Debug",
    trace __log_trace 4 "Trace",
}
