"""Which index for how many vectors: the family, its parameters, and why."""

from __future__ import annotations

import math

from index_builder.index_plan import IndexPlan

# Below, product quantizers have too few vectors to learn from, and a scan of all vectors takes a millisecond anyway.
FLAT_BELOW = 2_000
# FAISS wants at least 39 training vectors a list.
_VECTORS_PER_LIST = 39
_TRAINING_PER_LIST = 64
# One sample serves the coarse quantizer, the rotation and the product quantizer, which asks for 256 vectors a centroid.
_TRAINING_FOR_PQ = 65_536
_DIMENSIONS_PER_CODE_BYTE = 4
# Code bytes by catalog size: while the whole index is small, recall is worth more than bytes.
_CODE_BYTES = ((1_000_000, 128), (100_000_000, 64), (math.inf, 32))


def plan_index(vectors: int, dimension: int, metric: str) -> IndexPlan:
    """Chooses an index for `vectors` vectors."""
    if metric == "l1":
        return IndexPlan("flat", "Flat", metric, dimension, why="l1 is only searched exactly, so the index is Flat")
    if vectors < FLAT_BELOW:
        why = f"{vectors:,} vectors are too few to train IVF-PQ on (below {FLAT_BELOW:,}), so the index is Flat: exact"
        return IndexPlan("flat", "Flat", metric, dimension, why=why)
    # About four times the root of the count, as a power of two, and enough vectors for each list.
    lists = 1 << max(0, int(math.log2(min(4 * math.sqrt(vectors), vectors / _VECTORS_PER_LIST)) + 0.5))
    budget = next(code_bytes for below, code_bytes in _CODE_BYTES if vectors <= below)
    code_bytes = max(1, min(budget, dimension // _DIMENSIONS_PER_CODE_BYTE))
    rotated = min(code_bytes * _DIMENSIONS_PER_CODE_BYTE, dimension // code_bytes * code_bytes)
    return IndexPlan(
        family="ivf_pq",
        factory=f"OPQ{code_bytes}_{rotated},IVF{lists},PQ{code_bytes}",
        metric=metric,
        dimension=dimension,
        rotation="opq",
        rotated=rotated,
        lists=lists,
        code="pq8",
        code_bytes=code_bytes,
        subquantizers=code_bytes,
        training_rows=min(vectors, max(_TRAINING_PER_LIST * lists, _TRAINING_FOR_PQ)),
        why=(
            f"{vectors:,} vectors of {dimension} dimensions: {lists} lists, {code_bytes} bytes a code "
            f"after a rotation to {rotated} dimensions"
        ),
    )
