//! One run: starts the threads, waits for its end, collects the report.

use crate::bank::BankFile;
use crate::control::Control;
use crate::disturb::{Shared, processes, signals, sleeper, threads};
use crate::options::RunOptions;
use crate::report::{Report, WorkerReport};
use crate::sys;
use crate::worker::Worker;
use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How often the main thread looks whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs, prints `ready` and the report.
///
/// # Errors
/// The first error of the run, after the report was printed.
pub(crate) fn run_and_print(reenter: &[&str], options: &RunOptions) -> Result<(), String> {
    let report = run(reenter, options)?;
    say(&report.to_json())?;
    match report.errors.first() {
        None => Ok(()),
        Some(error) => Err(error.clone()),
    }
}

fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to standard output: {error}"))
}

fn run(reenter: &[&str], options: &RunOptions) -> Result<Report, String> {
    sys::install_handlers(options.control).map_err(|error| format!("signal handlers: {error}"))?;
    let bank = BankFile::create()?;
    let workers = (0..options.workers as u64).map(|index| Worker::new(index, &bank)).collect::<Result<Vec<_>, _>>()?;
    let shared = Shared::new(workers.len());
    let signals_before = sys::signals_handled();
    let workers = thread::scope(|scope| {
        // Fails only half-way through starting: the threads that run must end, or the scope never does.
        supervise(scope, reenter, options, &shared, workers).inspect_err(|message| shared.fail(message.clone()))
    })?;

    let mut report = Report {
        workers,
        shared_checksum: String::new(),
        eintr: shared.eintr.load(Ordering::Relaxed),
        forks: shared.forks.load(Ordering::Relaxed),
        spawns: shared.spawns.load(Ordering::Relaxed),
        threads: shared.threads.load(Ordering::Relaxed),
        signals: sys::signals_handled() - signals_before,
        errors: shared.take_errors(),
    };
    match bank.open().and_then(|bank| bank.checksum()) {
        Ok(checksum) => report.shared_checksum = checksum.hex(),
        Err(error) => report.errors.push(format!("the shared database: {error}")),
    }
    Ok(report)
}

/// Starts every thread, waits for the end of the run and joins them in an order that hurts nobody.
fn supervise<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    reenter: &'env [&'env str],
    options: &RunOptions,
    shared: &'env Shared,
    workers: Vec<Worker>,
) -> Result<Vec<WorkerReport>, String> {
    let (reader, writer) = io::pipe().map_err(|error| format!("cannot make a pipe: {error}"))?;
    // The main thread alone is asked to stop, so that no system call of another is interrupted by it.
    sys::block_stop_signals(true).map_err(|error| format!("signal mask: {error}"))?;
    let rate = options.rate;
    let mut expected = 0;
    let mut handles = Vec::new();
    for (mut worker, id) in workers.into_iter().zip(&shared.worker_ids) {
        let name = format!("worker-{}", handles.len());
        handles.push(start(scope, &name, move || {
            id.store(sys::thread_id(), Ordering::Release);
            shared.threads_ready.fetch_add(1, Ordering::Relaxed);
            if let Err(message) = worker.run(rate, &shared.stop) {
                shared.fail(message);
            }
            worker.report()
        })?);
        expected += 1;
    }
    let guard = |result: Result<(), String>| result.unwrap_or_else(|message| shared.fail(message));
    let mut others = vec![
        start(scope, "sleeper", move || guard(sleeper::run(shared, reader)))?,
        start(scope, "thread-maker", move || guard(threads::run(shared, writer)))?,
        start(scope, "forker", move || guard(processes::run(shared, reenter)))?,
    ];
    expected += others.len() as u64;
    wait_for_threads(shared, expected);
    let sender = start(scope, "signaller", move || guard(signals::run(shared)))?;
    wait_for_threads(shared, expected + 1);
    sys::block_stop_signals(false).map_err(|error| format!("signal mask: {error}"))?;

    if !shared.stop.load(Ordering::Relaxed) {
        say("ready").unwrap_or_else(|message| shared.fail(message));
    }
    wait_for_the_end(options, shared);

    shared.stop_signals.store(true, Ordering::Relaxed);
    join(sender, shared);
    shared.stop.store(true, Ordering::Relaxed);
    others.drain(..).for_each(|other| {
        join(other, shared);
    });
    Ok(handles.into_iter().filter_map(|handle| join(handle, shared)).collect())
}

fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    body: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, String> {
    thread::Builder::new()
        .name(name.into())
        .spawn_scoped(scope, body)
        .map_err(|error| format!("cannot create the thread {name}: {error}"))
}

fn join<T>(handle: ScopedJoinHandle<'_, T>, shared: &Shared) -> Option<T> {
    let name = handle.thread().name().unwrap_or("a thread").to_owned();
    handle.join().map_err(|_| shared.fail(format!("{name} panicked"))).ok()
}

/// Until `count` threads have said that they run, or one has failed.
fn wait_for_threads(shared: &Shared, count: u64) {
    while shared.threads_ready.load(Ordering::Relaxed) < count && !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn wait_for_the_end(options: &RunOptions, shared: &Shared) {
    let deadline = options.limit.map(|limit| Instant::now() + limit);
    let mut control = options.control.then(Control::default);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let over = left.is_some_and(|left| left.is_zero());
        if over || sys::asked_to_stop() || shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let nap = left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY));
        match &mut control {
            None => thread::sleep(nap),
            Some(control) => {
                if control.says_stop(nap) {
                    return;
                }
            }
        }
    }
}
