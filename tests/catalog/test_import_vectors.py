from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import vector_files
from catalog.embedding_file import read_file, vectors_of
from catalog.encoder_info import EncoderInfo
from catalog.errors import CatalogIndexerError, IntegrityError, UsageError
from catalog.import_vectors import ImportConfig, ImportSummary, fingerprint_of, import_vectors
from catalog.partition import partitions_of
from catalog.rejects import read_rejects
from catalog.snapshot import Snapshot, latest_snapshot, list_snapshots, read_snapshot
from catalog.vector_source import VectorInput
from tests.conftest import files_below, snapshots_of

IDS = [f"item-{number:03d}" for number in range(200)]
VECTORS = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)

Importer = Callable[..., ImportSummary]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks from few rows."""
    monkeypatch.setattr(vector_files, "_BLOCK_BYTES", 2_000)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "embeddings"


@pytest.fixture
def bring(store: Path) -> Importer:
    """Imports files into the store."""

    def run(*inputs: object, **flags: Any) -> ImportSummary:
        source = {name: flags.pop(name) for name in ("ids", "id_column", "vector_column") if name in flags}
        config = {"output": str(store), "metric": "l2", "partitions": None if store.exists() else 4, **flags}
        return import_vectors(ImportConfig(VectorInput(tuple(map(str, inputs)), **source), **config))

    return run


def table(path: Path, ids: list[str] | None = None, vectors: np.ndarray = VECTORS, **columns: object) -> Path:
    names = IDS if ids is None else ids
    rows = pa.array([None if row is None else list(row) for row in vectors], pa.list_(pa.float64()))
    pq.write_table(pa.table({"id": names, "embedding": rows, **columns}), path)
    return path


def stored(store: Path, sequence: int | None = None) -> dict[str, np.ndarray]:
    """Item id to vector, every file being sorted by item id and in its partition."""
    snapshot = newest(store) if sequence is None else read_snapshot(str(store), sequence)
    found: dict[str, np.ndarray] = {}
    for entry in snapshot.files:
        rows = read_file(str(store / entry.path))
        names = rows["item_id"].to_pylist()
        assert names == sorted(names)
        assert set(partitions_of(names, snapshot.partitions).tolist()) == {entry.partition}
        found |= dict(zip(names, vectors_of(rows["embedding"], snapshot.encoder.dimension), strict=True))
    assert len(found) == snapshot.vectors
    return found


def newest(store: Path) -> Snapshot:
    snapshot = latest_snapshot(str(store))
    assert snapshot is not None
    return snapshot


def rejects(store: Path) -> list[tuple[str, str, str, str]]:
    rows = [row for entry in newest(store).rejects for row in read_rejects(str(store / entry.path)).to_pylist()]
    return sorted((row["item_id"], row["reason"], row["origin"], row["detail"]) for row in rows)


def test_every_row_is_stored_under_its_id_as_float16(bring: Importer, store: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    (tmp_path / "ids.txt").write_text("\n".join(IDS))
    summary = bring(tmp_path / "v.npy", ids=str(tmp_path / "ids.txt"), encoder_name="clap")
    assert (summary.rows, summary.embedded, summary.reused, summary.rejected) == (200, 200, 0, 0)
    found = stored(store)
    assert sorted(found) == IDS
    for item_id, vector in zip(IDS, VECTORS, strict=True):
        np.testing.assert_array_equal(found[item_id], vector.astype(np.float16))
    snapshot = newest(store)
    expected = EncoderInfo("clap", "imported", 8, (0, 0), "l2", False, fingerprint_of(None, "clap", 8, "l2"))
    assert (snapshot.encoder, snapshot.vector_type, snapshot.partitions) == (expected, "float16", 4)
    assert (snapshot.sequence, snapshot.parent, snapshot.lineage) == (1, None, 1)


def test_the_files_have_no_columns_of_pictures(bring: Importer, store: Path, tmp_path: Path) -> None:
    bring(table(tmp_path / "a.parquet", product_id=["p"] * 200, price=[1.5] * 200))
    rows = read_file(str(store / newest(store).files[0].path))
    assert rows.column_names == ["item_id", "product_id", "embedding", "metadata"]
    assert rows.slice(0, 1).select(["product_id", "metadata"]).to_pylist() == [
        {"product_id": "p", "metadata": {"price": 1.5}}
    ]


def test_without_ids_an_item_is_the_number_of_its_row(bring: Importer, store: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    bring(tmp_path / "v.npy")
    found = stored(store)
    assert set(found) == {str(row) for row in range(200)}
    np.testing.assert_array_equal(found["17"], VECTORS[17].astype(np.float16))


@pytest.mark.parametrize(
    ("factor", "vector_type"), [(1, "float16"), (1e-3, "float16"), (1e-6, "float32"), (1e5, "float32")]
)
def test_the_vectors_choose_float16_where_it_holds_them(
    bring: Importer, store: Path, tmp_path: Path, factor: float, vector_type: str
) -> None:
    np.save(tmp_path / "v.npy", VECTORS.astype(np.float64) * factor)
    summary = bring(tmp_path / "v.npy")
    assert (summary.vector_type, newest(store).vector_type, summary.rejected) == (vector_type, vector_type, 0)
    expected = (VECTORS.astype(np.float64) * factor).astype(np.float32).astype(vector_type)
    np.testing.assert_array_equal([stored(store)[str(row)] for row in range(200)], expected)
    # Into the store that is there now, rows come by the same way.
    assert bring(tmp_path / "v.npy").snapshot == 1


def test_unit_length_is_declared_as_found(bring: Importer, store: Path, tmp_path: Path) -> None:
    unit = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)
    np.save(tmp_path / "v.npy", unit)
    assert bring(tmp_path / "v.npy", metric="cosine").normalized
    np.save(tmp_path / "v.npy", np.concatenate([unit, unit[:1] * 3]))
    summary = bring(tmp_path / "v.npy", metric="cosine")
    assert (summary.normalized, summary.embedded, newest(store).encoder.normalized) == (False, 1, False)


def test_rows_that_cannot_be_used_are_rejects_with_a_reason(bring: Importer, store: Path, tmp_path: Path) -> None:
    vectors: list[list[float] | None] = [list(row) for row in VECTORS]
    vectors[3], vectors[4], vectors[5], vectors[6] = None, [np.nan] * 8, [0.0] * 8, [1e6] * 8
    ids: list[str | None] = list(IDS)
    ids[7], ids[8], ids[10], ids[11] = None, "  ", ids[9], ids[9]
    rows = pa.array(vectors, pa.list_(pa.float64()))
    pq.write_table(pa.table({"id": ids, "embedding": rows}), tmp_path / "a.parquet")
    summary = bring(tmp_path / "a.parquet", metric="cosine", vector_type="float16")
    assert summary.rejects_by_reason == {"duplicate_item_id": 2, "empty_item_id": 2, "invalid_vector": 4}
    assert (summary.rows, summary.embedded, summary.rejected) == (200, 192, 8)
    kept = min((9, 10, 11), key=lambda row: VECTORS[row].astype(np.float16).tobytes())
    expected = [
        ("item-003", "invalid_vector", "a.parquet row 4", "the row has no vector"),
        ("item-004", "invalid_vector", "a.parquet row 5", "a value is not a finite number"),
        ("item-005", "invalid_vector", "a.parquet row 6", "it is all zeros, which have no direction"),
        (
            "item-006",
            "invalid_vector",
            "a.parquet row 7",
            "a value is too large for float16; import into a store of float32",
        ),
        ("", "empty_item_id", "a.parquet row 8", "the item id is empty"),
        ("", "empty_item_id", "a.parquet row 9", "the item id is empty"),
    ] + [
        (
            "item-009",
            "duplicate_item_id",
            f"a.parquet row {row + 1}",
            f"the id is also in a.parquet row {kept + 1}, which is kept",
        )
        for row in (9, 10, 11)
        if row != kept
    ]
    assert rejects(store) == sorted(expected)
    np.testing.assert_array_equal(stored(store)["item-009"], VECTORS[kept].astype(np.float16))


def test_the_same_import_again_makes_no_snapshot_and_leaves_no_trace(
    bring: Importer, store: Path, tmp_path: Path
) -> None:
    path = table(tmp_path / "a.parquet", ids=["", *IDS[1:]], label=["x"] * 200)
    bring(path)
    before = files_below(store)
    again = bring(path)
    assert (again.snapshot, again.embedded, again.reused, again.rejected) == (1, 0, 199, 1)
    assert files_below(store) == before


def test_the_order_of_the_input_changes_no_byte_of_a_file(bring: Importer, store: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(200)
    ids = [*IDS[:190], *IDS[:10]]  # Ten ids twice.
    prices = np.arange(200.0)
    whole = table(tmp_path / "a.parquet", ids=ids, price=prices)
    one = table(tmp_path / "b.parquet", [ids[n] for n in order[:90]], VECTORS[order[:90]], price=prices[order[:90]])
    other = table(tmp_path / "c.parquet", [ids[n] for n in order[90:]], VECTORS[order[90:]], price=prices[order[90:]])
    bring(whole)
    for number, inputs in enumerate([(one, other), (other, one)]):
        bring(*inputs, output=str(tmp_path / f"e{number}"), partitions=4)
        assert files_below(tmp_path / f"e{number}" / "files") == files_below(store / "files")
    assert snapshots_of(tmp_path / "e0") == snapshots_of(tmp_path / "e1")


def test_a_changed_row_rewrites_its_partition_and_no_other(bring: Importer, store: Path, tmp_path: Path) -> None:
    labels = ["old"] * 200
    bring(table(tmp_path / "a.parquet", label=labels))
    first = newest(store)
    vectors = VECTORS.copy()
    partition = partitions_of(IDS, 4)
    changed = np.flatnonzero(partition == 2)[:2]
    vectors[changed[0]] += 1
    labels[int(changed[1])] = "new"
    summary = bring(table(tmp_path / "a.parquet", vectors=vectors, label=labels))
    assert (summary.snapshot, summary.embedded, summary.reused, summary.removed) == (2, 2, 198, 0)
    second = newest(store)
    assert (second.parent, second.lineage) == (1, 1)
    assert [entry for entry in second.files if entry.partition != 2] == [e for e in first.files if e.partition != 2]
    assert second.files_of(2) != first.files_of(2)
    np.testing.assert_array_equal(stored(store)[IDS[changed[0]]], vectors[changed[0]].astype(np.float16))
    np.testing.assert_array_equal(stored(store, 1)[IDS[changed[0]]], VECTORS[changed[0]].astype(np.float16))


def test_rows_that_are_gone_are_removed_and_new_ones_added(bring: Importer, store: Path, tmp_path: Path) -> None:
    bring(table(tmp_path / "a.parquet", IDS[:150], VECTORS[:150]))
    summary = bring(table(tmp_path / "a.parquet", IDS[20:], VECTORS[20:]))
    assert (summary.embedded, summary.reused, summary.removed) == (50, 130, 20)
    assert sorted(stored(store)) == IDS[20:]


def test_the_same_rows_from_another_writer_are_the_same(
    bring: Importer, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from catalog import embedding_file

    path = table(tmp_path / "a.parquet")
    bring(path)
    monkeypatch.setattr(embedding_file, "_ROW_GROUP_ROWS", 16)  # Other bytes.
    assert bring(path).snapshot == 1


def test_an_import_that_would_lose_most_items_is_refused(bring: Importer, store: Path, tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet")
    bring(path)
    few = table(tmp_path / "few.parquet", IDS[:50], VECTORS[:50])
    for flags in ({}, {"fingerprint": "another model"}):
        with pytest.raises(CatalogIndexerError, match=r"of 200 items only 50 would be left .* give --may-lose 1"):
            bring(few, **flags)
    none = table(tmp_path / "none.parquet", [], VECTORS[:0])
    np.save(tmp_path / "none.npy", VECTORS[:0])
    with pytest.raises(UsageError, match=r"none\.parquet has no vectors"):
        bring(none)
    with pytest.raises(UsageError, match=r"the input has no rows, and .* has 200 items"):
        bring(tmp_path / "none.npy")
    assert list_snapshots(str(store)) == [1]
    summary = bring(few, may_lose=1.0)
    assert (summary.snapshot, summary.reused, summary.removed) == (2, 50, 150)


def test_another_declaration_starts_a_lineage_and_the_first_one_goes_on(
    bring: Importer, store: Path, tmp_path: Path
) -> None:
    path = table(tmp_path / "a.parquet")
    first = bring(path, fingerprint="clip ViT-B/32, laion2b")
    second = bring(path, fingerprint="clip ViT-B/32, openai")
    assert (second.snapshot, second.lineage, second.embedded) == (2, 2, 200)
    assert second.fingerprint != first.fingerprint
    third = bring(path, fingerprint="clip ViT-B/32, laion2b")
    assert (third.snapshot, third.lineage, third.reused) == (3, 1, 200)
    assert newest(store).files == read_snapshot(str(store), 1).files


def test_a_fingerprint_is_of_the_declaration_or_else_of_name_and_metric_and_always_of_the_dimension() -> None:
    told = [fingerprint_of(text, "n", 8, "l2") for text in ("a", "b")]
    plain = [
        fingerprint_of(None, name, d, metric) for name, d, metric in (("n", 8, "l2"), ("m", 8, "l2"), ("n", 8, "dot"))
    ]
    assert len({*told, *plain, fingerprint_of("a", "n", 9, "l2"), fingerprint_of(None, "n", 9, "l2")}) == 7
    assert fingerprint_of("a", "m", 8, "dot") == told[0]


def test_another_metric_of_the_same_declaration_is_a_snapshot_of_the_same_files(
    bring: Importer, store: Path, tmp_path: Path
) -> None:
    path = table(tmp_path / "a.parquet")
    bring(path, fingerprint="m", metric="l2")
    summary = bring(path, fingerprint="m", metric="dot")
    assert (summary.snapshot, summary.lineage, summary.reused, newest(store).encoder.metric) == (2, 1, 200, "dot")
    assert newest(store).files == read_snapshot(str(store), 1).files


def test_what_is_wrong_with_the_whole_input_or_store_leaves_nothing_behind(
    bring: Importer, store: Path, tmp_path: Path
) -> None:
    path = table(tmp_path / "a.parquet")
    rows = [list(row) for row in VECTORS]
    rows[199] = rows[199][:7]
    pq.write_table(pa.table({"id": IDS, "embedding": rows}), tmp_path / "ragged.parquet")
    for inputs, flags, message in (
        ([tmp_path / "ragged.parquet"], {}, "row 200 has a vector of 7 dimensions"),
        ([path], {"partitions": 3}, "--partitions 3 is not a power of two"),
        ([path], {"metric": "hamming"}, "--metric hamming is unknown; expected one of cosine, dot, l2, l1"),
        ([path], {"output": "az://b/e"}, "writing to az:// is not supported"),
        ([path], {"vector_column": "v"}, r"has no column 'v' \(--vector-column\)"),
    ):
        with pytest.raises(UsageError, match=message):
            bring(*inputs, **flags)
        assert not store.exists()
    bring(path)
    with pytest.raises(UsageError, match=r"--vector-type float32: .* was created with float16; leave the flag out"):
        bring(path, vector_type="float32")
    (store / "store.json").unlink()
    with pytest.raises(IntegrityError, match=r"store\.json is missing; restore it"):
        bring(path)


def test_too_small_a_scratch_disk_is_told_before_anything_is_read(
    bring: Importer, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from types import SimpleNamespace

    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000))
    with pytest.raises(UsageError, match=r"GB free and the rows need 0\.0 GB; name a larger one with .* TMPDIR"):
        bring(table(tmp_path / "a.parquet"))
    assert not store.exists()
