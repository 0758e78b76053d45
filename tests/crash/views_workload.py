"""Chained views, joins, a table that changes and a view that is replaced again and again: what the crash harness kills with `--views`.

What must hold: a question is common SQL over `ledger` and `accounts`, so that plain DataFusion answers it over the records up to the
Positions of an answer.
"""

from workload import SOURCE, TOPIC

TABLE = "accounts"
ACCOUNTS = [f"acct-{number}" for number in range(17)]
REGIONS = ["north", "south", "east", "west", None]

CREATE_TABLE = f"CREATE TABLE {TABLE} (account TEXT PRIMARY KEY, region TEXT, factor BIGINT) WITH (partitions = 2)"

# Each view as it is written, in the order in which they read each other.
VIEWS = {
    "by_account": "SELECT account, count(*) AS records, sum(amount) AS amount, min(price) AS lowest, max(sequence) AS newest "
                  "FROM ledger GROUP BY account",
    "regions": "SELECT a.region, count(*) AS accounts, sum(b.records) AS records, sum(b.amount * a.factor) AS weighted "
               "FROM by_account AS b JOIN accounts AS a ON a.account = b.account GROUP BY a.region",
    "strays": "SELECT b.account, b.records, a.region FROM by_account AS b LEFT JOIN accounts AS a ON a.account = b.account "
              "WHERE a.region IS NULL OR b.amount < 0",
    "unknown": "SELECT l.client, count(*) AS records, count(DISTINCT l.account) AS accounts FROM ledger AS l "
               "WHERE NOT EXISTS (SELECT 1 FROM accounts AS a WHERE a.account = l.account) GROUP BY l.client",
    # Both branches of a diamond.
    "overview": "SELECT r.region, r.records, r.accounts, t.total FROM regions AS r "
                "CROSS JOIN (SELECT sum(records) AS total FROM by_account) AS t",
}
REPLACED = "replaced"
OVER_REPLACED = "over_replaced"
# What `replaced` is in turn; its first column says which. A view reads it.
DEFINITIONS = {
    "sums": f"SELECT 'sums' AS definition, client, account, sum(amount) AS figure FROM {TOPIC} GROUP BY client, account",
    "ends": f"SELECT 'ends' AS definition, client, account, max(sequence) - min(sequence) AS figure FROM {TOPIC} "
            "WHERE amount > 0 GROUP BY client, account",
}
READS_REPLACED = f"SELECT definition, client, count(*) AS accounts, sum(figure) AS figure FROM {REPLACED} GROUP BY definition, client"


def statements():
    yield SOURCE
    yield CREATE_TABLE
    for name, query in VIEWS.items():
        yield f"CREATE MATERIALIZED VIEW {name} AS {query}"
    yield replacing("sums")
    yield f"CREATE MATERIALIZED VIEW {OVER_REPLACED} AS {READS_REPLACED}"


def replacing(definition):
    return f"CREATE OR REPLACE MATERIALIZED VIEW {REPLACED} AS {DEFINITIONS[definition]}"


def columns(query):
    """The names of a question's columns, which come first in its view."""
    return {
        "by_account": "account, records, amount, lowest, newest",
        "regions": "region, accounts, records, weighted",
        "strays": "account, records, region",
        "unknown": "client, records, accounts",
        "overview": "region, records, accounts, total",
        REPLACED: "definition, client, account, figure",
        OVER_REPLACED: "definition, client, accounts, figure",
    }[query]
