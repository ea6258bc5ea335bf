"""A skewed catalog is embedded in the memory of an even one: the work on partitions, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from catalog import row_files
from catalog.partition import partitions_of
from catalog.row_files import Chunks, rows_a_chunk, store_rows
from catalog.rows import row_schema
from catalog.run import Run
from tests.conftest import REPOSITORY, absent, draw_picture

ROWS, PARTITIONS, METADATA_BYTES = 2_400, 16, 32_768
# Megabytes. The rows of an average partition have 5, those of one ten times the others 31, and who holds them, holds
# them several times: with slices of any size it is 200 more. Threads and allocators move what is measured by up to 40.
_TOLERANCE = 70
METADATA = pa.schema([("price", pa.int64()), ("text", pa.string())])
KEY = b"k" * 32

# The sizes of all pieces are in proportion to partitions of 150 rows.
_EMBED = """
import json, sys
import pyarrow as pa
from catalog import embedding_file, partition_slices
from encoders.decode import DecodeLimits
from encoders.image_encoder import ImageEncoder
from encoders.registry import load_encoder
from pipelines import encode_partition
from pipelines.embed_steps import FinishSettings, assemble_snapshot
from pipelines.encode_partition import EncodeSettings, PartitionEncoder

embedding_file._ROW_GROUP_ROWS = 128
partition_slices._SLICE_ROWS, partition_slices._FOLDED_ROWS = 128, 64
encode_partition._ROWS_AT_ONCE = encode_partition._FOLDED_ROWS_AT_ONCE = 32
given = json.load(sys.stdin)
encoder = load_encoder("color-histogram")
images = ImageEncoder(encoder, DecodeLimits(), 1)
snapshot, counts = None, []
for run, names in given["runs"].items():
    parent = snapshot and snapshot.sequence
    work = EncodeSettings(
        store=given["store"], run_id=run, base=parent, encoder_spec="color-histogram", engine="auto",
        fingerprint=encoder.info.fingerprint, vector_type="float16", metadata=bytes.fromhex(given["metadata"]),
        limits=DecodeLimits(), key=bytes.fromhex(given["key"]), threads=1,
    )
    partitions = PartitionEncoder(work, images, snapshot)
    results = [partitions.encode(number, each) for number, each in enumerate(names)]
    finish = FinishSettings(encoder.info, len(names), given["rows"], parent, parent)
    snapshot = assemble_snapshot(results, work, finish)
    counts.append(snapshot.counts.__dict__)
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
print(json.dumps({
    "peak": peak, "counts": counts, "files": len(snapshot.files), "most": max(each.rows for each in snapshot.files)
}))
"""


def ids_of(skew: str) -> np.ndarray:
    """Of an even catalog; of one with a partition ten times the others; of one with an id in three of ten rows."""
    names = np.array([f"item-{number:06d}" for number in range(20 * ROWS)])
    partition = partitions_of(names, PARTITIONS)
    others = ROWS // (PARTITIONS + 9 if skew == "partition" else PARTITIONS)
    wanted = [ROWS - (PARTITIONS - 1) * others] + [others] * (PARTITIONS - 1)
    ids = np.concatenate([names[partition == number][:count] for number, count in enumerate(wanted)])
    ids = np.random.default_rng(0).permutation(ids)
    if skew == "item":
        ids[: 3 * ROWS // 10] = ids[0]
    return ids


def stored(run: Run, folder: Path, ids: np.ndarray, price: int) -> list[list[str]]:
    """The names of the row files of each partition, the price of every other row being another one."""
    schema, chunks = row_schema(METADATA), Chunks(rows_a_chunk(ROWS, PARTITIONS, 1))
    names: list[list[str]] = []
    for partition in range(PARTITIONS):
        rows = np.flatnonzero(partitions_of(ids, PARTITIONS) == partition)
        names.append([])
        for chunk, part in chunks.deal(partition, pa.record_batch({"row": rows})):
            rng = np.random.default_rng((partition, chunk))
            block = [
                {
                    "item_id": ids[row],
                    "image_uri": f"{folder}/{row % 4}.png",
                    "origin": f"c.csv row {row}",
                    "metadata": {"price": row % 2 * price, "text": rng.bytes(METADATA_BYTES // 2).hex()},
                }
                for row in part["row"].to_pylist()
            ]
            batch = pa.RecordBatch.from_pylist(block, schema)
            names[-1] += store_rows(run.rows_folder(partition), [batch], KEY)
    return names


def embedded(folder: Path, skew: str) -> dict:
    folder.mkdir()
    for number in range(4):
        draw_picture(number, (12, 10)).save(folder / f"{number}.png")
    ids, store = ids_of(skew), str(folder / "store")
    runs = {name: stored(Run(store, name), folder, ids, price) for price, name in enumerate(("first", "second"))}
    given = {"store": store, "rows": ROWS, "runs": runs, "metadata": METADATA.serialize().to_pybytes().hex()}
    done = subprocess.run(
        [sys.executable, "-c", _EMBED],
        input=json.dumps({**given, "key": KEY.hex()}),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "chunks": max(map(len, runs["first"]))}


def test_a_skewed_catalog_takes_the_memory_of_an_even_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nights: all is new; then half of the metadata is, and every partition is folded."""
    if not Path("/proc/self/status").exists():
        absent("/proc")
    monkeypatch.setattr(row_files, "_FEWEST_OF_ALL_READERS", 0)
    monkeypatch.setattr(row_files, "_TIMES_THE_MEAN", 1)
    found = {skew: embedded(tmp_path / skew, skew) for skew in ("none", "partition", "item")}
    for skew in ("partition", "item"):
        assert found[skew]["chunks"] >= 5
        assert found[skew]["peak"] - found["none"]["peak"] < _TOLERANCE, found
    assert found["partition"]["most"] > 6 * ROWS / PARTITIONS
    same = 3 * ROWS // 10
    for counts in found["item"]["counts"]:
        assert counts["rejects_by_reason"] == {"duplicate_item_id": same - 1}
        assert counts["embedded"] + counts["reused"] == ROWS - same + 1
    for skew in ("none", "partition"):
        assert [counts["embedded"] for counts in found[skew]["counts"]] == [ROWS, 0]
        assert found[skew]["files"] == PARTITIONS  # Folded.
