from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from index_builder.assembly.index_file import write_flat_index
from index_builder.planning.estimates import estimate, index_terms, serving_terms, training_ram
from index_builder.planning.factory import parse_factory
from tests.conftest import REPOSITORY
from tests.index_builder.synthetic_index import write_synthetic_index

linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the memory of a process is read from /proc")
# Any; only times depend on it.
RATE = 1e11


def expected_bytes(factory: str, vectors: int, dimension: int, metric: str = "cosine") -> int:
    return sum(index_terms(parse_factory(factory, vectors, dimension, metric), vectors).values())


FACTORIES = [
    "OPQ4_16,IVF512,PQ4",
    "IVF512,PQ8x4",
    "IVF512,PQ8x4fs",
    "OPQ7_14,IVF512,PQ7x4fs",
    "RR16,IVF512,RaBitQ",
    "IVF512,RaBitQ",
    "PCA8,IVF512,SQ8",
    "IVF512,SQ4",
    "IVF512,SQfp16",
    "IVF2048_HNSW32,PQ4",
    "IVF2048_HNSW8,PQ8x4fs",
]


@pytest.mark.parametrize("factory", FACTORIES)
def test_the_size_of_the_index_file_is_known_before_to_a_hundredth(factory: str, tmp_path: Path) -> None:
    plan = parse_factory(factory, 100_000, 16, "cosine")
    path = write_synthetic_index(tmp_path / "i.faiss", plan, 100_000)
    assert expected_bytes(factory, 100_000, 16) == pytest.approx(path.stat().st_size, rel=0.01)
    index = faiss.read_index(str(path))
    assert index.ntotal == 100_000
    inner = faiss.downcast_index(faiss.extract_index_ivf(index))
    assert (inner.nlist, inner.code_size, inner.d) == (plan.lists, plan.code_bytes, plan.rotated)


@pytest.mark.parametrize("vectors", [1_000_000, 10_000_000])
@pytest.mark.parametrize("factory", ["OPQ4_8,IVF4096,PQ4", "IVF4096,PQ4x4fs", "IVF4096,RaBitQ", "IVF16384_HNSW32,PQ2"])
def test_it_is_known_for_large_catalogs_too(factory: str, vectors: int, tmp_path: Path) -> None:
    path = write_synthetic_index(tmp_path / "i.faiss", parse_factory(factory, vectors, 8, "l2"), vectors)
    assert expected_bytes(factory, vectors, 8, "l2") == pytest.approx(path.stat().st_size, rel=0.01)


def test_an_index_in_parts_repeats_what_is_not_of_a_list(tmp_path: Path) -> None:
    from dataclasses import replace

    plan = parse_factory("IVF2048,PQ4", 100_000, 16, "l2")
    one, four = (index_terms(replace(plan, parts=parts), 100_000) for parts in (1, 4))
    assert four["centroids"] == 4 * one["centroids"]
    assert four["codes"] == one["codes"]


def test_the_size_of_a_flat_index_is_known_exactly(tmp_path: Path) -> None:
    vectors = np.zeros((1_000, 24), np.float32)
    write_flat_index(tmp_path / "f", [vectors], 1_000, 24, faiss.METRIC_L1)
    assert expected_bytes("Flat", 1_000, 24, "l1") == (tmp_path / "f").stat().st_size


@pytest.mark.parametrize("factory", ["HNSW16", "IVF64,Flat", "SQ6", "PQ8x6", "IVF64,PQ8+4", "PCA8,HNSW16"])
def test_the_size_of_what_faiss_builds_itself_is_known_to_a_seventh(factory: str, tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(20_000, 16)).astype(np.float32)
    index = faiss.index_factory(16, factory)
    index.train(vectors[:10_000])
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "w"))
    assert parse_factory(factory, 20_000, 16, "l2").family == "whole"
    assert expected_bytes(factory, 20_000, 16, "l2") == pytest.approx((tmp_path / "w").stat().st_size, rel=0.15)


_SERVE = """
import sys
import faiss, numpy as np
def held():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS")) * 1024
faiss.omp_set_num_threads(1)
queries = np.random.default_rng(0).normal(size=(20, int(sys.argv[2]))).astype(np.float32)
before = held()
index = faiss.read_index(sys.argv[1])
inner = faiss.extract_index_ivf(index)
inner.nprobe = inner.nlist
index.search(queries, 10)
print(held() - before)
"""


@linux
@pytest.mark.parametrize(
    ("factory", "metric", "vectors"),
    [
        ("OPQ8_16,IVF1024,PQ8", "cosine", 1_000_000),
        ("OPQ8_16,IVF4096,PQ8", "l2", 1_000_000),
        ("IVF4096,PQ16x4fs", "cosine", 1_000_000),
        ("IVF1024,PQ16x4fs", "l2", 100_000),
        ("IVF1024,PQ8", "l2", 100_000),
        ("RR16,IVF4096,RaBitQ", "cosine", 1_000_000),
        ("IVF8192_HNSW32,SQ8", "l2", 1_000_000),
        ("IVF16384,PQ2", "cosine", 10_000_000),
    ],
)
def test_the_memory_to_serve_is_what_a_process_gains(factory: str, metric: str, vectors: int, tmp_path: Path) -> None:
    plan = parse_factory(factory, vectors, 16, metric)
    path = write_synthetic_index(tmp_path / "i.faiss", plan, vectors)
    command = [sys.executable, "-c", _SERVE, str(path), "16"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert sum(serving_terms(plan, vectors).values()) == pytest.approx(int(done.stdout), rel=0.15)


_TRAIN = """
import sys
import numpy as np
from index_builder.training.codebook import train_codebook
from index_builder.planning.factory import parse_factory
from index_builder.training.row_store import RowStore
from index_builder.threads import in_threads
rows, dimension, factory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
import faiss, threadpoolctl
before = peak()
sample = RowStore(None, rows, dimension)
rng = np.random.default_rng(0)
for start in range(0, rows, 4_096):
    sample.write(start, rng.normal(size=(min(4_096, rows - start), dimension)).astype(np.float32))
train_codebook(sample, parse_factory(factory, rows, dimension, "cosine"))
print(peak() - before)
"""


@linux
@pytest.mark.parametrize(
    ("factory", "rows", "dimension"),
    [
        ("OPQ16_64,IVF1024,PQ16", 100_000, 256),
        ("IVF2048,PQ32x4fs", 120_000, 128),
        ("RR128,IVF1024,RaBitQ", 100_000, 128),
    ],
)
def test_the_memory_to_train_is_what_a_process_gains_at_its_peak(factory: str, rows: int, dimension: int) -> None:
    plan = parse_factory(factory, rows, dimension, "cosine")
    command = [sys.executable, "-c", _TRAIN, str(rows), str(dimension), factory]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert training_ram(replace(plan, training_rows=rows)) == pytest.approx(int(done.stdout), rel=0.15)


def test_vectors_count_where_they_are_kept() -> None:
    kept = parse_factory("IVF1024,PQ8x4fs,RFlat", 1_000_000, 16, "l2")
    assert estimate(kept, 1_000_000, 2, RATE).vectors_bytes == 32_000_000
    assert estimate(parse_factory("IVF1024,PQ8", 1_000_000, 16, "l2"), 1_000_000, 2, RATE).vectors_bytes == 0
