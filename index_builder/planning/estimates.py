"""What an index will take before it is built: bytes on disk, memory to serve and to train it, and time.

Sizes follow FAISS's file format (faiss/impl/index_write.cpp) term by term, so that a budget that cannot be met is
refused by the name of what binds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from index_builder.faiss_import import faiss
from index_builder.measures import faiss_metric
from index_builder.planning.build_time import cell_count, seconds_by_stage
from index_builder.planning.index_plan import IndexPlan
from index_builder.threads import cores
from index_builder.training.codebook import CODE_TRAINING_ROWS, IN_MEMORY
from index_builder.training.row_store import BLOCK

ROW_NUMBER_BYTES = 8
# Counts, flags and the names of the parts; they differ by some tens of bytes between families.
_HEADER = 250
# FastScan compares 32 vectors at a time, and stores lists in such blocks.
_BLOCK_VECTORS = 32
# FAISS's own limit: a larger table of products between centroids and sub-quantizers is not made.
_LARGEST_TABLE = 2 << 30
# What an open list takes beside its codes and row numbers: two vectors and what their allocation costs.
_OPEN_LIST = 128
# FastScan takes memory in powers of two, of which about this share of a list is never used; but pages that are not
# written take no memory, so of a long list no more than half a page.
_UNUSED = 3 / 8
_HALF_PAGE = 2_048
# FAISS's own code and buffers, once it has searched.
_SEARCHING = 2 << 20
# Products' buffers in the BLAS of NumPy and of FAISS, for each thread.
_PRODUCT_BUFFERS = 8 << 20


@dataclass(frozen=True)
class Estimate:
    """What a plan takes. Bytes, and seconds on the machine that is asked.

    Attributes:
        index_bytes: of the FAISS file; of all files together, where the plan has parts.
        vectors_bytes: of the stored vectors; 0 where they are not kept. They are memory-mapped, a few pages a query,
            and no part of `serving_ram`.
        serving_ram: that a process gains by `faiss.read_index` and searches that have touched every list: what is in
            the file, and the table of products that FAISS computes for l2 and 8-bit codes on opening. A memory-mapped
            index needs no more. Items and stored vectors are mapped, and not counted.
        training_ram: the most that training holds at a time, beside what the process had before, on this machine.
        index_terms, serving_terms: `index_bytes` and `serving_ram` by what takes them.
        seconds_by_stage: `train`, `encode`, `ground_truth`, `assemble`; see `index_builder.planning.build_time`.
    """

    index_bytes: int
    vectors_bytes: int
    serving_ram: int
    training_ram: int
    index_terms: dict[str, int]
    serving_terms: dict[str, int]
    seconds_by_stage: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def estimate(plan: IndexPlan, vectors: int, vector_bytes: int, rate: float) -> Estimate:
    """What a plan takes.

    Args:
        plan: of the index.
        vectors: to index.
        vector_bytes: of one stored value: 2 or 4.
        rate: products of this machine, from `index_builder.planning.build_time.product_rate`.
    """
    index, serving = index_terms(plan, vectors), serving_terms(plan, vectors)
    return Estimate(
        index_bytes=sum(index.values()),
        vectors_bytes=vectors * plan.dimension * vector_bytes if plan.refine else 0,
        serving_ram=sum(serving.values()),
        training_ram=training_ram(plan),
        index_terms=index,
        serving_terms=serving,
        seconds_by_stage=seconds_by_stage(plan, vectors, sum(index.values()), rate),
    )


def index_terms(plan: IndexPlan, vectors: int) -> dict[str, int]:
    """Bytes of the FAISS file by what takes them, to some tens of bytes (HNSW graphs: to a hundredth; `whole`: to what
    FAISS tells of its codes)."""
    if plan.family == "flat":
        return {"vectors": 4 * vectors * plan.dimension, "header": 49 if plan.metric == "l1" else 45}
    if plan.family == "whole":
        return _whole_terms(plan, vectors)
    codes = vectors * plan.code_bytes
    if plan.family == "ivf_pq_fastscan":
        codes = _blocks(plan, vectors) * _BLOCK_VECTORS * _packed_bytes(plan)
    once = {
        "centroids": 4 * plan.lists * plan.rotated,
        "graph": graph_bytes(plan.lists, plan.hnsw_links) if plan.hnsw_links else 0,
        "rotation": 0 if plan.rotation == "none" else 4 * plan.dimension * plan.rotated,
        "code tables": {"pq8": 4 * 256, "pq4": 4 * 16, "sq8": 8, "sq4": 8}.get(plan.code, 0) * plan.rotated,
        "list sizes": (16 if plan.family == "ivf_pq_fastscan" else 8) * plan.lists,
        "header": _HEADER,
    }
    shared = {name: size * plan.parts for name, size in once.items()}
    return {"row numbers": ROW_NUMBER_BYTES * vectors, "codes": codes, **shared}


def _packed_bytes(plan: IndexPlan) -> int:
    """Of a code in a block of FastScan: sub-quantizers come in pairs."""
    return (plan.subquantizers + 1) // 2


def _blocks(plan: IndexPlan, vectors: int) -> int:
    """Blocks of FastScan: the last of each list is half full on average."""
    if vectors < plan.lists:
        return vectors
    return vectors // _BLOCK_VECTORS + plan.lists * (_BLOCK_VECTORS - 1) // (2 * _BLOCK_VECTORS)


def graph_bytes(nodes: int, links: int) -> int:
    """An HNSW graph: twice the links on the lowest level, and on each level above, which holds one node in `links`, as
    many as there are; a level and an offset for each node."""
    above = 1 / max(1, links - 1)
    return int(nodes * (4 * links * (2 + above) + 4 + 8))


def _whole_terms(plan: IndexPlan, vectors: int) -> dict[str, int]:
    library = faiss()
    owner = library.index_factory(plan.dimension, plan.factory, faiss_metric(plan.metric))
    index = library.downcast_index(owner)
    terms = {"header": _HEADER}
    inverted = library.try_extract_index_ivf(index)
    if inverted is not None:
        lists, dimension = int(inverted.nlist), int(inverted.d)
        terms |= {"row numbers": ROW_NUMBER_BYTES * vectors, "codes": vectors * int(inverted.code_size)}
        if isinstance(downcast := library.downcast_index(inverted), library.IndexIVFPQR):
            terms["codes"] += vectors * int(downcast.refine_pq.code_size)
        return {**terms, "centroids": 4 * lists * dimension, "list sizes": 8 * lists}
    if isinstance(index, library.IndexPreTransform):
        index = library.downcast_index(index.index)
    if isinstance(index, library.IndexHNSW):
        terms["graph"] = graph_bytes(vectors, int(index.hnsw.nb_neighbors(1)))
        index = library.downcast_index(index.storage)
    return {"codes": vectors * int(getattr(index, "code_size", 4 * plan.dimension)), **terms}


def serving_terms(plan: IndexPlan, vectors: int) -> dict[str, int]:
    """Bytes of memory by what takes them; see `Estimate.serving_ram`."""
    terms = {**index_terms(plan, vectors), "searching": _SEARCHING}
    if plan.lists:
        terms["open lists"] = _OPEN_LIST * plan.lists * plan.parts
    if plan.family == "ivf_pq_fastscan":
        filled = terms["codes"] // plan.lists
        terms["open lists"] += plan.lists * min(_HALF_PAGE, int(_UNUSED * filled))
    if plan.family == "ivf_pq" and plan.metric == "l2":
        table = 4 * plan.lists * plan.subquantizers * (256 if plan.code == "pq8" else 16)
        terms["table of products"] = table * plan.parts if table <= _LARGEST_TABLE else 0
    return terms


def training_ram(plan: IndexPlan) -> int:
    """The most that `train_codebook` holds at a time, the sample included.

    Three moments compete: the rotation, found from a part of the sample; the centroids, with the sample, rotated, and
    again ordered by cell; the code, with the residuals of a part of the sample and their columns. Samples of more
    than 512 MiB are on disk.
    """
    if plan.family == "flat":
        return 0
    rows, threads, cells = plan.training_rows, cores(), cell_count(plan.lists)
    sample, rotated = 4 * rows * plan.dimension, 4 * rows * plan.rotated
    if plan.family == "whole":
        return 2 * sample
    part = min(rows, CODE_TRAINING_ROWS)
    picked = 4 * part * plan.rotated if rows > part else 0
    found = _finding_a_rotation(plan, rows, part)
    # Sums, counts and means, some of them in float64.
    centroids = 40 * plan.lists * plan.rotated if cells else picked
    # Residuals and their columns; FastScan's codes are of the vectors themselves.
    code = picked + (1 if plan.family == "ivf_pq_fastscan" else 2) * 4 * part * plan.rotated
    scores = 4 * threads * BLOCK * (cells + 64)
    blocks = (2 * threads + 1) * 4 * BLOCK * plan.rotated
    if sample > IN_MEMORY:
        grouping = 2 * 16 * 4 * BLOCK * plan.rotated + threads * rotated // max(1, cells)
        return threads * _PRODUCT_BUFFERS + max(found, max(grouping, centroids + scores) + blocks, code + blocks)
    moved = 0 if plan.rotation == "none" else rotated + blocks
    grouped = rotated if cells else 0
    later = moved + max(grouped + centroids + scores, code)
    return threads * _PRODUCT_BUFFERS + sample + max(found, later)


def _finding_a_rotation(plan: IndexPlan, rows: int, part: int) -> int:
    """A part of the sample, a centred block of it for each thread, and a few matrices."""
    if plan.rotation in ("opq", "pca"):
        picked = 4 * part * plan.dimension if rows > part else 0
        blocks = cores() * 4 * (BLOCK * plan.dimension + 2 * plan.dimension**2)
        return picked + blocks + 5 * 8 * plan.dimension**2
    return 4 * 8 * max(plan.dimension, plan.rotated) ** 2 if plan.rotation == "random" else 0
