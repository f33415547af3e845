// SQLite at work, always the same: tables, an index, joins, a recursive query, text, a rollback.
#include <stdio.h>
#include <stdlib.h>
#include "sqlite3.h"

static sqlite3 *db;

static int row(void *unused, int columns, char **values, char **names)
{
    (void)unused;
    (void)names;
    for (int i = 0; i < columns; i++) printf("%s%c", values[i] ? values[i] : "NULL", i + 1 < columns ? '|' : '\n');
    return 0;
}

static void run(const char *sql)
{
    char *error = 0;
    if (sqlite3_exec(db, sql, row, 0, &error)) {
        printf("%s: %s\n", sql, error);
        exit(1);
    }
}

int main(void)
{
    if (sqlite3_open(":memory:", &db)) return 1;
    run("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, shelf INT)");
    run("CREATE TABLE shelf(id INTEGER PRIMARY KEY, room TEXT)");
    run("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<400) "
        "INSERT INTO item SELECT i, printf('%c%04d', 65+i%26, i*7919%1000), i*37%101/4.0, i%9 FROM n");
    run("INSERT INTO shelf VALUES(0,'a'),(1,'b'),(2,'c'),(3,'a'),(4,'b'),(5,NULL)");
    run("CREATE INDEX by_name ON item(name)");
    run("SELECT room, count(*), sum(price), max(name) FROM item LEFT JOIN shelf ON shelf=shelf.id GROUP BY room ORDER BY 2,1");
    run("SELECT name, price FROM item WHERE name BETWEEN 'F' AND 'H' AND price > 20 ORDER BY price DESC, name LIMIT 7");
    run("BEGIN; DELETE FROM item WHERE id%3=0; SELECT count(*), total(price) FROM item; ROLLBACK");
    run("UPDATE item SET name=upper(replace(name,'0','x')) WHERE id IN (SELECT id FROM item WHERE price<3)");
    run("SELECT group_concat(name,',') FROM (SELECT name FROM item WHERE name LIKE '%X%' ORDER BY id LIMIT 9)");
    run("SELECT id, sum(price) OVER (ORDER BY id ROWS 2 PRECEDING) FROM item WHERE id<6");
    run("SELECT abs(-5), round(2.567,2), typeof(1.0), substr('textpoke',-4), instr('abc','c'), json_extract('{\"a\":[1,2]}','$.a[1]')");
    run("PRAGMA integrity_check");
    return sqlite3_close(db);
}
