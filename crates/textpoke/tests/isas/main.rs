//! The engine on the instruction set that this is built for: one table of tests for all, instruction bytes from one file
//! each. On AArch64 and RISC-V it usually runs under an emulator, which shows encodings, registers, traps and sequencing,
//! and not the order of instruction fetch.

#![allow(unsafe_code, reason = "the tests generate, execute and change machine code")]

mod a64;
mod arena;
mod entries;
mod pairs;
mod parking;
mod rv64;
mod singles;
mod storm;
mod switches;
mod x64;

use textpoke::core::Site;

use arena::Arena;

/// A function with one site in it, which takes and returns a number.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Where it begins.
    pub entry: u64,
    /// What changes.
    pub site: Site,
    /// What it returns for 0 and for 1 while the site is old.
    pub old: [u64; 2],
    /// While it is new.
    pub new: [u64; 2],
    /// How often a call runs through the site. Each time adds the difference, if there are several.
    pub rounds: u64,
}

impl Function {
    /// Calls it.
    pub fn call(&self, arg: u64) -> u64 {
        // SAFETY: generated code that keeps the calling convention.
        unsafe { std::mem::transmute::<u64, extern "C" fn(u64) -> u64>(self.entry)(arg) }
    }

    /// How many rounds were new, or `None` if the result is wrong.
    pub fn new_rounds(&self, arg: u64, result: u64) -> Option<u64> {
        let (old, new) = (self.old[arg as usize], self.new[arg as usize]);
        (0..=self.rounds).find(|&n| {
            let mixed = old.wrapping_add(new.wrapping_sub(old).wrapping_div(self.rounds.max(1)).wrapping_mul(n));
            result == if self.rounds == 1 { [old, new][n as usize] } else { mixed }
        })
    }
}

/// What an instruction set brings along.
pub struct Isa {
    /// Functions whose sites are one instruction: every pair of forms, at every kind of address.
    pub singles: fn(&mut Arena) -> Vec<Function>,
    /// Functions whose sites are several, in loops: all become one, or several others.
    pub pairs: fn(&mut Arena) -> Vec<Function>,
    /// A function of one NOP that a [`textpoke::Switch`] may take over: it returns 1; and two others, which return 2 and
    /// whatever the argument was, plus 3.
    pub switch: fn(&mut Arena) -> [u64; 3],
    /// A function with a patchable entry of two instructions, and a tracer for it (see [`entries::ADDS`]).
    pub entry: fn(&mut Arena) -> Option<[u64; 2]>,
    /// A function that begins with a site, whose new form leads into the other arena, where code is to be guarded against
    /// indirect branches.
    pub guarded: fn(&mut Arena, &mut Arena) -> Option<Function>,
}

/// Of the instruction set that this runs on.
pub fn isa() -> Isa {
    match std::env::consts::ARCH {
        "x86_64" => x64::ISA,
        "aarch64" => a64::ISA,
        "riscv64" => rv64::ISA,
        other => panic!("no tests for {other}"),
    }
}
