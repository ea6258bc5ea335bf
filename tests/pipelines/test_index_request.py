"""What the index job is asked for is what it builds: factories, budgets and targets."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from catalog.errors import UsageError
from catalog.manifest import artifact_root, read_manifest
from index_builder.catalog_index import CatalogIndex
from index_builder.planning.estimates import index_terms
from index_builder.planning.factory import parse_factory
from pipelines.index import IndexConfig, index
from tests.index_builder.vectors import clustered
from tests.pipelines.test_index import DIMENSION, make_store

ROWS = 2_500


def stored(folder: Path, vectors: np.ndarray) -> str:
    """An embedding store of the vectors."""
    (folder / "e").mkdir()
    return make_store(folder / "e", vectors)


@pytest.mark.parametrize(
    ("factory", "kept"),
    [
        ("OPQ8_32,IVF20,PQ8", False),
        ("IVF20,PQ8x4fs,RFlat", True),
        ("RR32,IVF20,RaBitQ,RFlat", True),
        ("IVF20_HNSW8,SQ8", False),
        ("HNSW8", False),
        ("Flat", False),
    ],
)
def test_an_explicit_factory_is_built_and_searched(factory: str, kept: bool, tmp_path: Path) -> None:
    vectors = clustered(ROWS, DIMENSION)
    store, artifacts = stored(tmp_path, vectors), str(tmp_path / "a")
    summary = index(IndexConfig(store, artifacts, "shop", factory=factory, rerank="none" if not kept else "auto"))
    plan = parse_factory(factory, ROWS, DIMENSION, "cosine")
    assert (summary.index, summary.vectors) == (plan.factory, ROWS)
    assert summary.bytes == pytest.approx(sum(index_terms(plan, ROWS).values()), rel=0.15)
    manifest = read_manifest(artifact_root(artifacts, "shop"), summary.version)
    assert (manifest.file("vectors") is not None) == kept
    url = next((tmp_path / "a").rglob(f"versions/{summary.version}/index.faiss"))
    assert faiss.read_index(str(url)).ntotal == ROWS
    opened = CatalogIndex.open(artifacts, "shop")
    found = [opened.search(vectors[row], 10)[0].item_id == f"item-{row:05d}" for row in range(0, ROWS, 50)]
    assert sum(found) > 0.5 * len(found)
    if kept:
        assert all(found)


def test_an_impossible_budget_ends_the_job_before_anything_is_written(tmp_path: Path) -> None:
    store = stored(tmp_path, clustered(ROWS, DIMENSION))
    with pytest.raises(UsageError, match="--memory-budget 1KB is less than the 20KB that row numbers alone take"):
        index(IndexConfig(store, str(tmp_path / "a"), "shop", memory_budget=1_000))
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"stratify": "colour"}, "--stratify colour: the metadata"), ({"factory": "IVF4,PQ8"}, "learns 256 centroids")],
)
def test_a_wrong_request_that_only_a_worker_can_tell_leaves_no_work_behind(
    tmp_path: Path, wrong: dict[str, str], message: str
) -> None:
    store = stored(tmp_path, clustered(300, DIMENSION))
    with pytest.raises(UsageError, match=message):
        index(IndexConfig(store, str(tmp_path / "a"), "shop", **wrong))
    assert [path for path in (tmp_path / "a").rglob("*") if path.is_file()] == []


def test_a_recall_target_chooses_the_family_and_the_point(tmp_path: Path) -> None:
    store = stored(tmp_path, clustered(ROWS, DIMENSION))
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", recall_target=0.95))
    assert summary.index == "IVF64,PQ8x4fs"
    assert summary.recall["10"] >= 0.95
