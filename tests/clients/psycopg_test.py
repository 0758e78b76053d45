"""psycopg 3 as it comes from PyPI: definitions, typed parameters, prepared statements, cursors, errors."""

import datetime
import decimal

import psycopg
from psycopg.rows import dict_row

from doors import PG, equal, positions, request, unique

host, port = PG.rsplit(":", 1)
source, view = unique("readings"), unique("totals")


def connect(**more):
    return psycopg.connect(host=host, port=port, user="anyone", dbname="fourfold", autocommit=True, **more)


def produce(values):
    records = [{"key": value["sensor"], "value": value} for value in values]
    status, answer = request("POST", f"/v1/topics/{source}/records", {"records": records})
    assert status == 200, (status, answer)


with connect() as connection:
    connection.execute(
        f"CREATE SOURCE {source} (sensor TEXT, value DOUBLE PRECISION, n BIGINT, ok BOOLEAN, at TIMESTAMP) "
        f"WITH (topic = '{source}', format = 'json', event_time = 'at')"
    )
    connection.execute(
        f"CREATE MATERIALIZED VIEW {view} AS SELECT sensor, count(*) AS readings, sum(value) AS total, max(n) AS last, "
        f"max(at) AS latest FROM {source} GROUP BY sensor"
    )
    produce([
        {"sensor": "s" + str(i % 3), "value": 0.1 * i, "n": i, "ok": i % 2 == 0, "at": f"2026-01-01T00:00:{i:02d}"}
        for i in range(30)
    ])
    connection.execute(f"SET fourfold.min_position = '{positions(source, {0: 30})}'")

    cursor = connection.execute(f"SELECT sensor, readings, last, latest FROM {view} ORDER BY sensor")
    equal("columns have their names", [column.name for column in cursor.description],
          ["sensor", "readings", "last", "latest"])
    latest = [datetime.datetime(2026, 1, 1, 0, 0, second) for second in (27, 28, 29)]
    equal("rows come with their types", cursor.fetchall(), [(f"s{i}", 10, 27 + i, latest[i]) for i in range(3)])

    point = f"SELECT readings FROM {view} WHERE sensor = %s"
    equal("a row is found by its key", connection.execute(point, ["s1"]).fetchall(), [(10,)])
    equal("a missing key is no row", connection.execute(point, ["none"]).fetchall(), [])
    with connection.cursor(binary=True) as binary:
        binary.execute(f"SELECT sensor, readings, latest FROM {view} WHERE last > %b ORDER BY sensor", [27])
        equal("binary parameters and results", binary.fetchall(), [("s1", 10, latest[1]), ("s2", 10, latest[2])])
    listed = f"SELECT sensor FROM {view} WHERE {{}} ORDER BY sensor"
    any_of = connection.execute(listed.format("sensor = ANY(%s)"), [["s0", "s2"]]).fetchall()
    equal("a list of texts is a parameter", any_of, [("s0",), ("s2",)])
    any_of = connection.execute(listed.format("last = ANY(%s)"), [[28, 29]]).fetchall()
    equal("a list of numbers is a parameter", any_of, [("s1",), ("s2",)])
    shifted = connection.execute(f"SELECT latest + %s FROM {view} WHERE sensor = 's0'", [datetime.timedelta(days=1)])
    equal("an interval is a parameter", shifted.fetchone(), (latest[0] + datetime.timedelta(days=1),))
    alike = connection.execute("SELECT 1, 1, 1::smallint, NULL, NULL::text")
    equal("columns may have one name", alike.fetchone(), (1, 1, 1, None, None))
    for _ in range(10):
        found = connection.execute(point, ["s2"], prepare=True).fetchone()
    equal("a prepared statement is run again", found, (10,))

    with connection.cursor(row_factory=dict_row) as dicts:
        dicts.execute(f"SELECT count(*) AS n, sum(value) AS total FROM {source}")
        row = dicts.fetchone()
        equal("a source is read as a table", (row["n"], round(row["total"], 6)), (30, 43.5))

    with connection.transaction():
        with connection.cursor(name="batches") as server_side:
            server_side.itersize = 7
            server_side.execute(f"SELECT n FROM {source} ORDER BY n")
            equal("a cursor fetches in parts", [n for (n,) in server_side], list(range(30)))

    for text, state in [
        ("SELECT nothing FROM " + view, "42703"),
        ("SELECT 1 FROM no_such_view", "42P01"),
        ("SELEC 1", "42601"),
        (f"INSERT INTO {view} VALUES (1)", "42809"),
    ]:
        try:
            connection.execute(text)
            raise AssertionError(f"{text} was not refused")
        except psycopg.Error as error:
            equal(f"{text.split(source)[0][:24]}... is refused with a state", error.sqlstate, state)
    equal("the connection goes on after errors", connection.execute("SELECT 1").fetchone(), (1,))

    copied = b""
    with connection.cursor() as cursor, cursor.copy(f"COPY (SELECT sensor, last FROM {view} ORDER BY 1) TO STDOUT") as copy:
        for part in copy:
            copied += bytes(part)
    equal("COPY writes rows", copied, b"s0\t27\ns1\t28\ns2\t29\n")

with connect() as connection:
    equal("another connection sees the view", connection.execute(f"SELECT count(*) FROM {view}").fetchone(), (3,))
    names = connection.execute("SELECT relname FROM pg_catalog.pg_class WHERE relname = %s", [view]).fetchall()
    equal("the catalogue lists the view", names, [(view,)])
    connection.execute(f"DROP MATERIALIZED VIEW {view}")
    connection.execute(f"DROP SOURCE {source}")

# Without autocommit, as psycopg is by default: a transaction is written as it ends.
table = unique("devices")
with connect() as connection:
    connection.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, room TEXT, n INT, price NUMERIC(10, 2), at TIMESTAMPTZ)")
with connect() as connection:
    connection.autocommit = False
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc)
    rows_given = [("a", "hall", 1, decimal.Decimal("1.50"), at), ("b", None, None, None, None)]
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s, %s, %s, %s)", rows_given)
        equal("rows that are written are counted", cursor.rowcount, 2)
    connection.commit()
    found = connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
    equal("what is written is read as it was", found, rows_given)
    changed = connection.execute(f"UPDATE {table} SET n = coalesce(n, 0) + %s WHERE id = %s", (5, "b"))
    equal("an update is counted", changed.rowcount, 1)
    connection.rollback()
    connection.execute(f"DELETE FROM {table} WHERE n = %s", (1,))
    connection.commit()
    try:
        connection.execute(f"INSERT INTO {table} (id) VALUES (%s)", ("b",))
        raise AssertionError("a key that is there was written")
    except psycopg.errors.UniqueViolation:
        connection.rollback()
    equal("what was rolled back is not there", connection.execute(f"SELECT id, n FROM {table}").fetchall(), [("b", None)])
with connect() as connection:
    connection.execute(f"DROP TABLE {table}")
