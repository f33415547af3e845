//! A thread that sleeps in `epoll_wait`, as the main thread of most servers does.
//!
//! `epoll_wait` is never restarted after a signal or a stop, so it returns EINTR to a program that
//! may not expect it. Whoever touches this process must not cause that.

use super::Shared;
use crate::sys::Epoll;
use std::io::{ErrorKind, PipeReader, Read};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

/// Runs until the other end of `wake` is closed.
pub(crate) fn run(shared: &Shared, mut wake: PipeReader) -> Result<(), String> {
    let message = |error| format!("the thread in epoll_wait: {error}");
    let epoll = Epoll::new().map_err(message)?;
    epoll.watch(wake.as_fd()).map_err(message)?;
    shared.threads_ready.fetch_add(1, Ordering::Relaxed);
    let mut bytes = [0; 64];
    loop {
        match epoll.wait() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                shared.eintr.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => return Err(message(error)),
            Ok(()) => {
                if wake.read(&mut bytes).map_err(message)? == 0 {
                    return Ok(());
                }
            }
        }
    }
}
