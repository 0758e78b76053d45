"""What can happen to a file: it goes, it shrinks, bits turn, something lies beside it."""

import random
import shutil

# A folder's glob below the data, by what the files are.
KINDS = {
    "log/checkpoint": "log/checkpoint",
    "wal": "log/wal/*.wal",
    ".log": "log/topics/readings-*/*.log",
    ".index": "log/topics/readings-*/*.index",
    ".timeindex": "log/topics/readings-*/*.timeindex",
    ".arrivals": "log/topics/readings-*/*.arrivals",
    "events .log": "log/topics/events-*/*.log",
    "log/lock": "log/lock",
    "catalogue.redb": "catalogue.redb",
    "view manifest": "checkpoints/views/totals/*/manifest.json",
    "view segment": "checkpoints/views/totals/*/*.arrow",
    "rows view manifest": "checkpoints/views/kept/*/manifest.json",
    "rows view segment": "checkpoints/views/kept/*/*.arrow",
    "batch parquet": "lake/batch/totals_lambda/*/*.parquet",
    "batch delta log": "lake/batch/totals_lambda/*/_delta_log/*.json",
    "source parquet": "lake/sources/readings/*.parquet",
    "source delta log": "lake/sources/readings/_delta_log/*.json",
}
FOLDERS = ["lake", "lake/batch", "lake/sources", "checkpoints", "log/topics", "log/wal"]


def files(data, kind):
    """The files of a kind, in order."""
    return sorted(data.glob(KINDS[kind]))


def flip(place):
    """Turns one bit at a share of the length."""

    def change(path):
        content = bytearray(path.read_bytes())
        if not content:
            return
        at = min(int(len(content) * place), len(content) - 1)
        content[at] ^= 1 << at % 8
        path.write_bytes(content)

    return change


def flip_at_random(seed):
    """Turns one bit at a place that the seed decides; the same again for the same seed."""
    return flip(random.Random(seed).random())


def truncate(size_of):
    """Cuts to what `size_of` makes of the length."""

    def change(path):
        with open(path, "r+b") as file:
            file.truncate(size_of(path.stat().st_size))

    return change


def zeros(path):
    """A sector's worth of zeros in the middle."""
    content = bytearray(path.read_bytes())
    begin = len(content) // 3
    content[begin : begin + 512] = bytes(len(content[begin : begin + 512]))
    path.write_bytes(content)


def append(path):
    """Bytes behind the end."""
    with open(path, "ab") as file:
        file.write(b"\xa5" * 100)


def stray(path):
    """A file beside it that is nobody's."""
    (path.parent / ".DS_Store").write_bytes(b"stray")


def stray_folder(path):
    """A folder beside it that is nobody's."""
    (path.parent / "stray-folder").mkdir()
    (path.parent / "stray-folder" / "kept.txt").write_text("stray")


def becomes_a_folder(path):
    """A folder of its name in its place."""
    path.unlink()
    path.mkdir()


DAMAGES = {
    "deleted": lambda path: path.unlink(),
    "empty": truncate(lambda _: 0),
    "half": truncate(lambda size: size // 2),
    "a byte short": truncate(lambda size: max(size - 1, 0)),
    "a bit flipped at its head": flip(0.0),
    "a bit flipped in its middle": flip(0.5),
    "a bit flipped at its end": flip(1.0),
    "zeros in it": zeros,
    "bytes behind it": append,
    "a stray file beside it": stray,
    "a stray folder beside it": stray_folder,
    "a folder in its place": becomes_a_folder,
}


def put_back(image, data, path):
    """Puts the file back as it was in the image."""
    if path.is_dir():
        shutil.rmtree(path)
    shutil.copy2(image / path.relative_to(data), path)
