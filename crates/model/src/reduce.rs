//! Symmetry: threads have no names.
//!
//! All threads run the same code, the patcher treats them alike, and no property names one, so that permuting them maps
//! runs to runs. A state is therefore stored with its threads sorted. The argument, and those for the other reductions,
//! stand in `docs/protocols/README.md`.

use crate::state::{PATCHER, State};

/// The representative of a state.
pub fn canonical<const N: usize>(mut s: State<N>) -> State<N> {
    // The patcher's own CPU, always the last, is like no other.
    let n = if s.threads[N - 1].is(PATCHER) { N - 1 } else { N };
    for i in 1..n {
        let mut j = i;
        while j > 0 && s.threads[j] < s.threads[j - 1] {
            s.threads.swap(j, j - 1);
            j -= 1;
        }
    }
    s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Thread;

    #[test]
    fn permuting_threads_changes_nothing() {
        let th = |fetch| Thread { fetch, ..Thread::default() };
        let state = |threads| State { text: 0, node: 0, sub: 0, misc: 0, threads };
        let sorted = canonical(state([th(1), th(2), th(3)]));
        for threads in [[th(3), th(1), th(2)], [th(2), th(3), th(1)], [th(3), th(2), th(1)]] {
            assert_eq!(canonical(state(threads)), sorted);
        }
    }
}
