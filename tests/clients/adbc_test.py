"""ADBC's PostgreSQL driver as it comes from PyPI: it loads the types when it connects, and reads columns as Arrow."""

import adbc_driver_postgresql.dbapi

from doors import PG, equal

# The driver reads by binary COPY unless it is told not to.
PLAIN = {"adbc.postgresql.use_copy": "false"}

with adbc_driver_postgresql.dbapi.connect(f"postgresql://anyone@{PG}/fourfold") as connection:
    with connection.cursor(adbc_stmt_kwargs=PLAIN) as cursor:
        cursor.execute("SELECT 1 AS one, 'a' AS letter")
        equal("a query", cursor.fetch_arrow_table().to_pylist(), [{"one": 1, "letter": "a"}])
        cursor.execute("SELECT relname FROM pg_class WHERE relname = 'no such relation'")
        equal("the catalogue is read", cursor.fetchall(), [])
