//! Conversions for other programs.
