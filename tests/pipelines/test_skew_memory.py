"""A skewed catalog is embedded in the memory of an even one: the work on a partition, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY, absent, draw_picture

ROWS, PARTITIONS, METADATA_BYTES = 3_200, 16, 32_768
# Megabytes. The rows of an average partition have 6, those of one ten times the others 41, those of the one id 30; and
# who held them would hold them several times.
_TOLERANCE = 25

# The sizes of the pieces are in proportion to partitions of 200 rows.
_EMBED = """
import json, sys
from pathlib import Path
import numpy as np
import pyarrow as pa
from catalog import embedding_file, partition_slices, row_files
from catalog.partition import item_hashes, partitions_of
from catalog.rows import row_schema
from catalog.run import Run
from encoders.decode import DecodeLimits
from encoders.image_encoder import ImageEncoder
from encoders.registry import load_encoder
from pipelines import encode_partition
from pipelines.embed_steps import FinishSettings, assemble_snapshot
from pipelines.encode_partition import EncodeSettings, PartitionEncoder

skew, folder = sys.argv[1], sys.argv[2]
ROWS, PARTITIONS, METADATA_BYTES = map(int, sys.argv[3:])
embedding_file._ROW_GROUP_ROWS = 128
partition_slices._SLICE_ROWS, partition_slices._FOLDED_ROWS = 128, 64
row_files._FEWEST_OF_ALL_READERS = row_files._FEWEST
row_files._TIMES_THE_MEAN = 1
encode_partition._ROWS_AT_ONCE = encode_partition._FOLDED_ROWS_AT_ONCE = 32

names = np.array([f"item-{number:06d}" for number in range(20 * ROWS)])
partition = partitions_of(names, PARTITIONS)
if skew == "partition":  # Ten times the others.
    others = ROWS // (PARTITIONS + 9)
    wanted = [ROWS - (PARTITIONS - 1) * others] + [others] * (PARTITIONS - 1)
else:
    wanted = [ROWS // PARTITIONS] * PARTITIONS
ids = np.concatenate([names[partition == number][:count] for number, count in enumerate(wanted)])
ids = np.random.default_rng(0).permutation(ids)
if skew == "item":  # One id has three of ten rows.
    ids[: 3 * ROWS // 10] = ids[0]
metadata = pa.schema([("price", pa.int64()), ("text", pa.string())])
schema = row_schema(metadata)

def settings(run, base):
    encoder = load_encoder("color-histogram")
    return EncodeSettings(
        store=folder + "/store", run_id=run, base=base, encoder_spec="color-histogram", engine="auto",
        fingerprint=encoder.info.fingerprint, vector_type="float16", metadata=metadata.serialize().to_pybytes(),
        limits=DecodeLimits(), key=b"k" * 32, threads=1,
    )

def read(work, night):
    # As a reader does, and a worker that is given one chunk after the other.
    chunks = row_files.Chunks(row_files.rows_a_chunk(ROWS, PARTITIONS, 1))
    dealt, found = {}, {number: [] for number in range(PARTITIONS)}
    at = partitions_of(ids, PARTITIONS)
    for number in range(PARTITIONS):
        rows = np.flatnonzero(at == number)
        for chunk, part in chunks.deal(number, pa.record_batch({"row": rows})):
            rng = np.random.default_rng(number + 1000 * chunk)
            batch = pa.RecordBatch.from_pylist([{
                "item_id": str(ids[row]), "product_id": "p", "image_uri": f"{folder}/{row % 4}.png",
                "origin": f"c.csv row {row}",
                "metadata": {"price": int(row % 2 * night), "text": rng.bytes(METADATA_BYTES // 2).hex()},
            } for row in part["row"].to_pylist()], schema)
            found[number] += row_files.store_rows(Run(work.store, work.run_id).rows_folder(number), [batch], work.key)
    return found

def memory(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024

work = settings("first", None)
images = ImageEncoder(load_encoder("color-histogram"), DecodeLimits(), 1)
finish = lambda parent: FinishSettings(images.info, PARTITIONS, ROWS, parent, parent)
list(images._loader.load_all([]))
first = read(work, 0)
before = memory("VmHWM")
one = PartitionEncoder(work, images, None)
snapshot = assemble_snapshot([one.encode(number, found) for number, found in first.items()], work, finish(None))
again = settings("second", 1)
second = read(again, 1)
two = PartitionEncoder(again, images, snapshot)
newer = assemble_snapshot([two.encode(number, found) for number, found in second.items()], again, finish(1))
print(json.dumps({
    "peak": memory("VmHWM"), "before": before, "chunks": max(map(len, first.values())),
    "most": max(entry.rows for entry in newer.files), "counts": [snapshot.counts.__dict__, newer.counts.__dict__],
    "files": len(newer.files),
}))
"""


def embedded(folder: Path, skew: str) -> dict:
    folder.mkdir()
    for number in range(4):
        draw_picture(number, (12, 10)).save(folder / f"{number}.png")
    arguments = [skew, str(folder), *map(str, (ROWS, PARTITIONS, METADATA_BYTES))]
    done = subprocess.run(
        [sys.executable, "-c", _EMBED, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_skewed_catalog_takes_the_memory_of_an_even_one(tmp_path: Path) -> None:
    """Two nights: all is new; then half of the metadata is, and every partition is folded."""
    if not Path("/proc/self/status").exists():
        absent("/proc")
    found = {skew: embedded(tmp_path / skew, skew) for skew in ("none", "partition", "item")}
    for skew in ("partition", "item"):
        assert found[skew]["chunks"] >= 5
        assert found[skew]["peak"] - found["none"]["peak"] < _TOLERANCE, found
    assert found["partition"]["most"] > 1_250
    same = 3 * ROWS // 10
    for counts in found["item"]["counts"]:
        assert counts["rejects_by_reason"] == {"duplicate_item_id": same - 1}
        assert counts["embedded"] + counts["reused"] == ROWS - same + 1
    for skew in ("none", "partition"):
        assert [counts["embedded"] for counts in found[skew]["counts"]] == [ROWS, 0]
        assert found[skew]["files"] == PARTITIONS  # Folded.
