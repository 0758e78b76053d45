"""Replaces a view by another definition of it, in turn, until the file `stop` is there."""

import time

from views_workload import DEFINITIONS, replacing
from workload import STOP, Http

PAUSE_S = 0.2

http = Http()
replaced = 0
while not STOP.exists():
    for definition in reversed(DEFINITIONS):
        http.sql(replacing(definition))
        replaced += 1
        time.sleep(PAUSE_S)
print(f"a view was replaced {replaced} times")
