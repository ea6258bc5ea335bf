"""How fast an index answers on this machine: single queries on one thread, and batches on all of them.

Measured when a version is built, next to the evaluation and not in it: a clock never shows the same twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from index_builder.faiss_import import faiss
from index_builder.searching.searcher import OperatingPoint, Searcher

NEIGHBOURS = 10
# For a point at most, and for all of them.
_SECONDS_A_POINT = 0.25
_SECONDS = 3.0
# Below, a 99th percentile is the slowest query.
_LEAST_QUERIES = 10


@dataclass(frozen=True)
class Timing:
    """Of a point: milliseconds that half and 99 % of `queries` single queries on one thread took at most, and queries
    per second in a batch on all threads."""

    point: OperatingPoint
    queries: int
    p50_ms: float
    p99_ms: float
    queries_per_second: float


@dataclass(frozen=True)
class Timings:
    """Of each point; and how many threads a batch had."""

    threads: int
    points: list[Timing]

    def to_json(self) -> dict[str, Any]:
        points = [{name: value for name, value in asdict(each).items() if name != "point"} for each in self.points]
        timed = [{**each.point.to_json(), **values} for each, values in zip(self.points, points, strict=True)]
        return {"schema_version": 1, "k": NEIGHBOURS, "threads": self.threads, "points": timed}


def measure_timings(
    searcher: Searcher, queries: np.ndarray, points: Sequence[OperatingPoint], seconds: float = _SECONDS
) -> Timings:
    """Times searches for ten neighbours.

    Args:
        searcher: the index.
        queries: float32 [q, d], prepared. Without one, nothing is timed.
        points: to search at.
        seconds: for all points together. A point that is slow still gets ten queries.
    """
    each = min(_SECONDS_A_POINT, seconds / max(1, len(points))) / 2
    timed = []
    for point in points if len(queries) else ():
        searcher.search(queries[:1], NEIGHBOURS, point)  # Which reads what only a first search reads.
        with threadpool_limits(limits=1):
            singles = _singles(searcher, queries, point, each)
        batch = queries[: max(_LEAST_QUERIES, min(len(queries), int(each / np.median(singles))))]
        p50, p99 = np.quantile(singles, (0.5, 0.99)).tolist()
        rate = _rate(searcher, batch, point, each)
        timed.append(Timing(point, len(singles), round(1e3 * p50, 4), round(1e3 * p99, 4), round(rate, 1)))
    return Timings(faiss().omp_get_max_threads(), timed)


def _singles(searcher: Searcher, queries: np.ndarray, point: OperatingPoint, seconds: float) -> list[float]:
    """Seconds of single queries, for as long as there are queries and time."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    for query in np.resize(queries, (max(_LEAST_QUERIES, len(queries)), queries.shape[1])):
        started = time.perf_counter()
        if len(taken) >= _LEAST_QUERIES and started > end:
            break
        searcher.search(query[None], NEIGHBOURS, point)
        taken.append(time.perf_counter() - started)
    return taken


def _rate(searcher: Searcher, batch: np.ndarray, point: OperatingPoint, seconds: float) -> float:
    """Queries per second, for as long as there is time, and at least once."""
    started, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - started < seconds:
        searcher.search(batch, NEIGHBOURS, point)
        rounds += 1
    return rounds * len(batch) / (time.perf_counter() - started)


def fast_enough(timings: Timings, latency_target_ms: float) -> list[OperatingPoint]:
    """The points at which 99 % of single queries took at most `latency_target_ms`; the fastest point where there is
    none."""
    fast = [each.point for each in timings.points if each.p99_ms <= latency_target_ms]
    return fast or [each.point for each in sorted(timings.points, key=lambda each: each.p99_ms)[:1]]
