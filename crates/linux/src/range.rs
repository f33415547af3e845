//! Parts of an address space and their protections.

use crate::sys::flags::{PROT_EXEC, PROT_READ, PROT_WRITE};

/// Protections of pages, with the kernel's bits.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prot(pub u32);

impl Prot {
    /// Read and execute: ordinary text.
    pub const RX: Self = Self(PROT_READ | PROT_EXEC);
    /// Read, write and execute: text inside a window.
    pub const RWX: Self = Self(PROT_READ | PROT_WRITE | PROT_EXEC);

    /// Whether pages can be read.
    pub const fn reads(self) -> bool {
        self.0 & PROT_READ != 0
    }

    /// Whether pages can be written.
    pub const fn writes(self) -> bool {
        self.0 & PROT_WRITE != 0
    }
}

/// Whole pages with one protection, usually one line of `/proc/PID/maps`. Plain old data: the tracer writes it for the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address, a multiple of the page size.
    pub start: u64,
    /// First address behind it, a multiple of the page size.
    pub end: u64,
    /// The protections it has, to which it is restored.
    pub prot: Prot,
    /// Zero.
    pub reserved: u32,
}

impl Range {
    /// A range with its protections.
    pub const fn new(start: u64, end: u64, prot: Prot) -> Self {
        Self { start, end, prot, reserved: 0 }
    }

    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `[start, end)` lies inside.
    pub const fn covers(&self, start: u64, end: u64) -> bool {
        self.start <= start && end <= self.end
    }
}
