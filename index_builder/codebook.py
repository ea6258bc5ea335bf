"""Codebooks: a trained, empty index - rotation, coarse centroids, product quantizer - and what it makes of vectors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from catalog import canonical_json
from index_builder.faiss_import import faiss
from index_builder.index_plan import IndexPlan
from index_builder.rotation import balanced_rotation

# Lloyd's iterations gain little after ten, and time is linear in them.
_ITERATIONS = 10
# How a BLAS splits a product between its threads decides the last bits of the result, and through them the bytes of an
# index; FAISS's own threads do not. A fixed number makes them the same on a laptop and on a large machine.
_BLAS_THREADS = 2


def codebook_id(plan: IndexPlan, fingerprint: str, sample: np.ndarray) -> str:
    """Names a codebook by all that goes into its training: the plan, the encoder, the sampled vectors, the library."""
    sampled = hashlib.sha256(np.ascontiguousarray(sample).tobytes()).hexdigest()
    return canonical_json.digest([plan.codebook_identity(), fingerprint, sampled, faiss().__version__])[:16]


def train_codebook(vectors: np.ndarray, plan: IndexPlan) -> bytes:
    """Trains an IVF-PQ codebook.

    Args:
        vectors: float32 [n, dimension], prepared for the plan's metric.
        plan: of family `ivf_pq`.

    Returns:
        The trained, empty FAISS index, serialised. The same for any number of threads.
    """
    with threadpool_limits(limits=_BLAS_THREADS, user_api="blas"):
        return _train(vectors, plan)


def _train(vectors: np.ndarray, plan: IndexPlan) -> bytes:
    library = faiss()
    metric = library.METRIC_L2 if plan.metric == "l2" else library.METRIC_INNER_PRODUCT
    rotation = library.LinearTransform(plan.dimension, plan.rotated, False)
    library.copy_array_to_vector(balanced_rotation(vectors, plan.rotated, plan.code_bytes).ravel(), rotation.A)
    rotation.is_trained = True
    rotation.is_orthonormal = True
    rotated = rotation.apply(vectors)
    quantizer = library.IndexFlat(plan.rotated, metric)
    _k_means(rotated, plan, quantizer)
    inner = library.IndexIVFPQ(quantizer, plan.rotated, plan.lists, plan.code_bytes, 8, metric)
    nearest = quantizer.search(rotated, 1)[1][:, 0]
    residuals = rotated - quantizer.reconstruct_n(0, plan.lists)[nearest]
    inner.pq.cp.niter = _ITERATIONS
    inner.pq.cp.seed = plan.seed
    inner.pq.cp.min_points_per_centroid = 1  # The plan has decided that there are enough: no warnings.
    inner.pq.train(residuals)
    inner.is_trained = True
    return bytes(library.serialize_index(library.IndexPreTransform(rotation, inner)))


def _k_means(vectors: np.ndarray, plan: IndexPlan, quantizer: Any) -> None:
    """Fills `quantizer` with the plan's number of centroids; of unit length for inner products (spherical k-means)."""
    library = faiss()
    settings = library.ClusteringParameters()
    settings.niter = _ITERATIONS
    settings.seed = plan.seed
    settings.spherical = plan.metric != "l2"
    settings.min_points_per_centroid = 1
    library.Clustering(vectors.shape[1], plan.lists, settings).train(vectors, quantizer)


@dataclass(frozen=True)
class Codes:
    """What a codebook makes of the vectors of one file, ordered by list: `lists` int32 [n], `rows` int32 [n] positions
    in the file, `codes` uint8 [n, code bytes]."""

    lists: np.ndarray
    rows: np.ndarray
    codes: np.ndarray


def encode_vectors(codebook: Any, vectors: np.ndarray) -> Codes:
    """Assigns vectors to lists and encodes their residuals.

    Args:
        codebook: a FAISS index from `train_codebook`.
        vectors: float32 [n, d], prepared.
    """
    library = faiss()
    inner = library.extract_index_ivf(codebook)
    rotated = library.downcast_VectorTransform(library.downcast_index(codebook).chain.at(0)).apply(vectors)
    packed = inner.sa_encode(rotated)
    # FAISS puts the list number before each code, little-endian, in as many bytes as it needs.
    prefix = inner.coarse_code_size()
    lists = np.zeros(len(packed), np.int64)
    for byte in range(prefix):
        lists |= packed[:, byte].astype(np.int64) << (8 * byte)
    order = np.argsort(lists, kind="stable")
    return Codes(lists[order].astype(np.int32), order.astype(np.int32), np.ascontiguousarray(packed[order, prefix:]))
