//! What a run says about itself when it ends.

use serde::{Deserialize, Serialize};

/// The result of one run, printed as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// One entry per worker, in the order of their indices.
    pub workers: Vec<WorkerReport>,
    /// Over the final balances of the database that all workers share, 16 hex digits.
    pub shared_checksum: String,
    /// How often the thread in `epoll_wait` was interrupted. Nothing in the workload does that, so
    /// anything but 0 came from outside.
    pub eintr: u64,
    /// Children forked and waited for, whose answers were right.
    pub forks: u64,
    /// Programs spawned, whose answers were right.
    pub spawns: u64,
    /// Short-lived threads created and joined, whose answers were right.
    pub threads: u64,
    /// SIGUSR1 handled; each one that was sent is waited for.
    pub signals: u64,
    /// Everything that went wrong, in plain words. Empty in a good run.
    pub errors: Vec<String>,
}

/// What one worker thread did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerReport {
    /// Transactions committed.
    pub transactions: u64,
    /// Running checksum over all result rows, 16 hex digits; a pure function of the worker's index and `transactions`.
    pub checksum: String,
}

impl Report {
    /// Reads the JSON line of a run.
    ///
    /// # Errors
    /// A message with the position, if `text` is not such a line.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text.trim()).map_err(|error| format!("not a workload report: {error}"))
    }

    /// The JSON line, without the newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings always have a JSON form")
    }

    /// Transactions of all workers together.
    pub fn transactions(&self) -> u64 {
        self.workers.iter().map(|worker| worker.transactions).sum()
    }
}
