//! The instructions that are changed into each other, and functions around them whose results tell which one ran.

use textpoke::core::isa::x86_64::{NOPS, call, jmp, jmp_short};
use textpoke::core::{MAX_SITE, Site};

use crate::arena::Arena;
use crate::tools::Out;

/// An instruction that a trap handler can act as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Nop,
    Jmp8,
    Jmp32,
    Call,
    Ret,
    RepRet,
    RetImm,
    /// To ECX.
    Mov5,
    /// To R9D.
    Mov6,
    /// To RCX, sign-extended.
    Mov7,
    /// If the argument is 0.
    Jz8,
    Jz32,
}
use Form::*;

impl Form {
    /// The forms that fill `len` bytes, by themselves or with INT3 behind what does not fall through.
    pub fn of_len(len: usize) -> &'static [Form] {
        match len {
            1 => &[Nop, Ret],
            2 => &[Nop, Jmp8, Jz8, Ret, RepRet],
            3 => &[Nop, Jmp8, RetImm, Ret],
            4 => &[Nop, Jmp8, RetImm, RepRet],
            5 => &[Nop, Jmp8, Jmp32, Call, Mov5, Ret, RetImm],
            6 => &[Nop, Jz32, Jmp32, Mov6, Ret],
            7 => &[Nop, Mov7, Jmp32, RetImm],
            _ => &[Nop, Jmp32, Ret, RetImm],
        }
    }

    fn encode(self, len: usize, spot: &Spot) -> Vec<u8> {
        let site = spot.site;
        let mut bytes = match self {
            Nop => NOPS[len - 1].to_vec(),
            Jmp8 => jmp_short(site, spot.jumped).unwrap().to_vec(),
            Jmp32 => jmp(site, spot.jumped).unwrap().to_vec(),
            Call => call(site, spot.called).unwrap().to_vec(),
            Ret => vec![0xc3],
            RepRet => vec![0xf3, 0xc3],
            RetImm => vec![0xc2, 16, 0],
            Mov5 => vec![0xb9, 0, 2, 0, 0],
            Mov6 => vec![0x41, 0xb9, 0, 3, 0, 0],
            Mov7 => vec![0x48, 0xc7, 0xc1, 0, 0xfc, 0xff, 0xff],
            Jz8 => vec![0x74, jmp_short(site, spot.jumped).unwrap()[1]],
            Jz32 => {
                let d = (spot.jumped - (site + 6)) as u32;
                [&[0x0f, 0x84], &d.to_le_bytes()[..]].concat()
            }
        };
        bytes.resize(len, 0xcc);
        bytes
    }

    fn out(self, id: u32, arg: u32) -> Out {
        let (next, jumped) = (next_value(id), jumped_value(id));
        let (rax, popped) = match self {
            Nop => (next, 0),
            Jmp8 | Jmp32 => (jumped, 0),
            Call => (next + 0x100, 0),
            Ret | RepRet => (early_value(id), 0),
            RetImm => (early_value(id), 16),
            Mov5 => (next + 0x200, 0),
            Mov6 => (next + 0x300, 0),
            Mov7 => (next - 0x400, 0),
            Jz8 | Jz32 if arg == 0 => (jumped, 0),
            Jz8 | Jz32 => (next, 0),
        };
        Out { rax, popped }
    }
}

// Each function has results of its own, so that one that runs into another is noticed.
fn early_value(id: u32) -> u64 {
    0x1000_0000 + u64::from(id)
}
fn next_value(id: u32) -> u64 {
    0x2000_0000 + 0x1000 * u64::from(id)
}
fn jumped_value(id: u32) -> u64 {
    0x7000_0000 + u64::from(id)
}

struct Spot {
    site: u64,
    jumped: u64,
    called: u64,
}

/// A function with a site in it.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub entry: u64,
    pub site: Site,
    id: u32,
    old: Form,
    new: Form,
}

/// Bytes that a function takes before its site.
pub const BEFORE: u64 = 12;
/// Bytes that a function takes from its site on, at the most.
pub const BEHIND: u64 = MAX_SITE as u64 + 21;

impl Function {
    /// Writes a function whose site is at `addr` and turns from `old` into `new`.
    pub fn place(arena: &mut Arena, addr: u64, id: u32, len: usize, old: Form, new: Form) -> Self {
        let next = addr + len as u64;
        let spot = Spot { site: addr, jumped: next + 9, called: next + 15 };
        let word = |value: u64| (value as u32).to_le_bytes();
        let entry = addr - BEFORE;
        // xor ecx,ecx; xor r9d,r9d; mov eax,early; test edi,edi
        let at = arena.put(entry, &[0x31, 0xc9, 0x45, 0x31, 0xc9, 0xb8]);
        let at = arena.put(at, &word(early_value(id)));
        assert_eq!(arena.put(at, &[0x85, 0xff]), addr);
        let (old_bytes, new_bytes) = (old.encode(len, &spot), new.encode(len, &spot));
        arena.put(addr, &old_bytes);
        // lea rax,[rcx+r9+next]; ret
        let at = arena.put(next, &[0x4a, 0x8d, 0x84, 0x09]);
        let at = arena.put(at, &word(next_value(id)));
        assert_eq!(arena.put(at, &[0xc3]), spot.jumped);
        // mov eax,jumped; ret
        let at = arena.put(spot.jumped, &[0xb8]);
        let at = arena.put(at, &word(jumped_value(id)));
        assert_eq!(arena.put(at, &[0xc3]), spot.called);
        // mov ecx,0x100; ret
        arena.put(spot.called, &[0xb9, 0, 1, 0, 0, 0xc3]);
        Self { entry, site: Site::single(addr, &old_bytes, &new_bytes).unwrap(), id, old, new }
    }

    /// What it must do while its site is old.
    pub fn when_old(&self, arg: u32) -> Out {
        self.old.out(self.id, arg)
    }

    /// What it must do while its site is new.
    pub fn when_new(&self, arg: u32) -> Out {
        self.new.out(self.id, arg)
    }

    /// Whether results can tell which form ran: two kinds of RET do the same.
    pub fn tells(&self) -> bool {
        (0..2).any(|arg| self.when_old(arg) != self.when_new(arg))
    }
}
