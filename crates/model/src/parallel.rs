//! Independent explorations side by side.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Applies `f` to everything, on as many threads as there are processors, and keeps the order. `progress` is told how
/// many are done and how many there are.
pub fn map<T: Sync, R: Send>(
    items: &[T],
    progress: &mut dyn FnMut(usize, usize),
    f: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(items.len().max(1));
    let work = || {
        loop {
            // Each number is handed out once; the results are ordered by the lock.
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(i) else { return };
            let result = f(item);
            done.lock().unwrap_or_else(|e| e.into_inner()).push((i, result));
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut last = usize::MAX;
        // One that panicked is finished, too; leaving the scope passes it on.
        while workers.iter().any(|worker| !worker.is_finished()) {
            let n = done.lock().map_or(0, |d| d.len());
            if n != last {
                progress(n, items.len());
                last = n;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let mut results = done.into_inner().unwrap_or_else(|e| e.into_inner());
    progress(results.len(), items.len());
    results.sort_by_key(|&(i, _)| i);
    results.into_iter().map(|(_, r)| r).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept() {
        let (items, mut last) = ((0..100).collect::<Vec<u32>>(), (0, 0));
        let doubled = map(&items, &mut |done, of| last = (done, of), |i| 2 * i);
        assert_eq!(doubled, items.iter().map(|i| 2 * i).collect::<Vec<_>>());
        assert_eq!(last, (100, 100));
    }

    #[test]
    #[should_panic = "a scoped thread panicked"]
    fn panics_are_passed_on_when_all_others_are_done() {
        map(&[1, 2, 3, 4], &mut |_, _| {}, |&i| assert!(i > 4, "each of them"));
    }
}
