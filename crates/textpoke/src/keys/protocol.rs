//! Which protocol changes the sites of keys.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use textpoke_core::Kind;
use textpoke_core::isa::Isa;
use textpoke_keys::form::How;
use textpoke_linux::Host;

/// How the sites of keys are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// [`Protocol::Word`] where the processor's vendor documents it or it was assumed, or on AArch64 and RISC-V, whose
    /// manuals let sites change so; else [`Protocol::Breakpoint`].
    #[default]
    Auto = 0,
    /// One store, one synchronisation, no trap. Where the vendor documents nothing of the kind it needs
    /// [`assume_word_stores`], else it is as `Auto`.
    Word = 1,
    /// Traps, and three synchronisations. The first time it installs a SIGTRAP handler that passes on to the program's.
    Breakpoint = 2,
    /// A jump over the bytes that change, and three synchronisations; no trap. For branches only. It rests on two bytes
    /// being fetched at once, and like `Word` on the vendor or [`assume_word_stores`]. There is none but on x86-64: elsewhere
    /// as `Word`.
    ShortJump = 3,
}

/// Whether sites are instructions of four bytes, which all may change into each other.
const WORDS: bool = Host::TRAP.len() == 4;

static CHOSEN: AtomicU8 = AtomicU8::new(Protocol::Auto as u8);
static ASSUMED: AtomicBool = AtomicBool::new(false);

/// Chooses how keys are changed from now on. There is seldom a reason to: measurements, and programs that must not have a
/// SIGTRAP handler, or want no change by a single store.
pub fn use_protocol(protocol: Protocol) {
    CHOSEN.store(protocol as u8, Relaxed);
}

/// Allows changes by single stores on processors whose vendor does not document them, above all Intel's; on AMD's they
/// are always allowed. Then nobody takes a trap, and threads may block SIGTRAP.
///
/// # Safety
/// The CPU must execute either the old or the new instruction when one store inside an aligned 8-byte word changes it.
pub unsafe fn assume_word_stores() {
    ASSUMED.store(true, Relaxed);
}

/// The protocol of the next batch.
pub(super) fn kind() -> Kind {
    let word = ASSUMED.load(Relaxed) || documented();
    match CHOSEN.load(Relaxed) {
        2 => Kind::Breakpoint,
        3 if word && !WORDS => Kind::ShortJump,
        _ if word => Kind::Word,
        _ => Kind::Breakpoint,
    }
}

/// Whether the vendor or, where instructions are words, the architecture says that one store may change a site. Asking the
/// CPU takes long in a virtual machine.
fn documented() -> bool {
    static DOCUMENTED: OnceLock<bool> = OnceLock::new();
    WORDS || *DOCUMENTED.get_or_init(textpoke_linux::cpu::documents_word_store)
}

/// What of a site it changes.
pub(super) fn how(kind: Kind) -> How {
    if kind == Kind::Word { How::Store } else { How::Head }
}
