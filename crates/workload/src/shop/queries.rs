//! What the workers ask: one query for each part of SQLite that should have something to do.
//!
//! Each takes a number from 0 to 999 as `?1` and a word as `?2`. All of them order their rows, so
//! that the answer is defined by SQL and not by an access path.

pub(super) const QUERIES: [&str; 13] = [
    // Point and range lookups by index.
    "SELECT id, name, price FROM item WHERE category = ?1 % 12 AND price > ?1 * 4 ORDER BY price, id LIMIT 12",
    // Join with aggregates.
    "SELECT i.category, count(*), sum(s.quantity * i.price), avg(s.quantity)
     FROM sale s JOIN item i ON i.id = s.item WHERE s.buyer = ?2 GROUP BY i.category HAVING count(*) > ?1 % 2 ORDER BY 3 DESC, 1",
    // LIKE and GLOB over names.
    "SELECT name, count(*) FROM item WHERE name LIKE '%' || substr(?2, 1, 1 + ?1 % 3) || '%' OR name GLOB ?2 || '*' GROUP BY name ORDER BY name",
    // Text functions.
    "SELECT upper(name), replace(name, ' ', '-'), instr(name, 'r'), printf('%08.3f|%5d', price / 7.0, ?1), trim(substr(name, -4)), hex(substr(name, 1, 3)), unicode(name)
     FROM item WHERE id % 37 = ?1 % 37 ORDER BY id",
    // JSON: paths, and arrays as tables.
    "SELECT json_extract(attributes, '$.colour'), json_group_array(id ORDER BY id) FROM item WHERE attributes ->> '$.weight' > ?1 * 3 GROUP BY 1 ORDER BY 1",
    "SELECT t.value, count(*) FROM item, json_each(item.attributes, '$.tags') AS t WHERE item.category = ?1 % 12 GROUP BY t.value ORDER BY 1",
    // Window functions.
    "SELECT id, price, rank() OVER w, sum(price) OVER (w ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM item WHERE category IN (?1 % 12, (?1 + 5) % 12)
     WINDOW w AS (PARTITION BY category ORDER BY price, id) ORDER BY category, price, id LIMIT 30",
    // A recursive query and a sort that no index serves.
    "WITH RECURSIVE step(n, x) AS (SELECT 1, ?1 UNION ALL SELECT n + 1, (x * 1103515245 + 12345) % 2147483648 FROM step WHERE n < 40)
     SELECT x % 97 AS y, n FROM step ORDER BY y, n DESC",
    // Correlated subqueries and EXISTS.
    "SELECT i.id, (SELECT sum(quantity) FROM sale s WHERE s.item = i.id) FROM item i
     WHERE EXISTS (SELECT 1 FROM sale s WHERE s.item = i.id AND s.quantity >= ?1 % 9) ORDER BY 2 DESC, 1 LIMIT 15",
    // Compound selects.
    "SELECT buyer FROM sale WHERE quantity > ?1 % 8 INTERSECT SELECT buyer FROM sale WHERE item % 2 = ?1 % 2 EXCEPT SELECT ?2 ORDER BY 1",
    // The view and the table that the trigger keeps.
    "SELECT c.category, items, cheapest, dearest, units, revenue, CASE WHEN units > ?1 THEN 'busy' ELSE 'calm' END
     FROM catalogue c LEFT JOIN total t USING (category) ORDER BY c.category",
    // Dates and numbers, from fixed inputs: never from the clock.
    "SELECT date(at * 86400 + ?1 * 3600, 'unixepoch', '+1 month', 'start of month'), strftime('%j-%W', at * 3600, 'unixepoch'), round(quantity / 3.0, 2), abs(?1 - id)
     FROM sale WHERE quantity = 1 + ?1 % 9 ORDER BY id LIMIT 10",
    // Distinct values, and a plan without an index.
    "SELECT DISTINCT length(name), typeof(price), quote(substr(name, 1, 5)) FROM item WHERE price BETWEEN ?1 * 5 AND ?1 * 5 + 2500 ORDER BY 1, 3",
];
