//! Symmetry: threads have no names.
//!
//! All threads run the same code, the patcher treats them alike, and no property names one, so that permuting them maps
//! runs to runs. A state is therefore stored with its threads sorted. The argument, and those for the other reductions,
//! stand in `docs/protocols/README.md`.

use crate::state::State;

/// The representative of a state.
pub fn canonical<const N: usize>(mut s: State<N>) -> State<N> {
    for i in 1..N {
        let mut j = i;
        while j > 0 && s.threads[j] < s.threads[j - 1] {
            s.threads.swap(j, j - 1);
            j -= 1;
        }
    }
    s
}
