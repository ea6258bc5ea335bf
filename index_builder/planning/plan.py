"""Which index for how many vectors, under which budgets and targets: the family, its parameters, and why.

What is measured, the recall and the latency of an index, is measured when it is there: the evaluation finds the
cheapest way to search that reaches `--recall-target` within `--latency-target`. Here the targets choose the codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from catalog.errors import UsageError
from index_builder.planning.budgets import Budgets
from index_builder.planning.factory import HNSW_LINKS, VECTORS_PER_LIST, ivf_plan, parse_factory
from index_builder.planning.index_plan import IndexPlan

# Below, product quantizers have too few vectors to learn from, and a scan of all vectors takes a millisecond anyway.
FLAT_BELOW = 2_000
_DIMENSIONS_PER_CODE_BYTE = 4
# Code bytes by catalog size: while the whole index is small, recall is worth more than bytes.
_CODE_BYTES = ((1_000_000, 128), (100_000_000, 64), (math.inf, 32))
# Smaller codes tell vectors of one list hardly apart.
_LEAST_CODE_BYTES = 4
# Centroids are found by a graph from here on; fewer are compared in less time than a graph is walked.
_GRAPH_FROM = 16_384
# Lists grow with the root of the vectors up to here, and faster beyond: at a billion, lists of 8,000 would be slow to
# scan, and lists of 1,000 to 4,000 are still cheap to find with a graph.
_ROOT_UP_TO = 10_000_000
_GROWTH_BEYOND = 0.7
# Vectors are kept for re-ranking up to this size, unless a flag says otherwise.
KEEP_VECTORS_BELOW = 4 << 30
# Product-quantized codes alone level off below.
_RECALL_OF_CODES = 0.9
# One bit a dimension tells enough apart when there are many dimensions.
_RABITQ_FROM = 256


@dataclass(frozen=True)
class PlanRequest:
    """What the caller asks of an index.

    Attributes:
        memory_budget: bytes that serving may take, see `Estimate.serving_ram`: all of the FAISS file and the tables
            computed on opening it, but neither items nor stored vectors, which are memory-mapped.
        bytes_per_vector: of the FAISS file, everything in it included.
        recall_target: recall@10, from 0 to 1.
        latency_target_ms: p99 of a single search, in milliseconds.
        factory: a FAISS factory string to take as it is.
        rerank: `stored`: the version keeps its vectors; `none`: it does not; `auto`: up to 4 GiB, or where the recall
            target needs them.
        parts: index files to share the lists between.
    """

    memory_budget: int | None = None
    bytes_per_vector: float | None = None
    recall_target: float | None = None
    latency_target_ms: float | None = None
    factory: str | None = None
    rerank: str = "auto"
    parts: int = 1

    @property
    def budgets(self) -> Budgets:
        return Budgets(self.memory_budget, self.bytes_per_vector)

    @property
    def needs_vectors(self) -> bool:
        """Whether the recall target is beyond what codes reach alone."""
        return self.recall_target is not None and self.recall_target >= _RECALL_OF_CODES


def plan_index(
    vectors: int, dimension: int, metric: str, request: PlanRequest | None = None, vector_bytes: int = 2
) -> IndexPlan:
    """Chooses an index.

    Args:
        vectors: how many.
        dimension: of them.
        metric: one of `catalog.encoder_info.METRICS`.
        request: budgets and targets; None for none.
        vector_bytes: of one stored value: 2 or 4.

    Raises:
        UsageError: no index is within the budgets (the sentence names what binds), or a flag contradicts another.
    """
    request = request or PlanRequest()
    if request.factory is not None:
        return _as_asked(request, request.factory, vectors, dimension, metric)
    if (why := _why_flat(vectors, metric, request)) is not None:
        flat = IndexPlan("flat", "Flat", metric, dimension, why=why)
        request.budgets.check(flat, vectors)
        return flat
    refine, reason = _keeps_vectors(request, vectors * dimension * vector_bytes)
    plans = list(_candidates(vectors, dimension, metric, request, refine))
    chosen = next((plan for plan in plans if request.budgets.hold(plan, vectors)), plans[-1])
    request.budgets.check(chosen, vectors)
    cut = "" if chosen is plans[0] else f", the best code within {request.budgets}"
    return replace(chosen, why=f"{_described(chosen, vectors)}{cut}; {chosen.why}{reason}")


def _as_asked(request: PlanRequest, factory: str, vectors: int, dimension: int, metric: str) -> IndexPlan:
    plan = parse_factory(factory, vectors, dimension, metric)
    if plan.refine and request.rerank == "none":
        raise UsageError(f"--factory {factory} keeps the vectors and --rerank none does not; drop one of them")
    plan = replace(
        plan,
        refine=plan.family != "flat" and (plan.refine or request.rerank == "stored"),
        parts=request.parts if plan.lists else 1,
    )
    request.budgets.check(plan, vectors)
    return plan


def _why_flat(vectors: int, metric: str, request: PlanRequest) -> str | None:
    if metric == "l1":
        return "l1 is only searched exactly, so the index is Flat"
    if vectors < FLAT_BELOW:
        return f"{vectors:,} vectors are too few to train IVF-PQ on (below {FLAT_BELOW:,}), so the index is Flat: exact"
    if request.recall_target == 1:
        return "--recall-target 1 is certain only where all vectors are compared, so the index is Flat"
    return None


def _keeps_vectors(request: PlanRequest, size: int) -> tuple[bool, str]:
    """Whether the version keeps its vectors of `size` bytes, and the end of a sentence that says why."""
    if request.rerank == "none":
        return False, "; --rerank none: codes alone"
    if request.rerank == "stored" or size <= KEEP_VECTORS_BELOW:
        needs = f", which --recall-target {request.recall_target:g} needs" if request.needs_vectors else ""
        return True, f"; the vectors are kept, on disk, and put candidates in order{needs}"
    if request.needs_vectors:
        return True, (
            f"; --recall-target {request.recall_target:g} is more than codes reach alone, so the vectors are kept, "
            "on disk, and put candidates in order"
        )
    return False, f"; vectors of {size / 2**30:.1f} GiB are not kept for re-ranking unless --rerank stored asks for it"


def _candidates(vectors: int, dimension: int, metric: str, request: PlanRequest, refine: bool) -> Iterator[IndexPlan]:
    """Plans from the best to the smallest; the first that is within the budgets is taken."""
    lists = list_count(vectors)

    def plan(why: str, **code: object) -> IndexPlan:
        links = HNSW_LINKS if lists >= _GRAPH_FROM else 0
        made = ivf_plan(vectors, dimension, metric, lists=lists, hnsw_links=links, **code)  # type: ignore[arg-type]
        return replace(made, refine=refine, parts=request.parts, why=why)

    if request.needs_vectors and not refine:
        target = f"--recall-target {request.recall_target:g}"
        yield plan(f"{target} without stored vectors takes scalar-quantized codes, a byte a dimension", code="sq8")
        if request.budgets.given:
            return
    most = max(1, dimension // _DIMENSIONS_PER_CODE_BYTE)
    if refine and (request.needs_vectors or request.latency_target_ms is not None) and most > 1:
        asked = "a high recall" if request.latency_target_ms is None else "a latency target"
        why = f"{asked} with re-ranking is fastest by 4-bit FastScan codes"
        # Sub-quantizers of four dimensions; what cannot be cut evenly is rotated to what can.
        rotated = most * _DIMENSIONS_PER_CODE_BYTE
        rotation = "none" if rotated == dimension else "opq"
        yield plan(why, code="pq4", subquantizers=most, rotation=rotation, rotated=rotated, fastscan=True)
    planned = min(next(size for below, size in _CODE_BYTES if vectors <= below), most)
    sizes = [planned]
    if request.budgets.given:
        sizes = code_sizes(most)
    bits = refine and dimension >= _RABITQ_FROM and request.budgets.given
    for size in sizes:
        if bits and size < planned:
            yield plan("one bit a dimension, for re-ranking to choose from", code="rabitq")
            bits = False
        rotated = min(size * _DIMENSIONS_PER_CODE_BYTE, dimension // size * size)
        why = f"{size} bytes a code after a rotation to {rotated} dimensions"
        yield plan(why, code="pq8", subquantizers=size, rotation="opq", rotated=rotated)
        if metric == "l2" and request.memory_budget is not None:
            rotated = min(8 * size, dimension // (2 * size) * 2 * size)
            why = f"{size} bytes a code, of 4-bit FastScan, which needs no table of products for l2"
            yield plan(why, code="pq4", subquantizers=2 * size, rotation="opq", rotated=rotated, fastscan=True)


def list_count(vectors: int) -> int:
    """Inverted lists: about four times the root of the count, as a power of two, and enough vectors for each list;
    from ten million on they grow faster, so that a list has some thousand vectors at a billion."""
    wanted = 4 * math.sqrt(min(vectors, _ROOT_UP_TO)) * max(1, vectors / _ROOT_UP_TO) ** _GROWTH_BEYOND
    rounded = int(math.log2(wanted) + 0.5)
    return 1 << max(0, min(rounded, int(math.log2(max(1, vectors / VECTORS_PER_LIST)))))


def code_sizes(most: int) -> list[int]:
    """Bytes of product-quantized codes to try, from `most` down: above 16 in steps of 8."""
    steps = [size for size in range(most - 1, 0, -1) if size >= _LEAST_CODE_BYTES and (size <= 16 or size % 8 == 0)]
    return [most, *steps]


def _described(plan: IndexPlan, vectors: int) -> str:
    graph = ", found by a graph over their centroids" if plan.hnsw_links else ""
    return f"{vectors:,} vectors of {plan.dimension} dimensions: {plan.lists} lists{graph}"
