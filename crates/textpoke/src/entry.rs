//! A function's patchable entry on instruction sets where a call takes two instructions.

use textpoke_core::isa::Isa;
use textpoke_core::isa::entry::{Entry as Forms, Pair};
use textpoke_core::{Direction, Refusal, Site};
use textpoke_linux::Host;

use crate::{Error, Patcher};

/// The two instructions that a compiler leaves at a function's entry (`-fpatchable-function-entry=2`; on RISC-V where
/// compressed instructions are off, and the entry at a multiple of 4), and a tracer that they can call.
///
/// The first is *planted*: it only puts an address into a register that no function expects anything in, so that it may
/// stay. Planting it parks all threads for a moment and waits until none is between the two. After that the second toggles
/// between a NOP and the call by one store, as often as you like.
///
/// `I` is the instruction set; entries are for the one that the program runs on ([`Host`](textpoke_linux::Host)).
#[derive(Debug)]
pub struct Entry<I: Forms> {
    addr: u64,
    tracer: u64,
    now: Pair,
    isa: core::marker::PhantomData<I>,
}

impl<I: Forms> Entry<I> {
    /// Takes the entry of `function` over: two NOPs, behind a landing pad (BTI) if there is one, which stays; or the first
    /// of them planted for `tracer` already.
    ///
    /// # Errors
    /// [`Error::Refused`] when something else stands there, the program's instruction set is not `I`, the tracer is out of reach (±128 MiB on AArch64, ±2 GiB on
    /// RISC-V), or the entry is not at a multiple of 4.
    ///
    /// # Safety
    /// 1. Readable text, which stays mapped, and which nobody else changes; no code branches between the two instructions.
    /// 2. Behind the function's landing pad nobody expects anything in the register that is planted: X9 on AArch64, t0 on
    ///    RISC-V.
    /// 3. `tracer` goes on at its own return address (X30 on AArch64, t0 on RISC-V) with every register as it found it, but
    ///    for that register and, on AArch64, X30, which it loads with X9. It stays mapped.
    pub unsafe fn from_raw(function: *const (), tracer: *const ()) -> Result<Self, Error> {
        let read = |at: u64| {
            // SAFETY: 1.
            unsafe { (at as *const u8).read_volatile() }
        };
        if I::NAME != Host::NAME {
            return Err(Error::Refused(function as u64, Refusal::OldNotEmulated));
        }
        let function = function as u64;
        let start: [u8; 4] = core::array::from_fn(|i| read(function + i as u64));
        let addr = function + I::landing_pad(&start) as u64;
        let now: Pair = core::array::from_fn(|i| read(addr + i as u64));
        let refused = |refusal| Error::Refused(addr, refusal);
        let tracer = tracer as u64;
        let (off, on) = (I::off(addr, tracer).map_err(refused)?, I::on(addr, tracer).map_err(refused)?);
        if I::is_trap(&now) || I::is_trap(&now[4..]) {
            return Err(refused(Refusal::ForeignTrap));
        }
        if ![I::BARE, off, on].contains(&now) {
            return Err(refused(Refusal::OldNotEmulated));
        }
        Ok(Self { addr, tracer, now, isa: core::marker::PhantomData })
    }

    /// Plants the first instruction, if it is not: after this, [`Entry::set`] parks nobody.
    ///
    /// # Errors
    /// [`Error::Process`] when a thread cannot be parked or does not leave the entry; nothing has changed then.
    pub fn plant(&mut self, patcher: &Patcher) -> Result<(), Error> {
        if self.now == I::BARE { self.change(patcher, self.off()?) } else { Ok(()) }
    }

    /// Makes the entry call the tracer, or not. Plants the first instruction if need be.
    ///
    /// # Errors
    /// As [`Entry::plant`].
    pub fn set(&mut self, patcher: &Patcher, on: bool) -> Result<(), Error> {
        if !on && self.now == I::BARE {
            return Ok(());
        }
        self.plant(patcher)?;
        let form = if on { I::on(self.addr, self.tracer) } else { I::off(self.addr, self.tracer) };
        let form = form.map_err(|refusal| Error::Refused(self.addr, refusal))?;
        self.change(patcher, form)
    }

    /// Takes the planted instruction away again; the entry is two NOPs.
    ///
    /// # Errors
    /// As [`Entry::plant`].
    pub fn unplant(&mut self, patcher: &Patcher) -> Result<(), Error> {
        if self.now == I::BARE {
            return Ok(());
        }
        self.set(patcher, false)?;
        let planted = self.site(I::BARE, self.now)?;
        // SAFETY: promised by `from_raw`; the second instruction is a NOP, which does not miss the first.
        unsafe { patcher.apply(&[planted], Direction::Remove) }?;
        self.now = I::BARE;
        Ok(())
    }

    /// Address of the two instructions.
    pub fn addr(&self) -> *const () {
        self.addr as *const ()
    }

    fn off(&self) -> Result<Pair, Error> {
        I::off(self.addr, self.tracer).map_err(|refusal| Error::Refused(self.addr, refusal))
    }

    fn site(&self, old: Pair, new: Pair) -> Result<Site, Error> {
        let lengths = Refusal::Length { old: old.len(), new: new.len() };
        let mut site = Site::single(self.addr, &old, &new).ok_or(Error::Refused(self.addr, lengths))?;
        (site.inner, site.new_inner) = (1 << 4, 1 << 4);
        Ok(site)
    }

    fn change(&mut self, patcher: &Patcher, form: Pair) -> Result<(), Error> {
        if form != self.now {
            let site = self.site(self.now, form)?;
            // SAFETY: promised by `from_raw`; which protocol it takes follows from which of the two changes.
            unsafe { patcher.apply(&[site], Direction::Install) }?;
            self.now = form;
        }
        Ok(())
    }
}
