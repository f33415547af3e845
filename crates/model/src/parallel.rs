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
        for _ in 0..threads {
            scope.spawn(work);
        }
        let mut last = usize::MAX;
        while next.load(Ordering::Relaxed) < items.len() + threads {
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
