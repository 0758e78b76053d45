"""Attacks on the HTTP door: heads and bodies that lie, sizes, repeats, slowness, and the values that definitions take."""

import json
import time

import http_door
import pg_door
import scene
from attack import attack
from http_door import ask, append, rows, sql


def answers(server, within_s=5):
    begun = time.monotonic()
    answer = ask(server, "GET", "/v1/views", timeout_s=within_s)
    assert answer.status == 200, f"/v1/views answered {answer}"
    assert time.monotonic() - begun < within_s


HEAD = b"POST /v1/sql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
HEADS = [
    HEAD + b"content-length: 18446744073709551615\r\n\r\n{}",
    HEAD + b"content-length: -1\r\n\r\n{}",
    HEAD + b"content-length: 99999999999\r\n\r\n{",
    HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    HEAD + b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    HEAD + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n" + b"x: y\r\n" * 100_000 + b"\r\n",
    b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 10_000_000,
    b"\0" * 100_000,
    b"\xff\xfe" * 1000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" * 1000,
    b"GET /v1/topics/%00/partitions/99999999999/records HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"GET /v1/topics/..%2f..%2fetc/partitions/0/records HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"\r\n" * 100_000,
]


@attack("http", sample=True)
def heads_that_lie_harm_only_their_connection(server):
    for head in HEADS:
        http_door.raw(server, head, timeout_s=0.5)
    answers(server)


BODIES = [
    b"[" * 200_000,
    b'{"sql":' * 200_000,
    b'{"sql": "' + b"a" * 20_000_000 + b'"}',
    b'{"sql": "SELECT 1", "params": [' + b"1," * 500_000 + b"1]}",
    b'{"sql": "SELECT $1", "params": [1e400]}',
    b'{"sql": "\\ud800"}',
    b'{"sql": "SELECT \\u0000"}',
    b'{"sql": "SELECT 1", "timeout_ms": 99999999999999999999}',
    b'{"sql": "SELECT 1", "min_position": "' + b"readings/0:1," * 100_000 + b'"}',
    b'{"sql": "SELECT 1", "min_position": "readings/99999999999:1"}',
    b'{"sql": "SELECT 1", "min_position": "readings/0:99999999999999999999"}',
    b"",
    b"null",
    b"\xff",
    b'{"sql": 1}',
]


@attack("http", sample=True)
def bodies_that_lie_are_refused(server):
    wrong = {}
    for body in BODIES:
        try:
            answer = ask(server, "POST", "/v1/sql", body, 5)
        except OSError:
            # A body that is too large may end the connection before it was sent whole.
            continue
        if answer.status >= 500 and answer.status not in (503, 504):
            wrong[body[:40]] = answer
    assert not wrong, f"{len(wrong)} answered as if the server were at fault: {wrong}"
    answers(server)


@attack("http", sample=True)
def bodies_too_large_are_refused_on_every_path(server):
    large = json.dumps({"value": "v" * 17_000_000})
    for path in ("/v1/topics/readings/records", "/v1/streams/s", "/v1/topics", "/v1/sql"):
        try:
            answer = ask(server, "POST", path, large, 10)
            assert answer.status in (400, 413, 415), f"17 MB to {path} answered {answer}"
        except OSError:
            pass
    answer = ask(server, "POST", "/v1/topics/readings/records", {"records": [{"value": "v" * 1_500_000}]})
    assert answer.status in (400, 413), f"a record of 1.5 MB answered {answer}"
    answer = ask(server, "POST", "/v1/streams/s", {"events": [{"type": "T", "data": {}}] * 5000})
    assert answer.status in (400, 413), f"5,000 events at once answered {answer}"


@attack("http", sample=True)
def numbers_in_paths_and_parameters_that_lie_are_refused(server):
    wrong = {}
    for path in (
        "/v1/topics/readings/partitions/{}/records",
        "/v1/topics/readings/partitions/0/records?offset={}",
        "/v1/topics/readings/partitions/0/records?limit={}",
        "/v1/streams/account-1?from={}",
        "/v1/streams/account-1?limit={}",
        "/v1/streams/$all?from={}",
        "/v1/views/totals?limit={}",
        "/v1/views?timeout_ms={}",
        "/v1/topics/readings/unread?from={}&to={}",
        "/v1/streams?after={}",
    ):
        for number in (
            "-1",
            "0",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "1e9",
            "x",
            "%00",
            "18446744073709551615",
        ):
            answer = ask(server, "GET", path.replace("{}", number))
            if answer.status >= 500 and answer.status not in (503, 504):
                wrong[path, number] = answer
    assert not wrong, f"{len(wrong)} answered as if the server were at fault: {dict(list(wrong.items())[:4])}"


@attack("http", sample=True)
def topics_of_any_size_and_name_are_made_or_refused(server):
    wrong = {}
    for body in [
        {"name": "n" * 100_000},
        {"name": ""},
        {"name": "../x"},
        {"name": "a/b"},
        {"name": "."},
        {"name": ".."},
        {"name": "a\u0000"},
        {"name": "p", "partitions": 2**31 - 1},
        {"name": "p", "partitions": 0},
        {"name": "p", "partitions": -1},
        {"name": "p", "partitions": 10_001},
        {"name": "p", "retention_ms": -5},
        {"name": "p", "retention_bytes": -5},
        {"name": "p", "message_bytes_max": 2**62},
        {"name": "p", "message_bytes_max": 0},
        {"name": "p", "retention_ms": 2**63},
    ]:
        answer = ask(server, "POST", "/v1/topics", body)
        if answer.status not in (400, 409, 413, 415):
            wrong[str(body)[:60]] = answer
    assert not wrong, f"{len(wrong)} were not refused: {wrong}"


@attack("http", sample=True)
def readers_that_wait_keep_nobody_out(server):
    waiting = []
    for _ in range(400):
        connection = http_door.connect(server)
        connection.sendall(b"GET /v1/views/totals?min_position=readings/0:999999999&timeout_ms=9000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        waiting.append(connection)
    time.sleep(0.5)
    scene.point_over_http(server)
    answers(server)
    for connection in waiting:
        connection.close()


@attack("http", sample=True)
def silent_and_slow_connections_keep_nobody_out(server):
    slow = [http_door.connect(server) for _ in range(950)]
    for connection in slow[::2]:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: loc")
    begun = time.monotonic()
    answer = ask(server, "GET", "/healthz", timeout_s=5)
    took_s = time.monotonic() - begun
    for connection in slow:
        connection.close()
    assert answer.status == 200 and took_s < 5, f"/healthz beside 950 silent connections took {took_s:.1f} s"


@attack("http")
def more_silent_connections_than_are_accepted_keep_nobody_out(server):
    slow = []
    for _ in range(1200):
        slow.append(http_door.connect(server))
    begun = time.monotonic()
    try:
        ask(server, "GET", "/healthz", timeout_s=5)
        took_s = time.monotonic() - begun
    except OSError:
        took_s = 5.0
    for connection in slow:
        connection.close()
    assert took_s < 5, f"/healthz beside 1,200 silent connections took {took_s:.1f} s"


@attack("http", sample=True)
def slow_bodies_keep_nobody_out(server):
    slow = []
    for _ in range(300):
        connection = http_door.connect(server)
        connection.sendall(HEAD + b"content-length: 10000000\r\n\r\n" + b"x" * 1000)
        slow.append(connection)
    time.sleep(1)
    scene.point_over_http(server)
    answers(server)
    for connection in slow:
        connection.close()


@attack("http", sample=True)
def pipelined_requests_without_reading_hold_a_bounded_memory(server):
    with http_door.connect(server, 2) as connection:
        try:
            for _ in range(20_000):
                connection.sendall(b"GET /v1/views/totals HTTP/1.1\r\nhost: localhost\r\n\r\n" * 100)
        except OSError:
            pass
    answers(server)


@attack("http", sample=True)
def readers_that_do_not_read_hold_a_bounded_memory(server):
    body = json.dumps({"sql": "SELECT a.note, b.note, c.note FROM readings a, readings b, readings c"}).encode()
    readers = []
    for _ in range(100):
        connection = http_door.connect(server)
        connection.sendall(HEAD + b"accept: application/x-ndjson\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        readers.append(connection)
    time.sleep(1.5)
    for connection in readers:
        connection.close()
    time.sleep(0.5)
    answers(server)


@attack("http", sample=True)
def answers_that_are_not_streamed_have_a_bound(server):
    for text in (
        "SELECT a.note, b.note FROM readings a, readings b",
        "SELECT repeat('a', 16000000) FROM generate_series(1,100) AS s(i)",
        "SELECT array_agg(note) FROM readings a",
    ):
        answer = ask(server, "POST", "/v1/sql", {"sql": text}, 30)
        assert answer.status in (200, 400, 413, 422, 503), f"{text} answered {answer}"
        assert len(str(answer.body)) < 70_000_000
    answers(server)


@attack("http", settings={"FOURFOLD_MEMORY_BUDGET_BYTES": str(96 << 20)})
def the_state_of_views_has_a_bound_that_takes_nothing_down(server):
    sql(server, "CREATE SOURCE big (k TEXT) WITH (topic = 'big', partitions = 1)")
    for _ in range(40):
        append(server, "big", [{"k": f"{letter}" + "b" * 200_000} for letter in range(3)])
    answer = ask(server, "POST", "/v1/sql", {"sql": "CREATE MATERIALIZED VIEW grown AS SELECT repeat(k, 75) AS r FROM big"}, 60)
    deadline = time.monotonic() + 20
    while answer.status == 200 and time.monotonic() < deadline:
        found = ask(server, "POST", "/v1/sql", {"sql": "SELECT count(*) FROM grown"}, 60)
        if found.status != 200:
            assert "state" in str(found.body) or "memory" in str(found.body) or "bytes" in str(found.body), (
                f"a refusal that does not say why: {found}"
            )
            break
        assert int(found.body["rows"][0][0]) < 120 or server.memory_bytes() < 1 << 30, "a state of 1.8 GB was kept"
        time.sleep(0.2)
    sql(server, "DROP MATERIALIZED VIEW grown")


@attack("http", settings={})
def records_of_thirty_bytes_that_become_rows_of_fifteen_megabytes_are_refused(server):
    sql(server, "CREATE SOURCE short (k TEXT, n INT) WITH (topic = 'short', partitions = 1)")
    append(server, "short", [{"k": "x", "n": 15_000_000} for _ in range(2000)])
    sql(server, "CREATE MATERIALIZED VIEW long AS SELECT repeat(k, n) AS r FROM short")
    deadline = time.monotonic() + 30
    while (found := ask(server, "POST", "/v1/sql", {"sql": "SELECT count(*) FROM long"}, 60)).status == 200:
        assert time.monotonic() < deadline, f"30 GB are kept: {found}"
        time.sleep(0.2)
    assert "memory.budget_bytes" in str(found.body), f"a refusal that does not say why: {found}"
    assert server.peak_bytes() < 700 << 20, f"it peaked at {server.peak_bytes() >> 20} MiB, with a budget of 256"
    answers(server)
    sql(server, "DROP MATERIALIZED VIEW long")


@attack("http", settings={"FOURFOLD_MEMORY_BUDGET_BYTES": str(96 << 20)})
def a_view_of_many_groups_fails_alone(server):
    sql(server, "CREATE SOURCE groups (k TEXT) WITH (topic = 'groups', partitions = 1)")
    sql(server, "CREATE MATERIALIZED VIEW many_groups AS SELECT k, count(*) AS n FROM groups GROUP BY k")
    position = None
    for start in range(0, 400_000, 20_000):
        position = append(server, "groups", [{"k": f"group-{start + n}-" + "p" * 60} for n in range(20_000)])
    answer = ask(server, "POST", "/v1/sql", {"sql": "SELECT count(*) FROM many_groups", "min_position": position}, 60)
    assert answer.status != 200, f"400,000 groups of 70 bytes fit into 72 MiB: {answer}"


@attack("http", sample=True)
def extreme_values_are_readable_on_every_door_or_dead_letters(server):
    sql(
        server,
        "CREATE SOURCE extreme (k TEXT, d NUMERIC(38, 0), t TIMESTAMP, f DOUBLE PRECISION, i BIGINT, b BOOLEAN, dt DATE) WITH (topic = 'extreme', partitions = 1)",
    )
    sql(server, "CREATE MATERIALIZED VIEW extremes AS SELECT k, d, t, f, i, b, dt FROM extreme")
    values = [
        {"k": "d", "d": 10**37},
        {"k": "d-", "d": -(10**38) + 1},
        {"k": "d+", "d": 2**96 + 1},
        {"k": "d over", "d": 10**40},
        {"k": "t", "t": 9223372036854775},
        {"k": "t-", "t": -9223372036854775},
        {"k": "t text", "t": "9999-12-31T23:59:59.999999"},
        {"k": "t far", "t": "294276-12-31T00:00:00"},
        {"k": "t bc", "t": "-4713-01-01T00:00:00"},
        {"k": "f", "f": 1.7976931348623157e308},
        {"k": "f-", "f": 5e-324},
        {"k": "i", "i": 2**63 - 1},
        {"k": "i-", "i": -(2**63)},
        {"k": "i over", "i": 2**63},
        {"k": "dt", "dt": "9999-12-31"},
        {"k": "dt far", "dt": "262143-12-31"},
        {"k": "dt num", "dt": 2**31 - 1},
        {"k": "nul\u0000"},
        {"k": "k" * 500_000},
        {"k": "\U0010ffff"},
        {"k": None},
    ]
    append(server, "extreme", values)
    position = http_door.append(server, "extreme", ['{"k": "f inf", "f": 1e400}'])
    for query in ("SELECT * FROM extremes", "SELECT * FROM extreme"):
        over_http = rows(server, query, position)
        with pg_door.Pg(server) as connection:
            connection.query(f"SET fourfold.min_position = '{position}'")
            over_pg = connection.query(query)
        assert len(over_http) == len(over_pg), f"{query}: {len(over_http)} rows over HTTP, {len(over_pg)} over PostgreSQL"
        for name, place in (("d", 1), ("t", 2), ("i", 4)):
            by_key = {row[0]: row[place] for row in over_pg}
            blank = [key for key in by_key if key and key.split()[0].rstrip("+-") == name and by_key[key] is None]
            assert not blank, f"{query}: PostgreSQL's door shows NULL in {name} for {blank}"
    answer = ask(server, "GET", "/v1/views/extremes?limit=1000")
    assert answer.status == 200, f"GET of the view answered {answer}"


@attack(
    "http",
    sample=True,
    settings={
        "FOURFOLD_LOG_SEGMENT_BYTES": "65536",
        "FOURFOLD_LOG_WAL_FILE_BYTES": "1048576",
        "FOURFOLD_LOG_CHECKPOINT_WAL_BYTES": "1048576",
        "FOURFOLD_LOG_RETENTION_CHECK_INTERVAL_MS": "200",
    },
)
def a_replaced_lambda_view_keeps_what_retention_took_from_the_log(server):
    ask(server, "POST", "/v1/topics", {"name": "short", "retention_bytes": 100_000})
    sql(server, "CREATE SOURCE short (k BIGINT, pad TEXT) WITH (topic = 'short', partitions = 1)")
    sql(server, "CREATE MATERIALIZED VIEW short_l WITH (batch = '1 hour') AS SELECT k, count(*) AS n FROM short GROUP BY k")
    for start in range(0, 3000, 500):
        position = append(server, "short", [{"k": (start + n) % 10, "pad": "p" * 500} for n in range(500)])
    total = "SELECT sum(n) FROM short_l"
    sql(server, "REFRESH MATERIALIZED VIEW short_l", timeout_s=60)
    deadline = time.monotonic() + 15
    while ask(server, "GET", "/v1/topics/short").body["partitions"][0]["log_start_offset"] == 0 and time.monotonic() < deadline:
        position = append(server, "short", [{"k": 1, "pad": "p" * 5000} for _ in range(50)])
        time.sleep(0.1)
    begin = ask(server, "GET", "/v1/topics/short").body["partitions"][0]["log_start_offset"]
    assert begin > 0, "retention deleted nothing in 15 s"
    before = int(rows(server, total, position)[0][0])
    sql(
        server,
        "CREATE OR REPLACE MATERIALIZED VIEW short_l WITH (batch = '1 hour') AS SELECT k, count(*) AS n, max(k) AS m FROM short GROUP BY k",
        timeout_s=60,
    )
    after = int(rows(server, total, position)[0][0])
    assert after == before, f"{before} rows before CREATE OR REPLACE, {after} after it; the log begins at {begin}"


@attack("http", sample=True)
def definitions_in_a_storm_stop_nobody(server):
    for number in range(8):
        sql(server, f"CREATE MATERIALIZED VIEW storm AS SELECT sensor, count(*) AS n{number} FROM readings GROUP BY sensor")
        answer = ask(
            server,
            "POST",
            "/v1/sql",
            {"sql": "CREATE OR REPLACE MATERIALIZED VIEW storm AS SELECT sensor, min(amount) AS m FROM readings GROUP BY sensor"},
            30,
        )
        assert answer.status == 200, f"{answer}"
        sql(server, "DROP MATERIALIZED VIEW storm")
    for text in (
        "CREATE MATERIALIZED VIEW w AS SELECT " + ",".join(f"sensor AS c{n}" for n in range(3000)) + " FROM readings",
        "CREATE SOURCE s (" + ",".join(f"c{n} TEXT" for n in range(20_000)) + ")",
        "CREATE SOURCE " + "s" * 100_000 + " (k TEXT)",
        "CREATE SOURCE p (k TEXT) WITH (partitions = 2147483647)",
        "CREATE SOURCE p (k TEXT) WITH (partitions = 99999999999999999999)",
        "CREATE SOURCE q (k NUMERIC(2147483647, 2))",
        "CREATE SOURCE _delta_log (k TEXT)",
    ):
        answer = ask(server, "POST", "/v1/sql", {"sql": text}, 30)
        assert answer.status < 500 or answer.status in (503, 504), f"{text[:60]} answered {answer}"
    answers(server)
