"""Reads the views in turn, and keeps each answer with the Positions that came with it, a line each, in `answers.jsonl`.

Usage: reader_client.py. Reads until the file `stop` is there.
"""

import json
import time

from views_workload import OVER_REPLACED, REPLACED, VIEWS, columns
from workload import STOP, Http

PAUSE_S = 0.05

http = Http()
names = [*VIEWS, REPLACED, OVER_REPLACED]
count = 0
with open("answers.jsonl", "a", encoding="utf-8") as answers:
    while not STOP.exists():
        for name in names:
            answer = http.sql(f"SELECT {columns(name)} FROM {name}")
            kept = {"view": name, "positions": answer["positions"], "rows": answer["rows"]}
            answers.write(json.dumps(kept) + "\n")
            answers.flush()
            count += 1
            time.sleep(PAUSE_S)
print(f"{count} answers")
