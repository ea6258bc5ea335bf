from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_builder import centroids as module
from index_builder.centroids import CentroidTree, share_out, train_centroids
from index_builder.measures import prepare
from index_builder.row_store import RowStore
from tests.index_builder.vectors import clustered


def stored(vectors: np.ndarray, path: Path | None = None) -> RowStore:
    rows = RowStore(path, len(vectors), vectors.shape[1])
    rows.write(0, vectors)
    return rows


def nearest_of_all(vectors: np.ndarray, tree: CentroidTree) -> np.ndarray:
    products = vectors.astype(np.float64) @ tree.centroids.T.astype(np.float64)
    if not tree.inner_product:
        products -= (tree.centroids.astype(np.float64) ** 2).sum(axis=1) / 2
    return products.argmax(axis=1)


@pytest.fixture(params=[True, False], ids=["inner_product", "l2"])
def trained(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, CentroidTree]:
    monkeypatch.setattr(module, "FLAT_BELOW", 16)
    vectors = prepare(clustered(6_000, 16), "cosine" if request.param else "l2")
    return vectors, train_centroids(stored(vectors), 128, request.param, 1, None)


def test_looking_into_every_cell_finds_the_nearest_centroid_of_all(
    trained: tuple[np.ndarray, CentroidTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, tree = trained
    assert len(tree.cells) == 16
    assert math.isfinite(tree.gap)
    monkeypatch.setattr(module, "CELLS", len(tree.cells))
    everywhere = replace(tree, gap=math.inf).assign(vectors[:500])
    np.testing.assert_array_equal(everywhere, nearest_of_all(vectors[:500], tree))


def test_cells_within_the_gap_find_the_nearest_centroid_nearly_always_and_the_cells_hold_all_centroids(
    trained: tuple[np.ndarray, CentroidTree],
) -> None:
    vectors, tree = trained
    assert (tree.assign(vectors) == nearest_of_all(vectors, tree)).mean() > 0.97
    assert (tree.starts[0], tree.starts[-1]) == (0, 128)
    assert (np.diff(tree.starts) >= 1).all()


def test_two_levels_are_nearly_as_close_as_k_means_over_all(trained: tuple[np.ndarray, CentroidTree]) -> None:
    vectors, tree = trained
    flat = module.k_means(vectors, 128, tree.inner_product, 1)
    lists = tree.assign(vectors)
    far = ((vectors - tree.centroids[lists]) ** 2).sum()
    best = (
        vectors - flat[nearest_of_all(vectors, CentroidTree(tree.cells, flat, tree.starts, tree.inner_product))]
    ) ** 2
    assert far < 1.05 * best.sum()


def test_training_on_disk_gives_the_same_centroids_as_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLAT_BELOW", 16)
    vectors = clustered(3_000, 12)
    one = train_centroids(stored(vectors), 64, False, 1, None)
    other = train_centroids(stored(vectors, tmp_path / "rows"), 64, False, 1, tmp_path)
    np.testing.assert_array_equal(one.centroids, other.centroids)
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=50)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=30), st.data())
def test_every_cell_with_vectors_gets_centroids_in_proportion_and_none_more_than_vectors(
    sizes: list[int], data: st.DataObject
) -> None:
    held = np.array(sizes)
    occupied = int((held > 0).sum())
    if held.sum() == 0:
        return
    lists = data.draw(st.integers(occupied, int(held.sum())))
    shares = share_out(lists, held)
    assert shares.sum() == lists
    assert (shares <= held).all()
    assert (shares[held > 0] >= 1).all()


def test_too_few_vectors_are_an_error() -> None:
    with pytest.raises(ValueError, match="5 vectors are too few for 6 centroids"):
        share_out(6, np.array([2, 3]))
