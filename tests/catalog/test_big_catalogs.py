"""Catalogs of any size are read in bounded memory: files that are made while they are read, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, absent

_MOST_MIB = 300

_READ = """
import io, json, sys
from catalog import storage
from catalog.source import CatalogSource, open_catalog, read_rows

ending, total = sys.argv[1], int(sys.argv[2])
text = "long words " * 45
many = 1_000

def rows_from(first):
    numbers = range(first, first + many)
    if ending == "csv":
        line = '%d,pictures/%d.jpg,%d.25,007,"' + text + '\\n""quoted"" ' + text + '"\\n'
    else:
        line = '{"id": %d, "image": "pictures/%d.jpg", "price": %d.25, "code": "007", "text": ["' + text * 2 + '"]}\\n'
    return "".join([line % (n, n, n % 977) for n in numbers]).encode()

class Made(io.RawIOBase):
    def __init__(self):
        self.waiting = b"id,image,price,code,text\\n" if ending == "csv" else b""
        self.made = self.rows = 0
    def readable(self):
        return True
    def readinto(self, buffer):
        while len(self.waiting) < len(buffer) and self.made < total:
            fresh = rows_from(self.rows)
            self.rows += many
            self.made += len(fresh)
            self.waiting += fresh
        data, self.waiting = self.waiting[: len(buffer)], self.waiting[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)

streams = []

def open_read(url):
    streams.append(Made())
    return io.BufferedReader(streams[-1], 1 << 20)

def memory(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024

storage.open_read = open_read
storage.expand = lambda pattern: [pattern]
before = memory("VmRSS")
catalog = open_catalog(CatalogSource((f"/made/catalog.{ending}",)))
rows = last = 0
for batch in read_rows(catalog.readers[0]):
    rows += len(batch)
    last = batch.column("origin")[len(batch) - 1].as_py()
print(json.dumps({
    "made": max(stream.made for stream in streams), "expected": max(stream.rows for stream in streams),
    "looked_at": catalog.rows, "read": rows, "last": last, "types": str(catalog.metadata),
    "grown": memory("VmHWM") - before,
}))
"""


@pytest.mark.parametrize(("ending", "size"), [("csv", 600_000_000), ("jsonl", 250_000_000)])
def test_a_large_catalog_is_read_in_a_small_part_of_its_size(ending: str, size: int) -> None:
    """The CSV has line breaks in its cells, so it is also read strictly, for quotes that are not closed."""
    if not Path("/proc/self/status").exists():
        absent("/proc")
    done = subprocess.run(
        [sys.executable, "-c", _READ, ending, str(size)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["made"] >= size
    assert found["looked_at"] == found["read"] == found["expected"]
    assert found["last"] == f"catalog.{ending} row {found['expected'] + (ending == 'csv')}"
    assert found["types"].splitlines() == ["price: double", "code: string", "text: string"]
    assert found["grown"] < _MOST_MIB, found
