from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from catalog.embedding_file import EmbeddingFileWriter, schema, vectors_of
from catalog.encoder_info import EncoderInfo
from catalog.snapshot import Counts, FileEntry, Snapshot
from index_builder.snapshot_vectors import partition_vectors, read_partition
from tests.catalog.test_embedding_file import METADATA, table


def snapshot_of(store: Path, parts: list[tuple[pa.Table, tuple[str, ...]]], vector_type: str) -> Snapshot:
    """One partition of files, each with the ids that no longer count."""
    files = []
    for rows, removed in parts:
        writer = EmbeddingFileWriter(store / "scratch", schema(6, vector_type, METADATA), "finger")
        writer.append(rows)
        written = writer.store(str(store), "files/00000")
        files.append(FileEntry(0, written.path, written.sha256, written.bytes, written.rows, removed))
    encoder = EncoderInfo("e", "e", 6, (1, 1), "cosine", False, "finger")
    return Snapshot(1, None, 1, "r", encoder, vector_type, 1, Counts(0, 0, 0, 0), tuple(files))


@pytest.mark.parametrize("vector_type", ["float16", "float32"])
@pytest.mark.parametrize("files", [0, 1, 2, 3])
@pytest.mark.parametrize("removed", [(), ("i000004", "i000000"), tuple(f"i{number:06d}" for number in range(99))])
def test_vectors_come_in_the_order_of_the_items_and_without_removed_ones(
    tmp_path: Path, vector_type: str, files: int, removed: tuple[str, ...]
) -> None:
    rows = table(99, vector_type)
    shares = [rows.take(pa.array(range(number, 99, files))) for number in range(files)]
    parts = [(part, tuple(set(removed) & set(part["item_id"].to_pylist()))) for part in shares]
    snapshot = snapshot_of(tmp_path, parts, vector_type)
    ids, vectors = partition_vectors(str(tmp_path), snapshot, 0)
    slow = read_partition(str(tmp_path), snapshot, 0, ["embedding"])
    assert ids == slow["item_id"].to_pylist()
    assert len(ids) == (99 - len(removed) if files else 0)
    assert vectors.shape == (len(ids), 6)
    if len(ids):
        assert vectors.dtype == np.dtype(vector_type)
        np.testing.assert_array_equal(vectors, vectors_of(slow["embedding"], 6))
