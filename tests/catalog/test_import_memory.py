"""An import holds a small part of its input in memory, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import REPOSITORY, absent

ROWS, DIMENSION = 400_000, 256
_MOST_MIB = 300

# Pages of mapped files are the kernel's to take back; what is counted is the memory that is the process's own.
_IMPORT = """
import json, sys, threading, time
from catalog import import_vectors, vector_files, vector_tables
from catalog.import_vectors import ImportConfig
from catalog.vector_source import VectorInput

def memory():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) / 1024

most = before = memory()

def watch():
    global most
    while True:
        most = max(most, memory())
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()
summary = import_vectors.import_vectors(ImportConfig(VectorInput((sys.argv[1],)), sys.argv[2], "cosine"))
print(json.dumps({"grown": most - before, "embedded": summary.embedded, "vector_type": summary.vector_type}))
"""


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_an_import_holds_a_small_part_of_its_input(tmp_path: Path, ending: str) -> None:
    """The Parquet file is one row group."""
    if not Path("/proc/self/status").exists():
        absent("/proc")
    vectors = np.random.default_rng(0).random((ROWS, DIMENSION), np.float32)
    path = tmp_path / f"v.{ending}"
    if ending == "npy":
        np.save(path, vectors)
    else:
        column = pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), DIMENSION)
        pq.write_table(pa.table({"embedding": column}), path, row_group_size=ROWS, compression="none")
    del vectors
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, str(path), str(tmp_path / "e")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["embedded"], found["vector_type"]) == (ROWS, "float16")
    assert found["grown"] < _MOST_MIB < ROWS * DIMENSION * 4 / 2**20, found
