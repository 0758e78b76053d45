"""The Kafka door, byte by byte: requests in versions before the flexible ones, and record batches, honest or not."""

import socket
import struct
import time

TIMEOUT_S = 15
PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH = 0, 1, 2, 3, 8, 9
JOIN_GROUP, SYNC_GROUP, DESCRIBE_GROUPS, CREATE_TOPICS, DELETE_TOPICS = 11, 14, 15, 19, 20
# (api, a version whose header is plain)
PLAIN = {0: 7, 1: 11, 2: 5, 3: 8, 8: 7, 9: 5, 10: 2, 11: 5, 12: 3, 13: 3, 14: 3, 15: 4, 16: 2, 18: 2, 19: 4, 20: 3, 22: 1, 32: 3, 42: 1}
# (api, a version whose header and body are flexible)
FLEXIBLE = {
    0: 11,
    1: 12,
    2: 7,
    3: 12,
    8: 8,
    9: 8,
    10: 4,
    11: 9,
    12: 4,
    13: 5,
    14: 5,
    15: 5,
    16: 4,
    18: 4,
    19: 7,
    20: 6,
    22: 4,
    32: 4,
    42: 2,
    60: 1,
}


def text(value):
    data = value.encode()
    return struct.pack(">h", len(data)) + data


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def data(value):
    return struct.pack(">i", len(value)) + value


class Kafka:
    """One connection."""

    def __init__(self, server, timeout_s=TIMEOUT_S):
        self.socket = socket.create_connection(server.kafka, timeout=timeout_s)
        self.sent = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, api, version, body, flexible=False):
        """A request with an honest length."""
        self.sent += 1
        head = struct.pack(">hhi", api, version, self.sent) + text("abuse") + (b"\0" if flexible else b"")
        self.socket.sendall(data(head + body))

    def receive(self):
        """The body of the next answer, after the correlation id."""
        length = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(length)[4:]

    def exactly(self, count):
        parts = bytearray()
        while len(parts) < count:
            part = self.socket.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise ConnectionError("the server closed the connection")
            parts += part
        return bytes(parts)

    def ask(self, api, version, body):
        self.send(api, version, body)
        return self.receive()

    def produce(self, topic, batch, partition=0):
        """The error code of a produce request."""
        answer = self.ask(PRODUCE, 3, produce_body(topic, batch, partition))
        return struct.unpack(">h", answer[4 + 2 + len(topic) + 4 + 4 :][:2])[0]

    def create_topics(self, topics, timeout_ms=10000):
        """`topics` are (name, partitions); the error codes, in the answer's order."""
        body = array([text(name) + struct.pack(">ihii", count, 1, 0, 0) for name, count in topics])
        return self.topic_errors(self.ask(CREATE_TOPICS, 2, body + struct.pack(">ib", timeout_ms, 0)), message=True)

    def delete_topics(self, names):
        body = array([text(name) for name in names]) + struct.pack(">i", 10000)
        return self.topic_errors(self.ask(DELETE_TOPICS, 1, body), message=False)

    @staticmethod
    def topic_errors(answer, message):
        count, place, errors = struct.unpack(">i", answer[4:8])[0], 8, []
        for _ in range(count):
            place += 2 + struct.unpack(">h", answer[place : place + 2])[0]
            errors.append(struct.unpack(">h", answer[place : place + 2])[0])
            place += 2
            if message:
                place += 2 + max(struct.unpack(">h", answer[place : place + 2])[0], 0)
        return errors

    def fetch(self, topic, offset=0, partition=0, bytes_max=1 << 20):
        """The error code, high watermark and record bytes of one partition."""
        answer = self.ask(FETCH, 4, fetch_body([(topic, partition, offset)], bytes_max))
        place = 4 + 4 + 2 + len(topic) + 4 + 4
        error, watermark = struct.unpack(">hq", answer[place : place + 10])
        aborted = struct.unpack(">i", answer[place + 18 : place + 22])[0]
        assert aborted <= 0, "nothing here has transactions"
        length = struct.unpack(">i", answer[place + 22 : place + 26])[0]
        return error, watermark, answer[place + 26 : place + 26 + max(length, 0)]

    def commit_offsets(self, group, topic, offsets):
        """`offsets` are (partition, offset, note); the error codes."""
        parts = [struct.pack(">iq", partition, offset) + text(note) for partition, offset, note in offsets]
        body = text(group) + struct.pack(">i", -1) + text("") + struct.pack(">q", -1) + array([text(topic) + array(parts)])
        answer = self.ask(OFFSET_COMMIT, 2, body)
        place = 4 + 2 + len(topic) + 4
        return [struct.unpack(">h", answer[place + 6 * n + 4 : place + 6 * n + 6])[0] for n in range(len(offsets))]

    def committed_offset(self, group, topic, partition=0):
        body = text(group) + array([text(topic) + array([struct.pack(">i", partition)])])
        answer = self.ask(OFFSET_FETCH, 1, body)
        place = 4 + 2 + len(topic) + 4 + 4
        return struct.unpack(">q", answer[place : place + 8])[0]

    def join_body(self, group, metadata):
        return text(group) + struct.pack(">ii", 10000, 10000) + text("") + text("consumer") + array([text("range") + data(metadata)])


def produce_body(topic, batch, partition=0):
    return struct.pack(">hhi", -1, -1, 10000) + array([text(topic) + array([struct.pack(">i", partition) + data(batch)])])


def fetch_body(places, bytes_max=1 << 20, wait_ms=100):
    head = struct.pack(">iiiib", -1, wait_ms, 1, bytes_max, 0)
    return head + array([text(topic) + array([struct.pack(">iqi", partition, offset, bytes_max)]) for topic, partition, offset in places])


def varint(value):
    value = (value << 1) ^ (value >> 63)
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def record(value, delta, key=None, length=None):
    """A record; `length` is what it says of itself, where that is to be a lie."""
    key_part = varint(-1) if key is None else varint(len(key)) + key
    body = b"\0" + varint(0) + varint(delta) + key_part + varint(len(value)) + value + varint(0)
    return varint(len(body) if length is None else length) + body


def batch(values, deltas=None, count=None, last_delta=None, codec=0, payload=None, timestamp_ms=None, timestamp_max_ms=None):
    """A batch with the right checksum; everything else may lie."""
    if payload is None:
        payload = b"".join(record(value, delta) for value, delta in zip(values, deltas or range(len(values))))
    now_ms = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
    count = len(values) if count is None else count
    last = count - 1 if last_delta is None else last_delta
    after = (
        struct.pack(">hiqqqhii", codec, last, now_ms, now_ms if timestamp_max_ms is None else timestamp_max_ms, -1, -1, -1, count) + payload
    )
    checked = struct.pack(">ib", -1, 2) + struct.pack(">I", crc32c(after)) + after
    return struct.pack(">q", 0) + data(checked)


def _table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


TABLE = tuple(_table())


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF
