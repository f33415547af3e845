//! A worker thread: transactions on its own shop, and now and then a transfer at the shared bank.

use crate::bank::{Bank, BankFile};
use crate::pace::Pace;
use crate::report::WorkerReport;
use crate::shop::Shop;
use std::sync::atomic::AtomicBool;

/// Every so many transactions, one transfer.
const TRANSFER_EVERY: u64 = 4;

/// Transfers that belong to the first `transactions` transactions of a worker.
pub(crate) fn transfers(transactions: u64) -> u64 {
    transactions / TRANSFER_EVERY
}

pub(crate) struct Worker {
    index: u64,
    shop: Shop,
    bank: Bank,
}

impl Worker {
    pub fn new(index: u64, bank: &BankFile) -> Result<Self, String> {
        let message = |error| format!("worker {index} cannot open its databases: {error}");
        Ok(Self { index, shop: Shop::open(index).map_err(message)?, bank: bank.open().map_err(message)? })
    }

    /// Works until `stop` is set.
    pub fn run(&mut self, rate: u32, stop: &AtomicBool) -> Result<(), String> {
        let mut pace = Pace::per_second(rate);
        while pace.wait(stop) {
            self.step().map_err(|error| format!("worker {}: {error}", self.index))?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        let before = self.shop.transactions();
        self.shop.transact().map_err(|error| format!("transaction {before}: {error}"))?;
        let due = transfers(before);
        if transfers(before + 1) > due {
            self.bank.transfer(self.index, due)?;
        }
        Ok(())
    }

    pub fn report(&self) -> WorkerReport {
        WorkerReport { transactions: self.shop.transactions(), checksum: self.shop.checksum().hex() }
    }
}
