//! A site of one instruction that is switched again and again.

use textpoke_core::isa::Isa;
use textpoke_core::isa::switch::Switch as Forms;
use textpoke_core::{Direction, Refusal, Site};
use textpoke_linux::Host;

use crate::{Error, Patcher, veneer};

/// The bytes of one form.
type Code = <Host as Forms>::Code;

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
    /// Code that comes by any switch that is set to this may go on at `to`, which stays mapped. Where a branch does not reach
    /// (±128 MiB on AArch64, ±1 MiB on RISC-V), the jump goes by way of a veneer, as a linker would make it: X16, or t1, is
    /// changed then, and on guarded pages (BTI) `to` is a landing pad.
    pub unsafe fn jump(to: *const ()) -> Self {
        Self(Form::Jump(to as u64))
    }

    /// A call of `to`.
    ///
    /// # Safety
    /// As for [`Target::jump`], and `to` returns; at the switch the registers that `to` changes hold nothing that is needed,
    /// the return address (X30, or ra) among them, and the stack is as `to` needs it. On x86-64 nothing is in use below the
    /// stack pointer.
    pub unsafe fn call(to: *const ()) -> Self {
        Self(Form::Call(to as u64))
    }

    fn bytes(self, patcher: &Patcher, at: u64) -> Result<Code, Error> {
        let (calls, to) = match self.0 {
            Form::Nop => return Ok(Host::NOP),
            Form::Jump(to) => (false, to),
            Form::Call(to) => (true, to),
        };
        let encode = |to| if calls { Host::call(at, to) } else { Host::jump(at, to) };
        let refused = |refusal| Error::Refused(at, refusal);
        match encode(to) {
            Err(Refusal::OutOfRange { .. }) => encode(veneer::near(patcher, at, to)?).map_err(refused),
            other => other.map_err(refused),
        }
    }
}

/// A site that is a NOP, a jump or a call, and can become any of them: five bytes on x86-64, four on AArch64 and RISC-V.
///
/// Setting it to what it is costs nothing. Setting it costs a few microseconds and three interrupts (x86-64) or one of the
/// CPUs that run threads of this process. A site on RISC-V that is not at a multiple of 4 costs a signal to each thread.
#[derive(Debug)]
pub struct Switch {
    addr: u64,
    bytes: Code,
}

impl Switch {
    /// Takes the site at `addr` over as it stands.
    ///
    /// # Errors
    /// [`Error::Refused`] when no NOP, jump or call of the switch's length stands there.
    ///
    /// # Safety
    /// 1. The bytes of executable, readable text at `addr`, which stays mapped, are one instruction that code only
    ///    enters at its start.
    /// 2. Nobody else changes it; there is one `Switch` for it.
    /// 3. What the site is now may be executed again later, as a NOP may.
    /// 4. On x86-64 no thread executes the site while it blocks SIGTRAP, or with less stack than a signal frame needs (about
    ///    4 KiB), while the switch is being set.
    pub unsafe fn from_raw(addr: *const ()) -> Result<Self, Error> {
        let mut bytes = [0; 8];
        for (i, byte) in bytes[..Host::LEN].iter_mut().enumerate() {
            // SAFETY: 1.
            *byte = unsafe { addr.cast::<u8>().add(i).read_volatile() };
        }
        let (addr, found) = (addr as u64, &bytes[..Host::LEN]);
        let refused = |refusal| Err(Error::Refused(addr, refusal));
        match (Host::decode(addr, found), Code::try_from(found)) {
            _ if Host::is_trap(found) => refused(Refusal::ForeignTrap),
            (Some(insn), Ok(bytes)) if Host::is_switch(insn) => Ok(Self { addr, bytes }),
            _ => refused(Refusal::OldNotEmulated),
        }
    }

    /// Makes the site `target`. When it returns, every thread executes that.
    ///
    /// # Errors
    /// [`Error::Refused`] when the target is out of a branch's reach and there is no room for a veneer that is not (on
    /// x86-64, ±2 GiB, none is made), [`Error::Process`] when the process cannot be patched at the moment; the site is what
    /// it was then.
    pub fn set(&mut self, patcher: &Patcher, target: Target) -> Result<(), Error> {
        let bytes = target.bytes(patcher, self.addr)?;
        if bytes == self.bytes {
            return Ok(());
        }
        let lengths = Refusal::Length { old: Host::LEN, new: Host::LEN };
        let site = Site::single(self.addr, self.bytes.as_ref(), bytes.as_ref());
        let site = site.ok_or(Error::Refused(self.addr, lengths))?;
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
