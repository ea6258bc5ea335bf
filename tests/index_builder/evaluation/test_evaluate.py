from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog import canonical_json
from index_builder.evaluation.evaluate import Evaluation, evaluate, limit_to
from index_builder.evaluation.evaluation_files import write_evaluation
from index_builder.evaluation.golden import check_golden, read_golden
from index_builder.evaluation.ground_truth import exact_neighbours
from index_builder.searching.searcher import OperatingPoint, Searcher
from index_builder.training.sample import VectorSample
from tests.index_builder.small_index import ROWS, SmallIndex, small_index, write_flat
from tests.index_builder.vectors import clustered, exact_rows


@pytest.fixture(params=["cosine", "dot", "l2"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> SmallIndex:
    return small_index(tmp_path, request.param)


def evaluated(small: SmallIndex, kept: bool = True, **options: object) -> Evaluation:
    rerank = (4, 16) if kept else 0
    return evaluate(small.searcher(kept), small.queries, small.truth, 16, rerank, vectors=ROWS, **options)


def test_recall_at_each_point_is_that_of_a_slow_count(small: SmallIndex) -> None:
    searcher, own = small.searcher(False), small.queries.rows
    exact = exact_rows(small.vectors[own], small.vectors, small.plan.metric, 101)
    for each in evaluated(small, kept=False).points:
        for k in (1, 10):
            shares = []
            found = searcher.search(small.queries.vectors, 11, each.point)[0]
            for mine, right, row in zip(found.tolist(), exact.tolist(), own.tolist(), strict=True):
                wanted = [other for other in right if other != row][:k]
                shares.append(len(set(wanted) & set([other for other in mine if other != row][:k])) / k)
            assert each.recall[str(k)] == pytest.approx(np.mean(shares), abs=1e-6)
            low, high = each.interval[str(k)]
            assert low <= each.recall[str(k)] <= high


def test_the_default_point_is_the_cheapest_that_is_as_good_as_the_best(small: SmallIndex) -> None:
    result = evaluated(small)
    best = max(each.recall["10"] for each in result.points)
    default = next(each for each in result.points if each.point == result.default)
    assert default.recall["10"] >= best - 0.005
    assert all(each.recall["10"] < best - 0.005 for each in result.points if each.cost < default.cost)
    assert [each.cost for each in result.points] == sorted(each.cost for each in result.points)
    assert set(result.recall) == set(result.interval) == {"1", "10", "100"}
    assert {name: result.recall[name] for name in ("1", "10")} == default.recall
    assert result.target_met is None


def test_a_recall_target_is_reached_with_the_least_work(small: SmallIndex) -> None:
    result = evaluated(small, recall_target=0.7)
    default = next(each for each in result.points if each.point == result.default)
    assert result.target_met is True
    assert result.recall["10"] >= 0.7
    assert all(each.recall["10"] < 0.7 for each in result.points if each.cost < default.cost)


def test_a_target_out_of_reach_gives_the_best_point_and_says_so(small: SmallIndex) -> None:
    result = evaluated(small, kept=False, recall_target=0.9999)
    assert result.target_met is False
    assert result.recall["10"] == max(each.recall["10"] for each in result.points)
    assert result.to_json()["target_met"] is False
    assert result.to_json()["recall_target"] == 0.9999


def test_a_limit_moves_the_default_among_the_allowed_points_only(small: SmallIndex) -> None:
    result = evaluated(small)
    allowed = [each.point for each in result.pareto[:2]]
    limited = limit_to(result, allowed, small.searcher(True), small.queries, small.truth)
    assert limited.default in allowed
    assert limited.recall["10"] == next(e.recall["10"] for e in result.points if e.point == limited.default)
    assert set(limited.recall) == {"1", "10", "100"}
    with pytest.raises(ValueError, match="no measured point is allowed"):
        limit_to(result, [OperatingPoint(3, 3)], small.searcher(True), small.queries, small.truth)


def test_a_catalog_of_copies_is_not_called_a_failure(tmp_path: Path) -> None:
    vectors = np.concatenate([np.repeat(clustered(1, 12, seed=9), 400, axis=0), clustered(600, 12)])
    write_flat(tmp_path / "i", vectors, "l2")
    rows = np.arange(0, 1_000, 10)
    queries = VectorSample(rows.astype(np.uint64), rows, vectors[rows])
    truth = exact_neighbours(vectors[rows], vectors, np.arange(1_000), "l2")
    result = evaluate(Searcher([tmp_path / "i"], [], "l2"), queries, truth, 0, 0, vectors=1_000)
    assert result.recall == {"1": 1.0, "10": 1.0, "100": 1.0}
    assert result.left_out == {"1": 40, "10": 40, "100": 40}
    assert result.queries == 100


def test_a_slice_that_an_index_cannot_find_is_seen(small: SmallIndex) -> None:
    lists = small.codes.lists[np.argsort(small.codes.rows)][small.queries.rows]
    broken = np.argsort(np.bincount(lists, minlength=16))[-4:]
    codes = small.codes.codes.copy()
    codes[np.isin(small.codes.lists, broken)] ^= 0xA5
    lost = ["lost" if each in broken else "kept" for each in lists]
    searcher = small.searcher(False, replace(small.codes, codes=codes))
    result = evaluate(searcher, small.queries, small.truth, 16, 0, vectors=ROWS, slices={"category": lost})
    assert [each.value for each in result.slices] == ["lost", "kept"]
    assert result.slices[0].interval[1] < result.slices[1].interval[0]


@pytest.fixture
def cosine(tmp_path: Path) -> SmallIndex:
    return small_index(tmp_path, "cosine", step=60)


def write(small: SmallIndex, folder: Path, **options: object) -> Evaluation:
    folder.mkdir()
    return write_evaluation(
        folder,
        small.searcher(True),
        small.queries,
        small.truth,
        small.plan,
        vectors=ROWS,
        reranks=True,
        title="shop",
        **options,
    )


def test_the_files_say_what_was_measured_and_no_clock_is_in_the_evaluation(cosine: SmallIndex, tmp_path: Path) -> None:
    first = write(cosine, tmp_path / "one", recall_target=0.8)
    write(cosine, tmp_path / "two", recall_target=0.8, latency_target_ms=1e-9)
    for name in ("evaluation.json", "golden.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert (tmp_path / "one" / "evaluation.json").read_bytes() == canonical_json.dump(first.to_json())
    value = json.loads((tmp_path / "one" / "evaluation.json").read_text())
    assert value["default"] in [
        {name: each[name] for name in ("nprobe", "rerank", "ef_search")} for each in value["points"] if each["pareto"]
    ]
    golden = read_golden(tmp_path / "one" / "golden.npz")
    assert golden.point == first.default
    assert check_golden(cosine.searcher(True), golden) == []


def test_a_latency_target_chooses_among_the_points_that_are_fast_enough(cosine: SmallIndex, tmp_path: Path) -> None:
    free = write(cosine, tmp_path / "free")
    served = write(cosine, tmp_path / "slow", latency_target_ms=1e-9)
    timings = json.loads((tmp_path / "slow" / "timings.json").read_text())
    assert (timings["latency_target_ms"], timings["latency_met"]) == (1e-9, False)
    fastest = min(timings["points"], key=lambda each: each["p99_ms"])
    assert timings["default"] == served.default.to_json()
    assert served.default.to_json() == {name: fastest[name] for name in ("nprobe", "rerank", "ef_search")}
    unlimited = write(cosine, tmp_path / "fast", latency_target_ms=1e9)
    assert unlimited.default == free.default
    assert json.loads((tmp_path / "fast" / "timings.json").read_text())["latency_met"] is True
