"""Users beside the attacks: point reads over HTTP and PostgreSQL, a producer over HTTP, each timed.

Usage: beside.py HTTP_PORT PG_PORT FILE. A process of its own, so that what the attacker computes does not make users wait.
Writes a line `kind milliseconds what` for each, flushed at once; `what` is `ok` or why not.
"""

import http.client
import json
import sys
import threading
import time
import types

import pg_door
import scene

PAUSE_S = 0.02
TIMEOUT_S = 20
server = types.SimpleNamespace(http=("127.0.0.1", int(sys.argv[1])), pg=("127.0.0.1", int(sys.argv[2])))
out, writing = open(sys.argv[3], "a", encoding="utf-8"), threading.Lock()


def http_connection():
    return http.client.HTTPConnection(*server.http, timeout=TIMEOUT_S)


def over_http(connection):
    connection.request("GET", f"/v1/views/totals/{scene.KEY}")
    answer = connection.getresponse()
    text = answer.read()
    row = json.loads(text).get("row", {}) if answer.status == 200 else {}
    found = (row.get("sensor"), *(int(row.get(name) or 0) for name in ("records", "amount", "highest")))
    assert found == scene.POINT, f"{answer.status} {text[:200]!r}, not {scene.POINT}"


def over_pg(connection):
    scene.point_over_pg(connection)


def produce(connection):
    connection.request("POST", "/v1/topics/beside/records", json.dumps({"value": "b" * 100}), {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, f"{answer.status} {text[:200]!r}"


def forever(kind, connect, once):
    connection = None
    while True:
        begun, what = time.monotonic(), "ok"
        try:
            if connection is None:
                connection = connect()
            once(connection)
        except (OSError, http.client.HTTPException, AssertionError, pg_door.PgError, ValueError) as error:
            connection, what = None, repr(error).replace("\n", " ")
        with writing:
            out.write(f"{kind} {(time.monotonic() - begun) * 1000:.1f} {what}\n")
            out.flush()
        time.sleep(PAUSE_S)


for user in [
    ("http", http_connection, over_http),
    ("pg", lambda: pg_door.Pg(server, TIMEOUT_S), over_pg),
    ("produce", http_connection, produce),
]:
    threading.Thread(target=forever, args=user, daemon=True).start()
# Ends with the one who started it.
sys.stdin.read()
