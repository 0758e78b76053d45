"""Defines the table and the views that the crash harness kills with `--views`."""

from views_workload import statements
from workload import Http

http = Http()
for statement in statements():
    http.sql(statement)
