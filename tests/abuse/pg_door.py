"""The PostgreSQL door, message by message."""

import socket
import struct
import time

TIMEOUT_S = 15


class PgError(Exception):
    """An ErrorResponse: its fields by letter."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('C')}: {fields.get('M')}")
        self.fields, self.code = fields, fields.get("C")


def message(kind, body):
    """One message with an honest length."""
    return kind + struct.pack(">i", len(body) + 4) + body


def text(value):
    """A text that ends with zero."""
    return value.encode() + b"\0"


def parse(statement, types=(), name=""):
    """A Parse message."""
    return message(b"P", text(name) + text(statement) + struct.pack(f">h{len(types)}I", len(types), *types))


def bind(values, binary=True, portal="", name="", count=None):
    """A Bind message: `values` are bytes or None."""
    body = text(portal) + text(name) + struct.pack(">hh", 1, int(binary))
    body += struct.pack(">H", len(values) if count is None else count)
    for value in values:
        body += struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
    return message(b"B", body + struct.pack(">h", 0))


def execute(portal="", rows_max=0):
    """An Execute message."""
    return message(b"E", text(portal) + struct.pack(">i", rows_max))


SYNC = message(b"S", b"")


class Pg:
    """A connection that has said who it is."""

    def __init__(self, server, timeout_s=TIMEOUT_S, parameters=()):
        self.socket = socket.create_connection(server.pg, timeout=timeout_s)
        self.leaves_at = None
        body = struct.pack(">i", 196608) + text("user") + text("abuse") + text("database") + text("fourfold")
        for name, value in parameters:
            body += text(name) + text(value)
        self.socket.sendall(struct.pack(">i", len(body) + 5) + body + b"\0")
        self.key = None
        self.until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self):
        """The next message: kind and body."""
        head = self.exactly(5)
        kind, length = head[:1], struct.unpack(">i", head[1:])[0]
        return kind, self.exactly(length - 4)

    def exactly(self, count):
        """So many bytes; ConnectionError when the server closes before."""
        parts = bytearray()
        while len(parts) < count:
            if self.leaves_at is not None and time.monotonic() > self.leaves_at:
                raise TimeoutError("the client has seen enough")
            part = self.socket.recv(min(count - len(parts), 1 << 16))
            if not part:
                raise ConnectionError("the server closed the connection")
            parts += part
        return bytes(parts)

    def until_ready(self):
        """Everything up to ReadyForQuery: the rows, as texts. Raises the first error after that."""
        rows, error = [], None
        while True:
            try:
                kind, body = self.receive()
            except ConnectionError:
                if error:
                    raise error from None
                raise
            if kind == b"Z":
                break
            if kind == b"K":
                self.key = body
            elif kind == b"D":
                rows.append(row(body))
            elif kind == b"E":
                error = error or PgError(fields(body))
        if error:
            raise error
        return rows

    def query(self, statement):
        """A simple query."""
        self.socket.sendall(message(b"Q", text(statement)))
        return self.until_ready()

    def send(self, *messages):
        """Messages as they are."""
        self.socket.sendall(b"".join(messages))


def row(body):
    """A DataRow as texts."""
    count, place, values = struct.unpack(">h", body[:2])[0], 2, []
    for _ in range(count):
        length = struct.unpack(">i", body[place : place + 4])[0]
        place += 4
        values.append(None if length < 0 else body[place : place + length].decode(errors="replace"))
        place += max(length, 0)
    return tuple(values)


def fields(body):
    """The fields of an ErrorResponse."""
    return {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}


def query(server, statement, timeout_s=TIMEOUT_S):
    """A simple query on a connection of its own."""
    with Pg(server, timeout_s) as connection:
        return connection.query(statement)


def refusal(server, statement, timeout_s=TIMEOUT_S):
    """The SQLSTATE with which a statement is refused, or None when it is answered."""
    try:
        query(server, statement, timeout_s)
    except PgError as error:
        return error.code
    return None
