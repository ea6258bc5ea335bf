"""Catalogs of a few items make versions that are whole: evaluated, timed, with golden queries, and searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from catalog.import_vectors import ImportConfig, import_vectors
from catalog.vector_source import VectorInput
from index_builder.catalog_index import CatalogIndex
from pipelines.index import IndexConfig, index
from tests.index_builder.vectors import clustered, exact_rows

DIMENSION = 8


def imported(root: Path, vectors: np.ndarray, metric: str) -> str:
    np.save(root / "vectors.npy", vectors)
    source = VectorInput((str(root / "vectors.npy"),))
    import_vectors(ImportConfig(source, str(root / "e"), metric))
    return str(root / "e")


@pytest.mark.parametrize(
    ("count", "metric", "queries"),
    [(count, metric, 1_000) for count in (1, 2, 3, 6) for metric in ("cosine", "dot", "l2", "l1")]
    + [(1, "cosine", 1), (2, "l2", 1), (6, "cosine", 1)],
)
def test_a_catalog_of_a_few_items_is_indexed_evaluated_and_searched(
    tmp_path: Path, count: int, metric: str, queries: int
) -> None:
    vectors = clustered(count, DIMENSION)
    store, artifacts = imported(tmp_path, vectors, metric), str(tmp_path / "a")
    summary = index(IndexConfig(store, artifacts, "shop", queries=queries, recall_target=0.9))
    assert (summary.index, summary.vectors) == ("Flat", count)
    assert summary.recall == {"1": 1.0, "10": 1.0, "100": 1.0}
    folder = tmp_path / "a" / "shop" / "versions" / summary.version
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["queries"] == min(queries, count)
    assert evaluation["target_met"] is True
    assert all(each["queries"] > 0 for each in json.loads((folder / "timings.json").read_text())["points"])
    opened = CatalogIndex.open(artifacts, "shop")
    assert opened.check() == []
    found = [[match.row for match in opened.search(vector, 10)] for vector in vectors]
    rows = {opened.items().item_id(row): row for row in range(count)}
    names = sorted(rows, key=int)  # By the vector's number.
    exact = exact_rows(vectors, vectors, metric, 10)
    assert found == [[rows[names[each]] for each in nearest] for nearest in exact]


@pytest.mark.parametrize("factory", ["IVF1,SQ8", "HNSW8"])
def test_somebody_asks_where_a_fifth_of_the_items_is_none_or_few(tmp_path: Path, factory: str) -> None:
    count = 39 if factory.startswith("IVF") else 2
    store = imported(tmp_path, clustered(count, DIMENSION), "cosine")
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop", factory=factory, queries=1))
    folder = tmp_path / "a" / "shop" / "versions" / summary.version
    assert json.loads((folder / "evaluation.json").read_text())["queries"] == 1


def test_where_no_vector_can_ask_the_version_says_so(tmp_path: Path) -> None:
    store = imported(tmp_path, np.zeros((3, DIMENSION), np.float32), "l2")
    summary = index(IndexConfig(store, str(tmp_path / "a"), "shop"))
    folder = tmp_path / "a" / "shop" / "versions" / summary.version
    assert json.loads((folder / "evaluation.json").read_text())["queries"] == 0
    opened = CatalogIndex.open(str(tmp_path / "a"), "shop")
    assert len(opened.search(np.ones(DIMENSION), 10)) == 3
