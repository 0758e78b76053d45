"""asyncpg as it comes from PyPI: its start-up, binary parameters and results, prepared statements, cursors."""

import asyncio

import asyncpg

from doors import PG, equal, positions, request, rows, sql, unique

host, port = PG.rsplit(":", 1)
source, view = unique("readings"), unique("totals")
OPTIONS = {"host": host, "port": int(port), "user": "anyone", "database": "fourfold", "ssl": False}


async def main():
    connection = await asyncpg.connect(**OPTIONS)
    equal("a query without parameters", await connection.fetchval("SELECT 1 + 1"), 2)
    equal("a parameter has the type of its cast", await connection.fetchval("SELECT $1::int + 1", 41), 42)
    equal("a parameter has the type of its column",
          await connection.fetchval(f"SELECT last FROM {view} WHERE sensor = $1", "s1"), 28)
    found = await connection.fetch(f"SELECT sensor, readings FROM {view} WHERE last > $1 ORDER BY sensor", 27)
    equal("rows have names", [dict(row) for row in found],
          [{"sensor": "s1", "readings": 10}, {"sensor": "s2", "readings": 10}])
    listed = await connection.fetch(f"SELECT sensor FROM {view} WHERE sensor = ANY($1::text[])", ["s0"])
    equal("a list of texts is a parameter", [row["sensor"] for row in listed], ["s0"])
    prepared = await connection.prepare(f"SELECT readings FROM {view} WHERE sensor = $1")
    equal("a prepared statement is run again", [await prepared.fetchval(s) for s in ("s0", "s1", "no")], [10, 10, None])
    async with connection.transaction():
        seen = [row["n"] async for row in connection.cursor(f"SELECT n FROM {source} ORDER BY n", prefetch=7)]
        equal("a cursor reads in parts", seen, list(range(30)))
    try:
        await connection.fetch("SELECT nothing FROM " + view)
        raise AssertionError("an unknown column was not refused")
    except asyncpg.UndefinedColumnError:
        print("ok errors have their classes")
    table = unique("devices")
    await connection.execute(f"CREATE TABLE {table} (id TEXT PRIMARY KEY, n BIGINT)")
    await connection.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [("a", 1), ("b", None)])
    changed = await connection.execute(f"UPDATE {table} SET n = $1 WHERE id = $2", 7, "b")
    equal("a write says how many rows", changed, "UPDATE 1")
    async with connection.transaction():
        await connection.execute(f"DELETE FROM {table} WHERE id = $1", "a")
    equal("what is written is there", [tuple(row) for row in await connection.fetch(f"SELECT id, n FROM {table}")], [("b", 7)])
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()
    # A pool resets what it takes back.
    async with asyncpg.create_pool(**OPTIONS, min_size=1, max_size=2) as pool:
        totals = [await pool.fetchval(f"SELECT last FROM {view} WHERE sensor = $1", "s2") for _ in range(3)]
        equal("a pool hands its connections out again", totals, [29, 29, 29])


sql(f"CREATE SOURCE {source} (sensor TEXT, n BIGINT) WITH (topic = '{source}', format = 'json')")
sql(f"CREATE MATERIALIZED VIEW {view} AS SELECT sensor, count(*) AS readings, max(n) AS last "
    f"FROM {source} GROUP BY sensor")
records = [{"value": {"sensor": f"s{i % 3}", "n": i}} for i in range(30)]
status, answer = request("POST", f"/v1/topics/{source}/records", {"records": records})
assert status == 200, (status, answer)
equal("the scene is set", rows(f"SELECT count(*) FROM {view}", positions(source, {0: 30})), [(3,)])
asyncio.run(main())
sql(f"DROP MATERIALIZED VIEW {view}")
sql(f"DROP SOURCE {source}")
