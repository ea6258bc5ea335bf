from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from index_builder.assembly.index_file import write_whole_index
from index_builder.measures import prepare
from index_builder.training.codebook import Codebook, encode_vectors
from tests.conftest import REPOSITORY
from tests.index_builder.small_index import trained, write_flat, write_index
from tests.index_builder.vectors import clustered, small_plan


@pytest.fixture(scope="module", params=["cosine", "dot", "l2"])
def made(request: pytest.FixtureRequest) -> tuple[Codebook, np.ndarray, str]:
    vectors = prepare(clustered(3_000, 24), request.param)
    return trained(vectors, small_plan(request.param)), vectors, request.param


@pytest.mark.parametrize("memory", [1, 5_000, 1 << 30])
def test_the_streamed_file_is_byte_for_byte_what_faiss_writes(
    made: tuple[Codebook, np.ndarray, str], tmp_path: Path, memory: int
) -> None:
    codebook, vectors, metric = made
    reference = faiss.clone_index(codebook.index)
    reference.add(vectors)
    faiss.write_index(reference, str(tmp_path / "reference"))
    files = [
        (encode_vectors(codebook, vectors[start:stop], metric), np.arange(start, stop))
        for start, stop in ((0, 1_000), (1_000, 1_700), (1_700, 3_000))
    ]
    write_index(tmp_path / "streamed", codebook, small_plan(metric), files, memory=memory)
    assert (tmp_path / "streamed").read_bytes() == (tmp_path / "reference").read_bytes()


def test_rows_that_do_not_count_are_left_out_and_the_rest_keep_their_numbers(
    made: tuple[Codebook, np.ndarray, str], tmp_path: Path
) -> None:
    codebook, vectors, metric = made
    numbers = np.full(3_000, -1)
    alive = np.random.default_rng(1).permutation(3_000)[:2_000]
    numbers[alive] = np.arange(2_000)
    write_index(tmp_path / "i", codebook, small_plan(metric), [(encode_vectors(codebook, vectors, metric), numbers)])
    index = faiss.read_index(str(tmp_path / "i"))
    assert index.ntotal == 2_000
    inner = faiss.extract_index_ivf(index)
    ids = np.concatenate(
        [faiss.rev_swig_ptr(inner.invlists.get_ids(i), inner.invlists.list_size(i)) for i in range(16)]
    )
    assert sorted(ids.tolist()) == list(range(2_000))
    direct = faiss.clone_index(codebook.index)
    direct.add(vectors[alive])
    for each in (index, direct):
        faiss.extract_index_ivf(each).nprobe = 16
    # Equal codes give equal distances; their order is free.
    np.testing.assert_allclose(index.search(vectors[:50], 10)[0], direct.search(vectors[:50], 10)[0], rtol=1e-5)


def test_parts_together_hold_every_row_once_and_each_opens_by_itself(
    made: tuple[Codebook, np.ndarray, str], tmp_path: Path
) -> None:
    codebook, vectors, metric = made
    files = [(encode_vectors(codebook, vectors, metric), np.arange(3_000))]
    bounds, rows = [(0, 5), (5, 5), (5, 16)], []
    for number, lists in enumerate(bounds):
        write_index(tmp_path / str(number), codebook, small_plan(metric), files, lists)
        index = faiss.read_index(str(tmp_path / str(number)))
        inner = faiss.extract_index_ivf(index)
        for each in range(16):
            size = inner.invlists.list_size(each)
            assert size == 0 or lists[0] <= each < lists[1]
            rows += faiss.rev_swig_ptr(inner.invlists.get_ids(each), size).tolist() if size else []
    assert sorted(rows) == list(range(3_000))


def test_the_file_opens_memory_mapped_and_after_being_moved(
    made: tuple[Codebook, np.ndarray, str], tmp_path: Path
) -> None:
    codebook, vectors, metric = made
    files = [(encode_vectors(codebook, vectors, metric), np.arange(3_000))]
    write_index(tmp_path / "i.faiss", codebook, small_plan(metric), files)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "i.faiss").rename(tmp_path / "elsewhere" / "j.faiss")
    mapped = faiss.read_index(str(tmp_path / "elsewhere" / "j.faiss"), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    in_memory = faiss.read_index(str(tmp_path / "elsewhere" / "j.faiss"))
    np.testing.assert_array_equal(mapped.search(vectors[:20], 5)[1], in_memory.search(vectors[:20], 5)[1])


_TRAIN = """
import hashlib
from dataclasses import replace
from index_builder import threads
from index_builder.training import centroids
from index_builder.training.codebook import encode_vectors
from index_builder.measures import prepare
from tests.index_builder.small_index import trained
from tests.index_builder.vectors import clustered, small_plan
centroids.FLAT_BELOW = 8
threads.cores = lambda: {cores}
vectors = prepare(clustered(3_000, 24), "cosine")
for plan in (small_plan("cosine"), replace(small_plan("cosine"), hnsw_links=4)):
    codebook = trained(vectors, plan)
    print(hashlib.sha256(codebook.serialized()).hexdigest())
    print(hashlib.sha256(encode_vectors(codebook, vectors, "cosine").codes.tobytes()).hexdigest())
"""


def test_training_and_encoding_give_the_same_bytes_for_any_number_of_threads() -> None:
    results = set()
    for threads in ("1", "2", "4"):
        counts = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", _TRAIN.format(cores=threads)]
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **counts}, capture_output=True, text=True, check=True
        )
        assert len(done.stdout.split()) == 4
        results.add(done.stdout)
    assert len(results) == 1


@pytest.mark.parametrize("metric", ["l1", "l2", "dot"])
def test_a_flat_index_is_byte_for_byte_what_faiss_writes(tmp_path: Path, metric: str) -> None:
    vectors = clustered(50, 8)
    write_flat(tmp_path / "f", vectors, metric)
    kind = {"l1": faiss.METRIC_L1, "l2": faiss.METRIC_L2, "dot": faiss.METRIC_INNER_PRODUCT}[metric]
    reference = faiss.IndexFlat(8, kind)
    reference.add(vectors)
    faiss.write_index(reference, str(tmp_path / "g"))
    assert (tmp_path / "f").read_bytes() == (tmp_path / "g").read_bytes()


def test_any_other_index_that_faiss_knows_is_built_whole_and_always_the_same(tmp_path: Path) -> None:
    vectors = clustered(2_000, 16)
    for name in ("one", "two"):
        write_whole_index(tmp_path / name, [vectors[:700], vectors[700:]], vectors, "HNSW16", faiss.METRIC_L2)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = faiss.read_index(str(tmp_path / "one")).search(vectors[:200], 1)[1][:, 0]
    assert (found == np.arange(200)).mean() > 0.98
