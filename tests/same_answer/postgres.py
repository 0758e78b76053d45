"""A PostgreSQL of our own, in a folder of its own, which ends with us.

What it is not: the one that a machine may have running.
"""

import atexit
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

import psycopg


def programs():
    """Where the newest PostgreSQL's programs are."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    beside = shutil.which("initdb")
    if beside:
        return pathlib.Path(beside).parent
    raise SystemExit("PostgreSQL's server is not installed (on Debian: apt-get install postgresql)")


class Postgres:
    """A server that answers on a free port of this machine alone."""

    def __init__(self):
        self.programs = programs()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fourfold-postgres-"))
        atexit.register(self.stop)
        if os.geteuid() == 0:
            # It does not run as root.
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.run("initdb", "-A", "trust", "-U", "same", "--locale=C", "--encoding=UTF8", "--no-sync")
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c timezone=UTC"
        self.run("pg_ctl", "-o", options, "-l", str(self.folder / "log"), "-w", "start")

    def run(self, program, *arguments):
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", *command]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", check=False)
        if done.returncode != 0:
            raise SystemExit(f"{program} ended with {done.returncode}: {done.stderr.decode()}")

    def connect(self):
        return psycopg.connect(host="127.0.0.1", port=self.port, user="same", dbname="postgres", autocommit=True)

    def stop(self):
        if (self.folder / "data" / "postmaster.pid").exists():
            self.run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)
