"""Attacks on the files: every kind of file with every damage, and folders that go.

What must hold: the order is the same in every run.
"""

import damage
import image
import shutil
import verdict

# What runs in the sample: one for each promise.
SAMPLE = [
    ("log/checkpoint", "deleted", "last"),
    ("wal", "half", "last"),
    ("wal", "a bit flipped in its middle", "first"),
    (".log", "a bit flipped in its middle", "first"),
    (".log", "deleted", "first"),
    (".index", "deleted", "first"),
    (".arrivals", "empty", "first"),
    ("events .log", "a bit flipped in its middle", "last"),
    ("catalogue.redb", "deleted", "last"),
    ("view manifest", "a bit flipped in its middle", "last"),
    ("view segment", "zeros in it", "last"),
    ("batch parquet", "a bit flipped in its middle", "last"),
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


def every(flips):
    """Every kind with every damage, on its first and its last file; then bits flipped at random places."""
    for kind in damage.KINDS:
        for name in damage.DAMAGES:
            for which in ("first", "last"):
                yield kind, name, which
    for kind in FLIPPED_AT_RANDOM:
        for seed in range(flips):
            yield kind, f"a bit flipped at random ({seed})", "last" if seed % 2 else "first"


def told(kind, name, which):
    return f"files, {which} {kind}, {name}"


def harm(data, kind, name, which):
    """Damages; returns the file, or None when there is no such file."""
    found = damage.files(data, kind)
    if not found or (which == "first" and len(found) == 1):
        return None
    path = found[0 if which == "first" else -1]
    change = damage.DAMAGES.get(name) or damage.flip_at_random(f"{kind}-{name}-{which}")
    change(path)
    return path


def cell(outcome, built, folder, kind, name, which):
    """One damage, told."""
    title = told(kind, name, which)
    data = image.copy(built, folder)
    path = harm(data, kind, name, which)
    if path is None:
        return
    try:
        came = verdict.visit(folder, image.SETTINGS, lambda: damage.put_back(built, data, path) if "stray" not in name else None)
        outcome.ok(title, f" ({came[:160]})")
    except AssertionError as wrong:
        outcome.fail(title, f"{path.relative_to(data)}: {wrong}")


def folder_goes(outcome, built, folder, gone):
    """A whole folder is deleted."""
    title = f"files, the folder {gone} deleted"
    data = image.copy(built, folder)
    shutil.rmtree(data / gone)

    def back():
        shutil.rmtree(data / gone, ignore_errors=True)
        shutil.copytree(built / gone, data / gone)

    try:
        outcome.ok(title, f" ({verdict.visit(folder, image.SETTINGS, back)[:160]})")
    except AssertionError as wrong:
        outcome.fail(title, wrong)


def run(outcome, folder, sample, only, flips=30):
    """Runs the matrix, or the sample of it; returns how many damages there were."""
    cells = [one for one in (SAMPLE if sample else every(flips)) if only in told(*one)]
    folders = [gone for gone in ([] if sample else damage.FOLDERS) if only in f"files, the folder {gone} deleted"]
    done = len(cells) + len(folders)
    if not done:
        return 0
    built = image.build(folder / "image")
    missing = [kind for kind in damage.KINDS if not damage.files(built, kind)]
    if missing:
        outcome.fail("files, the image has a file of every kind", f"none of {', '.join(missing)}")
    for kind, name, which in cells:
        cell(outcome, built, folder / "cell", kind, name, which)
    for gone in folders:
        folder_goes(outcome, built, folder / "cell", gone)
    return done
