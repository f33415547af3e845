//! Flipping one key in one's own text: what the machine of a kernel is made of.

use textpoke_core::{Plan, PlanError, Refusal, Site};

use crate::abi::{Entry, Key};
use crate::form::{Forms, How, MAX_LEN};

/// Who changes text.
pub trait Text {
    /// Why it did not.
    type Error;
    /// The instruction set.
    type Isa: Forms;

    /// How its protocol changes a site.
    const HOW: How;

    /// Reads text.
    fn read(&mut self, addr: u64, buf: &mut [u8]) -> Result<(), Self::Error>;

    /// Makes all sites of the plan what they shall be, or leaves them all as they are. When it returns, every CPU executes
    /// the new code.
    fn patch(&mut self, plan: Plan<'_, Self::Isa>) -> Result<(), Self::Error>;
}

/// Why a key was not flipped; every site is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The machine's own.
    Machine(E),
    /// A site cannot become what the value demands: its address, and the reason.
    Refused(u64, Refusal),
    /// The sites do not fit into the buffer.
    TooMany,
    /// The sites are no plan.
    Plan(PlanError),
}

/// Gives a key a value and changes all its sites in one batch. `entries` are those of its sites (others are passed by);
/// `key_of` tells the address of an entry's key. The value is published when the code is there.
///
/// One caller at a time.
pub fn flip<M: Text>(
    machine: &mut M,
    entries: impl IntoIterator<Item = Entry>,
    key_of: impl Fn(&Entry) -> u64,
    key: &Key,
    value: *mut (),
    buffer: &mut [Site],
) -> Result<(), Error<M::Error>> {
    let mut count = 0;
    for entry in entries {
        if key_of(&entry) != core::ptr::from_ref(key).addr() as u64 {
            continue;
        }
        let mut now = [0; MAX_LEN];
        let now = &mut now[..usize::from(entry.len).min(MAX_LEN)];
        machine.read(entry.code, now).map_err(Error::Machine)?;
        let refused = |refusal| Error::Refused(entry.code, refusal);
        if let Some(site) = M::Isa::change(&entry, now, value.addr() as u64, M::HOW).map_err(refused)? {
            *buffer.get_mut(count).ok_or(Error::TooMany)? = site;
            count += 1;
        }
    }
    let sites = &mut buffer[..count];
    if !sites.is_empty() {
        sites.sort_unstable_by_key(|site| site.addr);
        machine.patch(Plan::new(sites).map_err(Error::Plan)?).map_err(Error::Machine)?;
    }
    // Pairs with the Acquire of `is_enabled`: who reads the value finds the code.
    key.value.store(value, core::sync::atomic::Ordering::Release);
    Ok(())
}
