"""Defines the source and the views that the crash harness compares at the end."""

from workload import DEFINITIONS, Http

http = Http()
for definition in DEFINITIONS:
    http.sql(definition)
