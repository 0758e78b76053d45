"""Attacks on the Kafka door: counts that lie, sizes, repeats, slowness, and record batches that are not what they say."""

import gzip
import json
import socket
import struct
import time
import zlib

import http_door
import kafka_door
import scene
from attack import attack
from kafka_door import Kafka, array, batch, data, record, text

HUGE = 2**31 - 1
# The disk that any of this may take; one file of the write-ahead log is 64 MiB.
DISK_LIMIT_BYTES = 1 << 30


def answers(server, within_s=5):
    """The door answers Metadata soon."""
    begun = time.monotonic()
    with Kafka(server, within_s) as kafka:
        kafka.ask(kafka_door.METADATA, 4, array([text(scene.TOPIC)]) + b"\0")
    assert time.monotonic() - begun < within_s, f"Metadata took {time.monotonic() - begun:.1f} s"


def drain(kafka, seconds):
    """Reads for so long; returns how many bytes came."""
    kafka.socket.settimeout(seconds)
    came, deadline = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            part = kafka.socket.recv(1 << 20)
            if not part:
                break
            came += len(part)
    except OSError:
        pass
    return came


@attack("kafka", sample=True)
def frames_whose_lengths_lie_harm_only_their_connection(server):
    head = struct.pack(">hhi", 3, 4, 1) + text("abuse")
    for frame in [struct.pack(">i", size) + head for size in (HUGE, -1, 0, 1, 7, 104857601, 104857600, -HUGE - 1)] + [
        b"\xff" * 4096,
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">ihhih", 10, 18, 3, 1, 32767),
    ]:
        with socket.create_connection(server.kafka, timeout=0.3) as connection:
            try:
                connection.sendall(frame)
                connection.recv(4096)
            except OSError:
                pass
    answers(server)


def lies_plain():
    """For each API: a body in which the first counts lie."""
    for api, version in kafka_door.PLAIN.items():
        for number in (HUGE, -2, -HUGE - 1, 100_000_000, 65536):
            for before in (
                b"",
                text(""),
                text("g"),
                b"\xff\xff",
                text("g") + struct.pack(">i", 1),
                struct.pack(">hhi", -1, -1, 1),
                struct.pack(">iiiib", -1, 1, 1, 1, 0),
                text("g") + struct.pack(">iq", 1, 1),
                array([text("t")])[:6],
            ):
                yield api, version, before + struct.pack(">i", number) + b"\0" * 8


def lies_flexible():
    """The same for flexible versions, whose counts are unsigned varints."""
    for api, version in kafka_door.FLEXIBLE.items():
        for number in (b"\xff\xff\xff\xff\x0f", b"\xff" * 10, b"\xff\xff\xff\xff\x7f", b"\x80" * 20, b"\x80\x80\x04"):
            for before in (
                b"",
                b"\x01",
                b"\x02g",
                b"\x00",
                b"\x01\x01",
                struct.pack(">hi", -1, 1),
                struct.pack(">iiiib", -1, 1, 1, 1, 0),
                b"\x01" * 12,
            ):
                yield api, version, before + number + b"\0" * 8


@attack("kafka", sample=True)
def counts_that_lie_harm_only_their_connection(server):
    for flexible, lies in ((False, lies_plain()), (True, lies_flexible())):
        for api, version, body in lies:
            with Kafka(server, 0.1) as kafka:
                try:
                    kafka.send(api, version, body, flexible)
                    if api not in (1, 11):
                        kafka.receive()
                except (OSError, struct.error):
                    pass
    answers(server)


@attack("kafka", sample=True)
def a_name_said_many_times_is_answered_once(server):
    with Kafka(server, 30) as kafka:
        assert kafka.create_topics([("many-partitions", 10_000)]) in ([0], [44]), "a topic of 10,000 partitions"
        for times in (5_000, 20_000):
            kafka.send(kafka_door.METADATA, 4, array([text("many-partitions")] * times) + b"\0")
            length = struct.unpack(">i", kafka.exactly(4))[0]
            assert length < 64 << 20, f"{times} times one topic of 10,000 partitions is answered with {length} bytes"
            kafka.exactly(length)


@attack("kafka", sample=True)
def a_group_described_many_times_is_answered_once(server):
    with Kafka(server, 20) as kafka:
        kafka.send(kafka_door.JOIN_GROUP, 1, kafka.join_body("big", b"m" * 8_000_000))
        with Kafka(server, 20) as other:
            time.sleep(0.5)
            other.send(kafka_door.DESCRIBE_GROUPS, 0, array([text("big")] * 2_000))
            length = struct.unpack(">i", other.exactly(4))[0]
            assert length < 64 << 20, f"2,000 times one group is answered with {length} bytes"


@attack("kafka", sample=True)
def partitions_said_many_times_make_no_giant_answer(server):
    large = batch([b"v" * 200_000 for _ in range(4)])
    with Kafka(server, 30) as kafka:
        kafka.create_topics([("large", 1)])
        for _ in range(10):
            assert kafka.produce("large", large) == 0
        for api, version, body in [
            (kafka_door.FETCH, 4, kafka_door.fetch_body([("large", 0, 0)] * 20_000, HUGE)),
            (kafka_door.LIST_OFFSETS, 1, struct.pack(">i", -1) + array([text("large") + array([struct.pack(">iq", 0, -1)] * 50_000)])),
            (kafka_door.OFFSET_FETCH, 1, text(scene.GROUP) + array([text("large") + array([struct.pack(">i", 0)] * 200_000)])),
        ]:
            with Kafka(server, 30) as one:
                one.send(api, version, body)
                try:
                    length = struct.unpack(">i", one.exactly(4))[0]
                    assert length < 128 << 20, f"api {api} answered {length} bytes"
                except ConnectionError:
                    pass


@attack("kafka", sample=True)
def deleting_topics_does_not_fill_the_disk(server):
    before = server.disk_bytes()
    for number in range(60):
        http_door.ask(server, "POST", "/v1/topics", {"name": f"gone-{number}"})
    for number in range(60):
        answer = http_door.ask(server, "DELETE", f"/v1/topics/gone-{number}")
        assert answer.status == 204, f"{answer}"
    with Kafka(server, 60) as kafka:
        names = [f"gone-too-{number}" for number in range(300)]
        assert set(kafka.create_topics([(name, 1) for name in names])) == {0}
        assert set(kafka.delete_topics(names)) == {0}
    grown = server.disk_bytes() - before
    assert grown < DISK_LIMIT_BYTES, f"the log grew by {grown >> 20} MiB"


@attack("kafka")
def thousands_of_topics_made_and_deleted_fill_neither_disk_nor_memory(server):
    before = server.disk_bytes()
    with Kafka(server, 120) as kafka:
        for start in range(0, 6000, 1000):
            names = [f"wave-{start + number}" for number in range(1000)]
            kafka.ask(kafka_door.METADATA, 4, array([text(name) for name in names]) + b"\1")
        names = [f"wave-{number}" for number in range(6000)]
        kafka.delete_topics(names)
    grown = server.disk_bytes() - before
    assert grown < DISK_LIMIT_BYTES, f"the log grew by {grown >> 20} MiB"


@attack("kafka", settings={})
def partitions_have_a_bound_over_all_topics(server):
    with Kafka(server, 60) as kafka:
        codes = kafka.create_topics([(f"wide-{number}", 10_000) for number in range(300)])
    assert any(codes), "3,000,000 partitions were made"


@attack("kafka", settings={})
def committed_offsets_have_a_bound(server):
    with Kafka(server, 60) as kafka:
        kafka.create_topics([("noted", 10_000)])
        notes = [(partition, 1, "n" * 4000) for partition in range(10_000)]
        for group in range(40):
            codes = kafka.commit_offsets(f"group-{group}", "noted", notes)
            if any(codes):
                break
        else:
            raise AssertionError("40 groups with 40 MB of notes each were kept")


@attack("kafka", settings={})
def names_of_groups_have_a_bound(server):
    refused = False
    with Kafka(server, 60) as kafka:
        for number in range(60_000):
            kafka.send(
                kafka_door.OFFSET_COMMIT,
                2,
                text(f"name-{number}")
                + struct.pack(">i", -1)
                + text("")
                + struct.pack(">q", -1)
                + array([text(scene.TOPIC) + array([struct.pack(">iq", 0, 1) + text("n" * 4000)])]),
            )
            if number % 200 == 199:
                refused = refused or any(struct.unpack(">h", kafka.receive()[-2:])[0] for _ in range(200))
    assert refused or server.peak_bytes() < 600 << 20, f"60,000 names with notes of 4 KB are kept: {server.peak_bytes() >> 20} MiB"


@attack("kafka")
def members_of_groups_have_a_bound_in_bytes(server):
    held = []
    for number in range(12):
        kafka = Kafka(server, 10)
        try:
            kafka.send(kafka_door.JOIN_GROUP, 1, kafka.join_body(f"members-{number}", b"m" * 60_000_000))
        except OSError:
            pass
        held.append(kafka)
    time.sleep(1)
    answers(server)
    for kafka in held:
        kafka.socket.close()


def capture_goes_on(server, topic):
    """A good record after the attack is folded by both views of the topic, and the batch run ends."""
    position = http_door.append(server, topic, [{"k": "good", "x": 1}])
    for view in (f"{topic}_k", f"{topic}_l"):
        found = dict(http_door.rows(server, f"SELECT k, n FROM {view}", position, 30))
        assert int(found.get("good", 0)) >= 1, f"{view} does not fold any more: {found}"
    http_door.sql(server, f"REFRESH MATERIALIZED VIEW {topic}_l", timeout_s=30)
    in_log = sum(1 for _, value in scene.records_of(server, topic, 1)[0] if isinstance(value, dict) and value.get("k"))
    counted = {view: sum(int(n) for _, n in http_door.rows(server, f"SELECT k, n FROM {topic}_{view}", position)) for view in ("k", "l")}
    assert counted["k"] == counted["l"], f"the views of {topic} differ: {counted}, the log has {in_log}"


def topic_with_views(server, topic):
    http_door.sql(server, f"CREATE SOURCE {topic} (k TEXT, x BIGINT) WITH (topic = '{topic}', partitions = 1)")
    fold = f"SELECT k, count(*) AS n FROM {topic} GROUP BY k"
    http_door.sql(server, f"CREATE MATERIALIZED VIEW {topic}_k AS {fold}")
    http_door.sql(server, f"CREATE MATERIALIZED VIEW {topic}_l WITH (batch = '1 hour') AS {fold}")


@attack("kafka", sample=True)
def a_batch_whose_inner_numbers_lie_is_refused_and_stops_no_capture(server):
    topic_with_views(server, "lying")
    values = [json.dumps({"k": f"k{n}", "x": n}).encode() for n in range(4)]
    good = b"".join(record(value, n) for n, value in enumerate(values))
    lies = {
        "repeated deltas": batch(values, deltas=[0, 1, 1, 3]),
        "swapped deltas": batch(values, deltas=[0, 2, 1, 3]),
        "deltas outside": batch(values, deltas=[0, 1, 8, 3]),
        "negative deltas": batch(values, deltas=[0, -1, 2, 3]),
        "a count too high": batch(values, count=1000, payload=good),
        "a count too low": batch(values, count=2, payload=good, last_delta=3),
        "a count of 2^31-1": batch(values, count=HUGE, payload=good, last_delta=3),
        "a negative count": batch(values, count=-1, payload=good, last_delta=3),
        "a last delta too high": batch(values, last_delta=1000),
        "a last delta of 2^31-1": batch(values, last_delta=HUGE),
        "a negative last delta": batch(values, last_delta=-1),
        "no gzip": batch(values, codec=1, payload=b"not gzip at all"),
        "no snappy": batch(values, codec=2, payload=b"not snappy"),
        "no lz4": batch(values, codec=3, payload=b"not lz4"),
        "no zstd": batch(values, codec=4, payload=b"not zstd"),
        "no codec 7": batch(values, codec=7, payload=good),
        "half a gzip": batch(values, codec=1, payload=gzip.compress(good)[:-9]),
        "a record that is too long": batch(values, payload=record(values[0], 0, length=HUGE), count=1),
        "a record of negative length": batch(values, payload=record(values[0], 0, length=-5), count=1),
        "nothing inside": batch([], count=4, payload=b""),
        "zeros inside": batch(values, payload=b"\0" * 100),
        "time after 9999": batch(values, timestamp_ms=2**62),
        "time before 1": batch(values, timestamp_ms=-(2**62)),
        "a transaction": batch(values, codec=0x10),
        "control records": batch(values, codec=0x20),
        "a wrong largest time": batch(values, timestamp_max_ms=0),
        "records after the last": batch(values[:3], payload=good, count=3),
    }
    with Kafka(server) as kafka:
        codes = {name: kafka.produce("lying", lie) for name, lie in lies.items()}
    allowed = {"a wrong largest time"}
    stored = [name for name, code in codes.items() if code == 0 and name not in allowed]
    capture_goes_on(server, "lying")
    assert not stored, f"stored all the same: {', '.join(stored)}"


@attack("kafka", sample=True)
def a_batch_that_unfolds_to_hundreds_of_megabytes_is_refused(server):
    topic_with_views(server, "bombed")
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = b"\0" * (1 << 20)
    bomb = b"".join(deflate.compress(zeros) for _ in range(200)) + deflate.flush()
    with Kafka(server, 30) as kafka:
        code = kafka.produce("bombed", batch([], count=200 << 20, last_delta=(200 << 20) - 1, codec=1, payload=bomb))
    capture_goes_on(server, "bombed")
    assert code, f"200 MiB in {len(bomb)} bytes were stored"


@attack("kafka", sample=True)
def readers_of_compressed_records_hold_bounded_memory(server):
    value = json.dumps({"k": "z" * 900_000, "x": 1}).encode()
    payload = gzip.compress(b"".join(record(value, n) for n in range(60)))
    with Kafka(server, 30) as kafka:
        kafka.create_topics([("folded", 1)])
        one = batch([value] * 60, codec=1, payload=payload)
        codes = {kafka.produce("folded", one) for _ in range(2)}
    assert codes == {0}, f"{len(payload)} bytes of 54 MB answered {codes}"
    readers = []
    for _ in range(6):
        connection = http_door.connect(server)
        connection.sendall(b"GET /v1/topics/folded/partitions/0/records?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        readers.append(connection)
    time.sleep(2)
    scene.stands(server)
    for connection in readers:
        connection.close()


@attack("kafka")
def frames_that_come_a_byte_a_second_hold_little(server):
    slow = []
    for _ in range(600):
        connection = socket.create_connection(server.kafka, timeout=5)
        connection.sendall(struct.pack(">i", 104_000_000) + struct.pack(">hhi", 0, 3, 1))
        slow.append(connection)
    for _ in range(10):
        for connection in slow:
            try:
                connection.send(b"a")
            except OSError:
                pass
        time.sleep(1)
    answers(server)
    for connection in slow:
        connection.close()


@attack("kafka", sample=True)
def large_frames_at_once_hold_a_bounded_memory(server):
    slow = []
    for _ in range(8):
        connection = socket.create_connection(server.kafka, timeout=0.2)
        try:
            connection.sendall(struct.pack(">i", 104_000_000) + struct.pack(">hhi", 0, 3, 1) + b"a" * 30_000_000)
        except OSError:
            pass
        slow.append(connection)
    answers(server)
    for connection in slow:
        connection.close()


@attack("kafka", sample=True)
def consumers_that_never_read_hold_a_bounded_memory(server):
    half_a_megabyte = batch([b"w" * 500_000])
    with Kafka(server, 30) as kafka:
        kafka.create_topics([("unread", 1)])
        for _ in range(60):
            assert kafka.produce("unread", half_a_megabyte) == 0
    silent = []
    for _ in range(60):
        kafka = Kafka(server, 5)
        for _ in range(4):
            kafka.send(kafka_door.FETCH, 4, kafka_door.fetch_body([("unread", 0, 0)], 50 << 20))
        silent.append(kafka)
    time.sleep(1.5)
    answers(server)
    for kafka in silent:
        kafka.socket.close()


@attack("kafka", sample=True)
def silent_connections_keep_nobody_out_for_long(server):
    silent = []
    for _ in range(500):
        silent.append(socket.create_connection(server.kafka, timeout=5))
    answers(server)
    for connection in silent:
        connection.close()


@attack("kafka", sample=True)
def pipelined_requests_without_reading_hold_a_bounded_memory(server):
    with Kafka(server, 2) as kafka:
        try:
            for _ in range(20_000):
                kafka.send(kafka_door.METADATA, 4, struct.pack(">i", -1) + b"\0")
        except OSError:
            pass
    answers(server)


@attack("kafka", settings={})
def sigterm_is_quick_after_writing_to_twenty_thousand_partitions(server):
    one = batch([b"x"])
    with Kafka(server, 120) as kafka:
        assert kafka.create_topics([("wide-a", 10_000), ("wide-b", 10_000)], 60000) == [0, 0]
        for topic in ("wide-a", "wide-b"):
            for start in range(0, 10_000, 1000):
                parts = [struct.pack(">i", start + n) + data(one) for n in range(1000)]
                kafka.ask(kafka_door.PRODUCE, 3, struct.pack(">hhi", -1, -1, 60000) + array([text(topic) + array(parts)]))


@attack("kafka")
def times_far_from_now_stop_no_view_and_delete_nothing_else(server):
    topic_with_views(server, "timed")
    with Kafka(server) as kafka:
        for time_ms in (0, -1, 253402300799999, -62135596800000, 4_102_444_800_000):
            kafka.produce("timed", batch([json.dumps({"k": "t", "x": 1}).encode()], timestamp_ms=time_ms))
    capture_goes_on(server, "timed")
