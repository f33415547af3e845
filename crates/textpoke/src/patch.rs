//! What becomes of one site.

use textpoke_core::choose::Choice;
use textpoke_core::isa::Isa;
use textpoke_core::trap::Effect;
use textpoke_core::{Refusal, Site, choose};
use textpoke_linux::Host;

use crate::Error;

/// One site and both of its forms, checked as far as bytes can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patch {
    pub(crate) site: Site,
}

impl Patch {
    /// One instruction becomes another one of the same length.
    ///
    /// On x86-64 a trap handler must be able to act as either: a NOP of any length, JMP, CALL, Jcc, RET, or MOV of an
    /// immediate to a register. A JMP or RET may be shorter than the other form if INT3 (`0xcc`) fills the rest. For other
    /// instructions see [`Patch::instruction_with`].
    ///
    /// On AArch64 and RISC-V it is one store where the architecture lets the instruction change live (NOP, B, BL, BRK, SVC
    /// on AArch64; any two of the same length on RISC-V, those of four bytes at a multiple of 4). For any other pair all
    /// threads are parked while the bytes change: each is interrupted by a signal, as if it had a handler with
    /// `SA_RESTART`.
    ///
    /// # Errors
    /// [`Error::Refused`] when the lengths differ or are not 1 to 8, both are the same, the old bytes are a breakpoint,
    /// or one of them cannot be acted as.
    ///
    /// # Safety
    /// 1. At `addr` stands one instruction of `old`'s length, or will when the patch is installed, in text that stays
    ///    mapped. No code branches into it behind its first byte, and nobody else changes it.
    /// 2. From now on, the program can bear either form being executed at any time.
    /// 3. If either form is a CALL, nothing is in use below the stack pointer there (a leaf function's red zone).
    /// 4. No thread executes the site while it blocks SIGTRAP, and no thread does so on a stack without room for a
    ///    signal frame (about 4 KiB), while the patch is being installed or removed.
    pub unsafe fn instruction(addr: *const (), old: &[u8], new: &[u8]) -> Result<Self, Error> {
        // SAFETY: the same conditions, and no other code is named.
        unsafe { Self::instruction_with(addr, old, new, None, None) }
    }

    /// Like [`Patch::instruction`], with code that stands in where a trap handler cannot act as an instruction.
    ///
    /// # Errors
    /// As [`Patch::instruction`].
    ///
    /// # Safety
    /// Those of [`Patch::instruction`], and: the code at `old_code` does what `old` does and goes on behind the site, the
    /// code at `new_code` does what `new` does; both stay mapped.
    pub unsafe fn instruction_with(
        addr: *const (),
        old: &[u8],
        new: &[u8],
        old_code: Option<*const ()>,
        new_code: Option<*const ()>,
    ) -> Result<Self, Error> {
        let address = |code: Option<*const ()>| code.map_or(0, |code| code as u64);
        check(Site::single(addr as u64, old, new), addr, old, new, |site| {
            site.copy = address(old_code);
            site.stand_in = address(new_code);
        })
    }

    /// Several instructions become one, usually a jump, which threads that stood between them survive.
    ///
    /// `boundaries` are the offsets, from the start of the site, of the old instructions but the first, together with the
    /// offset of the same instruction in `copy`: code that does what the old instructions do and then goes on behind the
    /// site.
    ///
    /// # Errors
    /// As [`Patch::instruction`]; also when no boundary is inside the site.
    ///
    /// # Safety
    /// Those of [`Patch::instruction`] but that several instructions stand there, beginning at `addr` and at each
    /// boundary; and: no code branches to a boundary; `copy` is as described and stays mapped; PCs inside the site are
    /// saved nowhere but on stacks that threads run on (no coroutine was switched away there).
    pub unsafe fn several(
        addr: *const (),
        old: &[u8],
        new: &[u8],
        boundaries: &[(u8, u8)],
        copy: *const (),
    ) -> Result<Self, Error> {
        // SAFETY: the same conditions; there is one new instruction.
        unsafe { Self::sequence(addr, old, new, boundaries, &[], copy, None) }
    }

    /// Several instructions become several others. Threads that stand between the old ones are waited for: they execute
    /// what is left of the old form, and nobody begins it anew.
    ///
    /// `boundaries` are as for [`Patch::several`], `new_boundaries` the offsets of the new instructions but the first.
    /// `new_code` does what the new instructions do and goes on behind the site; it is needed if there are several.
    ///
    /// # Errors
    /// As [`Patch::several`]. Installing fails, with nothing changed, when a thread does not leave the site.
    ///
    /// # Safety
    /// Those of [`Patch::several`], for the new form as well.
    pub unsafe fn sequence(
        addr: *const (),
        old: &[u8],
        new: &[u8],
        boundaries: &[(u8, u8)],
        new_boundaries: &[u8],
        copy: *const (),
        new_code: Option<*const ()>,
    ) -> Result<Self, Error> {
        let inside = |offset: u8| offset > 0 && usize::from(offset) < old.len().min(8);
        let all = boundaries.iter().all(|&(offset, _)| inside(offset)) && new_boundaries.iter().all(|&o| inside(o));
        if boundaries.is_empty() || !all {
            return Err(Error::Refused(addr as u64, Refusal::NoCopy));
        }
        check(Site::single(addr as u64, old, new), addr, old, new, |site| {
            site.copy = copy as u64;
            site.stand_in = new_code.map_or(0, |code| code as u64);
            for &(offset, at) in boundaries {
                site.inner |= 1 << offset;
                site.copy_at[usize::from(offset)] = at;
            }
            site.new_inner = new_boundaries.iter().fold(0, |inner, offset| inner | 1 << offset);
        })
    }

    /// Address of the site.
    pub fn addr(&self) -> *const () {
        self.site.addr as *const ()
    }
}

fn check(
    site: Option<Site>,
    addr: *const (),
    old: &[u8],
    new: &[u8],
    complete: impl FnOnce(&mut Site),
) -> Result<Patch, Error> {
    let refused = |refusal| Error::Refused(addr as u64, refusal);
    let mut site = site.ok_or(refused(Refusal::Length { old: old.len(), new: new.len() }))?;
    complete(&mut site);
    let choice = Choice {
        addr: site.addr,
        old,
        new,
        inner: site.inner,
        new_inner: site.new_inner,
        copy: site.copy,
        stand_in: site.stand_in,
        red_zone: false,
        traps: true,
        word: false,
        park: true,
    };
    if returns_inside(&site) {
        return Err(refused(Refusal::ReturnInside));
    }
    choose::<Host>(&choice).map_err(refused)?;
    Ok(Patch { site })
}

/// Whether one of the instructions that others follow inside the site is a call: nobody looks for its return address,
/// which may be in a register.
fn returns_inside(site: &Site) -> bool {
    let forms = [(site.inner, &site.old), (site.new_inner, &site.new)];
    forms.into_iter().any(|(inner, bytes)| {
        let mut start = 0;
        (1..site.len()).filter(|&i| inner >> i & 1 == 1).any(|end| {
            let (at, behind) = (site.addr + start as u64, site.addr + end as u64);
            let insn = Host::decode(at, &bytes[start..end]);
            start = end;
            match insn.map(|insn| Host::effect(insn, &Default::default())) {
                Some(Effect::Call { ret, .. }) => ret == behind,
                Some(Effect::Set { value, pc, .. }) => value == behind && pc != behind,
                _ => false,
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0, 0];
    const JMP: [u8; 5] = [0xe9, 0, 1, 0, 0];

    fn refusal(result: Result<Patch, Error>) -> Refusal {
        match result {
            Err(Error::Refused(0x1000, refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_bytes_can_tell_is_checked() {
        let at = 0x1000 as *const ();
        // SAFETY: nothing is installed.
        unsafe {
            assert!(Patch::instruction(at, &NOP5, &JMP).is_ok());
            assert_eq!(refusal(Patch::instruction(at, &NOP5, &JMP[..4])), Refusal::Length { old: 5, new: 4 });
            assert_eq!(refusal(Patch::instruction(at, &JMP, &JMP)), Refusal::Same);
            let xor = [0x48, 0x31, 0xc0, 0x66, 0x90];
            assert_eq!(refusal(Patch::instruction(at, &xor, &JMP)), Refusal::OldNotEmulated);
            assert!(Patch::instruction_with(at, &xor, &JMP, Some(at), None).is_ok());
            let entry = [0x55, 0x48, 0x89, 0xe5, 0x53];
            assert!(Patch::several(at, &entry, &JMP, &[(1, 1), (4, 4)], at).is_ok());
            for bad in [&[][..], &[(0, 0)], &[(5, 0)]] {
                assert_eq!(refusal(Patch::several(at, &entry, &JMP, bad, at)), Refusal::NoCopy);
            }
        }
    }
}
