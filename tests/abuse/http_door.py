"""The HTTP door: requests as a client sends them, and bytes as none would."""

import http.client
import json
import socket

TIMEOUT_S = 15


class Answer:
    """A status, the body as JSON where it is, and the headers."""

    def __init__(self, status, body, headers):
        self.status, self.body, self.headers = status, body, headers

    def __repr__(self):
        return f"{self.status} {str(self.body)[:300]}"


def ask(server, method, path, body=None, timeout_s=TIMEOUT_S, headers=None):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(*server.http, timeout=timeout_s)
    try:
        data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        connection.request(method, path, data, {"content-type": "application/json"} | (headers or {}))
        answer = connection.getresponse()
        text = answer.read()
        try:
            decoded = json.loads(text or b"null")
        except ValueError:
            decoded = text.decode(errors="replace")
        return Answer(answer.status, decoded, dict(answer.getheaders()))
    finally:
        connection.close()


def sql(server, text, min_position=None, timeout_s=60):
    """A statement that has to succeed; returns the whole answer."""
    answer = ask(server, "POST", "/v1/sql", {"sql": text} | ({"min_position": min_position} if min_position else {}), timeout_s)
    assert answer.status == 200, f"{text[:200]} answered {answer}"
    return answer.body


def rows(server, text, min_position=None, timeout_s=60):
    """The rows of a query, as tuples."""
    return [tuple(row) for row in sql(server, text, min_position, timeout_s)["rows"]]


def append(server, topic, values, partition=None):
    """Appends JSON values and returns the positions after them."""
    place = {} if partition is None else {"partition": partition}
    body = {"records": [{"value": value} | place for value in values]}
    answer = ask(server, "POST", f"/v1/topics/{topic}/records", body)
    assert answer.status == 200, f"append to {topic} answered {answer}"
    return answer.body["positions"]


def connect(server, timeout_s=TIMEOUT_S):
    """A bare socket."""
    return socket.create_connection(server.http, timeout=timeout_s)


def raw(server, data, timeout_s=TIMEOUT_S, answer_bytes=65536):
    """Sends bytes and returns the beginning of what comes back; empty when the connection is closed without a word."""
    with connect(server, timeout_s) as connection:
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            return connection.recv(answer_bytes)
        except (ConnectionResetError, TimeoutError):
            return b""
