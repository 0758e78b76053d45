"""Attacks on the data of a server that runs: files that nobody asked for, no more files, no more room, a second process.

The clock is left out: there is no setting for it, and a clock of its own needs a preloaded library. What clients say about
the time is among the attacks of the Kafka door.
"""

import pathlib
import resource
import shutil
import subprocess
import time

import image
import scene
import verdict
from attack import attack
from http_door import append, ask, sql
from server import Refused, Server

SMALL_FILES = image.SETTINGS


def write_much(server, topic="much", times=12):
    """Enough for several checkpoints of the log; fails when a write is refused."""
    for _ in range(times):
        append(server, topic, [{"pad": "p" * 500} for _ in range(100)])


def partition_folder(server, topic):
    return next(iter((server.data / "log" / "topics").glob(f"{topic}-0.*")))


STRAYS = [
    "stray",
    "log/wal/stray",
    "log/wal/folder/stray",
    "log/topics/.DS_Store",
    "log/topics/backup/old.txt",
    "lake/stray",
]


@attack("files", sample=True, settings=SMALL_FILES)
def stray_files_in_the_log_stop_no_checkpoint_and_are_left_alone(server):
    own = Server(server.folder / "strays", SMALL_FILES)
    try:
        scene.build(own)
        folder = partition_folder(own, scene.TOPIC)
        strays = [own.data / stray for stray in STRAYS] + [folder / "stray.txt", folder / "folder" / "stray"]
        for stray in strays:
            stray.parent.mkdir(parents=True, exist_ok=True)
            stray.write_text("mine")
        for topic in ("much", "goes"):
            ask(own, "POST", "/v1/topics", {"name": topic})
        write_much(own)
        assert ask(own, "DELETE", "/v1/topics/goes").status == 204
        write_much(own)
        ready = ask(own, "GET", "/readyz")
        assert ready.status == 200, f"/readyz answered {ready}"
        own.stop()
        own = Server(server.folder / "strays", SMALL_FILES)
        gone = [str(stray.relative_to(own.data)) for stray in strays if not stray.exists()]
        assert not gone, f"erased: {', '.join(gone)}"
        scene.stands(own, 5)
        own.stop()
    finally:
        own.kill()


@attack("files", sample=True, settings=SMALL_FILES, may_be_told="too many files are open")
def too_few_open_files_stop_writing_only_while_they_are_few(server):
    ask(server, "POST", "/v1/topics", {"name": "much"})
    write_much(server, times=1)
    pid, soft = server.process.pid, resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    opened = len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened + 1, soft[1]))
    try:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            for topic in ("much", scene.TOPIC):
                try:
                    ask(server, "POST", f"/v1/topics/{topic}/records", {"value": {"sensor": "few", "amount": 1, "note": "p" * 900_000}}, 2)
                except OSError:
                    pass
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, soft)
    time.sleep(1)
    write_much(server)
    sql(server, "CREATE MATERIALIZED VIEW after_it AS SELECT sensor, count(*) AS n FROM readings GROUP BY sensor")
    ready = ask(server, "GET", "/readyz")
    assert ready.status == 200, f"/readyz answered {ready}"


@attack("files", settings=SMALL_FILES)
def a_full_disk_stops_writing_only_while_it_is_full(server):
    folder = pathlib.Path(server.folder / "small")
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "fourfold-abuse", folder], check=False, capture_output=True).returncode:
        print("     left out: no file system of its own can be mounted here")
        return
    try:
        (server.folder / "full").mkdir()
        (server.folder / "full" / "data").symlink_to(folder)
        full_disk(server.folder / "full", folder / "filler")
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def full_disk(folder, filler):
    """On a file system of 24 MB: fills it, sees that all says so, makes room, and sees that all goes on."""
    server, wrongs = Server(folder, SMALL_FILES), []
    try:
        scene.build(server)
        ask(server, "POST", "/v1/topics", {"name": "much"})
        fill(filler)
        stored, refused = write_until_refused(server)
        if not refused or refused.status != 503 or not any(word in str(refused.body) for word in ("full", "room", "space")):
            wrongs.append(f"a full disk is told as {refused}")
        ready = ask(server, "GET", "/readyz")
        if "full" not in str(ready.body):
            wrongs.append(f"with a full disk /readyz says nothing of it: {ready}")
        for statement in ("CREATE SOURCE no_room (k TEXT)", "REFRESH MATERIALIZED VIEW totals_lambda"):
            try:
                ask(server, "POST", "/v1/sql", {"sql": statement}, 20)
            except OSError as error:
                wrongs.append(f"with a full disk {statement} had no answer in 20 s: {error!r}")
        scene.stands(server, 3)
        filler.unlink()
        time.sleep(3)
        wrongs += all_goes_on(server, stored)
        if "panicked" in server.said_all():
            wrongs.append(next(line for line in server.said_all().splitlines() if "panicked" in line))
        server.stop()
    finally:
        server.kill()
    assert not wrongs, "; ".join(wrongs)


def fill(filler):
    """Writes a file until there is no room."""
    try:
        with open(filler, "wb", buffering=0) as file:
            while True:
                file.write(b"f" * (1 << 20))
    except OSError:
        pass


def write_until_refused(server):
    """How many records a full disk took, and the refusal."""
    for stored in range(60):
        answer = ask(server, "POST", "/v1/topics/much/records", {"value": {"pad": "p" * 200_000}})
        if answer.status != 200:
            return stored, answer
    return 60, None


def all_goes_on(server, stored):
    """What does not work once there is room again."""
    wrongs = []
    append(server, "much", [{"pad": "again"}])
    found = len(scene.records_of(server, "much", 1)[0])
    if found != stored + 1:
        wrongs.append(f"{stored} and one were acknowledged, {found} are there")
    for statement in (
        "CREATE SOURCE room (k TEXT)",
        "CREATE MATERIALIZED VIEW room_v AS SELECT k, count(*) AS n FROM room GROUP BY k",
        "REFRESH MATERIALIZED VIEW totals_lambda",
    ):
        answer = ask(server, "POST", "/v1/sql", {"sql": statement}, 30)
        if answer.status != 200:
            wrongs.append(f"with room again {statement} answered {answer}")
    ready = ask(server, "GET", "/readyz")
    if ready.status != 200:
        wrongs.append(f"with room again /readyz answered {ready}")
    return wrongs


@attack("files", sample=True, settings=SMALL_FILES)
def an_output_that_takes_nothing_ends_no_view_and_no_request(server):
    mute = Server(server.folder / "mute", SMALL_FILES, output="/dev/full")
    try:
        scene.build(mute)
        for partition in range(scene.PARTITIONS):
            append(mute, scene.TOPIC, ["no JSON of this source"], partition)
        for statement in ("SELECT chr(-1)", "SELECT ntile(0) OVER ()", "SELECT 1 / 0"):
            ask(mute, "POST", "/v1/sql", {"sql": statement})
        time.sleep(0.5)
        scene.stands(mute)
        position = append(mute, scene.TOPIC, [{"sensor": "late", "amount": 1, "note": ""}])
        for view in ("totals", "totals_lambda"):
            assert scene.totals(mute, view, position)[0][0] == "late", f"{view} does not fold any more"
        sql(mute, "REFRESH MATERIALIZED VIEW totals_lambda")
        mute.stop()
    finally:
        mute.kill()


@attack("files", sample=True, settings=SMALL_FILES)
def a_second_process_is_refused_and_harms_nothing(server):
    for lock_too in (False, True):
        if lock_too:
            (server.data / "log" / "lock").unlink()
        beside = server.folder / f"second-{lock_too}"
        beside.mkdir()
        (beside / "data").symlink_to(server.data)
        try:
            second = Server(beside, SMALL_FILES)
            second.kill()
            raise AssertionError(f"a second process started on the same data (the lock file deleted: {lock_too})")
        except Refused as refused:
            assert refused.code == 1 and "panicked" not in refused.said, f"the second process {refused}"
    scene.write(server, range(2))
    scene.records_of(server)


def copied_alive(server, order, pause_s):
    """Copies the data part by part while a writer goes on; returns the folder of the copy."""
    folder = server.folder / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    for part in order:
        source = server.data / part
        if source.is_dir():
            shutil.copytree(source, folder / "data" / part, ignore_dangling_symlinks=True, copy_function=copy_what_is_there)
        elif source.exists():
            copy_what_is_there(source, folder / "data" / part)
        until = time.monotonic() + pause_s
        while True:
            for partition in range(scene.PARTITIONS):
                append(server, scene.TOPIC, [{"sensor": f"beside-{n}", "amount": n, "note": "b" * 100} for n in range(10)], partition)
            if time.monotonic() >= until:
                break
    return folder


def copy_what_is_there(source, target):
    """Files come and go while they are copied, as they do for who copies by hand."""
    try:
        shutil.copy2(source, target)
    except FileNotFoundError:
        pass


def copy_answers_for_its_own_log(folder):
    """A copy either refuses to start, or its views say what its log has, before and after more is written."""
    try:
        copy = Server(folder, SMALL_FILES)
    except Refused as refused:
        assert refused.code == 1 and "panicked" not in refused.said, f"the copy {refused}"
        return "refused"
    try:
        for step in ("at its start", "after more was written", "after a REFRESH"):
            if step == "after more was written":
                position = append(copy, scene.TOPIC, [{"sensor": "copy", "amount": n, "note": ""} for n in range(40)])
            if step == "after a REFRESH":
                ask(copy, "POST", "/v1/sql", {"sql": "REFRESH MATERIALIZED VIEW totals_lambda"}, 30)
            position = None if step == "at its start" else position
            deadline = time.monotonic() + 15
            answers = verdict.Answers(copy, position)
            # A view that is being built anew refuses until it is whole.
            while ("totals" in answers.refusals or "totals_lambda" in answers.refusals) and time.monotonic() < deadline:
                answers = verdict.Answers(copy, position)
            if answers.records is None:
                continue
            in_log = scene.fold(value for found in answers.records.values() for _, value in found)
            for name, rows in (("totals", answers.kappa), ("totals_lambda", answers.merged)):
                assert rows is None or rows == in_log, (
                    f"{step} {name} has {sum(row[1] for row in rows)} records, its log {sum(row[1] for row in in_log)}; said: {copy.said(2)}"
                )
        copy.stop()
    finally:
        copy.kill()
    return "answers for its own log"


ORDERS = {
    "log first": ["log", "checkpoints", "lake", "catalogue.redb"],
    "log last": ["catalogue.redb", "lake", "checkpoints", "log"],
    "catalogue between": ["checkpoints", "log", "catalogue.redb", "lake"],
}


def copy_attack(name, order, pause_s, sample):
    def action(server):
        for round_ in range(1 if sample else 3):
            folder = copied_alive(server, order, pause_s)
            try:
                copy_answers_for_its_own_log(folder)
            except AssertionError as wrong:
                raise AssertionError(f"copy {round_ + 1}: {wrong}") from wrong

    action.__name__ = f"a_live_copy_{name}_answers_for_its_own_log_or_refuses"
    attack("files", sample=sample, settings=SMALL_FILES)(action)


for label, parts in ORDERS.items():
    copy_attack(f"{label.replace(' ', '_')}_and_slow", parts, 0.5, label == "log first")
    copy_attack(f"{label.replace(' ', '_')}_and_fast", parts, 0.0, False)
