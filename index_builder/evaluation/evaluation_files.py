"""The files of a version that say how well it finds: `evaluation.json`, `timings.json`, `recall.svg`, `golden.npz`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from catalog import canonical_json
from index_builder.evaluation.evaluate import Evaluation, evaluate, limit_to
from index_builder.evaluation.golden import ask_golden, write_golden
from index_builder.evaluation.ground_truth import Neighbours
from index_builder.evaluation.operating_points import RERANK_FACTORS
from index_builder.evaluation.recall_plot import draw_recall
from index_builder.evaluation.timings import Timings, fast_enough, measure_timings
from index_builder.planning.index_plan import IndexPlan
from index_builder.searching.searcher import Searcher
from index_builder.training.sample import VectorSample

# Those of the files that a clock went into: two builds of one version differ in them.
TIMED_FILES = ("timings.json", "recall.svg")


def write_evaluation(
    folder: Path,
    searcher: Searcher,
    queries: VectorSample,
    truth: Neighbours,
    plan: IndexPlan,
    *,
    vectors: int,
    reranks: bool,
    title: str,
    slices: Mapping[str, Sequence[str | None]] | None = None,
    recall_target: float | None = None,
    latency_target_ms: float | None = None,
) -> Evaluation:
    """Measures recall, chooses the default point, asks the golden queries there, and times the Pareto-optimal points.

    Args:
        folder: to write to.
        searcher: the index.
        queries: prepared.
        truth: their exact neighbours.
        plan: of the index.
        vectors: in the index.
        reranks: whether the version keeps its vectors.
        title: of the plot.
        slices: for each column its values, one a query.
        recall_target: recall@10 that the default point should reach.
        latency_target_ms: a version is to be served only at points at which 99 % of single queries took no longer.

    Returns:
        The evaluation at the point to serve at. That is the one in `evaluation.json`, unless a latency target rules it
        out: what a clock decides is written to `timings.json` and never to `evaluation.json`.
    """
    evaluation = served = evaluate(
        searcher,
        queries,
        truth,
        plan.lists,
        RERANK_FACTORS if reranks else 0,
        vectors=vectors,
        hnsw=plan.hnsw_links > 0,
        slices=slices,
        recall_target=recall_target,
    )
    (folder / "evaluation.json").write_bytes(canonical_json.dump(evaluation.to_json()))
    write_golden(folder / "golden.npz", ask_golden(searcher, queries, evaluation.default))
    timings = measure_timings(searcher, queries.vectors, [each.point for each in evaluation.pareto])
    if latency_target_ms is not None and timings.points:
        served = limit_to(evaluation, fast_enough(timings, latency_target_ms), searcher, queries, truth)
    timed = {
        **timings.to_json(),
        "default": served.default.to_json(),
        "latency_target_ms": latency_target_ms,
        "latency_met": None if latency_target_ms is None else _is_met(timings, served, latency_target_ms),
    }
    (folder / "timings.json").write_bytes(canonical_json.dump(timed))
    (folder / "recall.svg").write_bytes(draw_recall(evaluation.points, timings, served.default, title))
    return served


def _is_met(timings: Timings, served: Evaluation, target_ms: float) -> bool:
    return any(each.point == served.default and each.p99_ms <= target_ms for each in timings.points)
