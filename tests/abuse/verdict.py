"""What a server on damaged data may do: answer right, refuse clearly, or lose what is damaged and say so.

What must hold: nothing that it answers is ever compared with what it said before, only with the records that were
written. Something lost without a word, something that was never written, and two answers that do not fit the same log
are failures.
"""

import re

import http_door
import kafka_door
import scene
from server import Refused, Server

CLEAR_CHARACTERS_MIN = 20


class Wrong(AssertionError):
    """An answer that may not be."""


class Answers:
    """Everything that a server says about the scene; `None` for what it refuses."""

    def __init__(self, server, position=None):
        self.server, self.refusals, self.lost = server, {}, []
        self.records = self.ask("records", lambda: scene.records_of(server))
        self.kappa = self.ask("totals", lambda: scene.totals(server, "totals", position))
        self.merged = self.ask("totals_lambda", lambda: scene.totals(server, "totals_lambda", position))
        self.kept = self.ask(
            "kept", lambda: sorted((row[0], int(row[1])) for row in http_door.rows(server, "SELECT sensor, amount FROM kept", position))
        )
        self.events = self.ask("events", self.read_events)
        self.counts = self.ask(
            "event_counts", lambda: {row[0]: int(row[1]) for row in http_door.rows(server, "SELECT stream_name, events FROM event_counts")}
        )
        self.offset = self.ask("offset", self.read_offset)

    def ask(self, name, question):
        try:
            return question()
        except (AssertionError, OSError) as error:
            if not self.server.alive():
                raise Wrong(f"the process ended when asked for {name}: {self.server.ended_how()}") from error
            said = str(error)
            if len(said) < CLEAR_CHARACTERS_MIN or "panic" in said or not isinstance(error, AssertionError):
                raise Wrong(f"no clear refusal of {name}: {error!r}") from error
            if " 404 " in said or "does not exist" in said:
                self.lost.append(f"{name} altogether")
            self.refusals[name] = said
            return None

    def read_events(self):
        answer = http_door.ask(self.server, "GET", f"/v1/streams/{scene.STREAM}?limit=1000")
        assert answer.status == 200, f"the stream answered {answer}"
        return [event["data"]["n"] for event in answer.body["events"]]

    def read_offset(self):
        with kafka_door.Kafka(self.server) as kafka:
            return kafka.committed_offset(scene.GROUP, scene.TOPIC)


def written(number):
    """All records up to a number, by partition and offset."""
    of = {partition: [] for partition in range(scene.PARTITIONS)}
    for n in range(number):
        of[n % scene.PARTITIONS].append(scene.record(n))
    return of


def kept(records):
    return sorted((one["sensor"], one["amount"]) for one in records if one["amount"] % 10 == 0)


def said_something(server):
    """Whether the server told of damage: in its log, or in what `/readyz` says."""
    if re.search(r"\b(WARN|ERROR)\b", server.said_all()):
        return True
    answer = http_door.ask(server, "GET", "/readyz")
    return answer.status != 200 or "damaged" in str(answer.body)


def judge(answers, more=()):
    """Raises `Wrong` for what may not be; returns in words what came. `more` are records written after the damage."""
    of_all = [one for partition in written(scene.RECORDS).values() for one in partition] + list(more)
    in_log = None if answers.records is None else read_as_written(answers.records, more)
    lost = list(answers.lost)
    if in_log is not None and len(in_log) < len(of_all):
        lost.append(f"{len(of_all) - len(in_log)} records of the log")
    lost += folded_as_written(answers, of_all, in_log) + events_as_written(answers)
    if answers.offset != scene.COMMITTED:
        lost.append(f"the offset of a group ({answers.offset})")
    if lost and not said_something(answers.server):
        raise Wrong(f"lost without a word: {', '.join(lost)}")
    told = [f"says that it lost {what}" for what in lost] + [f"refuses {name}" for name in answers.refusals]
    return "; ".join(told) or "right"


def read_as_written(records, more):
    """The values that the log has; each stands where it was written, and once."""
    truth, in_log = written(scene.RECORDS), []
    for partition, found in records.items():
        for offset, value in found:
            known = truth[partition][offset] if offset < len(truth[partition]) else None
            if value != known and value not in more:
                raise Wrong(f"offset {offset} of partition {partition} reads {value}, which was never written there")
            in_log.append(value)
        if len({offset for offset, _ in found}) != len(found):
            raise Wrong(f"offsets of partition {partition} come twice")
    return in_log


def folded_as_written(answers, of_all, in_log):
    """Each view folds all that was written, or all that the log still has; what of them is lost then."""
    lost = []
    for name, rows, fold in (
        ("totals", answers.kappa, scene.fold),
        ("totals_lambda", answers.merged, scene.fold),
        ("kept", answers.kept, kept),
    ):
        if rows is None or rows == fold(of_all):
            continue
        if in_log is None or rows != fold(in_log):
            other = [row for row in rows if row not in fold(of_all)] or f"only {len(rows)} rows"
            log_has = "refuses" if in_log is None else f"has {len(in_log)} of {len(of_all)}"
            said = answers.server.said(2)
            raise Wrong(f"{name} has {str(other)[:150]}, as none should; the log {log_has}; said: {said}")
        lost.append(f"rows of {name}")
    return lost


def events_as_written(answers):
    """The stream has its events from the first on, and their view as many; what of them is lost then."""
    events, lost = answers.events, []
    if events is not None and events != list(range(scene.EVENTS)):
        if events != list(range(len(events))):
            raise Wrong(f"the stream reads {events}")
        lost.append(f"events from {len(events)} on")
    if answers.counts is not None and answers.counts != {scene.STREAM: scene.EVENTS}:
        if events is None or answers.counts != ({scene.STREAM: len(events)} if events else {}):
            raise Wrong(f"event_counts says {answers.counts}, the stream has {events}")
    return lost


def answered(server, method, path, body):
    """An answer, whatever it is, within 20 s."""
    try:
        return http_door.ask(server, method, path, body, 20)
    except OSError as error:
        raise Wrong(
            f"{method} {path} {str(body)[:60]} had no answer: {error!r}; {server.said(1) if server.alive() else server.ended_how()}"
        ) from error


def later_writes_count(server, answers):
    """What is written after the damage is folded by every view that answers, by each the same."""
    more = [{"sensor": "after", "amount": 10 * n, "note": "after"} for n in range(1, 7)]
    body = {"records": [{"value": one, "partition": n % scene.PARTITIONS} for n, one in enumerate(more)]}
    answer = answered(server, "POST", f"/v1/topics/{scene.TOPIC}/records", body)
    if answer.status != 200:
        if not isinstance(answer.body, dict) or answer.body.get("kind") not in ("corrupt", "unavailable", "conflict"):
            raise Wrong(f"a write was refused without saying why: {answer}")
        return "refuses writes"
    again = Answers(server, answer.body["positions"])
    for name in ("totals", "totals_lambda"):
        rows = again.kappa if name == "totals" else again.merged
        after = None if rows is None else next((row for row in rows if row[0] == "after"), None)
        if rows is not None and after != ("after", 6, 210, 60):
            raise Wrong(f"{name} answers {after} for six records written after the damage; log said: {server.said(2)}")
    judge(again, more)
    refreshed = answered(server, "POST", "/v1/sql", {"sql": "REFRESH MATERIALIZED VIEW totals_lambda"})
    last = Answers(server, answer.body["positions"])
    judge(last, more)
    if refreshed.status == 200 and last.merged is None:
        raise Wrong(f"REFRESH answered well and the view is refused: {last.refusals['totals_lambda']}")
    return judge(again, more)


def visit(folder, settings, put_back=None):
    """Starts on the data in `folder`, looks at everything, writes, stops; returns in words what came of it."""
    try:
        server = Server(folder, settings)
    except Refused as refused:
        if refused.code in (101, 134, "no end") or (isinstance(refused.code, int) and refused.code < 0) or "panicked" in refused.said:
            raise Wrong(f"the start {refused}") from refused
        if len(refused.said) < CLEAR_CHARACTERS_MIN:
            raise Wrong(f"refused without saying why: {refused}") from refused
        if put_back is None:
            return f"refused to start: {refused.said.splitlines()[-1][:150]}"
        put_back()
        try:
            came = visit(folder, settings)
        except Wrong as wrong:
            raise Wrong(f"the refusal ({refused.said.splitlines()[-1][:150]}) harmed something: with the file put back {wrong}") from wrong
        if came != "right":
            raise Wrong(f"the refusal harmed something: with the file put back the server {came}") from refused
        return "refused to start, unharmed"
    try:
        answers = Answers(server)
        came = judge(answers)
        later = later_writes_count(server, answers)
        if not server.alive():
            raise Wrong(server.ended_how())
        if "panicked" in server.said_all():
            line = next(line for line in server.said_all().splitlines() if "panicked" in line)
            raise Wrong(f"a panic: {line[:300]}")
        try:
            server.stop()
        except AssertionError as error:
            # A view whose checkpoint cannot be written may end it with 1, as long as it says why.
            if server.process.returncode != 1 or "ERROR" not in server.said():
                raise Wrong(str(error)) from error
    finally:
        server.kill()
    return came if came == later or later == "right" else f"{came}, later {later}"
