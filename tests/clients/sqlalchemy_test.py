"""SQLAlchemy as it comes from PyPI, with its default driver psycopg 3 and with asyncpg: first connect and queries."""

import asyncio

import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

from doors import PG, equal, positions, request, rows, sql, unique

source, view = unique("readings"), unique("totals")

sql(f"CREATE SOURCE {source} (sensor TEXT, n BIGINT) WITH (topic = '{source}', format = 'json')")
sql(f"CREATE MATERIALIZED VIEW {view} AS SELECT sensor, count(*) AS readings, max(n) AS last "
    f"FROM {source} GROUP BY sensor")
records = [{"value": {"sensor": f"s{i % 3}", "n": i}} for i in range(30)]
status, answer = request("POST", f"/v1/topics/{source}/records", {"records": records})
assert status == 200, (status, answer)
equal("the scene is set", rows(f"SELECT count(*) FROM {view}", positions(source, {0: 30})), [(3,)])

table = sqlalchemy.table(view, sqlalchemy.column("sensor", sqlalchemy.Text), sqlalchemy.column("readings"),
                         sqlalchemy.column("last", sqlalchemy.BigInteger))
query = sqlalchemy.select(table.c.sensor, table.c.last).where(table.c.last > 27).order_by(table.c.sensor)
some = sqlalchemy.select(sqlalchemy.func.count()).select_from(table).where(table.c.sensor.in_(["s0", "s2", "no"]))

engine = sqlalchemy.create_engine(f"postgresql+psycopg://anyone@{PG}/fourfold")
with engine.connect() as connection:
    equal("psycopg: text", connection.execute(sqlalchemy.text("SELECT 1")).scalar_one(), 1)
    equal("psycopg: a query", connection.execute(query).all(), [("s1", 28), ("s2", 29)])
    equal("psycopg: a list", connection.execute(some).scalar_one(), 2)
with engine.begin() as connection:
    equal("psycopg: a transaction", connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {view}")).scalar_one(), 3)
engine.dispose()


async def main():
    engine = create_async_engine(f"postgresql+asyncpg://anyone@{PG}/fourfold")
    async with engine.connect() as connection:
        equal("asyncpg: a query", (await connection.execute(query)).all(), [("s1", 28), ("s2", 29)])
        equal("asyncpg: a list", (await connection.execute(some)).scalar_one(), 2)
    await engine.dispose()


asyncio.run(main())
sql(f"DROP MATERIALIZED VIEW {view}")
sql(f"DROP SOURCE {source}")
