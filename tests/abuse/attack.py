"""An attack: one function whose name says what has to hold.

What must hold: attacks run in the order in which they are written, on one server with users beside it; after each one
the server stands, or it is replaced by a fresh one, so that one failure does not make others.
"""

import time

import http_door
import scene
import users
from server import MEMORY_LIMIT_BYTES, Refused, Server

ATTACKS = []
# Users never wait longer than this for one answer, whatever is done beside them.
STALL_LIMIT_MS = 5000
# Fewer samples have no 99th percentile of their own; they count in that of the whole run.
SAMPLES_MIN = 200


class Attack:
    """What to do, where, and whether it belongs to the sample."""

    def __init__(self, action, door, sample, settings, may_be_told):
        self.action, self.door, self.sample, self.settings, self.may_be_told = action, door, sample, settings, may_be_told
        self.name = f"{door}, {action.__name__.replace('_', ' ')}"


def attack(door, sample=False, settings=None, may_be_told=None):
    """Makes a function an attack on a door.

    With `settings` it has a server of its own. `may_be_told` is in the refusals that users beside have to expect.
    """

    def mark(action):
        ATTACKS.append(Attack(action, door, sample, settings, may_be_told))
        return action

    return mark


class Outcome:
    """What is told of each attack."""

    def __init__(self):
        self.failed = 0

    def ok(self, name, figures=""):
        print(f"ok {name}{figures}", flush=True)

    def fail(self, name, why):
        self.failed += 1
        print(f"FAIL {name}: {' / '.join(str(why).strip().splitlines())[:600]}", flush=True)

    def note(self, text):
        print(text, flush=True)


class Field:
    """The server under attack, with its users."""

    def __init__(self, folder, latency_ms, settings=None):
        self.latency_ms, self.settings = latency_ms, settings or {}
        self.folder, self.number = folder, 0
        self.all = {}
        self.server = self.users = None
        self.fresh()

    def fresh(self):
        """A new server on new data."""
        self.number += 1
        self.server = Server(self.folder / f"field-{self.number}", self.settings)
        scene.build(self.server)
        http_door.ask(self.server, "POST", "/v1/topics", {"name": "beside"})
        self.users = users.Users(self.server)

    def begin(self):
        self.users.since()
        self.server.forget_peak()

    def judge(self, may_be_told=None):
        """What does not hold after an attack, and figures."""
        server = self.server
        if not server.alive():
            return [server.ended_how()], ""
        peak, wrongs = server.peak_bytes(), []
        try:
            scene.stands(server, max(1.0, self.latency_ms / 400))
        except AssertionError as error:
            wrongs.append(str(error))
        if peak >= MEMORY_LIMIT_BYTES:
            wrongs.append(f"it held {peak >> 20} MiB, over {MEMORY_LIMIT_BYTES >> 20}")
        samples, told = self.users.since()
        told = [one for one in told if may_be_told is None or may_be_told not in one]
        if told:
            wrongs.append(f"users beside: {len(told)} wrong, first {told[0]}")
        for kind, taken in samples.items():
            self.all.setdefault(kind, []).extend(taken)
        worst = {kind: max(taken) for kind, taken in samples.items()}
        wrongs += [f"a user beside waited: {kind} {took:.0f} ms" for kind, took in worst.items() if took > max(STALL_LIMIT_MS, 3 * self.latency_ms)]
        late = {kind: users.percentile(taken, 99) for kind, taken in samples.items() if len(taken) >= SAMPLES_MIN}
        wrongs += [
            f"users beside: p99 of {kind} is {took:.0f} ms, over {self.latency_ms}" for kind, took in late.items() if took > self.latency_ms
        ]
        return wrongs, f"{peak >> 20} MiB, {max(worst.values(), default=0):.0f} ms, "

    def end(self):
        """Ends everything; SIGTERM has to do within its time."""
        self.users.end()
        if self.server.alive():
            self.server.stop()

    def drop(self):
        self.users.end()
        self.server.kill()


def run_one(outcome, field, one):
    """Runs one attack on the field. Whatever goes wrong is told, and the field is fresh again after it."""
    begun, wrongs = time.monotonic(), []
    field.begin()
    try:
        one.action(field.server)
    except AssertionError as error:
        wrongs.append(str(error))
    except Exception as error:  # noqa: BLE001 - an answer that cannot be read is a finding too
        wrongs.append(f"{type(error).__name__}: {error}")
    more, figures = field.judge(one.may_be_told)
    if not wrongs + more:
        outcome.ok(one.name, f" ({figures}{time.monotonic() - begun:.1f} s)")
        return
    outcome.fail(one.name, "; then ".join(wrongs + more))
    field.drop()
    field.fresh()


def end_field(outcome, field, name="after all of it SIGTERM ends the server within 10 s"):
    """The end of a field: SIGTERM, and what its users saw in all."""
    try:
        field.end()
        outcome.ok(name)
    except AssertionError as error:
        outcome.fail(name, error)
    for kind, taken in sorted(field.all.items()):
        late = users.percentile(taken, 99)
        told = f"users beside, p99 of {kind} under {field.latency_ms} ms"
        if late < field.latency_ms:
            outcome.ok(
                told, f" ({len(taken)} samples, median {users.percentile(taken, 50):.0f}, p99 {late:.0f}, worst {max(taken):.0f} ms)"
            )
        else:
            outcome.fail(told, f"{late:.0f} ms (median {users.percentile(taken, 50):.0f}, worst {max(taken):.0f}, {len(taken)} samples)")


def run(outcome, folder, latency_ms, chosen):
    """Runs the chosen attacks: those without settings on one field, the others each on its own."""
    shared = [one for one in chosen if one.settings is None]
    if shared:
        field = Field(folder / "shared", latency_ms)
        time.sleep(1)
        samples, _ = field.users.since()
        outcome.note(
            "users before anything is done: "
            + ", ".join(f"{kind} p99 {users.percentile(taken, 99):.0f} ms" for kind, taken in samples.items())
        )
        for one in shared:
            run_one(outcome, field, one)
        end_field(outcome, field)
    for number, (settings, attacks) in enumerate(by_settings(chosen)):
        run_together(outcome, folder / f"own-{number}", latency_ms, settings, attacks)


def by_settings(chosen):
    """The attacks that need settings: those with the same ones together, those with none but a server of their own alone."""
    groups = {}
    for one in chosen:
        if one.settings is not None:
            groups.setdefault(tuple(sorted(one.settings.items())) or one.name, (one.settings, []))[1].append(one)
    return groups.values()


def run_together(outcome, folder, latency_ms, settings, attacks):
    """Runs attacks one after the other on one server."""
    try:
        field = Field(folder, latency_ms, settings)
    except (AssertionError, OSError, Refused) as error:
        outcome.fail(attacks[0].name, f"its server did not come up: {error}")
        return
    for one in attacks:
        run_one(outcome, field, one)
    try:
        field.end()
    except AssertionError as error:
        outcome.fail(f"{attacks[-1].name}, and SIGTERM after it", error)
