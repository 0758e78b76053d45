"""The questions of TPC-H and Nexmark as views, with random inserts, changes and deletions, against PostgreSQL over its tables.

The server is killed and started again at random, and views are built anew by replay now and then. Prints a line `ok NAME` or
`FAIL NAME`, then its reason.
"""

import argparse
import decimal
import pathlib
import sys
import time

import psycopg

import benchmark
from postgres import Postgres
from server import Server

# Averages and quotients have fewer digits in one than in the other.
DIGITS = 12
STATEMENTS_A_ROUND = 25
SHOWN = 3
# So many rounds bring an answer to every question.
ANSWERED_ROUNDS = 40


def plain(value):
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, (int, float, decimal.Decimal)):
        return f"{float(value):.{DIGITS}g}"
    return str(value)


def rows(connection, query, width=None):
    found = connection.execute(query).fetchall()
    return sorted(tuple(plain(value) for value in row[:width]) for row in found)


class Both:
    """Fourfold and PostgreSQL, which get the same statements."""

    def __init__(self, folder, name):
        self.folder, self.benchmark = folder / name, benchmark.Benchmark(name)
        self.postgres = Postgres()
        self.pg = self.postgres.connect()
        self.server = self.fourfold = None
        self.start()
        for definition in self.benchmark.definitions:
            self.fourfold.execute(definition)
            self.pg.execute(definition.replace("CREATE SOURCE", "CREATE TABLE"))
        for number, query in self.benchmark.queries.items():
            self.fourfold.execute(f"CREATE MATERIALIZED VIEW q{number} AS {query}")

    def start(self):
        self.server = Server(self.folder)
        host, port = self.server.pg
        self.fourfold = psycopg.connect(host=host, port=port, user="same", dbname="fourfold", autocommit=True)
        # Views are there before they have caught up.
        self.fourfold.execute("SET fourfold.min_position_timeout_ms = 60000")

    def kill_and_start(self):
        self.server.kill()
        self.start()

    def change(self, dice):
        statement = self.benchmark.change(dice)
        counts = [side.execute(statement).rowcount for side in (self.fourfold, self.pg)]
        if counts[0] != counts[1]:
            return [f"{statement}: {counts[0]} rows, PostgreSQL {counts[1]}"]
        return []

    def compare(self, most):
        for number, query in self.benchmark.queries.items():
            expected = rows(self.pg, query)
            width = len(expected[0]) if expected else None
            found = rows(self.fourfold, f"SELECT * FROM q{number}", width)
            asked = rows(self.fourfold, query)
            most[number] = max(most.get(number, 0), len(expected))
            for what, answer in (("view", found), ("query", asked)):
                if answer != expected:
                    only = [row for row in answer if row not in expected][:SHOWN], [row for row in expected if row not in answer][:SHOWN]
                    yield f"question {number} as a {what}: {len(answer)} rows, PostgreSQL {len(expected)}; only here {only[0]}, only there {only[1]}"


def run(folder, name, seed, rounds):
    dice, both = benchmark.dice(seed), Both(folder, name)
    wrong, most, counts = [], {}, {"statements": 0, "kills": 0, "replays": 0}
    for number in range(rounds):
        for _ in range(STATEMENTS_A_ROUND):
            wrong += both.change(dice)
            counts["statements"] += 1
        if dice.random() < 0.3:
            both.kill_and_start()
            counts["kills"] += 1
        if dice.random() < 0.1:
            both.fourfold.execute(f"REFRESH MATERIALIZED VIEW q{dice.choice(list(both.benchmark.queries))}")
            counts["replays"] += 1
        wrong += [f"round {number}: {reason}" for reason in both.compare(most)]
        if wrong:
            break
    unanswered = [number for number, count in most.items() if count == 0]
    both.server.stop()
    both.postgres.stop()
    done = ", ".join(f"{count} {what}" for what, count in counts.items())
    tell(f"{name}, {len(most)} views and queries are PostgreSQL's ({done})", wrong)
    if rounds >= ANSWERED_ROUNDS:
        tell(f"{name}, each question had an answer", [f"not {unanswered}"] if unanswered else [])


def tell(what, wrong):
    if not wrong:
        print(f"ok {what}", flush=True)
        return
    reason = "; ".join(wrong[:SHOWN]).replace("\n", " ")
    print(f"FAIL {what}: {reason}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed} (repeat the statements with --seed {arguments.seed})", file=sys.stderr)
    for benchmark_name in ("tpch", "nexmark"):
        run(pathlib.Path.cwd(), benchmark_name, arguments.seed, arguments.rounds)
