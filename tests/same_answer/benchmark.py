"""The tables and questions of TPC-H and Nexmark, and random statements that change them: the same for Fourfold and for PostgreSQL."""

import pathlib
import random

FOLDER = pathlib.Path(__file__).parents[2] / "crates/streaming/tests"
NUMBERS = ["1", "2", "3", "4", "5", "6", "7"]
DAYS = ["1993-07-15", "1994-03-01", "1994-04-01", "1993-11-01", "1994-02-01", "1995-01-10", "1995-03-20", "1995-09-10", "1996-02-01"]
TIMES = ["2026-01-01 05:00:00", "2026-01-01 08:30:00.5", "2026-01-01 23:59:59.999999", "2026-01-02 00:00:00"]
URLS = ["https://shop.example/a/item.htm", "https://shop.example/b/c/cc.htm?q=1", "none", ""]
# Values of columns, by the end of their names; others are one of two letters.
VALUES = {
    "regionkey": NUMBERS[:3], "linenumber": NUMBERS[:3], "nationkey": NUMBERS[:4], "partkey": NUMBERS[:4], "suppkey": NUMBERS[:4],
    "c_custkey": NUMBERS, "o_custkey": NUMBERS[:4], "orderkey": NUMBERS, "shippriority": ["0"], "availqty": ["1", "5", "20", "200"],
    "quantity": ["1", "5", "20", "200"], "size": ["3", "9", "15"], "discount": ["0.05", "0.06", "0.10"], "tax": ["0.05", "0.06", "0.10"],
    "acctbal": ["-3.50", "0.01", "100.00", "12345.67"], "retailprice": ["-3.50", "100.00"], "supplycost": ["0.01", "100.00"],
    "totalprice": ["100.00", "12345.67"], "extendedprice": ["0.01", "100.00", "12345.67"], "date": DAYS,
    "r_name": ["EUROPE", "ASIA", "AMERICA"], "n_name": ["FRANCE", "GERMANY", "BRAZIL", "CANADA", "SAUDI ARABIA"],
    "p_name": ["forest green", "green", "red"], "brand": ["Brand#12", "Brand#23", "Brand#45"],
    "type": ["PROMO BRASS", "ECONOMY ANODIZED STEEL", "MEDIUM POLISHED TIN"], "container": ["SM CASE", "MED BOX"],
    "mktsegment": ["BUILDING", "MACHINERY"], "status": ["F", "O"], "orderpriority": ["1-URGENT", "5-LOW"], "returnflag": ["R", "N"],
    "shipmode": ["AIR", "MAIL"], "shipinstruct": ["DELIVER IN PERSON", "NONE"], "phone": ["13-100", "31-200", "99-300"],
    "comment": ["special requests", "Customer Complaints", "", "nothing"],
    "id": NUMBERS, "seller": NUMBERS, "bidder": NUMBERS, "auction": NUMBERS, "key": NUMBERS[:4], "category": ["10", "11", "12"],
    "price": ["1", "99", "100", "117", "9999", "10000", "123456789"], "reserve": ["1", "100"], "at": TIMES,
    "expires": ["2026-01-01 09:00:00", "2026-01-03 00:00:00"], "state": ["OR", "ID", "CA", "WA"],
    "channel": ["Apple", "google", "channel-7", ""], "url": URLS,
}


class Benchmark:
    """The statements of one benchmark."""

    def __init__(self, name):
        self.name = name
        self.definitions = statements(FOLDER / name / "definitions.sql")
        self.queries = dict(enumerate(statements(FOLDER / name / "queries.sql"), 1))
        self.tables = [Table(definition) for definition in self.definitions]

    def change(self, dice):
        """A statement that changes a table, or adds to a source. Most questions ask for what is defined last."""
        return dice.choice([*self.tables, *self.tables[-3:]]).change(dice)


class Table:
    """A table, or a source, by its definition."""

    def __init__(self, definition):
        head, columns = definition.split("(", 1)
        self.name = head.split()[2]
        parts = [part.strip() for part in columns.rsplit(")", 1)[0].replace("NUMERIC(15, 2)", "NUMERIC").split(",")]
        text = ",".join(parts)
        self.key = [part.split()[0] for part in parts if part.endswith("PRIMARY KEY")]
        if "PRIMARY KEY (" in text:
            self.key = text.split("PRIMARY KEY (")[1].split(")")[0].replace(" ", "").split(",")
            text = text.split(",PRIMARY KEY (")[0]
        self.columns = {part.split()[0]: part.split()[1] for part in text.split(",")}

    def change(self, dice):
        if not self.key:
            return f"INSERT INTO {self.name} VALUES {self.rows(dice, dice.randint(1, 8))}"
        column = dice.choice([name for name in self.columns if name not in self.key])
        match dice.randrange(10):
            case 0:
                return f"DELETE FROM {self.name} WHERE {self.key[0]} = {self.value(dice, self.key[0])}"
            case 1:
                return f"UPDATE {self.name} SET {column} = {self.value(dice, column)} WHERE {self.key[-1]} = {self.value(dice, self.key[-1])}"
            case 2:
                return f"INSERT INTO {self.name} VALUES {self.rows(dice, 1)} ON CONFLICT DO NOTHING"
        sets = ", ".join(f"{name} = excluded.{name}" for name in self.columns if name not in self.key)
        return f"INSERT INTO {self.name} VALUES {self.rows(dice, 1)} ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {sets}"

    def rows(self, dice, count):
        return ", ".join(f"({', '.join(self.value(dice, name) for name in self.columns)})" for _ in range(count))

    def value(self, dice, column):
        if column not in self.key and dice.random() < 0.03:
            return "NULL"
        choices = VALUES.get(column) or next((VALUES[end] for end in VALUES if column.endswith(end) and "_" in column), ["x", "y"])
        value = dice.choice(choices)
        return value if self.columns[column] in ("INT", "BIGINT", "NUMERIC") else f"'{value}'"


def statements(file):
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("--")]
    return [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]


def dice(seed):
    return random.Random(seed)
