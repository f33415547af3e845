//! One small, self-contained computation on SQLite, for threads and processes that do not live long.

use crate::checksum::{Checksum, SplitMix};
use rusqlite::Connection;
use std::io::Write;

/// A checksum that depends on `seed` only.
pub(crate) fn compute(seed: u64) -> rusqlite::Result<u64> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch("CREATE TABLE number(n INTEGER PRIMARY KEY, word TEXT NOT NULL)")?;
    let mut stream = SplitMix::new(seed);
    {
        let mut insert = connection.prepare("INSERT INTO number(word) VALUES (printf('%04x', ?1))")?;
        for _ in 0..16 {
            insert.execute([stream.below(0x1_0000)])?;
        }
    }
    let mut sum = Checksum::new();
    let mut select = connection.prepare(
        "SELECT substr(word, 1, 1) AS first, count(*), group_concat(word, ' ' ORDER BY n)
         FROM number GROUP BY first ORDER BY first",
    )?;
    sum.rows(&mut select.query([])?)?;
    Ok(sum.value())
}

/// What a spawned child does: computes and prints one hex number.
pub(crate) fn print(seed: u64) -> Result<(), String> {
    let value = compute(seed).map_err(|error| format!("the child's database: {error}"))?;
    writeln!(std::io::stdout(), "{value:016x}").map_err(|error| format!("cannot write the child's answer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::compute;

    #[test]
    fn depends_on_the_seed_and_nothing_else() {
        assert_eq!(compute(1), compute(1));
        assert_ne!(compute(1), compute(2));
    }
}
