//! The database that all workers share: a bank in a file, in WAL mode.
//!
//! Transfers are unconditional (a balance may go below zero), so they commute: the final balances
//! follow from how many transfers each worker made, in whatever order they interleaved.

use crate::checksum::{Checksum, SplitMix};
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Accounts are numbered from 0.
const ACCOUNTS: u32 = 64;
const OPENING_BALANCE: i64 = 1_000;
/// Kept apart from the streams of the shop's transactions.
const STREAM_OFFSET: u64 = 1 << 32;
/// Longer than any traced, oversubscribed machine keeps a writer waiting; a deadlock still ends the run.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// The database file, which goes away with the value.
pub(crate) struct BankFile {
    // Held for its Drop.
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl BankFile {
    pub fn create() -> Result<Self, String> {
        let folder = tempfile::Builder::new()
            .prefix("workload-")
            .tempdir()
            .map_err(|error| format!("cannot make a temporary folder: {error}; TMPDIR names another place"))?;
        let path = folder.path().join("bank.db");
        fill(&path).map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self { _folder: folder, path })
    }

    pub fn open(&self) -> rusqlite::Result<Bank> {
        Bank::open(&self.path)
    }
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let bank = Bank::open(path)?;
    // `synchronous` is per connection; WAL stays with the file.
    bank.connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
         CREATE TABLE progress(worker INTEGER PRIMARY KEY, transfers INTEGER NOT NULL);",
    )?;
    let mut insert = bank.connection.prepare("INSERT INTO account VALUES (?1, ?2)")?;
    for id in 0..ACCOUNTS {
        insert.execute(params![id, OPENING_BALANCE])?;
    }
    Ok(())
}

/// One connection to the bank.
pub(crate) struct Bank {
    connection: Connection,
}

impl Bank {
    fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // The file does not outlive the process: nothing to make durable, and no fsync that would drown the work.
        connection.execute_batch("PRAGMA synchronous = OFF")?;
        Ok(Self { connection })
    }

    /// Transfer `number` of `worker`, which must be the next one.
    ///
    /// # Errors
    /// Also if money was made or lost, or a transfer of this worker is missing: isolation is broken.
    pub fn transfer(&mut self, worker: u64, number: u64) -> Result<(), String> {
        let (from, to, amount) = transfer_of(worker, number);
        self.commit_transfer(worker, from, to, amount).map_err(|error| format!("transfer {number}: {error}")).and_then(
            |(sum, transfers)| {
                if sum != i64::from(ACCOUNTS) * OPENING_BALANCE {
                    return Err(format!("transfer {number}: the balances add up to {sum}"));
                }
                if transfers != number + 1 {
                    return Err(format!("transfer {number}: the database knows of {transfers} transfers"));
                }
                Ok(())
            },
        )
    }

    /// Returns the sum of all balances and this worker's transfers, as seen inside the transaction.
    fn commit_transfer(&mut self, worker: u64, from: i64, to: i64, amount: i64) -> rusqlite::Result<(i64, u64)> {
        // Immediate: a deferred transaction that reads first may not wait for the write lock (SQLITE_BUSY_SNAPSHOT).
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let seen = {
            let mut add = transaction.prepare_cached("UPDATE account SET balance = balance + ?2 WHERE id = ?1")?;
            add.execute([from, -amount])?;
            add.execute([to, amount])?;
            let transfers: i64 = transaction
                .prepare_cached(
                    "INSERT INTO progress VALUES (?1, 1)
                     ON CONFLICT(worker) DO UPDATE SET transfers = transfers + 1 RETURNING transfers",
                )?
                .query_row([worker.cast_signed()], |row| row.get(0))?;
            let sum =
                transaction.prepare_cached("SELECT sum(balance) FROM account")?.query_row([], |row| row.get(0))?;
            (sum, transfers.cast_unsigned())
        };
        transaction.commit()?;
        Ok(seen)
    }

    /// Over all balances, in the order of the accounts.
    pub fn checksum(&self) -> rusqlite::Result<Checksum> {
        let mut statement = self.connection.prepare("SELECT balance FROM account ORDER BY id")?;
        let mut rows = statement.query([])?;
        let mut sum = Checksum::new();
        while let Some(row) = rows.next()? {
            let balance: i64 = row.get(0)?;
            sum.number(balance.cast_unsigned());
        }
        Ok(sum)
    }
}

fn transfer_of(worker: u64, number: u64) -> (i64, i64, i64) {
    let mut stream = SplitMix::of_transaction(worker + STREAM_OFFSET, number);
    (stream.below(ACCOUNTS), stream.below(ACCOUNTS), 1 + stream.below(100))
}

/// What [`Bank::checksum`] must be after worker `i` made `transfers[i]` transfers; no database is involved.
pub(crate) fn expected_checksum(transfers: &[u64]) -> Checksum {
    let mut balances = [OPENING_BALANCE; ACCOUNTS as usize];
    let account = |id: i64| usize::try_from(id).expect("0 to 63");
    for (worker, &count) in (0..).zip(transfers) {
        for number in 0..count {
            let (from, to, amount) = transfer_of(worker, number);
            balances[account(from)] -= amount;
            balances[account(to)] += amount;
        }
    }
    let mut sum = Checksum::new();
    for balance in balances {
        sum.number(balance.cast_unsigned());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_transfers_does_not_matter() {
        let file = BankFile::create().expect("a temporary file");
        let mut bank = file.open().expect("the bank");
        for (worker, number) in [(1, 0), (0, 0), (0, 1), (1, 1), (0, 2)] {
            bank.transfer(worker, number).expect("a transfer");
        }
        assert_eq!(bank.checksum(), Ok(expected_checksum(&[3, 2])));
        assert_ne!(bank.checksum(), Ok(expected_checksum(&[2, 3])));
    }

    #[test]
    fn money_out_of_nowhere_is_noticed() {
        let file = BankFile::create().expect("a temporary file");
        let mut bank = file.open().expect("the bank");
        bank.connection.execute_batch("UPDATE account SET balance = balance + 1 WHERE id = 5").expect("an update");
        let message = bank.transfer(0, 0).expect_err("64,001 in all");
        assert!(message.contains("64001"), "{message}");
    }

    #[test]
    fn a_lost_transfer_is_noticed() {
        let file = BankFile::create().expect("a temporary file");
        let mut bank = file.open().expect("the bank");
        assert!(bank.transfer(0, 1).is_err());
    }
}
