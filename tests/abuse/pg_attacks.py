"""Attacks on the PostgreSQL door: counts that lie, sizes, repeats, slowness, and statements that cost more than they say."""

import itertools
import math
import socket
import struct
import time

import http_door
import pg_door
import scene
from attack import attack
from bombs import BOMBS
from pg_door import SYNC, Pg, PgError, bind, execute, message, parse, text

ARRAYS = {
    1000: 16,
    1001: 17,
    1005: 21,
    1007: 23,
    1009: 25,
    1015: 1043,
    1016: 20,
    1021: 700,
    1022: 701,
    1115: 1114,
    1182: 1082,
    1185: 1184,
    1187: 1186,
    1231: 1700,
    2951: 2950,
    1003: 19,
    1028: 26,
}
HUGE = 2**31 - 1
LEVENSHTEIN = "SELECT levenshtein(repeat(chr(97),1000000),repeat(chr(98),1000000))"


def answers(server, within_s=5):
    """Both doors answer a small statement soon."""
    begun = time.monotonic()
    assert pg_door.query(server, "SELECT 1", within_s) == [("1",)]
    assert http_door.rows(server, "SELECT 1", timeout_s=within_s) == [(1,)]
    assert time.monotonic() - begun < within_s, f"SELECT 1 on both doors took {time.monotonic() - begun:.1f} s"


def bound(server, statement, types, values, binary=True):
    """Binds and executes; the SQLSTATE of the refusal, None when answered, or `closed`."""
    with Pg(server) as connection:
        connection.send(parse(statement, types), bind(values, binary), execute(), SYNC)
        try:
            connection.until_ready()
        except PgError as error:
            return error.code
        except OSError:
            return "closed"
    return None


@attack("pg", sample=True)
def a_binary_array_that_announces_more_than_it_has_is_refused(server):
    wrong = {}
    for array, element in ARRAYS.items():
        for dimensions, count, rest in [
            (1, HUGE, b""),
            (1, 1 << 20, b""),
            (HUGE, 1, b""),
            (-1, 1, b""),
            (1, -1, b""),
            (2, 65536, struct.pack(">ii", 65536, 1)),
            (1, 1, struct.pack(">i", HUGE)),
            (1, 1, b"\0"),
        ]:
            value = struct.pack(">iiIii", dimensions, 0, element, count, 1) + rest
            for cut in (len(value), 13) if array == 1007 else (len(value),):
                code = bound(server, "SELECT $1", [array], [value[:cut]])
                if code in (None, "closed") or code.startswith("XX"):
                    wrong[array, dimensions, count, cut] = code
    assert not wrong, f"{len(wrong)} were not refused with a code of their own: {dict(list(wrong.items())[:6])}"


@attack("pg", sample=True)
def a_binary_value_of_any_length_is_answered_or_refused(server):
    wrong = {}
    for kind in (16, 17, 20, 21, 23, 25, 26, 700, 701, 1043, 1082, 1083, 1114, 1184, 1186, 1700, 2950):
        for value in (
            b"",
            b"\xff",
            b"\xff" * 3,
            b"\x7f" + b"\xff" * 7,
            b"\xff" * 16,
            b"\x7f\xff" * 4,
            struct.pack(">hhhh", 32767, 0, 0, 0),
            struct.pack(">hhhh", 1, 32767, 0, 32767) + b"\0\1",
        ):
            code = bound(server, "SELECT $1", [kind], [value])
            if code == "closed" or (code or "").startswith("XX"):
                wrong[kind, value] = code
    assert not wrong, f"{len(wrong)} ended the connection or were internal errors: {dict(list(wrong.items())[:6])}"


@attack("pg", sample=True)
def messages_whose_lengths_and_counts_lie_harm_only_their_connection(server):
    lies = [
        b"Q" + struct.pack(">i", HUGE),
        b"Q" + struct.pack(">i", -1),
        b"Q" + struct.pack(">i", 0),
        b"Q" + struct.pack(">i", 3),
        b"P" + struct.pack(">i", 4),
        message(b"P", b"no end"),
        message(b"P", text("") + text("SELECT 1") + struct.pack(">h", 32767)),
        message(b"P", text("") + text("SELECT 1") + struct.pack(">h", -1)),
        message(b"B", text("") + text("") + struct.pack(">hh", 32767, 1)),
        message(b"B", text("") + text("") + struct.pack(">hhi", 0, 32767, HUGE)),
        message(b"B", text("") + text("") + struct.pack(">hhi", 0, 1, HUGE)),
        message(b"B", text("") + text("") + struct.pack(">hhi", 0, -1, -7)),
        message(b"D", b"X\0"),
        message(b"C", b""),
        message(b"E", text("p") + b"\0"),
        message(b"F", b"\0" * 4),
        message(b"d", b"x" * 100),
        message(b"c", b""),
        message(b"p", b"secret\0"),
        bytes(range(256)),
        b"\0" * 1000,
        b"\xff" * 1000,
    ]
    for lie in lies:
        with Pg(server) as connection:
            try:
                connection.send(lie, SYNC)
                connection.socket.settimeout(0.2)
                connection.until_ready()
            except (PgError, OSError, struct.error):
                pass
    answers(server)


@attack("pg", sample=True)
def a_start_that_lies_or_never_comes_holds_nothing(server):
    starts = [
        struct.pack(">ii", HUGE, 196608),
        struct.pack(">ii", -1, 196608),
        struct.pack(">ii", 8, 196608),
        struct.pack(">ii", 10008, 196608),
        struct.pack(">iiii", 16, 80877102, -1, -1),
        struct.pack(">ii", 9, 3 << 16 | 99) + b"\0",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">ii", 8, 80877103) * 1000,
    ]
    silent = [socket.create_connection(server.pg, timeout=5) for _ in range(150)]
    for start in starts:
        for _ in range(5):
            with socket.create_connection(server.pg, timeout=0.3) as connection:
                try:
                    connection.sendall(start)
                    connection.recv(4096)
                except OSError:
                    pass
    answers(server)
    for connection in silent:
        connection.close()


@attack("pg", sample=True)
def two_costly_statements_whose_clients_leave_stop_nobody(server):
    for _ in range(4):
        with Pg(server) as connection:
            connection.send(message(b"Q", text(LEVENSHTEIN)))
    time.sleep(0.3)
    answers(server)
    position = http_door.append(server, scene.TOPIC, [{"sensor": "late", "amount": 1, "note": ""}])
    assert scene.totals(server, position=position)[0][0] == "late", "a view does not fold any more"


@attack("pg", sample=True)
def a_list_of_many_items_is_refused_at_once(server):
    statement = "SELECT " + ",".join(["1"] * 100_000)
    begun = time.monotonic()
    for _ in range(6):
        code = pg_door.refusal(server, statement)
        assert code and not code.startswith("XX"), f"100,000 select items answered {code}"
    assert time.monotonic() - begun < 10, f"six refusals took {time.monotonic() - begun:.1f} s"
    answers(server)


def detonate(server, statement, leave_s):
    """Sends a statement, waits a little, leaves; returns the refusal, if it came."""
    with Pg(server) as connection:
        connection.socket.settimeout(leave_s)
        connection.leaves_at = time.monotonic() + leave_s
        connection.send(message(b"Q", text(statement)))
        try:
            connection.until_ready()
        except PgError as error:
            return error.code
        except TimeoutError:
            return "left"
        except OSError:
            return "closed"
    return None


def bomb(statement, leave_s):
    """An attack for one statement."""

    def action(server):
        code = detonate(server, statement, leave_s)
        assert code != "closed", "the connection was closed without an answer"
        assert code is None or code == "left" or not code.startswith("XX"), f"an internal error: {code}"
        answers(server)

    words = "".join(letter if letter.isalnum() else "_" for letter in statement[:70])
    action.__name__ = f"statement_stops_nobody_{words}".rstrip("_")
    return action


for place, statement in enumerate(BOMBS):
    attack("pg", sample=place in (0, 3, 6, 9))(bomb(statement, 1.5))


@attack("pg")
def many_costly_statements_at_once_stop_nobody(server):
    connections = [Pg(server) for _ in range(60)]
    for connection, statement in zip(connections, itertools.cycle(BOMBS[:17])):
        connection.send(message(b"Q", text(statement)))
    time.sleep(10)
    answers(server)
    for connection in connections:
        connection.socket.close()


@attack("pg", sample=True)
def clients_that_do_not_read_hold_no_memory(server):
    connections = [Pg(server) for _ in range(30)]
    for connection in connections:
        connection.send(message(b"Q", text("SELECT a.note, b.note FROM readings a, readings b, readings c")))
    time.sleep(2)
    answers(server)
    for connection in connections:
        connection.socket.close()


@attack("pg", settings={"FOURFOLD_PG_WRITE_STALL_TIMEOUT_MS": "2000"})
def clients_that_do_not_read_lose_their_connection(server):
    connections = [Pg(server) for _ in range(8)]
    for connection in connections:
        connection.send(message(b"Q", text("SELECT repeat(chr(120), 1000) FROM generate_series(1, 1000000000) AS s(i)")))
    time.sleep(6)
    outcomes = [what_became_of(connection) for connection in connections]
    assert "goes on" not in outcomes, f"{outcomes.count('goes on')} of 8 still get rows, and {outcomes.count('closed')} were cut"
    assert "closed" in outcomes, f"none was cut: {set(outcomes)}"
    answers(server)


def what_became_of(connection):
    """Whether a statement that nobody read was refused, its connection closed, or neither."""
    connection.leaves_at = time.monotonic() + 1
    try:
        connection.until_ready()
    except PgError:
        return "refused"
    except ConnectionError:
        return "closed"
    except TimeoutError:
        return "goes on"
    finally:
        connection.socket.close()
    return "answered"


@attack("pg", sample=True)
def prepared_statements_and_portals_have_a_bound(server):
    with Pg(server) as connection:
        refused = None
        for start in range(0, 20_000, 500):
            connection.send(*[parse("SELECT $1::int", (), f"s{start + n}") for n in range(500)], SYNC)
            try:
                connection.until_ready()
            except PgError as error:
                refused = error
                break
        assert refused is not None, "20,000 prepared statements were kept"
        connection.send(parse("SELECT 1"), SYNC)
        connection.until_ready()
        connection.query("BEGIN")
        for start in range(0, 5_000, 500):
            connection.send(*[bind([], portal=f"p{start + n}") for n in range(500)], SYNC)
            try:
                connection.until_ready()
            except PgError as error:
                refused = error
                break
    answers(server)


@attack("pg", sample=True)
def floods_of_messages_without_an_end_hold_no_memory(server):
    with Pg(server) as connection:
        connection.socket.settimeout(1)
        try:
            for _ in range(200):
                connection.send(*[parse("SELECT 1, 2, 3") + bind([]) + message(b"D", b"P\0") + execute()] * 500)
        except OSError:
            pass
    with Pg(server) as connection:
        connection.socket.settimeout(1)
        try:
            for _ in range(100):
                connection.send(message(b"d", b"x" * 1_000_000))
        except OSError:
            pass
    answers(server)


@attack("pg", sample=True)
def cancel_requests_in_numbers_stop_nobody(server):
    for number in range(100):
        with socket.create_connection(server.pg, timeout=5) as connection:
            connection.sendall(struct.pack(">iiii", 16, 80877102, number, number * 7919))
    answers(server)


@attack("pg", sample=True)
def cursors_and_transactions_left_open_hold_no_memory(server):
    with Pg(server) as connection:
        connection.query("BEGIN")
        opened = 0
        for number in range(200):
            try:
                connection.query(f"DECLARE c{number} CURSOR FOR SELECT a.note FROM readings a, readings b ORDER BY 1")
                connection.query(f"FETCH 10 FROM c{number}")
                opened += 1
            except PgError as error:
                assert not error.code.startswith("XX"), f"cursor {number}: {error}"
                break
        assert opened < 200, "200 cursors were kept open"
    answers(server)


@attack("pg", sample=True)
def the_extremes_of_floats_with_nan_are_those_of_postgresql(server):
    wrong = []
    for values in itertools.permutations([5.0, math.nan, 1.0, 7.0]):
        listed = ", ".join(f"(1, '{value}'::float8)" if math.isnan(value) else f"(1, {value}::float8)" for value in values)
        found = pg_door.query(server, f"SELECT min(x), max(x) FROM (VALUES {listed}) AS v(g, x) GROUP BY g")
        if (float(found[0][0]), found[0][1]) != (1.0, "NaN"):
            wrong.append((values, found))
    assert not wrong, f"{len(wrong)} of 24 orders: {wrong[0]}"
