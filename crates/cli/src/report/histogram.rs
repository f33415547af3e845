//! A log-linear histogram of durations: constant memory, percentiles within 1.6 %.

/// Buckets per power of two. A bucket is at most 1/32 of its lower bound wide and is represented
/// by its middle, so a percentile is off by at most 1/64 (1.6 %) of its value.
const SPLIT: usize = 32;
const SPLIT_BITS: u32 = SPLIT.trailing_zeros();

/// Rows: values below 32 exactly in row 0, then one row per power of two up to 2^64.
const ROWS: usize = 64 - SPLIT_BITS as usize + 1;

/// Counts values by their logarithm and the next five bits. Rows appear when they are needed:
/// most functions stay within a few powers of two, and a trace may have 50,000 functions.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    rows: Vec<Option<Box<[u64; SPLIT]>>>,
    count: u64,
    sum: u128,
}

impl Histogram {
    /// Counts one value.
    pub fn add(&mut self, value: u64) {
        let (row, column) = place(value);
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, || None);
        }
        self.rows[row].get_or_insert_with(|| Box::new([0; SPLIT]))[column] += 1;
        self.count += 1;
        self.sum += u128::from(value);
    }

    /// True when nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The exact mean; 0 without values.
    #[must_use]
    pub fn mean(&self) -> u64 {
        (self.sum / u128::from(self.count.max(1))) as u64
    }

    /// The value that a share of all values (0.0 to 1.0) does not exceed; 0 without values.
    #[must_use]
    pub fn percentile(&self, share: f64) -> u64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (row, counts) in self.rows.iter().enumerate() {
            let Some(counts) = counts else { continue };
            for (column, &n) in counts.iter().enumerate() {
                seen += n;
                if seen >= wanted {
                    return middle(row, column);
                }
            }
        }
        0
    }
}

fn place(value: u64) -> (usize, usize) {
    if value < SPLIT as u64 {
        return (0, value as usize);
    }
    let shift = value.ilog2() - SPLIT_BITS;
    (shift as usize + 1, (value >> shift) as usize - SPLIT)
}

fn middle(row: usize, column: usize) -> u64 {
    if row == 0 {
        return column as u64;
    }
    let shift = row.min(ROWS - 1) as u32 - 1;
    let low = ((SPLIT + column) as u64) << shift;
    low + ((1_u64 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_represented_within_one_sixty_fourth() {
        let mut value = 1_u64;
        while value < u64::MAX / 3 {
            for v in [value, value + value / 3, value * 2 - 1] {
                let (row, column) = place(v);
                let shown = middle(row, column);
                let error = shown.abs_diff(v) as f64 / v as f64;
                assert!(error <= 1.0 / 64.0, "{v} shown as {shown}");
            }
            value *= 2;
        }
        let (row, column) = place(u64::MAX);
        assert!(row < ROWS && middle(row, column) > u64::MAX / 64 * 62);
    }

    #[test]
    fn percentiles_of_a_known_series() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|v| histogram.add(v * 1000));
        for (share, wanted) in [(0.5, 500_000.0), (0.99, 990_000.0), (1.0, 1_000_000.0)] {
            let found = histogram.percentile(share) as f64;
            assert!((found - wanted).abs() / wanted < 0.02, "{share}: {found}");
        }
        assert_eq!(Histogram::default().percentile(0.5), 0);
    }

    #[test]
    fn a_single_outlier_shows_at_p99_only_when_it_is_one_in_a_hundred() {
        let mut histogram = Histogram::default();
        (0..199).for_each(|_| histogram.add(10));
        histogram.add(1_000_000);
        assert_eq!(histogram.percentile(0.99), 10);
        assert!(histogram.percentile(1.0) > 900_000);
    }
}
