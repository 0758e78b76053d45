"""Attacks on the files: every kind of file with every damage, and folders that go, of a server that was killed or stopped.

What must hold: the order is the same in every run.
"""

import shutil

import damage
import image
import verdict
from server import Server

# What runs in the sample: one for each promise.
SAMPLE = [
    ("log/checkpoint", "deleted", "last"),
    ("wal", "half", "last"),
    (".log", "a bit flipped in its middle", "first"),
    (".log", "deleted", "first"),
    (".index", "deleted", "first"),
    (".arrivals", "empty", "first"),
    ("events .log", "a bit flipped in its middle", "last"),
    ("catalogue.redb", "deleted", "last"),
    ("view manifest", "a bit flipped in its middle", "last"),
    ("view segment", "zeros in it", "last"),
    ("batch parquet", "a bit flipped at random (21)", "last"),
    ("source parquet", "a bit flipped at random (7)", "last"),
    ("source delta log", "half", "last"),
]
FLIPPED_AT_RANDOM = [
    "wal",
    ".log",
    "events .log",
    "catalogue.redb",
    "view segment",
    "rows view segment",
    "batch parquet",
    "source parquet",
    "log/checkpoint",
]


# What a clean stop leaves otherwise than a kill: no write-ahead log that is ahead of its checkpoint.
OF_THE_LOG = ["log/checkpoint", "wal", ".log", ".arrivals", "events .log", "catalogue.redb"]
ENDS = {"killed": Server.kill, "stopped": Server.stop}


class Cell:
    """One damage to one file."""

    def __init__(self, kind, name, which, ended="killed"):
        self.kind, self.name, self.which, self.ended = kind, name, which, ended
        self.title = f"files, {which} {kind}, {name}" + (", after a clean stop" if ended == "stopped" else "")

    def harm(self, data):
        """Damages; returns the file, or None when there is no such file."""
        found = damage.files(data, self.kind)
        if not found or (self.which == "first" and len(found) == 1):
            return None
        path = found[0 if self.which == "first" else -1]
        change = damage.DAMAGES.get(self.name) or damage.flip_at_random(f"{self.kind}-{self.name}-{self.which}")
        change(path)
        return path

    def attack(self, outcome, built, folder):
        """Damages a copy, and tells what a server makes of it."""
        data = image.copy(built, folder)
        path = self.harm(data)
        if path is not None:
            tell(outcome, self.title, lambda: verdict.visit(folder, image.SETTINGS, lambda: damage.put_back(built, data, path)))


class FolderGoes:
    """A whole folder is deleted."""

    ended = "killed"

    def __init__(self, gone):
        self.gone, self.title = gone, f"files, the folder {gone} deleted"

    def attack(self, outcome, built, folder):
        """Deletes it in a copy, and tells what a server makes of it."""
        data = image.copy(built, folder)
        shutil.rmtree(data / self.gone)

        def back():
            shutil.rmtree(data / self.gone, ignore_errors=True)
            shutil.copytree(built / self.gone, data / self.gone)

        tell(outcome, self.title, lambda: verdict.visit(folder, image.SETTINGS, back))


def tell(outcome, title, visit):
    """What came of a visit, or what may not be."""
    try:
        outcome.ok(title, f" ({visit()[:160]})")
    except AssertionError as wrong:
        outcome.fail(title, wrong)


def every(flips):
    """Every kind with every damage, on its first and its last file; bits flipped at random places; folders; and again, stopped."""
    for ended, kinds in (("killed", damage.KINDS), ("stopped", OF_THE_LOG)):
        for kind in kinds:
            for name in damage.DAMAGES:
                for which in ("first", "last"):
                    yield Cell(kind, name, which, ended)
    for kind in FLIPPED_AT_RANDOM:
        for seed in range(flips):
            yield Cell(kind, f"a bit flipped at random ({seed})", "last" if seed % 2 else "first")
    for gone in damage.FOLDERS:
        yield FolderGoes(gone)


def run(outcome, folder, sample, only, flips=30):
    """Runs the matrix, or the sample of it; returns how many damages there were."""
    cells = [Cell(*one) for one in SAMPLE] if sample else every(flips)
    chosen = [cell for cell in cells if only in cell.title]
    for ended, ends in ENDS.items():
        mine = [cell for cell in chosen if cell.ended == ended]
        if not mine:
            continue
        built = image.build(folder / ended, ends)
        missing = [kind for kind in damage.KINDS if not damage.files(built, kind)]
        if missing:
            outcome.fail("files, the image has a file of every kind", f"none of {', '.join(missing)}")
        for cell in mine:
            cell.attack(outcome, built, folder / "cell")
    return len(chosen)
