"""A writer of the table: upserts, changes of some columns and deletions, one statement after the other, over SQL.

Usage: table_client.py. Writes until the file `stop` is there. A statement that had no answer may have been carried out or not; what
counts at the end is the topic.
"""

import random
import time

from views_workload import ACCOUNTS, REGIONS, TABLE
from workload import STOP, Http

PAUSE_S = 0.02

dice = random.Random(2014)
http = Http()
written = 0
while not STOP.exists():
    account, region, factor = dice.choice(ACCOUNTS), dice.choice(REGIONS), dice.randint(-3, 9)
    region = "NULL" if region is None else f"'{region}'"
    match dice.randrange(6):
        case 0:
            http.sql(f"DELETE FROM {TABLE} WHERE account = '{account}'")
        case 1:
            http.sql(f"UPDATE {TABLE} SET factor = factor + 1 WHERE region = {region}")
        case _:
            http.sql(f"INSERT INTO {TABLE} VALUES ('{account}', {region}, {factor}) "
                     "ON CONFLICT (account) DO UPDATE SET region = excluded.region, factor = excluded.factor")
    written += 1
    time.sleep(PAUSE_S)
print(f"{written} statements changed the table")
