"""Every family and metric: trained, encoded and written by us, read by plain FAISS, against brute force."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from index_builder.assembly.index_file import write_flat_index, write_ivf_index, write_whole_index
from index_builder.assembly.runs import Run, write_run
from index_builder.measures import faiss_metric, prepare
from index_builder.planning.factory import parse_factory
from index_builder.planning.index_plan import IndexPlan
from index_builder.training.codebook import Codebook, encode_vectors, train_codebook
from tests.index_builder.synthetic_index import stored
from tests.index_builder.vectors import clustered, exact_rows

ROWS, DIMENSION, QUERIES, DEPTH = 3_000, 32, 100, 10

# Factory, and the recall@10 of the codes alone when every list is visited; codes that tell only the 40 clusters
# apart would reach 0.13.
FAMILIES = [
    ("OPQ8_32,IVF16,PQ8", 0.4),
    ("IVF16,PQ8", 0.4),
    ("OPQ8_16,IVF16,PQ8", 0.3),
    ("PCA16,IVF16,PQ8", 0.3),
    ("IVF16,PQ16x4", 0.3),
    ("IVF16,PQ16x4fs", 0.3),
    ("OPQ8_32,IVF16,PQ8x4fs", 0.2),
    ("IVF16,RaBitQ", 0.25),
    ("RR32,IVF16,RaBitQ", 0.25),
    ("IVF16,SQ8", 0.9),
    ("IVF16,SQ4", 0.6),
    ("IVF16,SQfp16", 0.95),
    ("IVF64_HNSW8,PQ8", 0.4),
    ("OPQ16_32,IVF64_HNSW32,PQ16x4fs", 0.3),
]


def write(path: Path, plan: IndexPlan, vectors: np.ndarray) -> Codebook:
    """Writes an index of the plan from two files of codes, whose rows are interleaved."""
    codebook = train_codebook(stored(vectors), plan)
    runs = []
    for number, rows in enumerate((np.arange(0, ROWS, 2), np.arange(1, ROWS, 2))):
        part = (encode_vectors(codebook, vectors[rows], plan.metric), rows)
        runs.append((str(path.parent / f"run{number}"), part))
    write_run(runs[0][0], plan.lists, codebook.inner.code_size, [part for _, part in runs])
    fastscan = plan.family == "ivf_pq_fastscan"
    run = Run(runs[0][0])
    write_ivf_index(path, codebook, fastscan, [run], run.sizes(), (0, plan.lists), 1 << 20)
    return codebook


def write_by_faiss(path: Path, plan: IndexPlan, codebook: Codebook, vectors: np.ndarray) -> None:
    """Writes FAISS's own index with the same codes, put into its lists one row after the other."""
    index = faiss.clone_index(codebook.index)
    inner = faiss.downcast_index(faiss.extract_index_ivf(index))
    codes = encode_vectors(codebook, vectors, plan.metric)
    for row in np.argsort(codes.rows):
        code = np.ascontiguousarray(codes.codes[row])
        inner.invlists.add_entry(int(codes.lists[row]), int(codes.rows[row]), faiss.swig_ptr(code))
    index.ntotal = inner.ntotal = len(vectors)
    written = index
    if plan.family == "ivf_pq_fastscan":
        written = packed = faiss.IndexIVFPQFastScan(inner)
        packed.own_fields = False
        if plan.rotation != "none":
            written = faiss.IndexPreTransform(faiss.downcast_VectorTransform(index.chain.at(0)), packed)
            written.is_trained, written.ntotal = True, len(vectors)
    faiss.write_index(written, str(path))


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    return float(np.mean([len(set(one) & set(other)) / DEPTH for one, other in zip(found, exact, strict=True)]))


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(("factory", "least"), FAMILIES)
def test_a_family_finds_what_brute_force_finds(factory: str, least: float, metric: str, tmp_path: Path) -> None:
    vectors = clustered(ROWS, DIMENSION)
    plan = parse_factory(factory, ROWS, DIMENSION, metric)
    codebook = write(tmp_path / "i.faiss", plan, prepare(vectors, metric))
    index = faiss.read_index(str(tmp_path / "i.faiss"))
    inner = faiss.downcast_index(faiss.extract_index_ivf(index))
    inner.nprobe = plan.lists
    if plan.hnsw_links:
        faiss.downcast_index(inner.quantizer).hnsw.efSearch = 4 * plan.lists
    queries = vectors[:: ROWS // QUERIES]
    found = index.search(prepare(queries, metric), DEPTH)[1]
    assert recall(found, exact_rows(queries, vectors, metric, DEPTH)) > least
    assert (inner.code_size, inner.d, inner.nlist) == (plan.code_bytes, plan.rotated, plan.lists)
    write_by_faiss(tmp_path / "f.faiss", plan, codebook, prepare(vectors, metric))
    assert (tmp_path / "i.faiss").read_bytes() == (tmp_path / "f.faiss").read_bytes()


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2", "l1"])
def test_a_flat_index_is_exact(metric: str, tmp_path: Path) -> None:
    vectors = clustered(ROWS, DIMENSION)
    prepared = prepare(vectors, metric)
    write_flat_index(tmp_path / "i", [prepared[:1_000], prepared[1_000:]], ROWS, DIMENSION, faiss_metric(metric))
    found = faiss.read_index(str(tmp_path / "i")).search(prepared[:QUERIES], DEPTH)[1]
    assert recall(found, exact_rows(vectors[:QUERIES], vectors, metric, DEPTH)) > 0.999


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize(("factory", "least"), [("IVF16,Flat", 0.999), ("SQ6", 0.8), ("PCA16,SQ8", 0.3)])
def test_what_faiss_builds_whole_finds_what_brute_force_finds(
    factory: str, least: float, metric: str, tmp_path: Path
) -> None:
    vectors = clustered(ROWS, DIMENSION)
    prepared, plan = prepare(vectors, metric), parse_factory(factory, ROWS, DIMENSION, metric)
    assert (plan.family, plan.lists) == ("whole", 0)
    write_whole_index(tmp_path / "i", [prepared], prepared, plan.factory, faiss_metric(metric))
    index = faiss.read_index(str(tmp_path / "i"))
    if (inner := faiss.try_extract_index_ivf(index)) is not None:
        inner.nprobe = 16
    found = index.search(prepared[:QUERIES], DEPTH)[1]
    assert recall(found, exact_rows(vectors[:QUERIES], vectors, metric, DEPTH)) > least
