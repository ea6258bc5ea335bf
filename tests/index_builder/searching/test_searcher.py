from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index_builder.evaluation.ground_truth import exact_neighbours, merge_neighbours
from index_builder.evaluation.recall import recall_at
from index_builder.measures import prepare, score_and_distance
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.searching.vector_file import write_vectors
from index_builder.training.codebook import encode_vectors
from tests.index_builder.small_index import trained, write_flat, write_index
from tests.index_builder.vectors import clustered, exact_rows, small_plan


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
def test_neighbours_found_block_by_block_are_the_exact_ones(metric: str) -> None:
    vectors, queries = clustered(900, 12), clustered(30, 12, seed=1)
    prepared, asked = prepare(vectors, metric), prepare(queries, metric)
    blocks = [np.arange(start, min(start + 250, 900)) for start in range(0, 900, 250)]
    parts = [exact_neighbours(asked, prepared[rows], rows, metric, 20) for rows in blocks]
    found = merge_neighbours(parts[::-1], metric, 20)
    np.testing.assert_array_equal(found.rows, exact_rows(queries, vectors, metric, 20))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
def test_a_flat_index_returns_the_exact_neighbours(metric: str, tmp_path: Path) -> None:
    vectors, queries = clustered(400, 12), clustered(20, 12, seed=1)
    write_flat(tmp_path / "i", prepare(vectors, metric), metric)
    rows, _ = Searcher([tmp_path / "i"], [], metric).search(queries, 10, OperatingPoint(0, 0))
    np.testing.assert_array_equal(rows, exact_rows(queries, vectors, metric, 10))


@pytest.fixture(params=["cosine", "dot", "l2"])
def ivf(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, np.ndarray, Searcher]:
    metric = request.param
    vectors = prepare(clustered(3_000, 24), metric)
    plan = small_plan(metric)
    codebook = trained(vectors, plan)
    write_index(tmp_path / "i", codebook, plan, [(encode_vectors(codebook, vectors, metric), np.arange(3_000))])
    write_vectors(tmp_path / "v.npy", [vectors[:1_000], vectors[1_000:]], 3_000, 24, "float32")
    return metric, vectors, Searcher([tmp_path / "i"], [tmp_path / "v.npy"], metric)


def test_with_every_list_and_many_candidates_the_stored_vectors_give_the_exact_order(
    ivf: tuple[str, np.ndarray, Searcher],
) -> None:
    metric, vectors, searcher = ivf
    queries = prepare(clustered(25, 24, seed=5), metric)
    rows, values = searcher.search(queries, 10, OperatingPoint(16, 300))
    np.testing.assert_array_equal(rows, exact_rows(queries, vectors, metric, 10))
    scores = [score_and_distance(value, metric)[0] for value in values[0].tolist()]
    assert scores == sorted(scores, reverse=True)


def test_re_ranking_never_lowers_recall(ivf: tuple[str, np.ndarray, Searcher]) -> None:
    metric, vectors, searcher = ivf
    queries = vectors[::60]
    exact = exact_rows(queries, vectors, metric, 10)
    plain = recall_at(searcher.search(queries, 10, OperatingPoint(4, 0))[0], exact, (10,))["10"]
    ranked = recall_at(searcher.search(queries, 10, OperatingPoint(4, 4))[0], exact, (10,))["10"]
    assert ranked > plain


def test_asking_for_more_than_there_is_gives_all_there_is(tmp_path: Path) -> None:
    write_flat(tmp_path / "i", clustered(3, 4), "l2")
    rows, values = Searcher([tmp_path / "i"], [], "l2").search(clustered(2, 4), 1_000_000_000, OperatingPoint(0, 0))
    assert rows.shape == values.shape == (2, 3)
    assert sorted(rows[0].tolist()) == [0, 1, 2]


@pytest.mark.parametrize("rerank", [0, 4])
def test_lists_that_hold_too_few_vectors_are_not_the_end_of_a_search(
    ivf: tuple[str, np.ndarray, Searcher], rerank: int
) -> None:
    _, vectors, searcher = ivf
    assert searcher.search(vectors[:1], 2_500, OperatingPoint(0, rerank))[0].shape == (1, 2_500)
    rows, _ = searcher.search(vectors[:10], 2_500, OperatingPoint(1, rerank))
    assert rows.shape == (10, 2_500)
    assert (rows >= 0).all()
    assert all(len(set(found.tolist())) == 2_500 for found in rows)


@pytest.mark.parametrize(
    ("metric", "value", "score", "distance"),
    [("cosine", 0.9, 0.9, 0.1), ("dot", 3.0, 3.0, -3.0), ("l2", 9.0, 0.25, 3.0), ("l1", 3.0, 0.25, 3.0)],
)
def test_scores_grow_and_distances_fall_towards_the_nearest(
    metric: str, value: float, score: float, distance: float
) -> None:
    assert score_and_distance(value, metric) == pytest.approx((score, distance))
