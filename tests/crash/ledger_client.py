"""A writer: an unmodified idempotent librdkafka producer that keeps a ledger of what was acknowledged.

Usage: ledger_client.py NAME [BURSTS_PER_SECOND]. Writes until the file `stop` is there, then waits for the last answers. Ends with 1 when the
producer gives up on a record: an idempotent producer only does when the server has lost or doubled something.
"""

import sys
import time

from confluent_kafka import Producer

from workload import GIVE_UP_S, KAFKA, STOP, TOPIC, Ledger, digest, key, value

# Bounded: so many records wait for an answer at most.
WAITING_MAX = 2000
BURSTS_PER_SECOND = 500
BURST = 5

client = sys.argv[1]
pause_s = 1 / (int(sys.argv[2]) if len(sys.argv) > 2 else BURSTS_PER_SECOND)
ledger = Ledger(client)
failures, acknowledged = [], []


def fatal(error):
    # Lost connections are this harness's daily bread; only what the producer cannot recover from ends it.
    if error.fatal():
        failures.append(f"producer: {error}")


producer = Producer({
    "bootstrap.servers": KAFKA,
    "client.id": client,
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": {"a": "lz4", "b": "none"}.get(client, "none"),
    "linger.ms": 2,
    "message.timeout.ms": GIVE_UP_S * 1000,
    "retry.backoff.ms": 20,
    "retry.backoff.max.ms": 200,
    "reconnect.backoff.ms": 10,
    "reconnect.backoff.max.ms": 100,
    "socket.timeout.ms": 10000,
    "error_cb": fatal,
    "log_level": 2,
})


def delivered(sequence, hashed):
    def on_delivery(error, message):
        if error:
            failures.append(f"record {sequence}: {error}")
        else:
            acknowledged.append(f"{sequence} {hashed} {message.partition()} {message.offset()}")
    return on_delivery


def settle():
    ledger.write(acknowledged)
    acknowledged.clear()
    if failures:
        sys.exit(f"client {client} gave up: " + "; ".join(failures[:5]))


sequence = 0
while not STOP.exists():
    for _ in range(BURST):
        if len(producer) < WAITING_MAX:
            content = value(client, sequence)
            producer.produce(TOPIC, key=key(client, sequence), value=content, on_delivery=delivered(sequence, digest(content)))
            sequence += 1
    next_burst = time.monotonic() + pause_s
    while (left := next_burst - time.monotonic()) > 0:
        producer.poll(left)
    settle()

deadline = time.monotonic() + GIVE_UP_S
while len(producer) and time.monotonic() < deadline:
    producer.poll(0.1)
    settle()
settle()
if len(producer):
    sys.exit(f"client {client}: {len(producer)} records were never answered")
print(f"client {client} wrote {sequence} records")
