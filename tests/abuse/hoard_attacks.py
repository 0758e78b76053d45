"""Attacks by small things that are kept: each is allowed, and together they are more than there is room for.

What must hold: every list that a client can make longer has a bound in number and in bytes.
"""

import json
import struct
import time

import kafka_door
import pg_attacks
import scene
from attack import attack
from bombs import BOMBS
from http_door import ask
from kafka_door import Kafka, array, batch, data, text
from pg_door import SYNC, Pg, PgError, bind, parse


def refused_or_small(server, what, grown_bytes_max=400 << 20):
    """After the hoarding: what it made the server hold."""
    grown = server.memory_bytes() - server.quiet_bytes
    assert grown < grown_bytes_max, f"{what} made it hold {grown >> 20} MiB more"


def quiet(server):
    server.quiet_bytes = server.memory_bytes()


@attack("pg", settings={})
def long_prepared_statements_have_a_bound_in_bytes(server):
    quiet(server)
    long = "SELECT 1 /* " + "x" * 900_000 + " */"
    connections = [Pg(server) for _ in range(2)]
    for connection in connections:
        try:
            for number in range(250):
                connection.send(parse(long, (), f"s{number}"), SYNC)
                connection.until_ready()
        except PgError as error:
            assert not error.code.startswith("XX"), f"refused with {error}"
    refused_or_small(server, "500 prepared statements of 900 kB")
    for connection in connections:
        connection.socket.close()


@attack("pg", settings={})
def portals_with_long_parameters_have_a_bound_in_bytes(server):
    quiet(server)
    with Pg(server) as connection:
        connection.query("BEGIN")
        connection.send(parse("SELECT length($1)", [25]), SYNC)
        connection.until_ready()
        try:
            for number in range(300):
                connection.send(bind([b"p" * 5_000_000], portal=f"p{number}"), SYNC)
                connection.until_ready()
        except (PgError, OSError) as error:
            assert not getattr(error, "code", "").startswith("XX"), f"refused with {error}"
        refused_or_small(server, "300 portals of 5 MB", 600 << 20)


@attack("pg", sample=True)
def advisory_locks_have_a_bound(server):
    quiet(server)
    with Pg(server) as connection:
        connection.leaves_at = time.monotonic() + 5
        try:
            connection.query("SELECT count(pg_advisory_lock(i)) FROM generate_series(1, 20000000) AS s(i)")
        except (PgError, OSError) as error:
            assert not getattr(error, "code", "").startswith("XX"), f"refused with {error}"
        refused_or_small(server, "20,000,000 advisory locks")


@attack("pg")
def settings_and_channels_of_a_session_have_a_bound(server):
    quiet(server)
    with Pg(server) as connection:
        for statement in (
            "SET my.s{} = '" + "v" * 500_000 + "'",
            "LISTEN c{}",
            "SELECT set_config('other.s{}', repeat('v', 1000000), false)",
            "SET application_name = '{}" + "n" * 500_000 + "'",
        ):
            try:
                for number in range(600):
                    connection.query(statement.replace("{}", str(number)))
            except PgError as error:
                assert not error.code.startswith("XX"), f"refused with {error}"
        refused_or_small(server, "2,400 settings and channels of up to 1 MB")


@attack("pg", settings={})
def cursors_over_large_rows_have_a_bound_in_bytes(server):
    quiet(server)
    connections = [Pg(server, 5) for _ in range(40)]
    for connection in connections:
        try:
            connection.query("BEGIN")
            for number in range(16):
                connection.query(f"DECLARE c{number} CURSOR FOR SELECT repeat(note, 5000) FROM readings")
                connection.query(f"FETCH 1 FROM c{number}")
        except (PgError, OSError) as error:
            assert not getattr(error, "code", "").startswith("XX"), f"refused with {error}"
    refused_or_small(server, "640 cursors over rows of 700 kB", 600 << 20)
    for connection in connections:
        connection.socket.close()


@attack("kafka", settings={})
def members_that_never_come_back_have_a_bound(server):
    quiet(server)
    with Kafka(server, 30) as kafka:
        for _ in range(60):
            for number in range(500):
                body = (
                    text(f"pending-{number % 5}")
                    + struct.pack(">ii", 1800000, 1800000)
                    + text("")
                    + b"\xff\xff"
                    + text("consumer")
                    + array([text("range") + data(b"m" * 2000)])
                )
                kafka.send(kafka_door.JOIN_GROUP, 5, body)
            for _ in range(500):
                kafka.receive()
    refused_or_small(server, "30,000 members that got an id and never joined", 200 << 20)


@attack("kafka", settings={})
def groups_that_nobody_needs_have_a_bound(server):
    quiet(server)
    body = struct.pack(">ii", 1800000, 1800000) + text("") + text("consumer") + array([text("range") + data(b"m" * 200_000)])
    held = []
    for number in range(800):
        kafka = Kafka(server, 30)
        kafka.send(kafka_door.JOIN_GROUP, 1, text(f"idle-{number}") + body)
        held.append(kafka)
    time.sleep(3)
    refused_or_small(server, "800 groups of one member with 200 kB each")
    for kafka in held:
        kafka.socket.close()


def of_producer(number, value=b"x"):
    """A batch of an idempotent producer."""
    plain = batch([value])
    head, after = plain[:17], bytearray(plain[21:])
    after[22:36] = struct.pack(">qhi", number, 0, 0)
    return head + struct.pack(">I", kafka_door.crc32c(after)) + bytes(after)


@attack("kafka")
def producers_that_come_once_have_a_bound(server):
    quiet(server)
    with Kafka(server, 60) as kafka:
        kafka.create_topics([("producers", 50)])
        accepted = 0
        for number in range(12_000):
            body = kafka_door.produce_body("producers", of_producer(number), number % 50)
            kafka.send(kafka_door.PRODUCE, 3, body)
            if number % 100 == 99:
                for _ in range(100):
                    answer = kafka.receive()
                    accepted += answer[4 + 2 + 9 + 4 + 4 :][:2] == b"\0\0"
    assert accepted > 0, "no idempotent producer was served"
    refused_or_small(server, "12,000 producers", 200 << 20)


@attack("http")
def events_commands_and_streams_in_numbers_hold_little(server):
    quiet(server)
    for number in range(2_000):
        answer = ask(server, "POST", f"/v1/streams/many-{number}", {"events": [{"type": "T", "data": {"pad": "p" * 100}}] * 50})
        assert answer.status in (200, 503), f"{answer}"
    refused_or_small(server, "2,000 streams of 50 events", 300 << 20)


@attack("http", settings={})
def large_events_and_states_are_not_all_kept(server):
    quiet(server)
    for number in range(150):
        ask(server, "POST", f"/v1/streams/large-{number % 10}", {"events": [{"type": "T", "data": {"pad": "p" * 900_000}}] * 4})
    for number in range(10):
        ask(server, "GET", f"/v1/streams/large-{number}?limit=4096", timeout_s=30)
    refused_or_small(server, "600 events of 900 kB")


@attack("http", settings={})
def many_records_of_many_topics_hold_little(server):
    quiet(server)
    body = json.dumps({"records": [{"value": "r" * 900_000}] * 15})
    for number in range(40):
        ask(server, "POST", "/v1/topics", {"name": f"heavy-{number}"})
        answer = ask(server, "POST", f"/v1/topics/heavy-{number}/records", body, 30)
        assert answer.status in (200, 503), f"{answer}"
    refused_or_small(server, "600 MB of records in 40 topics")


@attack("http")
def definitions_have_a_bound_or_cost_little(server):
    quiet(server)
    for number in range(150):
        ask(
            server,
            "POST",
            "/v1/sql",
            {"sql": f"CREATE MATERIALIZED VIEW hoard_{number} AS SELECT sensor, count(*) AS n FROM readings GROUP BY sensor"},
            30,
        )
    refused_or_small(server, "150 views", 300 << 20)
    scene.stands(server)
    for number in range(150):
        ask(server, "POST", "/v1/sql", {"sql": f"DROP MATERIALIZED VIEW hoard_{number}"}, 30)


@attack("http", sample=True)
def names_in_requests_make_no_series_of_metrics(server):
    before = len(ask(server, "GET", "/metrics").body)
    for number in range(300):
        ask(server, "GET", f"/v1/views/no-such-view-{number}")
        ask(server, "GET", f"/v1/topics/no-such-topic-{number}")
        ask(server, "GET", f"/no/such/path/{number}")
    grown = len(ask(server, "GET", "/metrics").body) - before
    assert grown < 20_000, f"900 unknown names made {grown} bytes of metrics"


@attack("pg", settings={})
def memory_is_given_back_after_heavy_statements(server):
    for _ in range(3):
        for place in (0, 1, 2, 3, 5, 7):
            pg_attacks.detonate(server, BOMBS[place], 1.5)
    time.sleep(5)
    held = server.memory_bytes()
    assert held < 512 << 20, f"idle after 18 heavy statements it holds {held >> 20} MiB, with a budget of 256"
