"""The users beside the attacks, as the attacker's process sees them: started, read, judged, ended."""

import pathlib
import subprocess
import sys


class Users:
    """`beside.py` on one server."""

    def __init__(self, server):
        self.file = server.folder / "beside.txt"
        self.file.unlink(missing_ok=True)
        script = pathlib.Path(__file__).with_name("beside.py")
        self.process = subprocess.Popen(
            [sys.executable, script, str(server.http[1]), str(server.pg[1]), self.file],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=open(server.folder / "beside.log", "ab"),
        )
        self.place = 0

    def since(self):
        """The samples since the last call: {kind: [milliseconds]} and what went wrong."""
        if not self.file.exists():
            return {}, []
        with open(self.file, encoding="utf-8") as file:
            file.seek(self.place)
            text = file.read()
        whole = text[: text.rfind("\n") + 1]
        self.place += len(whole.encode())
        samples, wrong = {}, []
        for line in whole.splitlines():
            kind, took, what = line.split(" ", 2)
            samples.setdefault(kind, []).append(float(took))
            if what != "ok":
                wrong.append(f"{kind}: {what}")
        return samples, wrong

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


def percentile(samples, part):
    """The sample below which `part` of 100 lie."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) * part // 100, len(ordered) - 1)]
