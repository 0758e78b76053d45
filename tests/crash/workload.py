"""What is written and what is asked: shared by the writers and by the comparison.

What must hold: a record's content follows from (client, sequence) alone, so that a ledger needs only its hash.
"""

import hashlib
import http.client
import json
import os
import pathlib
import time

KAFKA = os.environ["FOURFOLD_KAFKA"]
PG = os.environ["FOURFOLD_PG"]
HTTP = os.environ["FOURFOLD_HTTP"]
DATA = pathlib.Path(os.environ["FOURFOLD_DATA"])

TOPIC = "ledger"
PARTITIONS = 4
KEYS = 8
STOP = pathlib.Path("stop")

# A server that is down comes back within seconds; one that stays away this long will not come.
GIVE_UP_S = 90

SOURCE = f"""
CREATE SOURCE {TOPIC} (client TEXT, sequence BIGINT, account TEXT, amount BIGINT, price DOUBLE PRECISION, at TIMESTAMP)
WITH (topic = '{TOPIC}', partitions = {PARTITIONS}, format = 'json', event_time = 'at')"""
TOTALS = """
SELECT client, count(*) AS records, sum(amount) AS amount, sum(price) AS price, avg(price) AS mean_price,
       min(sequence) AS first, max(sequence) AS last
FROM ledger GROUP BY client"""
MINUTES = """
SELECT account, window_start AS minute, count(*) AS records, sum(amount) AS amount, max(price) AS highest
FROM TUMBLE(ledger, at, INTERVAL '1 minute') GROUP BY account, window_start"""
FLIGHTS = """
SELECT stream_name, count(*) AS events, max(stream_version) AS version, last_value(event_type) AS last_event
FROM flight_events GROUP BY stream_name"""

DEFINITIONS = [
    SOURCE,
    f"CREATE MATERIALIZED VIEW totals AS {TOTALS}",
    f"CREATE MATERIALIZED VIEW minutes AS {MINUTES}",
    f"CREATE MATERIALIZED VIEW totals_lambda WITH (batch = '5 seconds') AS {TOTALS}",
    f"CREATE MATERIALIZED VIEW minutes_lambda WITH (batch = '3 seconds') AS {MINUTES}",
    "CREATE SOURCE flight_events (carrier TEXT) WITH (topic = 'events', partitions = 1, format = 'event')",
    f"CREATE MATERIALIZED VIEW flight_board AS {FLIGHTS}",
]


def key(client, sequence):
    return f"{client}-{sequence % KEYS}".encode()


def value(client, sequence):
    """One record's bytes. Every fiftieth is an hour late by its own clock; prices do not add up exactly in binary."""
    mixed = int.from_bytes(hashlib.sha256(f"{client} {sequence}".encode()).digest()[:6], "big")
    seconds = sequence // 20 - (3600 if sequence % 50 == 0 else 0)
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(1_767_225_600 + seconds))
    record = {
        "client": client, "sequence": sequence, "account": f"acct-{mixed % 17}", "amount": mixed % 1000 - 200,
        "price": (mixed % 100_000) / 100 * (10 ** (mixed % 9)), "at": at, "padding": "x" * (mixed % 300),
    }
    return json.dumps(record).encode()


def digest(value):
    return hashlib.sha256(value).hexdigest()[:16]


class Ledger:
    """A file of what was acknowledged. An entry is on disk before its writer goes on."""

    def __init__(self, client):
        self.file = open(f"ledger-{client}.txt", "a", encoding="ascii")

    def write(self, entries):
        if entries:
            self.file.write("".join(f"{entry}\n" for entry in entries))
            self.file.flush()
            os.fsync(self.file.fileno())


def ledger(client):
    """The entries of a ledger, as lists of words."""
    return [line.split() for line in pathlib.Path(f"ledger-{client}.txt").read_text(encoding="ascii").splitlines()]


class Http:
    """One connection, opened again whenever the server has gone; a request is repeated until it is answered."""

    def __init__(self):
        self.connection = None

    def ask(self, method, path, body=None):
        deadline = time.monotonic() + GIVE_UP_S
        data = None if body is None else json.dumps(body)
        while True:
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(HTTP, timeout=30)
                self.connection.request(method, path, data, {"content-type": "application/json"})
                answer = self.connection.getresponse()
                status, text = answer.status, answer.read()
                # Starting or stopping: not an answer yet.
                if status != 503:
                    return status, json.loads(text or b"null")
            except (OSError, http.client.HTTPException):
                self.connection = None
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path} had no answer for {GIVE_UP_S} s")
            time.sleep(0.02)

    def sql(self, text, min_position=None):
        body = {"sql": text} | ({"min_position": min_position} if min_position else {})
        status, answer = self.ask("POST", "/v1/sql", body)
        if status != 200:
            raise RuntimeError(f"{text.strip()}\nanswered {status}: {answer}")
        return answer
