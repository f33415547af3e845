//! (in construction)
#![no_std]
