"""Runs the attacks and prints a line `ok NAME` or `FAIL NAME: why` for each; what else it prints are figures.

Usage: run.py [--sample] [--latency-ms N] [--only TEXT] [--self-check]. Needs FOURFOLD_BINARY; works below the folder in
which it is started.
"""

import argparse
import pathlib
import time

import attack
import hoard_attacks  # noqa: F401
import http_attacks  # noqa: F401
import file_attacks
import kafka_attacks  # noqa: F401
import live_attacks  # noqa: F401
import pg_attacks  # noqa: F401
import self_check

arguments = argparse.ArgumentParser()
arguments.add_argument("--sample", action="store_true")
arguments.add_argument("--latency-ms", type=int, default=100)
arguments.add_argument("--only", default="")
arguments.add_argument("--self-check", action="store_true")
asked = arguments.parse_args()
outcome, folder, begun = attack.Outcome(), pathlib.Path.cwd(), time.monotonic()
if asked.self_check:
    self_check.run(outcome, folder, asked.only)
else:
    chosen = [one for one in attack.ATTACKS if asked.only in one.name and (one.sample or not asked.sample)]
    attack.run(outcome, folder, asked.latency_ms, chosen)
    damages = file_attacks.run(outcome, folder / "files", asked.sample, asked.only)
    outcome.note(f"{len(chosen)} attacks and {damages} damages")
outcome.note(f"{outcome.failed} failed, in {time.monotonic() - begun:.0f} s")
