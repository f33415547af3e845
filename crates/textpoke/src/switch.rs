//! A five-byte site that is switched again and again.

use textpoke_core::isa::x86_64::{Insn, call, jmp, nop};
use textpoke_core::isa::{Isa, X86_64};
use textpoke_core::{Direction, Refusal, Site};

use crate::{Error, Patcher};

/// What a [`Switch`] can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(Form);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Nop,
    Jump(u64),
    Call(u64),
}

impl Target {
    /// One NOP: go on behind the site.
    pub const NOP: Self = Self(Form::Nop);

    /// A jump to `to`.
    ///
    /// # Safety
    /// Code that comes by any switch that is set to this may go on at `to`, which stays mapped.
    pub unsafe fn jump(to: *const ()) -> Self {
        Self(Form::Jump(to as u64))
    }

    /// A call of `to`.
    ///
    /// # Safety
    /// As for [`Target::jump`], and `to` returns; at the switch, nothing is in use below the stack pointer, the stack is
    /// aligned as `to` needs it, and the registers that `to` changes hold nothing that is needed.
    pub unsafe fn call(to: *const ()) -> Self {
        Self(Form::Call(to as u64))
    }

    fn bytes(self, at: u64) -> Result<[u8; 5], Refusal> {
        match self.0 {
            Form::Nop => Ok(std::array::from_fn(|i| nop(5).map_or(0x90, |nop| nop[i]))),
            Form::Jump(to) => jmp(at, to),
            Form::Call(to) => call(at, to),
        }
    }
}

/// A site of five bytes that is a NOP, a jump or a call, and can become any of them.
///
/// Setting it to what it is costs nothing. Setting it costs a few microseconds and three interrupts of the CPUs that run
/// threads of this process.
#[derive(Debug)]
pub struct Switch {
    addr: u64,
    bytes: [u8; 5],
}

impl Switch {
    /// Takes the site at `addr` over as it stands.
    ///
    /// # Errors
    /// [`Error::Refused`] when no NOP, JMP or CALL of five bytes stands there.
    ///
    /// # Safety
    /// 1. Five bytes of executable, readable text at `addr`, which stays mapped, are one instruction that code only
    ///    enters at its start.
    /// 2. Nobody else changes it; there is one `Switch` for it.
    /// 3. What the site is now may be executed again later, as a NOP may.
    /// 4. No thread executes the site while it blocks SIGTRAP, or with less stack than a signal frame needs (about
    ///    4 KiB), while the switch is being set.
    pub unsafe fn from_raw(addr: *const ()) -> Result<Self, Error> {
        // SAFETY: 1.
        let bytes = unsafe { addr.cast::<[u8; 5]>().read_volatile() };
        let addr = addr as u64;
        match X86_64::decode(addr, &bytes) {
            Some(Insn::Nop { .. } | Insn::Jmp { .. } | Insn::Call { .. }) => Ok(Self { addr, bytes }),
            _ if bytes[0] == 0xcc => Err(Error::Refused(addr, Refusal::ForeignTrap)),
            _ => Err(Error::Refused(addr, Refusal::OldNotEmulated)),
        }
    }

    /// Makes the site `target`. When it returns, every thread executes that.
    ///
    /// # Errors
    /// [`Error::Refused`] when the target is out of a branch's reach (±2 GiB), [`Error::Process`] when the process cannot
    /// be patched at the moment; the site is what it was then.
    pub fn set(&mut self, patcher: &Patcher, target: Target) -> Result<(), Error> {
        let refused = |refusal| Error::Refused(self.addr, refusal);
        let bytes = target.bytes(self.addr).map_err(refused)?;
        if bytes == self.bytes {
            return Ok(());
        }
        let lengths = Refusal::Length { old: 5, new: 5 };
        let site = Site::single(self.addr, &self.bytes, &bytes).ok_or(refused(lengths))?;
        // SAFETY: promised by `from_raw` for the site and by `Target` for what it becomes.
        unsafe { patcher.apply(&[site], Direction::Install) }?;
        self.bytes = bytes;
        Ok(())
    }

    /// Address of the site.
    pub fn addr(&self) -> *const () {
        self.addr as *const ()
    }
}
