"""`index plan`: which index would be built, why, and what it would take."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from commands.output import add_json_flag, print_json, print_table
from pipelines.flag_types import at_least
from pipelines.flags import add_plan_flags

if TYPE_CHECKING:
    from index_builder.planning.estimates import Estimate
    from index_builder.planning.index_plan import IndexPlan

HELP = "say which index would be built, why, and what it takes"
EPILOG = "Of an embedding store (--embeddings), or of so many vectors (--vectors and --dimension). Nothing is built."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--embeddings", metavar="EMBEDDINGS", help="the embedding store to plan for")
    parser.add_argument("--snapshot", type=int, metavar="N", help="default: the newest")
    parser.add_argument("--vectors", type=at_least(1), metavar="N", help="how many, where there is no store yet")
    parser.add_argument(
        "--dimension", type=at_least(1), metavar="D", help="of the vectors, where there is no store yet"
    )
    add_plan_flags(parser)
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    from index_builder.planning.build_time import product_rate
    from index_builder.planning.estimates import estimate
    from index_builder.planning.plan import PlanRequest, plan_index

    vectors, dimension, metric, width = _asked(args)
    request = PlanRequest(
        memory_budget=args.memory_budget,
        bytes_per_vector=args.bytes_per_vector,
        recall_target=args.recall_target,
        latency_target_ms=args.latency_target,
        factory=args.factory,
        rerank=args.rerank,
        parts=args.parts,
    )
    plan = plan_index(vectors, dimension, metric, request, width)
    found = estimate(plan, vectors, width, product_rate())
    _print(plan, found, vectors)
    if args.json:
        print_json(_json(plan, found, vectors))
    return 0


def _asked(args: argparse.Namespace) -> tuple[int, int, str, int]:
    """Vectors, dimension, metric, and bytes of a stored value."""
    from catalog import storage
    from catalog.errors import UsageError
    from catalog.snapshot import latest_snapshot, read_snapshot
    from index_builder.measures import check_metric

    if args.embeddings is None:
        if args.vectors is None or args.dimension is None:
            raise UsageError("give --embeddings, or --vectors and --dimension")
        if args.snapshot is not None:
            raise UsageError("--snapshot is of a store: give --embeddings with it")
        return args.vectors, args.dimension, check_metric(args.metric or "cosine"), 2
    if args.vectors is not None or args.dimension is not None:
        raise UsageError("--embeddings says how many vectors there are: drop --vectors and --dimension")
    store = storage.absolute(args.embeddings)
    snapshot = latest_snapshot(store) if args.snapshot is None else read_snapshot(store, args.snapshot)
    if snapshot is None or snapshot.vectors == 0:
        raise UsageError(f"{store} has no vectors; run catalog-indexer embed first, or give --vectors and --dimension")
    metric = check_metric(args.metric or snapshot.encoder.metric)
    return snapshot.vectors, snapshot.encoder.dimension, metric, 2 if snapshot.vector_type == "float16" else 4


def _print(plan: IndexPlan, found: Estimate, vectors: int) -> None:
    print(f"{plan.factory}, {plan.metric}")
    print(f"why: {plan.why}")
    rows = [
        ["index file", _size(found.index_bytes), f"{found.index_bytes / vectors:.1f} bytes a vector"],
        ["stored vectors", _size(found.vectors_bytes), "on disk, for re-ranking" if plan.refine else "none"],
        ["memory to serve", _size(found.serving_ram), _largest(found.serving_terms)],
        ["memory to train", _size(found.training_ram), f"{plan.training_rows:,} vectors"],
    ]
    for stage, seconds in found.seconds_by_stage.items():
        rows.append([f"time to {_STAGES[stage]}", f"{seconds:,.1f} s", "on this machine"])
    print_table(["what", "takes", "of which"], rows)


_STAGES = {"train": "train", "encode": "encode", "ground_truth": "find exact neighbours", "assemble": "assemble"}


def _largest(terms: dict[str, int]) -> str:
    """The two largest terms."""
    largest = sorted(terms.items(), key=lambda term: -term[1])[:2]
    return ", ".join(f"{name} {_size(size)}" for name, size in largest if size)


def _size(size: float) -> str:
    for unit, of_unit in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= of_unit:
            return f"{size / of_unit:,.1f} {unit}"
    return f"{size:.0f} B"


def _json(plan: IndexPlan, found: Estimate, vectors: int) -> dict[str, object]:
    return {
        "factory": plan.factory,
        "family": plan.family,
        "metric": plan.metric,
        "vectors": vectors,
        "dimension": plan.dimension,
        "why": plan.why,
        "refine": plan.refine,
        "lists": plan.lists,
        "code_bytes": plan.code_bytes,
        "training_rows": plan.training_rows,
        "index_bytes": found.index_bytes,
        "bytes_per_vector": round(found.index_bytes / vectors, 3),
        "vectors_bytes": found.vectors_bytes,
        "serving_ram_bytes": found.serving_ram,
        "training_ram_bytes": found.training_ram,
        "index_terms": found.index_terms,
        "serving_terms": found.serving_terms,
        "seconds_by_stage": {stage: round(seconds, 3) for stage, seconds in found.seconds_by_stage.items()},
    }
