"""Compares every answer that was read while the server was killed, and the last ones, with plain DataFusion over the log up to its Positions.

Prints a line `ok NAME` or `FAIL NAME: why` for each comparison, and figures. Ends with 1 only when it could not compare.
"""

import collections
import json
import pathlib
import time

import datafusion
import pyarrow
import pyarrow.compute as compute

from verify import check, compare_log, read_log
from views_workload import DEFINITIONS, OVER_REPLACED, READS_REPLACED, REPLACED, TABLE, VIEWS, columns
from workload import PARTITIONS, TOPIC, Http

TABLE_PARTITIONS = 2
# So many answers are compared at most, evenly over the run: each one is a question to DataFusion.
COMPARED_MAX = 1500
LEDGER = {"client": pyarrow.string(), "sequence": pyarrow.int64(), "account": pyarrow.string(), "amount": pyarrow.int64(),
          "price": pyarrow.float64()}
ROW = {"account": pyarrow.string(), "region": pyarrow.string(), "factor": pyarrow.int64()}


class Oracle:
    """What plain DataFusion answers over the records before some Positions."""

    def __init__(self, ledger, table):
        places, records = zip(*sorted(ledger.items()))
        self.partitions, self.offsets = (pyarrow.array(side, pyarrow.int64()) for side in zip(*places))
        records = [json.loads(value) for _, value in records]
        self.ledger = pyarrow.table({name: pyarrow.array([r[name] for r in records], kind) for name, kind in LEDGER.items()})
        self.changes = sorted(table.items(), key=lambda change: change[0])

    def rows(self, name, definition, positions):
        ends = dict(part.rsplit(":", 1) for part in positions.split(",") if part)
        ends = {place: int(end) for place, end in ends.items()}
        limits = pyarrow.array([ends.get(f"{TOPIC}/{partition}", 0) for partition in range(PARTITIONS)], pyarrow.int64())
        context = datafusion.SessionContext()
        self.register(context, TOPIC, self.ledger.filter(compute.less(self.offsets, limits.take(self.partitions))))
        last = {}
        for (partition, offset), (key, value) in self.changes:
            if offset < ends.get(f"{TABLE}/{partition}", 0):
                last[key] = value
        found = [json.loads(value) for value in last.values() if value is not None]
        self.register(context, TABLE, pyarrow.table({c: pyarrow.array([r.get(c) for r in found], kind) for c, kind in ROW.items()}))
        queries = VIEWS | {REPLACED: DEFINITIONS[definition or "sums"], OVER_REPLACED: READS_REPLACED}
        for view, query in queries.items():
            context.sql(f"CREATE VIEW {view} AS {query}")
        answer = context.sql(f"SELECT {columns(name)} FROM {name}").to_arrow_table()
        return [tuple(row.values()) for row in answer.to_pylist()]

    @staticmethod
    def register(context, name, table):
        # A table without rows has no batches.
        context.register_record_batches(name, [table.to_batches() or [pyarrow.RecordBatch.from_pylist([], table.schema)]])


def as_counted(rows):
    return collections.Counter(tuple(row) for row in rows)


def compare(oracle, name, answers):
    wrong, versions = [], collections.Counter()
    for answer in answers:
        found = as_counted(answer["rows"])
        definitions = {row[0] for row in found} if name in (REPLACED, OVER_REPLACED) else set()
        if len(definitions) > 1:
            wrong.append(f"at {answer['positions']}: rows of several definitions {definitions}")
            continue
        definition = next(iter(definitions), None)
        versions[definition] += 1
        expected = as_counted(oracle.rows(name, definition, answer["positions"]))
        if found != expected:
            wrong.append(f"at {answer['positions']}: only found {list((found - expected).items())[:3]}, "
                         f"only expected {list((expected - found).items())[:3]}")
    # Before the first record there are no rows, and so none says which.
    named = {definition: count for definition, count in versions.items() if definition}
    seen = f", of definitions {named}" if named else ""
    check(f"view {name}: each answer is that of DataFusion at its positions{seen}", wrong, len(answers))


def evenly(answers, most):
    unlike = list({(a["view"], a["positions"], json.dumps(a["rows"])): a for a in answers}.values())
    step = max(1, -(-len(unlike) // most))
    return unlike[::step]


def positions_only_grow(answers):
    last, wrong = {}, []
    for answer in answers:
        for part in filter(None, answer["positions"].split(",")):
            place, end = part.rsplit(":", 1)
            seen = (answer["view"], place)
            if int(end) < last.get(seen, 0):
                wrong.append(f"{answer['view']} went from {last[seen]} to {end} in {place}")
            last[seen] = int(end)
    return wrong


def last_answers(http, ends):
    positions = ",".join(f"{topic}/{p}:{end}" for (topic, p), end in sorted(ends.items()) if end)
    for name in [*VIEWS, REPLACED, OVER_REPLACED]:
        reads_table = name not in ("by_account", REPLACED, OVER_REPLACED)
        wanted = ",".join(part for part in positions.split(",") if reads_table or part.startswith(f"{TOPIC}/"))
        answer = http.sql(f"SELECT {columns(name)} FROM {name}", min_position=wanted)
        yield {"view": name, "positions": answer["positions"], "rows": answer["rows"]}


def main():
    started = time.monotonic()
    http = Http()
    ledger, ledger_ends = read_log(TOPIC, PARTITIONS)
    table, table_ends = read_log(TABLE, TABLE_PARTITIONS)
    for client in ("a", "b"):
        compare_log(client, ledger)
    lines = pathlib.Path("answers.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    check("the positions of a reader's answers only grow", positions_only_grow(answers), len(answers))
    ends = {(TOPIC, p): end for p, end in ledger_ends.items()} | {(TABLE, p): end for p, end in table_ends.items()}
    compared = evenly(answers, COMPARED_MAX) + list(last_answers(http, ends))
    oracle = Oracle(ledger, table)
    for name in [*VIEWS, REPLACED, OVER_REPLACED]:
        compare(oracle, name, [answer for answer in compared if answer["view"] == name])
    print(f"{len(compared)} of {len(answers)} answers over {len(ledger)} records and {len(table)} changes of the table "
          f"were compared in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
