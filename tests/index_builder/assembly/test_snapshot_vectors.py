from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.embedding_file import EmbeddingFileWriter, schema, vectors_of
from catalog.encoder_info import EncoderInfo
from catalog.errors import IntegrityError
from catalog.snapshot import Counts, FileEntry, Snapshot
from index_builder.assembly import snapshot_vectors
from index_builder.assembly.snapshot_vectors import partition_ids, partition_tables, partition_vectors, rows_of_files
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


@pytest.fixture(params=[1, 7, 64, 32_768])
def block_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many rows are held at a time."""
    monkeypatch.setattr(snapshot_vectors, "BLOCK_ROWS", request.param)
    return request.param


@pytest.mark.parametrize("vector_type", ["float16", "float32"])
@pytest.mark.parametrize("files", [0, 1, 2, 3])
@pytest.mark.parametrize("removed", [(), ("i000004", "i000000"), tuple(f"i{number:06d}" for number in range(99))])
def test_vectors_come_in_the_order_of_the_items_and_without_removed_ones(
    tmp_path: Path, block_rows: int, vector_type: str, files: int, removed: tuple[str, ...]
) -> None:
    rows = table(99, vector_type)
    shares = [rows.take(pa.array(range(number, 99, files))) for number in range(files)]
    parts = [(part, tuple(set(removed) & set(part["item_id"].to_pylist()))) for part in shares]
    snapshot = snapshot_of(tmp_path, parts, vector_type)
    alive = [row for row in rows.to_pylist() if row["item_id"] not in removed] if files else []
    expected = pa.Table.from_pylist(alive, rows.schema)
    assert partition_ids(str(tmp_path), snapshot, 0) == expected["item_id"].to_pylist()
    blocks = list(partition_vectors(str(tmp_path), snapshot, 0))
    assert [len(block) for block in blocks] == [
        min(block_rows, len(alive) - start) for start in range(0, len(alive), block_rows)
    ]
    tables = list(partition_tables(str(tmp_path), snapshot, 0, ["metadata", "product_id"]))
    assert all(0 < len(each) <= max(block_rows, files) for each in tables)
    if alive:
        vectors = np.concatenate(blocks)
        assert vectors.dtype == np.dtype(vector_type)
        np.testing.assert_array_equal(vectors, vectors_of(expected["embedding"], 6))
        found = pa.concat_tables(tables)
        assert (
            found.select(["item_id", "product_id"]).to_pylist()
            == expected.select(["item_id", "product_id"]).to_pylist()
        )
        assert found["metadata"].to_pylist() == expected["metadata"].to_pylist()


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=("Cs",)), max_size=4), st.tuples(st.integers(0, 2), st.booleans())
    )
)
def test_rows_are_numbered_in_the_order_in_which_python_sorts_text(items: dict[str, tuple[int, bool]]) -> None:
    """Each item is in one of three files, and counts or was removed."""
    parts = []
    for number in range(3):
        ids = sorted(item for item, (file, _) in items.items() if file == number)
        if ids:
            rows = table(len(ids), "float32").set_column(0, "item_id", pa.array(ids, pa.string()))
            parts.append((rows, tuple(item for item in ids if not items[item][1])))
    alive = sorted(item for item, (_, counts) in items.items() if counts)
    with tempfile.TemporaryDirectory() as folder:
        snapshot = snapshot_of(Path(folder), parts, "float32")
        found = rows_of_files(folder, snapshot, 0, 100)
        ids, blocks = partition_ids(folder, snapshot, 0), list(partition_vectors(folder, snapshot, 0))
    assert ids == alive
    assert [entry.rows for entry, _ in found] == [len(rows) for rows, _ in parts]
    of_item: dict[str, np.ndarray] = {}
    for (rows, _), (_, numbers) in zip(parts, found, strict=True):
        names = rows["item_id"].to_pylist()
        of_item |= dict(zip(names, vectors_of(rows["embedding"], 6), strict=True))
        assert numbers.tolist() == [100 + alive.index(each) if each in alive else -1 for each in names]
    vectors = np.concatenate([np.empty((0, 6)), *blocks])
    np.testing.assert_array_equal(vectors, np.array([of_item[each] for each in alive]).reshape(-1, 6))


def test_the_rows_of_a_file_that_is_alone_and_whole_are_known_without_reading_it(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, [(table(20, "float32"), ())], "float32")
    (tmp_path / snapshot.files[0].path).unlink()
    (entry, numbers), *others = rows_of_files(str(tmp_path), snapshot, 0, 7)
    assert (entry, numbers.tolist(), others) == (snapshot.files[0], list(range(7, 27)), [])


def test_a_file_with_other_rows_than_the_snapshot_says_is_named(tmp_path: Path) -> None:
    snapshot = snapshot_of(tmp_path, [(table(20, "float32"), ())], "float32")
    wrong = replace(snapshot, files=(replace(snapshot.files[0], rows=21),))
    with pytest.raises(IntegrityError, match=f"{snapshot.files[0].path} is damaged: it has 20 rows where snapshot 1"):
        list(partition_vectors(str(tmp_path), wrong, 0))
