"""What stands in the data before an attack, and what has to be answered after it.

What must hold: everything expected is computed from the records themselves, never from what the server said.
"""

import collections
import json
import time

import http_door
import kafka_door
import pg_door

TOPIC, PARTITIONS, SENSORS, RECORDS = "readings", 2, 40, 1200
KEY = "sensor-7"
GROUP, COMMITTED = "abuse-group", 17
STREAM, EVENTS = "account-1", 12
VIEWS = ("totals", "totals_lambda", "kept", "event_counts")
FOLD = "SELECT sensor, count(*) AS records, sum(amount) AS amount, max(amount) AS highest FROM readings GROUP BY sensor"
DEFINITIONS = [
    f"CREATE SOURCE {TOPIC} (sensor TEXT, amount BIGINT, note TEXT) WITH (topic = '{TOPIC}', partitions = {PARTITIONS})",
    f"CREATE MATERIALIZED VIEW totals AS {FOLD}",
    f"CREATE MATERIALIZED VIEW totals_lambda WITH (batch = '1 hour') AS {FOLD}",
    "CREATE MATERIALIZED VIEW kept AS SELECT sensor, amount FROM readings WHERE amount % 10 = 0",
    "CREATE SOURCE event_log (n BIGINT) WITH (topic = 'events', partitions = 1, format = 'event')",
    "CREATE MATERIALIZED VIEW event_counts AS SELECT stream_name, count(*) AS events FROM event_log GROUP BY stream_name",
]


def record(number):
    """The record of that number."""
    return {"sensor": f"sensor-{number % SENSORS}", "amount": number * 7919 % 1000, "note": f"n{number}" * 30}


def fold(records):
    """What `totals` has to say of records."""
    groups = collections.defaultdict(list)
    for one in records:
        groups[one["sensor"]].append(one["amount"])
    return sorted((sensor, len(all_), sum(all_), max(all_)) for sensor, all_ in groups.items())


def write(server, numbers):
    """Appends the records of those numbers, alternating between the partitions."""
    numbers, position = list(numbers), None
    for start in range(0, len(numbers), 100):
        part = numbers[start : start + 100]
        body = {"records": [{"value": record(n), "partition": n % PARTITIONS} for n in part]}
        answer = http_door.ask(server, "POST", f"/v1/topics/{TOPIC}/records", body, 30)
        assert answer.status == 200, f"appending answered {answer}"
        position = answer.body["positions"]
    return position


def build(server):
    """Defines everything and writes; the Lambda view has one batch and half of the records after it."""
    for definition in DEFINITIONS:
        http_door.sql(server, definition)
    write(server, range(RECORDS // 2))
    http_door.sql(server, "REFRESH MATERIALIZED VIEW totals_lambda", timeout_s=120)
    position = write(server, range(RECORDS // 2, RECORDS))
    events = [{"type": "Counted", "data": {"n": n}} for n in range(EVENTS)]
    for start in range(0, EVENTS, 4):
        answer = http_door.ask(server, "POST", f"/v1/streams/{STREAM}", {"events": events[start : start + 4]})
        assert answer.status == 200, f"appending events answered {answer}"
    with kafka_door.Kafka(server) as kafka:
        assert kafka.commit_offsets(GROUP, TOPIC, [(0, COMMITTED, "")]) == [0]
    for view in ("totals", "totals_lambda"):
        rows = totals(server, view, position)
        assert rows == fold(map(record, range(RECORDS))), f"{view} is wrong before anything was done"


def totals(server, view="totals", position=None):
    """The rows of a view of totals, in order."""
    found = http_door.rows(server, f"SELECT sensor, records, amount, highest FROM {view}", position)
    return sorted((row[0], int(row[1]), int(row[2]), int(row[3])) for row in found)


def records_of(server, topic=TOPIC, partitions=PARTITIONS, timeout_s=15):
    """Every record of a topic as the log has it: {partition: [(offset, value)]}."""
    found = {}
    for partition in range(partitions):
        offset, found[partition] = 0, []
        while True:
            path = f"/v1/topics/{topic}/partitions/{partition}/records?offset={offset}&limit=1000"
            answer = http_door.ask(server, "GET", path, timeout_s=timeout_s)
            assert answer.status == 200, f"reading {topic}/{partition} from {offset} answered {answer}"
            found[partition] += [(one["offset"], value_of(one)) for one in answer.body["records"]]
            if answer.body["next_offset"] <= offset or answer.body["next_offset"] >= answer.body["high_watermark"]:
                break
            offset = answer.body["next_offset"]
    return found


def value_of(one):
    """The value of a record that HTTP shows."""
    value = one.get("value")
    return json.loads(value) if isinstance(value, str) else value


POINT = next(row for row in fold(map(record, range(RECORDS))) if row[0] == KEY)


def point_over_http(server, timeout_s=5):
    """Reads one row by its key over HTTP and compares it."""
    answer = http_door.ask(server, "GET", f"/v1/views/totals/{KEY}", timeout_s=timeout_s)
    row = answer.body.get("row", {}) if isinstance(answer.body, dict) else {}
    found = (row.get("sensor"), *(int(row.get(name) or 0) for name in ("records", "amount", "highest")))
    assert answer.status == 200 and found == POINT, f"a point read over HTTP gave {answer}, not {POINT}"


def point_over_pg(connection):
    """The same over the PostgreSQL door."""
    found = connection.query(f"SELECT sensor, records, amount, highest FROM totals WHERE sensor = '{KEY}'")
    wanted = [tuple(str(value) for value in POINT)]
    assert found == wanted, f"a point read over the PostgreSQL door gave {found}, not {wanted}"


def stands(server, health_limit_s=1.0):
    """What has to hold after every attack; an AssertionError says what does not."""
    assert server.alive(), server.ended_how()
    timeout_s = max(health_limit_s, 5)
    begun = time.monotonic()
    try:
        answer = http_door.ask(server, "GET", "/healthz", timeout_s=timeout_s)
    except OSError as error:
        raise AssertionError(f"/healthz did not answer: {error!r}") from error
    took_s = time.monotonic() - begun
    assert answer.status == 200, f"/healthz answered {answer}"
    assert took_s < health_limit_s, f"/healthz took {took_s:.2f} s"
    try:
        point_over_http(server)
        with pg_door.Pg(server, 5) as connection:
            point_over_pg(connection)
    except OSError as error:
        raise AssertionError(f"a point read had no answer: {error!r}") from error
