CREATE TABLE item(
    id INTEGER PRIMARY KEY,
    category INTEGER NOT NULL,
    name TEXT NOT NULL,
    price INTEGER NOT NULL CHECK (price >= 0),
    attributes TEXT NOT NULL
);
CREATE INDEX item_by_category ON item(category, price);
CREATE TABLE sale(
    id INTEGER PRIMARY KEY,
    item INTEGER NOT NULL REFERENCES item(id),
    buyer TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    at INTEGER NOT NULL
);
CREATE INDEX sale_by_item ON sale(item);
CREATE INDEX sale_by_buyer ON sale(buyer, quantity DESC);
CREATE TABLE total(
    category INTEGER PRIMARY KEY,
    units INTEGER NOT NULL,
    revenue INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TRIGGER sale_adds_up AFTER INSERT ON sale BEGIN
    INSERT INTO total(category, units, revenue)
    SELECT category, new.quantity, new.quantity * price FROM item WHERE id = new.item
    ON CONFLICT(category) DO UPDATE SET units = units + excluded.units, revenue = revenue + excluded.revenue;
END;
CREATE VIEW catalogue AS
    SELECT category, count(*) AS items, min(price) AS cheapest, max(price) AS dearest FROM item GROUP BY category;
