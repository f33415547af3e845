//! Stores to the text, whoever makes them, and stores of data that wait in the patcher's store buffer.

use super::{Machine, Sink, Who};
use crate::action::Action;
use crate::scenario::{Fetch, IsaId, Profile};
use crate::script::Piece;
use crate::state::*;
use crate::text::Text;

impl Machine {
    /// A piece appears in memory, and where fetch may find it. `by` is the CPU's slot that stored it, if it has one.
    pub(super) fn write<const N: usize>(&self, s: &mut State<N>, piece: &Piece, by: Option<usize>) {
        s.text = s.text & !piece.mask | piece.value;
        let lanes = Text::all_values(piece);
        match self.fetch {
            Fetch::Queue(_) => {
                // x86-64: a CPU's own store empties its pipeline.
                if let Some(own) = by.filter(|_| self.isa() == IsaId::X86) {
                    s.threads[own].fetch = 0;
                }
            }
            Fetch::Set => {
                for th in &mut s.threads {
                    th.fetch |= piece.seen;
                }
                if let Some(own) = by.filter(|_| self.isa() == IsaId::X86) {
                    s.threads[own].fetch = s.threads[own].fetch & !lanes | piece.seen;
                }
            }
            Fetch::Caches => {
                let coherent = self.world.profile == Profile::ArmDic;
                for th in &mut s.threads {
                    let cache = th.fetch >> 32;
                    let cache = if coherent { cache & !lanes | piece.seen } else { cache | piece.seen };
                    th.fetch = (th.fetch | piece.seen) & 0xffff_ffff | cache << 32;
                }
                if self.world.profile == Profile::Arm {
                    s.set_unified(s.unified() | piece.seen);
                }
            }
        }
    }

    /// Cache maintenance by one CPU, complete: data cleaned, every instruction cache that it reaches invalidated.
    ///
    /// At its end all at once is the weakest: a cache that is invalidated earlier yields less meanwhile.
    pub(super) fn maintain<const N: usize>(&self, s: &mut State<N>, by: Option<usize>) {
        if self.fetch != Fetch::Caches {
            return;
        }
        let clean = self.text.set(s.text);
        if self.world.profile == Profile::Arm {
            s.set_unified(clean);
        }
        for (i, th) in s.threads.iter_mut().enumerate() {
            let own = by == Some(i) || by.is_none() && th.is(PATCHER);
            if self.world.broadcast || own {
                th.fetch = th.fetch & 0xffff_ffff | clean << 32;
            }
        }
    }

    /// Data of the patcher: visible at once, behind a barrier, unless the machine forgot it.
    pub(super) fn data<const N: usize>(&self, s: &mut State<N>, store: DataStore, fenced: bool) {
        if !fenced && s.push(store) {
            return;
        }
        s.drain();
        s.apply(store);
    }

    /// Whether the patcher's text stores have to wait for its data stores: x86-64 makes all stores visible in order.
    pub(super) fn behind_data<const N: usize>(&self, s: &State<N>) -> bool {
        self.isa() == IsaId::X86 && s.pending(0).is_some()
    }

    /// A data store that was made becomes visible.
    pub(super) fn becomes_visible<const N: usize>(&self, s: &State<N>, out: &mut impl Sink<N>) {
        let any = self.isa() != IsaId::X86;
        for i in (0..5).take_while(|&i| s.pending(i).is_some()).take(if any { 5 } else { 1 }) {
            let mut to = *s;
            let Some(store) = to.pending(i) else { return };
            to.commit(i);
            out.take(0 as Who, Action::Visible { store }, Ok(to));
        }
    }
}

/// Whether a piece has nothing to do.
pub(super) fn is_there(piece: &Piece, text: u32) -> bool {
    let now = text & piece.mask;
    now == piece.value || now == piece.done
}
