//! Stores to the text, whoever makes them, and stores of data that wait in the patcher's store buffer.

use super::{Machine, Sink, Who};
use crate::action::Action;
use crate::scenario::{Fetch, IsaId, Maintenance, Profile};
use crate::script::Piece;
use crate::state::*;
use crate::text::Text;

impl Machine {
    /// A piece appears in memory, and where fetch may find it.
    ///
    /// A CPU that stores through another address than it executes, as text is written, is told nothing about its own
    /// fetches either (Intel SDM vol. 3 "Self-Modifying Code", AMD APM vol. 2 §7.6.1).
    pub(super) fn write<const N: usize>(&self, s: &mut State<N>, piece: &Piece) {
        s.text = s.text & !piece.mask | piece.value;
        match self.fetch {
            Fetch::Queue(_) => {}
            Fetch::Set => {
                for th in &mut s.threads {
                    th.fetch |= piece.seen;
                }
            }
            Fetch::Caches => {
                let coherent = self.world.profile == Profile::ArmDic;
                let lanes = Text::all_values(piece);
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

    /// Cache maintenance by one CPU: data cleaned, every instruction cache that it reaches invalidated, unless one of
    /// both is forgotten.
    ///
    /// At its end all at once is the weakest: a cache that is invalidated earlier yields less meanwhile.
    pub(super) fn maintain<const N: usize>(&self, s: &mut State<N>, by: Option<usize>) {
        if self.fetch != Fetch::Caches {
            return;
        }
        let how = self.world.maintenance;
        let mut refill = self.text.set(s.text);
        if self.world.profile == Profile::Arm {
            if how != Maintenance::Invalidates {
                s.set_unified(refill);
            }
            // What was not cleaned may be fetched as it was, from behind the data cache.
            refill = s.unified();
        }
        for (i, th) in s.threads.iter_mut().enumerate() {
            let own = by == Some(i) || by.is_none() && th.is(PATCHER);
            let reached = match how {
                Maintenance::Everywhere | Maintenance::Invalidates => true,
                Maintenance::Local => own,
                Maintenance::Cleans => false,
            };
            if reached {
                th.fetch = th.fetch & 0xffff_ffff | refill << 32;
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
