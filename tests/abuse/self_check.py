"""Plants what the harness has to find: a harness that has never seen a failure has shown nothing.

Each plant is an attack that does harm itself, a setting without a limit, a liar between server and reader, or damage that the
server is told to live with. `found` is what the failure must say.
"""

import os
import pathlib
import signal
import socket
import stat
import threading
import time

import attack
import damage
import file_attacks
import http_door
import image
import pg_door
import scene
import server as process
import verdict

PLANTS = []


def plant(found):
    """Makes a function a plant: it gets a folder and an Outcome to which the harness tells what it finds."""

    def mark(action):
        PLANTS.append((action.__name__.replace("_", " "), found, action))
        return action

    return mark


class Collected(attack.Outcome):
    """An outcome that is looked at instead of printed."""

    def __init__(self):
        super().__init__()
        self.said = []

    def ok(self, name, figures=""):
        self.said.append(f"ok {name}{figures}")

    def fail(self, name, why):
        self.failed += 1
        self.said.append(f"FAIL {name}: {why}")

    def note(self, text):
        pass


def attacked(outcome, folder, action, settings=None, latency_ms=2000):
    """One attack on a field of its own, with all that the harness looks at."""
    field = attack.Field(folder, latency_ms, settings)
    try:
        attack.run_one(outcome, field, attack.Attack(action, "planted", False, settings, None))
        attack.end_field(outcome, field)
    finally:
        field.drop()


@plant("it ended with -9")
def a_server_that_dies(outcome, folder):
    attacked(outcome, folder, lambda server: server.process.send_signal(signal.SIGKILL) or server.process.wait())


@plant("/healthz did not answer")
def a_server_that_stands_still(outcome, folder):
    def stop(server):
        os.kill(server.process.pid, signal.SIGSTOP)
        # A busy machine takes a moment to stop all of its threads.
        time.sleep(0.5)
        threading.Timer(8, lambda: server.alive() and server.process.send_signal(signal.SIGCONT)).start()

    attacked(outcome, folder, stop)


@plant("MiB, over 1024")
def a_memory_budget_without_a_limit(outcome, folder):
    def fill(server):
        with pg_door.Pg(server) as connection:
            connection.send(
                pg_door.message(b"Q", pg_door.text("SELECT repeat('x',10000) || i::text AS t FROM generate_series(1,200000) AS s(i) ORDER BY t"))
            )
            connection.leaves_at = time.monotonic() + 20
            while server.peak_bytes() < process.MEMORY_LIMIT_BYTES and time.monotonic() < connection.leaves_at:
                time.sleep(0.05)

    attacked(outcome, folder, fill, {"FOURFOLD_MEMORY_BUDGET_BYTES": str(64 << 30)})


class Between:
    """A liar between a door and who reads: changes bytes, or holds them back."""

    def __init__(self, door, change=lambda content: content, delay_s=0.0):
        self.door, self.change, self.delay_s = door, change, delay_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(self.door)
            threading.Thread(target=self.carry, args=(near, far, lambda content: content, 0.0), daemon=True).start()
            threading.Thread(target=self.carry, args=(far, near, self.change, self.delay_s), daemon=True).start()

    @staticmethod
    def carry(source, target, change, delay_s):
        try:
            while content := source.recv(65536):
                time.sleep(delay_s)
                target.sendall(change(content))
        except OSError:
            pass
        for end in (source, target):
            end.close()


@plant("a point read over HTTP gave")
def an_answer_with_another_number(outcome, folder):
    def lie(server):
        wanted, other = str(scene.POINT[2]).encode(), str(scene.POINT[2] + 1).encode()
        server.http = Between(server.http, lambda content: content.replace(wanted, other)).address

    attacked(outcome, folder, lie)


@plant("p99 of pg")
def users_that_wait(outcome, folder):
    original = attack.users.Users

    def delayed(server):
        slow = type("Slow", (), {"http": server.http, "pg": Between(server.pg, delay_s=0.2).address, "folder": server.folder})
        return original(slow)

    attack.users.Users = delayed
    try:
        attacked(outcome, folder, lambda server: time.sleep(3), latency_ms=100)
    finally:
        attack.users.Users = original


@plant("SIGTERM did not end it")
def a_server_that_does_not_hear_sigterm(outcome, folder):
    deaf = folder / "deaf"
    folder.mkdir(parents=True, exist_ok=True)
    deaf.write_text(
        f'#!/bin/sh\ntrap "" TERM\n"{process.BINARY}" "$@" &\ntrap "kill -9 $!" EXIT\nwait\nwhile kill -0 $!; do sleep 1; done\n'
    )
    deaf.chmod(deaf.stat().st_mode | stat.S_IXUSR)
    original, process.BINARY = process.BINARY, str(deaf)
    try:
        field = process.Server(folder / "run")
        child = int(pathlib.Path(f"/proc/{field.process.pid}/task/{field.process.pid}/children").read_text().split()[0])
        try:
            field.stop(2)
        except AssertionError as error:
            outcome.fail("planted", error)
        os.kill(child, signal.SIGKILL)
    finally:
        process.BINARY = original


@plant("lost without a word")
def a_catalogue_that_is_gone_without_a_word(outcome, folder):
    original = dict(image.SETTINGS)
    image.SETTINGS["FOURFOLD_DATA_BEGIN_WITHOUT_CATALOGUE"] = "true"
    said, verdict.said_something = verdict.said_something, lambda server: False
    try:
        file_attacks.Cell("catalogue.redb", "deleted", "last").attack(outcome, image.build(folder / "image"), folder / "cell")
    finally:
        image.SETTINGS.clear()
        image.SETTINGS.update(original)
        verdict.said_something = said


@plant("which was never written there")
def a_record_that_reads_otherwise(outcome, folder):
    built, original = image.build(folder / "image"), scene.record
    scene.record = lambda number: original(number) | ({"note": "other"} if number == 77 else {})
    try:
        file_attacks.Cell(".index", "deleted", "first").attack(outcome, built, folder / "cell")
    finally:
        scene.record = original


@plant("as none should")
def a_view_that_counts_a_record_twice(outcome, folder):
    built, original = image.build(folder / "image"), scene.fold
    scene.fold = lambda records: original([one for one in records][:-1])
    try:
        file_attacks.Cell(".index", "deleted", "first").attack(outcome, built, folder / "cell")
    finally:
        scene.fold = original


@plant("the refusal harmed something")
def a_refusal_that_erases(outcome, folder):
    built, original = image.build(folder / "image"), damage.put_back

    def erase(image_, data, path):
        original(image_, data, path)
        for file in damage.files(data, ".log"):
            file.unlink()

    damage.put_back = erase
    try:
        file_attacks.Cell("log/checkpoint", "deleted", "last").attack(outcome, built, folder / "cell")
    finally:
        damage.put_back = original


def run(outcome, folder, only):
    """Every plant has to be found, and an attack without one has to pass."""
    calm = Collected()
    attacked(calm, folder / "calm", lambda server: http_door.sql(server, "SELECT 1"))
    wrong = [line for line in calm.said if line.startswith("FAIL")]
    outcome.fail("self-check, nothing is found where nothing is planted", "; ".join(wrong)) if wrong else outcome.ok(
        "self-check, nothing is found where nothing is planted"
    )
    for number, (name, found, action) in enumerate(PLANTS):
        if only not in name:
            continue
        collected = Collected()
        try:
            action(collected, folder / f"plant-{number}")
        except Exception as error:  # noqa: BLE001 - what ends the harness has not been found by it
            collected.said.append(f"the harness ended: {error!r}")
        if any(line.startswith("FAIL") and found in line for line in collected.said):
            outcome.ok(f"self-check, {name} is found")
        else:
            outcome.fail(f"self-check, {name} is found", f"wanted {found!r} in {collected.said}")
