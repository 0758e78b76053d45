"""deltalake (PyPI) and pyarrow read the lake: a captured topic is an ordinary Delta table."""

import deltalake

from doors import DATA, equal, positions, request, rows, sql, unique, wait_until

source, view = unique("visits"), unique("visit_counts")
sql(f"CREATE SOURCE {source} (page TEXT, ms BIGINT) WITH (topic = '{source}', partitions = 2, format = 'json')")
# A Lambda view has its topic captured.
sql(f"CREATE MATERIALIZED VIEW {view} WITH (batch = '1 second') AS SELECT page, count(*) AS visits, sum(ms) AS ms "
    f"FROM {source} GROUP BY page")
sent = [{"page": f"p{i % 5}", "ms": i} for i in range(1000)]
records = [{"partition": i % 2, "value": value} for i, value in enumerate(sent)]
status, answer = request("POST", f"/v1/topics/{source}/records", {"records": records})
assert status == 200, (status, answer)

path = DATA / "lake" / "sources" / source
wait_until("the table is there", lambda: deltalake.DeltaTable.is_deltatable(str(path)))


def captured():
    table = deltalake.DeltaTable(str(path)).to_pyarrow_table()
    return table if table.num_rows >= 1000 else None


table = wait_until("all records are captured", captured)
equal("each record is captured once", table.num_rows, 1000)
found = sorted(zip(*(table[name].to_pylist() for name in ("_partition", "_offset", "page", "ms"))))
equal("partition, offset and columns are those of the log", found,
      [(p, n, f"p{(2 * n + p) % 5}", 2 * n + p) for p in (0, 1) for n in range(500)])
assert all(table["_arrival_time"].to_pylist()), "a row has no arrival time"
print("ok each row has its arrival time")

latest = deltalake.DeltaTable(str(path))
equal("the table's history says what wrote it", latest.history(1)[0]["operation"], "WRITE")
by_page = rows(f"SELECT page, visits, ms FROM {view} ORDER BY page", positions(source, {0: 500, 1: 500}))
wanted = [(f"p{n}", 200, sum(i for i in range(1000) if i % 5 == n)) for n in range(5)]
equal("the merged view equals the table", [(page, int(visits), int(ms)) for page, visits, ms in by_page], wanted)
sql(f"DROP MATERIALIZED VIEW {view}")
