from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from index_builder.evaluation.timings import Timing, Timings, fast_enough, measure_timings
from index_builder.faiss_import import faiss
from index_builder.searching.searcher import OperatingPoint
from tests.index_builder.small_index import SmallIndex, small_index


@pytest.fixture
def small(tmp_path: Path) -> SmallIndex:
    return small_index(tmp_path, "l2")


def test_every_point_is_timed_within_the_seconds(small: SmallIndex) -> None:
    points = [OperatingPoint(1, 4), OperatingPoint(16, 64)]
    threads = faiss().omp_get_max_threads()
    started = time.perf_counter()
    timings = measure_timings(small.searcher(True), small.queries.vectors, points, 1.0)
    assert time.perf_counter() - started < 10  # One second of timing, and what a busy machine adds.
    assert [each.point for each in timings.points] == points
    assert all(0 < each.p50_ms <= each.p99_ms for each in timings.points)
    assert all(each.queries_per_second > 0 and each.queries >= 10 for each in timings.points)
    assert timings.threads == threads == faiss().omp_get_max_threads()
    assert set(timings.to_json()["points"][0]) == {
        "nprobe",
        "rerank",
        "ef_search",
        "queries",
        "p50_ms",
        "p99_ms",
        "queries_per_second",
    }


def test_without_time_a_point_still_gets_ten_queries(small: SmallIndex) -> None:
    timings = measure_timings(small.searcher(False), small.queries.vectors[:3], [OperatingPoint(1, 0)], 0.0)
    assert [each.queries for each in timings.points] == [10]


def test_without_queries_nothing_is_timed(small: SmallIndex) -> None:
    timings = measure_timings(small.searcher(False), np.empty((0, 24), np.float32), [OperatingPoint(1, 0)])
    assert timings.points == []


def test_the_points_within_a_latency_are_those_measured_so() -> None:
    slow, fast = Timing(OperatingPoint(64, 4), 100, 1.0, 9.0, 100.0), Timing(OperatingPoint(1, 4), 100, 0.1, 2.0, 900.0)
    timings = Timings(2, [slow, fast])
    assert fast_enough(timings, 10.0) == [slow.point, fast.point]
    assert fast_enough(timings, 5.0) == [fast.point]
    assert fast_enough(timings, 1.0) == [fast.point]
    assert fast_enough(Timings(2, []), 1.0) == []
