"""However many rows of a partition a stage holds at a time, what it stores has the same bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from catalog.import_vectors import ImportConfig, import_vectors
from catalog.snapshot import read_snapshot
from catalog.vector_source import VectorInput
from index_builder import work
from index_builder.assembly import snapshot_vectors
from index_builder.stages import encoding, sampling
from index_builder.stages.assembling import write_shard
from index_builder.stages.sampling import count_strata, sample_partition, sampled_rows, total_strata
from index_builder.training import codebook
from index_builder.training.sample import Drawn, Shares, draw, merge_drawn
from tests.conftest import files_below
from tests.index_builder.stages.small_build import small_build
from tests.index_builder.vectors import clustered


@pytest.fixture
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_vectors, "BLOCK_ROWS", 50)
    monkeypatch.setattr(sampling, "BLOCK_ROWS", 50)
    monkeypatch.setattr(encoding, "_BATCH_BYTES", 4 * 8 * 100)


@pytest.mark.parametrize("factory", ["IVF8,SQ8", "Flat"])
def test_a_build_in_small_pieces_stores_the_same(
    tmp_path: Path, factory: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(codebook, "_ENCODED_AT_ONCE", 64)  # A file has several such pieces.
    whole = small_build(tmp_path, "whole", factory)
    expected = whole.everything() if factory != "Flat" else _flat(whole)
    request.getfixturevalue("in_small_pieces")
    pieces = small_build(tmp_path, "pieces", factory)
    assert (pieces.everything() if factory != "Flat" else _flat(pieces)) == expected
    for folder in ("codes", "work"):
        stored = files_below(Path(whole.job.root) / folder)
        assert stored or (factory, folder) == ("Flat", "codes")
        assert files_below(Path(pieces.job.root) / folder) == stored


def _flat(build) -> bytes:  # type: ignore[no-untyped-def]
    build.sample()
    build.train()
    build.encode()
    return build.assemble()


def test_strata_samples_and_shards_are_the_same_in_small_pieces(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Items with metadata, in two partitions."""
    import pyarrow.parquet as pq

    vectors = clustered(600, 8)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 8)
    labels = [f"label {number % 7}" for number in range(600)]
    ids = [f"i{number:04d}" for number in range(600)]
    pq.write_table(pa.table({"item_id": ids, "embedding": column, "label": labels}), tmp_path / "v.parquet")
    store = str(tmp_path / "store")
    import_vectors(ImportConfig(VectorInput((str(tmp_path / "v.parquet"),)), store, "cosine", partitions=2))
    snapshot, build = read_snapshot(store, 1), small_build(tmp_path)

    def stored(name: str) -> dict[str, bytes]:
        plan = replace(build.job.plan, refine=True, training_rows=300)
        job = replace(build.job, root=str(tmp_path / name), store=store, plan=plan, stratify="label")
        for partition in range(2):
            count_strata(job, snapshot, partition)
        strata = total_strata(job, snapshot)
        assert sum(strata.values()) == 600
        for partition in range(2):
            sample_partition(job, snapshot, partition, sampled_rows(job, snapshot), strata)
        sampling.storage.write(work.WorkFolder(job).metadata(), _metadata_type(store))
        write_shard(job, snapshot, 0)
        return files_below(tmp_path / name)

    expected = stored("whole")
    assert len(expected) >= 8
    request.getfixturevalue("in_small_pieces")
    assert stored("pieces") == expected


def _metadata_type(store: str) -> bytes:
    kind = snapshot_vectors.metadata_type(store, read_snapshot(store, 1))
    return pa.schema([("metadata", kind)]).serialize().to_pybytes()


@pytest.mark.parametrize("asked", [0, 3, 200])
def test_what_is_drawn_of_parts_is_what_is_drawn_of_all(asked: int) -> None:
    """With no row whose hash is low enough, the row of the lowest asks."""
    vectors = clustered(500, 6).astype(np.float16)
    vectors[::9] = 0  # No use to anybody.
    ids = [f"i{number}" for number in range(500)]
    shares = Shares.of(asked, 100, 500)
    whole = draw(ids, vectors, 1_000, 3, shares)
    parts = [
        draw(ids[start : start + 77], vectors[start : start + 77], 1_000 + start, 3, shares)
        for start in range(0, 500, 77)
    ]
    _assert_equal(merge_drawn(parts, shares, 6), whole)
    nothing = merge_drawn([], shares, 6)
    _assert_equal(nothing, draw([], np.empty((0, 6), np.float32), 0, 3, shares))


def _assert_equal(one: Drawn, other: Drawn) -> None:
    for left, right in ((one.queries, other.queries), (one.training, other.training)):
        for name in ("keys", "rows", "vectors"):
            assert getattr(left, name).dtype == getattr(right, name).dtype
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    np.testing.assert_array_equal(one.digests, other.digests)


def test_a_sample_of_zeros_asks_nobody() -> None:
    shares = Shares.of(0, 10, 100)
    parts = [draw([f"i{number}"], np.zeros((1, 4), np.float32), number, 0, shares) for number in range(3)]
    assert len(merge_drawn(parts, shares, 4).queries.keys) == 0
