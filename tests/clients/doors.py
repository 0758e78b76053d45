"""Where the server's doors are, names that are nobody else's, and SQL over HTTP to set a scene.

Not a client under test: only the standard library is used here.
"""

import json
import os
import pathlib
import time
import urllib.error
import urllib.request
import uuid

KAFKA = os.environ["FOURFOLD_KAFKA"]
PG = os.environ["FOURFOLD_PG"]
HTTP = os.environ["FOURFOLD_HTTP"]
DATA = pathlib.Path(os.environ["FOURFOLD_DATA"])

TIMEOUT_S = 60


def unique(name):
    """A name that no other test takes; good for topics and for SQL."""
    return f"{name}_{uuid.uuid4().hex[:8]}"


def request(method, path, body=None):
    """One HTTP request; returns status and decoded body."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    prepared = urllib.request.Request(f"http://{HTTP}{path}", data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(prepared, timeout=TIMEOUT_S) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def sql(text, min_position=None):
    """Runs SQL over HTTP and returns the answer; fails with the server's own words."""
    body = {"sql": text}
    if min_position:
        body["min_position"] = min_position
    status, answer = request("POST", "/v1/sql", body)
    assert status == 200, f"{text}\nanswered {status}: {answer}"
    return answer


def rows(text, min_position=None):
    """The rows of a query, as tuples."""
    return [tuple(row) for row in sql(text, min_position)["rows"]]


def positions(topic, ends):
    """The text of Positions: `ends` maps a partition to its next offset."""
    return ",".join(f"{topic}/{partition}:{end}" for partition, end in sorted(ends.items()) if end)


def wait_until(what, condition, timeout_s=TIMEOUT_S):
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"still not true after {timeout_s} s: {what}"
        time.sleep(0.05)


def equal(what, found, expected):
    """Fails with both sides shown."""
    assert found == expected, f"{what}\n  found    {found!r}\n  expected {expected!r}"
    print(f"ok {what}")
