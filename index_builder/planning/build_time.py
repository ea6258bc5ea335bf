"""How long a build will take on this machine: its arithmetic, at the rate that this machine is measured to have.

Everything that is not a product of matrices is counted as what it is worth in their floating-point operations. The
constants were fitted on a machine of two cores; `python -m benchmarks.plan` compares estimates with what is measured.
Reading and writing of the stores is not counted, nor is what a runner of pipelines adds.
"""

from __future__ import annotations

import math
import time

import numpy as np

from index_builder.planning.index_plan import IndexPlan
from index_builder.threads import in_threads
from index_builder.training.centroids import FLAT_BELOW, ITERATIONS, SAMPLE_PER_CELL, lloyd_steps
from index_builder.training.codebook import CODE_ITERATIONS, CODE_TRAINING_ROWS

#: Queries whose exact neighbours are found.
_QUERIES = 1_000
_PROBE = (4_096, 256, 256)
_PROBE_PRODUCTS = 8
_PROBE_ROUNDS = 3
# FAISS's products are slower than NumPy's, and each distance is also compared.
_K_MEANS_PRODUCT, _K_MEANS_COMPARED = 1.35, 20
# The 101 nearest of each query are kept in a heap.
_KEPT_NEAREST = 600
# FAISS's own threads, which a k-means outside of ours uses, wait for each other at every small product.
_K_MEANS_ALONE = 3.0
# A comparison with a cell or centroid: some passes over its score, in NumPy, cost more than the product.
_ASSIGN_PRODUCT, _ASSIGN_COMPARED = 0.7, 450
# Cells that a vector is compared with the centroids of.
_LOOKED_INTO = 6
# By sub-quantizer centroid: a few operations, and some for each of its dimensions.
_PQ_COMPARED, _PQ_DIMENSION = 10, 7
# FAISS packs 4-bit codes one after the other.
_PQ4_PACKED = 4_000
# By dimension: of a vector that is brought to unit length or copied; quantized by RaBitQ; by a scalar quantizer.
_PREPARED, _RABITQ, _SCALAR = 60, 1_100, 200
# Eigenvalues of a symmetric matrix in float64, on one thread: operations for each cube of the dimension.
_EIGEN = 80
# Bytes a second of runs that are read, merged and written; FastScan's are packed too.
_ASSEMBLED, _PACKED = 48e6, 30e6


def product_rate() -> float:
    """Floating-point operations a second of products of float32 matrices, by all cores; a short probe."""
    one = np.ones(_PROBE[:2], np.float32)
    other = np.ones(_PROBE[1:], np.float32)
    best = 0.0
    for _ in range(_PROBE_ROUNDS):
        started = time.perf_counter()
        for _ in in_threads(lambda _: one @ other, range(_PROBE_PRODUCTS)):
            pass
        operations = 2 * math.prod(_PROBE) * _PROBE_PRODUCTS
        best = max(best, operations / (time.perf_counter() - started))
    return best


def cell_count(lists: int) -> int:
    """Cells above the centroids; 0 where there is one level only."""
    return round(math.sqrt(2 * lists)) if lists >= FLAT_BELOW else 0


def seconds_by_stage(plan: IndexPlan, vectors: int, index_bytes: int, rate: float) -> dict[str, float]:
    """Seconds of `train` (the sample is there), `encode` (every vector), `ground_truth` (the queries against every
    vector) and `assemble` (codes to the index file).

    Args:
        plan: what is built. Of the family `whole`, which FAISS builds in its own way, no more than a guess is made: a
            k-means, and comparisons, with four times the root of the vectors.
        vectors: to index.
        index_bytes: of the file.
        rate: from `product_rate`.
    """
    truth = vectors * _QUERIES * (_k_means(1, 1, plan.dimension, 1) + _KEPT_NEAREST)
    operations = {"ground_truth": truth + vectors * plan.dimension * _PREPARED}
    if plan.family == "whole":
        assumed = 4 * math.sqrt(vectors)
        operations["train"] = _K_MEANS_ALONE * _k_means(plan.training_rows, assumed, plan.dimension)
        operations["encode"] = vectors * assumed * 2 * plan.dimension
    elif plan.family != "flat":
        operations["train"] = _rotation(plan) + _centroids(plan) + _code(plan)
        operations["encode"] = vectors * _encoded(plan)
    order = ("train", "encode", "ground_truth")
    seconds = {stage: operations[stage] / rate for stage in order if stage in operations}
    return {**seconds, "assemble": index_bytes / (_PACKED if plan.family == "ivf_pq_fastscan" else _ASSEMBLED)}


def _k_means(rows: float, count: float, dimension: int, iterations: int = ITERATIONS) -> float:
    return iterations * rows * count * (_K_MEANS_PRODUCT * 2 * dimension + _K_MEANS_COMPARED)


def _rotation(plan: IndexPlan) -> float:
    if plan.rotation == "none":
        return 0
    part = min(plan.training_rows, CODE_TRAINING_ROWS)
    found = 2 * part * plan.dimension**2 + _EIGEN * plan.dimension**3
    return found + plan.training_rows * 2 * plan.dimension * plan.rotated


def _centroids(plan: IndexPlan) -> float:
    rows, lists, dimension = plan.training_rows, plan.lists, plan.rotated
    cells = cell_count(lists)
    if not cells:
        return _K_MEANS_ALONE * _k_means(min(rows, SAMPLE_PER_CELL * lists), lists, dimension)
    return (
        _K_MEANS_ALONE * _k_means(min(rows, SAMPLE_PER_CELL * cells), cells, dimension)
        + rows * cells * _compared(dimension)
        + _k_means(rows, lists / cells, dimension)
        + lloyd_steps(lists) * rows * (_assigned(plan) + dimension * _PREPARED)
    )


def _compared(dimension: int) -> float:
    return _ASSIGN_PRODUCT * 2 * dimension + _ASSIGN_COMPARED


def _assigned(plan: IndexPlan) -> float:
    """One vector to its list."""
    cells = cell_count(plan.lists)
    return (cells + _LOOKED_INTO * plan.lists / cells if cells else plan.lists) * _compared(plan.rotated)


def _code(plan: IndexPlan) -> float:
    part = min(plan.training_rows, CODE_TRAINING_ROWS)
    if not plan.subquantizers:
        return part * (_assigned(plan) + plan.rotated * _SCALAR)
    size, centroids = plan.rotated // plan.subquantizers, 1 << int(plan.code[2:])
    learned = plan.subquantizers * _k_means(min(part, 256 * centroids), centroids, size, CODE_ITERATIONS)
    return part * _assigned(plan) + learned


def _encoded(plan: IndexPlan) -> float:
    """One vector: brought to unit length, rotated, assigned, encoded."""
    rotated = 0 if plan.rotation == "none" else 2 * plan.dimension * plan.rotated
    if plan.code == "rabitq":
        code = plan.rotated * _RABITQ
    elif not plan.subquantizers:
        code = plan.rotated * _SCALAR
    else:
        size, centroids = plan.rotated // plan.subquantizers, 1 << int(plan.code[2:])
        packed = _PQ4_PACKED if plan.code == "pq4" else 0
        code = plan.subquantizers * (centroids * (_PQ_COMPARED + _PQ_DIMENSION * size) + packed)
    return plan.dimension * _PREPARED + rotated + _assigned(plan) + code
