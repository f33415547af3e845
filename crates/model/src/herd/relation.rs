//! Relations over at most 64 events, one row of bits each.

/// A binary relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    rows: Vec<u64>,
}

impl Relation {
    /// The empty relation over `n` events.
    #[must_use]
    pub fn new(n: usize) -> Self {
        Self { rows: vec![0; n] }
    }

    /// All pairs for which `holds` does.
    pub fn of(n: usize, holds: impl Fn(usize, usize) -> bool) -> Self {
        let mut relation = Self::new(n);
        for a in 0..n {
            for b in 0..n {
                if holds(a, b) {
                    relation.add(a, b);
                }
            }
        }
        relation
    }

    /// Adds a pair.
    pub fn add(&mut self, a: usize, b: usize) {
        self.rows[a] |= 1 << b;
    }

    /// Whether the pair is in.
    #[must_use]
    pub fn has(&self, a: usize, b: usize) -> bool {
        self.rows[a] >> b & 1 == 1
    }

    /// Everything that `a` is related to.
    #[must_use]
    pub fn row(&self, a: usize) -> u64 {
        self.rows[a]
    }

    /// Adds everything of the other.
    pub fn join(&mut self, other: &Self) {
        for (row, more) in self.rows.iter_mut().zip(&other.rows) {
            *row |= more;
        }
    }

    /// First this, then the other.
    #[must_use]
    pub fn then(&self, other: &Self) -> Self {
        let rows = self.rows.iter().map(|row| bits(*row).fold(0, |all, b| all | other.rows[b])).collect();
        Self { rows }
    }

    /// The transitive closure, in place.
    pub fn close(&mut self) {
        for via in 0..self.rows.len() {
            let row = self.rows[via];
            for from in &mut self.rows {
                if *from >> via & 1 == 1 {
                    *from |= row;
                }
            }
        }
    }

    /// Whether nothing is related to itself; of a closure: whether there is no cycle.
    #[must_use]
    pub fn irreflexive(&self) -> bool {
        (0..self.rows.len()).all(|a| !self.has(a, a))
    }

    /// Whether there is no cycle.
    #[must_use]
    pub fn acyclic(&self) -> bool {
        let mut closed = self.clone();
        closed.close();
        closed.irreflexive()
    }
}

/// The numbers of the bits that are set.
pub fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (set != 0).then(|| set.trailing_zeros() as usize)?;
        set &= set - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closure_and_cycles() {
        let mut chain = Relation::of(64, |a, b| a + 1 == b);
        assert!(chain.acyclic());
        assert_eq!(chain.then(&chain), Relation::of(64, |a, b| a + 2 == b));
        chain.close();
        assert_eq!(chain, Relation::of(64, |a, b| a < b));
        chain.add(63, 0);
        assert!(!chain.acyclic() && chain.irreflexive(), "a cycle shows in the closure only");
        assert_eq!(bits(0b1010_0001).collect::<Vec<_>>(), [0, 5, 7]);
    }

    #[test]
    fn joining() {
        let mut both = Relation::of(3, |a, b| (a, b) == (0, 1));
        both.join(&Relation::of(3, |a, b| (a, b) == (1, 2)));
        assert!(both.has(0, 1) && both.has(1, 2) && !both.has(0, 2));
        assert_eq!(both.row(1), 0b100);
    }
}
