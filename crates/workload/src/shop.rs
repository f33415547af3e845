//! One worker's own database: a small shop, in memory, that nobody else touches.
//!
//! Transaction `n` of worker `w` draws every number it needs from a stream seeded with `(w, n)` and
//! transactions run in order, so database and checksum are pure functions of `(w, transactions)`.

mod queries;

use crate::checksum::{Checksum, SplitMix};
use rusqlite::{Connection, Statement, params};

/// Items that stay: older ones are deleted, so that a transaction costs the same after an hour.
const ITEMS_KEPT: i64 = 300;
/// Every so many transactions, one part is rolled back to a savepoint.
const ROLLBACK_EVERY: u64 = 5;
/// Every so many transactions, the statements are compiled anew instead of taken from the cache: the compiler is half of SQLite.
const COMPILE_EVERY: u64 = 4;

const WORDS: [&str; 16] = [
    "amber", "basalt", "cedar", "dune", "ember", "fjord", "granite", "harbour", "indigo", "juniper", "kelp", "lagoon",
    "meadow", "nectar", "ochre", "prairie",
];

pub(crate) struct Shop {
    connection: Connection,
    worker: u64,
    transactions: u64,
    checksum: Checksum,
}

impl Shop {
    pub fn open(worker: u64) -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch(include_str!("shop/schema.sql"))?;
        Ok(Self { connection, worker, transactions: 0, checksum: Checksum::new() })
    }

    /// Runs and commits the next transaction.
    pub fn transact(&mut self) -> rusqlite::Result<()> {
        let number = self.transactions;
        let mut stream = SplitMix::of_transaction(self.worker, number);
        let mut sum = self.checksum;
        let transaction = self.connection.transaction()?;
        stock(&transaction, &mut stream)?;
        sell(&transaction, &mut stream, number)?;
        if number.is_multiple_of(ROLLBACK_EVERY) {
            change_and_regret(&transaction, &mut stream)?;
        }
        forget_old(&transaction)?;
        let fresh = number.is_multiple_of(COMPILE_EVERY);
        for offset in [0, 5] {
            let turn = usize::try_from(number % 1_000_000).expect("fits") + offset;
            let sql = queries::QUERIES[turn % queries::QUERIES.len()];
            ask(&transaction, sql, fresh, &mut stream, &mut sum)?;
        }
        transaction.commit()?;
        self.checksum = sum;
        self.transactions += 1;
        Ok(())
    }

    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    pub fn checksum(&self) -> Checksum {
        self.checksum
    }
}

fn word(stream: &mut SplitMix) -> &'static str {
    WORDS[usize::try_from(stream.below(16)).expect("below 16")]
}

/// Two new items.
fn stock(connection: &Connection, stream: &mut SplitMix) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO item(category, name, price, attributes)
         VALUES (?1, ?2 || ' ' || ?3, ?4, json_object('colour', ?2, 'weight', ?5, 'tags', json_array(?3, ?1)))",
    )?;
    for _ in 0..2 {
        insert.execute(params![
            stream.below(12),
            word(stream),
            word(stream),
            100 + stream.below(9_900),
            stream.below(5_000)
        ])?;
    }
    Ok(())
}

/// Three sales of items that exist, and a price that changes. A trigger keeps the totals.
fn sell(connection: &Connection, stream: &mut SplitMix, number: u64) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO sale(item, buyer, quantity, at)
         SELECT id, ?2, ?3, ?4 FROM item WHERE id >= (SELECT min(id) FROM item) + ?1 ORDER BY id LIMIT 1",
    )?;
    for _ in 0..3 {
        insert.execute(params![
            stream.below(u32::try_from(ITEMS_KEPT).expect("small")),
            word(stream),
            1 + stream.below(9),
            number.cast_signed()
        ])?;
    }
    let mut reprice = connection.prepare_cached(
        "UPDATE item SET price = price + ?2, attributes = json_set(attributes, '$.weight', ?2) WHERE id = (SELECT max(id) FROM item) - ?1",
    )?;
    reprice.execute(params![stream.below(20), stream.below(50)])?;
    Ok(())
}

/// Writes something and takes it back: leaves no trace, but walks the rollback paths.
fn change_and_regret(connection: &Connection, stream: &mut SplitMix) -> rusqlite::Result<()> {
    connection.execute_batch("SAVEPOINT doubt")?;
    connection
        .prepare_cached("UPDATE item SET price = 0, name = upper(name) WHERE category = ?1")?
        .execute([stream.below(12)])?;
    connection.execute_batch("ROLLBACK TO doubt; RELEASE doubt")
}

fn forget_old(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM sale WHERE item <= (SELECT max(id) FROM item) - ?1")?
        .execute([ITEMS_KEPT])?;
    connection.prepare_cached("DELETE FROM item WHERE id <= (SELECT max(id) FROM item) - ?1")?.execute([ITEMS_KEPT])?;
    Ok(())
}

/// Feeds the rows of one query. Every query takes a number as `?1` and a word as `?2`.
fn ask(
    connection: &Connection,
    sql: &str,
    fresh: bool,
    stream: &mut SplitMix,
    sum: &mut Checksum,
) -> rusqlite::Result<()> {
    if fresh {
        feed(&mut connection.prepare(sql)?, stream, sum)
    } else {
        let mut cached = connection.prepare_cached(sql)?;
        feed(&mut cached, stream, sum)
    }
}

fn feed(statement: &mut Statement<'_>, stream: &mut SplitMix, sum: &mut Checksum) -> rusqlite::Result<()> {
    let (number, text) = (stream.below(1_000), word(stream));
    // Many queries have a use for the number only.
    if statement.parameter_count() > 0 {
        statement.raw_bind_parameter(1, number)?;
    }
    if statement.parameter_count() > 1 {
        statement.raw_bind_parameter(2, text)?;
    }
    sum.rows(&mut statement.raw_query())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(worker: u64, transactions: u64) -> Checksum {
        let mut shop = Shop::open(worker).expect("a database in memory");
        for _ in 0..transactions {
            shop.transact().expect("a transaction");
        }
        assert_eq!(shop.transactions(), transactions);
        shop.checksum()
    }

    #[test]
    fn a_pure_function_of_worker_and_count() {
        assert_eq!(after(0, 40), after(0, 40));
        assert_ne!(after(0, 40), after(1, 40));
        assert_ne!(after(0, 40), after(0, 41));
    }

    #[test]
    fn the_database_stays_small() {
        let mut shop = Shop::open(3).expect("a database in memory");
        for _ in 0..400 {
            shop.transact().expect("a transaction");
        }
        let items: i64 = shop.connection.query_row("SELECT count(*) FROM item", [], |row| row.get(0)).expect("a count");
        assert_eq!(items, ITEMS_KEPT);
    }

    #[test]
    fn every_query_returns_rows_and_depends_on_the_data() {
        let mut shop = Shop::open(0).expect("a database in memory");
        for _ in 0..200 {
            shop.transact().expect("a transaction");
        }
        for sql in queries::QUERIES {
            let mut seen = std::collections::HashSet::new();
            for number in 0..20 {
                let mut sum = Checksum::new();
                let mut stream = SplitMix::of_transaction(9, number);
                ask(&shop.connection, sql, true, &mut stream, &mut sum).expect(sql);
                seen.insert(sum.value());
            }
            assert!(seen.len() > 1, "always the same answer: {sql}");
        }
    }
}
