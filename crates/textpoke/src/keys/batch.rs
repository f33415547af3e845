//! Several keys at once.

use textpoke_keys::change::{Ask, Change, Machine};
use textpoke_keys::{Immediate, Signature};

use super::{KeyError, Process, StaticCall, StaticImm, StaticKey};

/// Changes that are made together: all or none. How often the other CPUs are interrupted does not depend on their number.
///
/// ```
/// textpoke::static_key! {
///     static READS: bool = false;
///     static WRITES: bool = true;
/// }
/// textpoke::keys::Changes::new().enable(&READS).disable(&WRITES).apply()?;
/// assert!(READS.is_enabled() && !WRITES.is_enabled());
/// # Ok::<(), textpoke::keys::KeyError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    fn ask(&mut self, key: &'static textpoke_keys::abi::Key, ask: Ask) -> &mut Self {
        self.0.push(Change { key, ask });
        self
    }

    /// As [`StaticKey::enable`].
    pub fn enable<const D: bool>(&mut self, key: &'static StaticKey<D>) -> &mut Self {
        self.ask(key.raw(), Ask::Enable)
    }

    /// As [`StaticKey::disable`].
    pub fn disable<const D: bool>(&mut self, key: &'static StaticKey<D>) -> &mut Self {
        self.ask(key.raw(), Ask::Disable)
    }

    /// As [`StaticKey::inc`].
    pub fn inc<const D: bool>(&mut self, key: &'static StaticKey<D>) -> &mut Self {
        self.ask(key.raw(), Ask::Increment)
    }

    /// As [`StaticKey::dec`].
    pub fn dec<const D: bool>(&mut self, key: &'static StaticKey<D>) -> &mut Self {
        self.ask(key.raw(), Ask::Decrement)
    }

    /// As [`StaticCall::set`].
    pub fn call<F: Signature>(&mut self, key: &'static StaticCall<F>, function: Option<F>) -> &mut Self {
        let address = function.map_or(core::ptr::null(), F::address);
        self.ask(key.raw(), Ask::Set(address.expose_provenance() as u64))
    }

    /// As [`StaticImm::set`].
    pub fn imm<T: Immediate, const I: u64>(&mut self, key: &'static StaticImm<T, I>, value: T) -> &mut Self {
        self.ask(key.raw(), Ask::Set(value.to_bits()))
    }

    /// Makes them.
    ///
    /// # Errors
    /// [`KeyError`]; then nothing has changed.
    pub fn apply(&self) -> Result<(), KeyError> {
        Process::apply(&self.0)
    }
}
