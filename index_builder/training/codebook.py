"""Codebooks: a trained, empty index - rotation, coarse centroids, code - and what it makes of vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catalog import canonical_json
from index_builder.faiss_import import faiss
from index_builder.measures import faiss_metric, prepare
from index_builder.planning.index_plan import IndexPlan
from index_builder.threads import in_threads, single_threaded_math
from index_builder.training.centroids import CentroidTree, has_gpu, k_means, train_centroids
from index_builder.training.rotation import balanced_rotation, principal_rotation, random_rotation
from index_builder.training.row_store import RowStore
from index_builder.version_job import BUILDER_VERSION

# FAISS takes 256 vectors for each of the 256 centroids of a sub-quantizer; more change nothing.
CODE_TRAINING_ROWS = 65_536
# Training files beyond this size are walked over on disk.
IN_MEMORY = 512 << 20
# A code is all that is left of a vector: it is worth more iterations than a centroid.
CODE_ITERATIONS = 16
_HNSW_CONSTRUCTION = 200
# Part of a codebook's id, and so of where its codes are: raised when the files of either change their format, so that
# those of an older one are not taken for it.
CODEBOOK_FORMAT = 3
# Rows that one thread encodes at a time; a fixed number, for products of other shapes differ in their last bits.
_ENCODED_AT_ONCE = 8_192


@dataclass(frozen=True)
class Codebook:
    """A trained, empty FAISS index (IndexIVF, below an IndexPreTransform where there is a rotation), its rotation as
    float32 [rotated, dimension] (None where there is none) and its centroids."""

    index: Any
    inner: Any
    rotation: np.ndarray | None
    tree: CentroidTree

    @classmethod
    def of(cls, index: Any, cells: np.ndarray, starts: np.ndarray, gap: float) -> Codebook:
        """From what `codebook.faiss`, `cells.npy`, `starts.npy` and `codebook.json` hold."""
        library = faiss()
        inner = library.downcast_index(library.extract_index_ivf(index))
        rotation = None
        if isinstance(pre := library.downcast_index(index), library.IndexPreTransform):
            chain = library.downcast_VectorTransform(pre.chain.at(0))
            rotation = library.vector_to_array(chain.A).reshape(chain.d_out, chain.d_in)
        centroids = library.downcast_index(inner.quantizer).reconstruct_n(0, inner.nlist)
        product = inner.metric_type == library.METRIC_INNER_PRODUCT
        return cls(index, inner, rotation, CentroidTree(cells, centroids, starts, product, gap))

    def rotate(self, vectors: np.ndarray) -> np.ndarray:
        """float32 [n, dimension] to [n, rotated]."""
        return vectors if self.rotation is None else vectors @ self.rotation.T

    def serialized(self) -> bytes:
        """The empty FAISS index."""
        return bytes(faiss().serialize_index(self.index))


def codebook_id(plan: IndexPlan, fingerprint: str, sample: bytes) -> str:
    """Names a codebook by all that goes into its training.

    Args:
        plan: of the index.
        fingerprint: of the encoder.
        sample: digest of the training rows.
    """
    digest = hashlib.sha256(sample).hexdigest()
    made_by = [BUILDER_VERSION, CODEBOOK_FORMAT, has_gpu(), faiss().__version__]
    parts = [plan.codebook_identity(), fingerprint, digest, *made_by]
    return canonical_json.digest(parts)[:16]


def train_codebook(sample: RowStore, plan: IndexPlan, scratch: Path | None = None) -> Codebook:
    """Trains everything but the inverted lists. The same for any number of threads.

    Args:
        sample: float32 [n, dimension], prepared for the plan's metric.
        plan: of a family with inverted lists.
        scratch: a folder for rotated and grouped copies of the sample; None keeps them in memory.
    """
    with single_threaded_math:
        return _train(sample, plan, scratch)


def _train(sample: RowStore, plan: IndexPlan, scratch: Path | None) -> Codebook:
    rotation = _rotation(sample, plan)
    rotated = sample if rotation is None else _rotated(sample, rotation, scratch)
    tree = train_centroids(rotated, plan.lists, plan.metric != "l2", plan.seed, scratch)
    inner = _empty_ivf(plan, tree)
    part = rotated.evenly(CODE_TRAINING_ROWS)
    _train_code(inner, part, tree, plan)
    inner.is_trained = True
    library = faiss()
    if rotation is None:
        return Codebook(inner, inner, None, tree)
    chain = library.LinearTransform(plan.dimension, plan.rotated, False)
    library.copy_array_to_vector(np.ascontiguousarray(rotation).ravel(), chain.A)
    chain.is_trained = True
    chain.is_orthonormal = True
    whole = library.IndexPreTransform(chain, inner)
    whole.is_trained = True
    return Codebook(whole, inner, rotation, tree)


def _rotation(sample: RowStore, plan: IndexPlan) -> np.ndarray | None:
    if plan.rotation == "none":
        return None
    if plan.rotation == "random":
        return random_rotation(plan.dimension, plan.rotated, plan.seed)
    part = sample.evenly(CODE_TRAINING_ROWS)
    if plan.rotation == "pca":
        return principal_rotation(part, plan.rotated)
    return balanced_rotation(part, plan.rotated, plan.subquantizers)


def _rotated(sample: RowStore, rotation: np.ndarray, scratch: Path | None) -> RowStore:
    rotated = RowStore(scratch / "rotated" if scratch else None, sample.rows, len(rotation))
    blocks = sample.blocks()
    for start, block in in_threads(lambda each: (each[0], each[1] @ rotation.T), blocks):
        rotated.write(start, block)
    return rotated


def _empty_ivf(plan: IndexPlan, tree: CentroidTree) -> Any:
    """An IndexIVF of the plan's code whose quantizer holds the centroids."""
    library = faiss()
    metric, dimension = faiss_metric(plan.metric), plan.rotated
    if plan.hnsw_links:
        quantizer = library.IndexHNSWFlat(dimension, plan.hnsw_links, metric)
        quantizer.hnsw.efConstruction = _HNSW_CONSTRUCTION
        with _OneFaissThread():  # The order in which nodes are linked decides the graph.
            quantizer.add(tree.centroids)
    else:
        quantizer = library.IndexFlat(dimension, metric)
        quantizer.add(tree.centroids)
    quantizer.this.disown()
    if plan.code in ("pq8", "pq4"):
        inner = library.IndexIVFPQ(quantizer, dimension, plan.lists, plan.subquantizers, int(plan.code[2:]), metric)
        inner.by_residual = plan.code == "pq8" or plan.family != "ivf_pq_fastscan"
        inner.use_precomputed_table = -1
    elif plan.code == "rabitq":
        inner = library.IndexIVFRaBitQ(quantizer, dimension, plan.lists, metric)
    else:
        kind = {
            "sq8": library.ScalarQuantizer.QT_8bit,
            "sq4": library.ScalarQuantizer.QT_4bit,
            "sqfp16": library.ScalarQuantizer.QT_fp16,
        }[plan.code]
        inner = library.IndexIVFScalarQuantizer(quantizer, dimension, plan.lists, kind, metric)
    inner.own_fields = True
    return inner


class _OneFaissThread:
    def __enter__(self) -> None:
        self._before = faiss().omp_get_max_threads()
        faiss().omp_set_num_threads(1)

    def __exit__(self, *raised: object) -> None:
        faiss().omp_set_num_threads(self._before)


def _train_code(inner: Any, part: np.ndarray, tree: CentroidTree, plan: IndexPlan) -> None:
    """Trains the code of `inner` on what it will encode: residuals, or the vectors themselves."""
    library = faiss()
    lists = assign_all(tree, part)
    residuals = part - tree.centroids[lists] if inner.by_residual else part
    if plan.code not in ("pq8", "pq4"):
        residuals = np.ascontiguousarray(residuals, np.float32)
        with _OneFaissThread():
            inner.train_encoder(len(residuals), library.swig_ptr(residuals), library.swig_ptr(lists))
        return
    size = plan.rotated // plan.subquantizers
    columns = [np.ascontiguousarray(residuals[:, first : first + size]) for first in range(0, plan.rotated, size)]
    trained = in_threads(lambda column: k_means(column, inner.pq.ksub, False, plan.seed, CODE_ITERATIONS), columns)
    library.copy_array_to_vector(np.concatenate([each.ravel() for each in trained]), inner.pq.centroids)


def assign_all(tree: CentroidTree, vectors: np.ndarray) -> np.ndarray:
    """int64 [n]: the list of each of float32 [n, rotated] vectors, by all cores."""
    pieces = [vectors[start : start + _ENCODED_AT_ONCE] for start in range(0, len(vectors), _ENCODED_AT_ONCE)]
    return np.concatenate([np.empty(0, np.int64), *in_threads(tree.assign, pieces)])


@dataclass(frozen=True)
class Codes:
    """What a codebook makes of the vectors of one file, ordered by list: `lists` int32 [n], `rows` int32 [n] positions
    in the file, `codes` uint8 [n, code bytes]."""

    lists: np.ndarray
    rows: np.ndarray
    codes: np.ndarray


def encode_block(codebook: Codebook, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lists int64 [n] and codes uint8 [n, code bytes] of float32 [n, d] prepared vectors, by the calling thread."""
    library, inner = faiss(), codebook.inner
    rotated = np.ascontiguousarray(codebook.rotate(vectors), np.float32)
    lists = codebook.tree.assign(rotated)
    codes = np.zeros((len(vectors), inner.code_size), np.uint8)
    inner.encode_vectors(len(vectors), *(library.swig_ptr(each) for each in (rotated, lists, codes)), False)
    return lists, codes


def pieces_of(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The rows of one file, [n, d] at a time, in the pieces that threads take. What a file becomes must depend neither
    on other files nor on how it was read."""
    waiting: list[np.ndarray] = []
    held = 0
    for block in blocks:
        waiting.append(block)
        held += len(block)
        if held >= _ENCODED_AT_ONCE:
            whole = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            left = held % _ENCODED_AT_ONCE
            for start in range(0, held - left, _ENCODED_AT_ONCE):
                yield whole[start : start + _ENCODED_AT_ONCE]
            waiting, held = [whole[held - left :]], left
    if held:
        yield np.concatenate(waiting)


def join_codes(codebook: Codebook, encoded: Sequence[tuple[np.ndarray, np.ndarray]]) -> Codes:
    """The encoded pieces of a file, ordered by list."""
    lists = np.concatenate([np.empty(0, np.int64), *(each[0] for each in encoded)])
    codes = np.concatenate([np.empty((0, codebook.inner.code_size), np.uint8), *(each[1] for each in encoded)])
    order = np.argsort(lists, kind="stable")
    return Codes(lists[order].astype(np.int32), order.astype(np.int32), codes[order])


def encode_vectors(codebook: Codebook, vectors: np.ndarray, metric: str) -> Codes:
    """Assigns the vectors of a file to lists and encodes them, on all cores.

    Args:
        codebook: trained.
        vectors: float [n, d], as stored.
        metric: they are prepared for.
    """
    encoded = in_threads(lambda piece: encode_block(codebook, prepare(piece, metric)), pieces_of([vectors]))
    return join_codes(codebook, list(encoded))
