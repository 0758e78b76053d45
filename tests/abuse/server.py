"""A `fourfold dev` of our own: started, watched, damaged and ended from outside.

What must hold: no process is left behind; one that takes far more memory than it may is killed before the machine
suffers, and that is said.
"""

import json
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

BINARY = os.environ["FOURFOLD_BINARY"]
START_LIMIT_S = 60
MEMORY_LIMIT_BYTES = 1 << 30
# Far beyond the limit nothing more can be learnt.
MEMORY_GUARD_BYTES = 3 << 30
PAGE_BYTES = resource.getpagesize()
# What an operator of a machine with 1 GB would set.
SMALL_MACHINE = {"FOURFOLD_MEMORY_BUDGET_BYTES": str(256 << 20)}


class Refused(Exception):
    """The server ended before it was ready; the text is what it said."""

    def __init__(self, code, said):
        super().__init__(f"ended with {code}: {said}")
        self.code, self.said = code, said


class Server:
    """One process on `folder/data`; it writes to `folder/server.log`, or to `output`, which nobody reads."""

    def __init__(self, folder, settings=None, output=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log_file = self.folder / "server.log"
        self.log_file.touch()
        self.log_begin = self.log_file.stat().st_size
        self.guarded = False
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        command = [BINARY, "dev", "--data-dir", self.data, "--ready-file", ready]
        for door in ("kafka", "pg", "http"):
            command += [f"--{door}-port", "0"]
        with open(output or self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=os.environ | SMALL_MACHINE | (settings or {}) | {"RUST_BACKTRACE": "0"},
            )
        self.watch = threading.Thread(target=self._guard, daemon=True)
        self.watch.start()
        begun = time.monotonic()
        while not ready.exists():
            if self.process.poll() is not None:
                raise Refused(self.process.returncode, self.said())
            if time.monotonic() - begun > START_LIMIT_S:
                self.kill()
                raise Refused("no end", f"not ready in {START_LIMIT_S} s: {self.said()}")
            time.sleep(0.005)
        self.start_s = time.monotonic() - begun
        doors = json.loads(ready.read_text())
        for door in ("kafka", "pg", "http"):
            host, port = doors[door].rsplit(":", 1)
            setattr(self, door, (host, int(port)))

    def _guard(self):
        while self.process.poll() is None:
            if self.memory_bytes() > MEMORY_GUARD_BYTES:
                self.guarded = True
                self.kill()
            time.sleep(0.02)

    def said(self, lines=6):
        """The end of what this process wrote."""
        with open(self.log_file, "rb") as log:
            log.seek(self.log_begin)
            text = log.read().decode(errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def said_all(self):
        """Everything that this process wrote."""
        return self.said(lines=1_000_000)

    def alive(self):
        return self.process.poll() is None

    def memory_bytes(self):
        """Resident memory now; 0 once it has ended."""
        try:
            return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def peak_bytes(self):
        """The most resident memory since the last `forget_peak`."""
        try:
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)

    def forget_peak(self):
        """Begins a new count of the peak."""
        try:
            pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        except OSError:
            pass

    def disk_bytes(self, below="log"):
        """What a folder of the data takes on the disk."""
        total = 0
        for root, _, files in os.walk(self.data / below):
            for name in files:
                try:
                    total += os.stat(os.path.join(root, name)).st_blocks * 512
                except OSError:
                    pass
        return total

    def ended_how(self):
        """Why it is not there any more."""
        if self.guarded:
            return f"it was killed when it held more than {MEMORY_GUARD_BYTES >> 20} MiB"
        return f"it ended with {self.process.poll()}: {self.said()}"

    def kill(self):
        """SIGKILL, as a power button does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, limit_s=10):
        """SIGTERM; returns how long it took, or fails."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end it within {limit_s} s: {self.said()}") from None
        assert code == 0, f"after SIGTERM it ended with {code}: {self.said()}"
        return time.monotonic() - begun
