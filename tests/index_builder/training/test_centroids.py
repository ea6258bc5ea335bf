from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_builder.measures import prepare
from index_builder.training import centroids as module
from index_builder.training.centroids import CentroidTree, share_out, train_centroids
from index_builder.training.row_store import RowStore
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


class _FaissWithGpu:
    """FAISS as it is, with a GPU that is a CPU."""

    StandardGpuResources = object

    def __init__(self) -> None:
        self.taken: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(faiss, name)

    def get_num_gpus(self) -> int:
        return 1

    def index_cpu_to_all_gpus(self, index: Any) -> Any:
        assert module._ON_GPU.locked()
        self.taken.append(index.d)
        return index


def test_only_a_large_k_means_goes_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    library, vectors = _FaissWithGpu(), clustered(500, 8)
    expected = module.k_means(vectors, 10, False, 1)
    monkeypatch.setattr(module, "faiss", lambda: library)
    assert module.has_gpu()
    for fewest, taken in ((500 * 10 * 8 + 1, []), (500 * 10 * 8, [8])):
        monkeypatch.setattr(module, "GPU_FROM", fewest)
        np.testing.assert_array_equal(module.k_means(vectors, 10, False, 1), expected)
        assert library.taken == taken
    assert not module._ON_GPU.locked()


def test_sub_quantizers_and_the_cells_of_thousands_of_lists_stay_off_the_gpu() -> None:
    sub_quantizer = 65_536 * 256 * 16
    vectors_of_a_cell, centroids_of_a_cell = 64 * 16_384 // 181, 16_384 // 181
    assert max(sub_quantizer, vectors_of_a_cell * centroids_of_a_cell * 1_280) < module.GPU_FROM
    assert module.GPU_FROM <= 256 * 362 * 362 * 256  # The cells of 65,536 lists, of 256 dimensions.
