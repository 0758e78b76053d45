"""Reads everything back and compares it with the ledgers and with a recomputation from the log.

Prints a line `ok NAME` or `FAIL NAME: why` for each comparison, and figures. Ends with 1 only when it could not compare.
"""

import collections
import json
import math
import time

import deltalake
import psycopg
from confluent_kafka import Consumer, TopicPartition

from workload import DATA, KAFKA, PARTITIONS, PG, TOPIC, Http, digest, ledger

SHOWN = 5
EVENT_OF = {"schedule": "FlightScheduled", "depart": "FlightDeparted", "arrive": "FlightArrived", "cancel": "FlightCancelled"}
STATUS_OF = {"schedule": "scheduled", "depart": "departed", "arrive": "arrived", "cancel": "cancelled"}
http = Http()


def check(name, wrong, of):
    """`wrong` lists what is not as it should be."""
    wrong = list(wrong)
    if wrong:
        shown = ", ".join(str(w) for w in wrong[:SHOWN])
        print(f"FAIL {name}: {len(wrong)} of {of}: {shown}".replace("\n", " "))
    else:
        print(f"ok {name} ({of} compared)")


def read_log(topic, partitions):
    """Every record up to the high watermark: {(partition, offset): (key, value)}."""
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": "verify", "enable.auto.commit": False, "check.crcs": True})
    ends = {}
    for partition in range(partitions):
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
        assert low == 0, f"{topic}/{partition} begins at {low}"
        ends[partition] = high
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    found, wanted, deadline = {}, sum(ends.values()), time.monotonic() + 120
    while len(found) < wanted and time.monotonic() < deadline:
        for message in consumer.consume(5000, 1.0):
            assert message.error() is None, message.error()
            place = (message.partition(), message.offset())
            if place[1] < ends[place[0]]:
                found[place] = (message.key(), message.value())
    consumer.close()
    return found, ends


def compare_log(client, log):
    """Nothing that was acknowledged is lost, nothing is there twice, the order is the writer's."""
    entries = ledger(client)
    mine = [(place, json.loads(v)["sequence"], digest(v)) for place, (_, v) in sorted(log.items()) if json.loads(v)["client"] == client]
    there = collections.Counter(sequence for _, sequence, _ in mine)
    at = {place: (sequence, hashed) for place, sequence, hashed in mine}
    lost = [s for s, *_ in entries if int(s) not in there]
    moved = [e for e in entries if at.get((int(e[2]), int(e[3]))) != (int(e[0]), e[1])]
    known = {int(s) for s, *_ in entries}
    check(f"client {client}: no acknowledged record is lost", lost, len(entries))
    check(f"client {client}: each is where and what the answer said", moved, len(entries))
    check(f"client {client}: none is there twice", [s for s, n in there.items() if n > 1], len(mine))
    check(f"client {client}: none was never sent", [s for s in there if s not in known], len(mine))
    disorder, last = [], {}
    for (partition, offset), sequence, _ in mine:
        if sequence <= last.get(partition, -1):
            disorder.append(f"{sequence} at {partition}/{offset}")
        last[partition] = sequence
    check(f"client {client}: the order is kept", disorder, len(mine))


def fold(records):
    """What the views must say, recomputed from the log."""
    by_client, by_minute = collections.defaultdict(list), collections.defaultdict(list)
    for record in records:
        by_client[record["client"]].append(record)
        by_minute[record["account"], record["at"][:16]].append(record)
    totals = {}
    for client, group in by_client.items():
        # fsum rounds once, as the views' sums do.
        price = math.fsum(r["price"] for r in group)
        sequences = [r["sequence"] for r in group]
        amount = sum(r["amount"] for r in group)
        totals[client] = (len(group), amount, price, price / len(group), min(sequences), max(sequences))
    minutes = {k: (len(g), sum(r["amount"] for r in g), max(r["price"] for r in g)) for k, g in by_minute.items()}
    return totals, minutes


def compare_view(view, found, expected):
    wrong = [f"{k}: found {found.get(k)}, expected {expected.get(k)}" for k in sorted(found.keys() | expected.keys()) if found.get(k) != expected.get(k)]
    check(f"view {view} equals its recomputation", wrong, len(expected))


def query(text, positions):
    host, port = PG.rsplit(":", 1)
    with psycopg.connect(host=host, port=port, user="verify", dbname="fourfold", autocommit=True) as connection:
        connection.execute(f"SET fourfold.min_position = '{positions}'")
        return connection.execute(text).fetchall()


def compare_views(records, ends):
    totals, minutes = fold(records)
    positions = ",".join(f"{TOPIC}/{p}:{end}" for p, end in sorted(ends.items()) if end)
    for view in ("totals", "totals_lambda"):
        rows = query(f"SELECT client, records, amount, price, mean_price, first, last FROM {view}", positions)
        found = {r[0]: (int(r[1]), int(r[2]), *r[3:]) for r in rows}
        check(f"view {view} has one row a key", range(len(rows) - len(found)), len(rows))
        compare_view(view, found, totals)
    for view in ("minutes", "minutes_lambda"):
        rows = query(f"SELECT account, minute, records, amount, highest FROM {view}", positions)
        found = {(r[0], r[1].strftime("%Y-%m-%dT%H:%M")): (int(r[2]), int(r[3]), r[4]) for r in rows}
        check(f"view {view} has one row a key", range(len(rows) - len(found)), len(rows))
        compare_view(view, found, minutes)


def compare_lake(log):
    deadline = time.monotonic() + 60
    while True:
        table = deltalake.DeltaTable(str(DATA / "lake" / "sources" / TOPIC)).to_pyarrow_table(columns=["_partition", "_offset", "client", "sequence", "amount"])
        if table.num_rows >= len(log) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    found = collections.Counter(zip(*(column.to_pylist() for column in table.columns)))
    wanted = set()
    for (partition, offset), (_, v) in log.items():
        record = json.loads(v)
        wanted.add((partition, offset, record["client"], record["sequence"], record["amount"]))
    check("the lake table has every record", wanted - found.keys(), len(wanted))
    check("the lake table has no record twice", [row for row, n in found.items() if n > 1], table.num_rows)
    check("the lake table has nothing else", found.keys() - wanted, table.num_rows)


def compare_aggregates():
    commands = collections.defaultdict(list)
    for flight, command, version, positions in ledger("c"):
        commands[flight].append((command, int(version), positions))
    log, ends = read_log("events", 1)
    in_log = collections.defaultdict(list)
    for (_, offset), (k, _) in sorted(log.items()):
        in_log[k.decode()].append(offset)
    wrong_events, wrong_versions, wrong_places, wrong_states = [], [], [], []
    for flight, answered in commands.items():
        status, answer = http.ask("GET", f"/v1/streams/flight-{flight}?from=0&limit=100")
        events = answer["events"] if status == 200 else []
        if [e["type"] for e in events] != [EVENT_OF[command] for command, *_ in answered]:
            wrong_events.append(f"{flight}: {[e['type'] for e in events]} for {[c for c, *_ in answered]}")
        if [e["version"] for e in events] != [version for _, version, _ in answered]:
            wrong_versions.append(flight)
        if [f"events/0:{offset + 1}" for offset in in_log[f"flight-{flight}"]] != [p for *_, p in answered]:
            wrong_places.append(flight)
        status, state = http.ask("GET", f"/v1/aggregates/flight/{flight}")
        if status != 200 or state["state"]["status"] != STATUS_OF[answered[-1][0]]:
            wrong_states.append(f"{flight}: {status} {state}")
    check("each accepted command's events are in its stream, once and in order", wrong_events, len(commands))
    check("streams have the versions that were answered", wrong_versions, len(commands))
    check("events are at the positions that were answered", wrong_places, len(commands))
    check("each aggregate's state is the fold of its events", wrong_states, len(commands))
    check("no event is there that no command asked for", in_log.keys() - {f"flight-{f}" for f in commands}, len(in_log))
    rows = query("SELECT stream_name, events, version, last_event FROM flight_board", f"events/0:{ends[0]}")
    found = {r[0]: (int(r[1]), int(r[2]), r[3]) for r in rows}
    wanted = {f"flight-{f}": (len(a), a[-1][1], EVENT_OF[a[-1][0]]) for f, a in commands.items()}
    compare_view("flight_board", found, wanted)
    return sum(len(answered) for answered in commands.values())


def main():
    started = time.monotonic()
    log, ends = read_log(TOPIC, PARTITIONS)
    check("the log has no gap", [p for p, end in ends.items() for o in range(end) if (p, o) not in log][:SHOWN], sum(ends.values()))
    for client in ("a", "b"):
        compare_log(client, log)
    compare_views([json.loads(v) for _, v in log.values()], ends)
    compare_lake(log)
    accepted = compare_aggregates()
    print(f"{len(log)} records and {accepted} accepted commands were compared in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
