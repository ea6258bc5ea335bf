from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest

from index_builder.code_files import read_codes, write_codes
from index_builder.codebook import encode_vectors, train_codebook
from index_builder.index_file import write_flat_index, write_ivf_index
from index_builder.measures import prepare
from tests.conftest import REPOSITORY
from tests.index_builder.vectors import clustered, small_plan


@pytest.fixture(scope="module", params=["cosine", "dot", "l2"])
def trained(request: pytest.FixtureRequest) -> tuple[bytes, np.ndarray]:
    vectors = prepare(clustered(3_000, 24), request.param)
    return train_codebook(vectors, small_plan(request.param)), vectors


def opened(codebook: bytes) -> faiss.Index:
    return faiss.deserialize_index(np.frombuffer(codebook, np.uint8))


@pytest.mark.parametrize("bytes_at_once", [1, 5_000, 1 << 30])
def test_the_streamed_file_is_byte_for_byte_what_faiss_writes(
    trained: tuple[bytes, np.ndarray], tmp_path: Path, bytes_at_once: int
) -> None:
    codebook, vectors = trained
    reference = opened(codebook)
    reference.add(vectors)
    faiss.write_index(reference, str(tmp_path / "reference.faiss"))
    parts = []
    for start in (0, 1_000, 1_700):
        block = vectors[start : {0: 1_000, 1_000: 1_700, 1_700: 3_000}[start]]
        parts.append((encode_vectors(opened(codebook), block), np.arange(start, start + len(block))))
    write_ivf_index(tmp_path / "streamed.faiss", opened(codebook), parts, bytes_at_once)
    assert (tmp_path / "streamed.faiss").read_bytes() == (tmp_path / "reference.faiss").read_bytes()


def test_rows_that_do_not_count_are_left_out_and_the_rest_keep_their_numbers(
    trained: tuple[bytes, np.ndarray], tmp_path: Path
) -> None:
    codebook, vectors = trained
    numbers = np.full(3_000, -1)
    alive = np.random.default_rng(1).permutation(3_000)[:2_000]
    numbers[alive] = np.arange(2_000)
    write_ivf_index(tmp_path / "i.faiss", opened(codebook), [(encode_vectors(opened(codebook), vectors), numbers)])
    index = faiss.read_index(str(tmp_path / "i.faiss"))
    assert index.ntotal == 2_000
    inner = faiss.extract_index_ivf(index)
    ids = np.concatenate(
        [faiss.rev_swig_ptr(inner.invlists.get_ids(i), inner.invlists.list_size(i)) for i in range(16)]
    )
    assert sorted(ids.tolist()) == list(range(2_000))
    direct = opened(codebook)
    direct.add(vectors[alive])
    for each in (index, direct):
        faiss.extract_index_ivf(each).nprobe = 16
    # Equal codes give equal distances; their order is free.
    np.testing.assert_allclose(index.search(vectors[:50], 10)[0], direct.search(vectors[:50], 10)[0], rtol=1e-5)


def test_the_file_opens_memory_mapped_and_after_being_moved(trained: tuple[bytes, np.ndarray], tmp_path: Path) -> None:
    codebook, vectors = trained
    parts = [(encode_vectors(opened(codebook), vectors), np.arange(3_000))]
    write_ivf_index(tmp_path / "i.faiss", opened(codebook), parts)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "i.faiss").rename(tmp_path / "elsewhere" / "j.faiss")
    mapped = faiss.read_index(str(tmp_path / "elsewhere" / "j.faiss"), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    in_memory = faiss.read_index(str(tmp_path / "elsewhere" / "j.faiss"))
    np.testing.assert_array_equal(mapped.search(vectors[:20], 5)[1], in_memory.search(vectors[:20], 5)[1])


_TRAIN = """
import hashlib
from index_builder.codebook import train_codebook
from index_builder.measures import prepare
from tests.index_builder.vectors import clustered, small_plan
print(hashlib.sha256(train_codebook(prepare(clustered(3_000, 24), "cosine"), small_plan("cosine"))).hexdigest())
"""


def test_training_gives_the_same_bytes_for_any_number_of_threads() -> None:
    results = set()
    for threads in ("1", "2", "4"):
        counts = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", _TRAIN]
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **counts}, capture_output=True, text=True, check=True
        )
        results.add(done.stdout)
    assert len(results) == 1


def test_codes_are_read_as_they_were_written(trained: tuple[bytes, np.ndarray], tmp_path: Path) -> None:
    codebook, vectors = trained
    codes = encode_vectors(opened(codebook), vectors[:777])
    write_codes(str(tmp_path / "c.arrow"), codes)
    again = read_codes(str(tmp_path / "c.arrow"))
    for one, other in ((codes.lists, again.lists), (codes.rows, again.rows), (codes.codes, again.codes)):
        np.testing.assert_array_equal(one, other)


def test_a_flat_index_holds_the_vectors(tmp_path: Path) -> None:
    vectors = clustered(50, 8)
    write_flat_index(tmp_path / "f.faiss", vectors, faiss.METRIC_L1)
    index = faiss.read_index(str(tmp_path / "f.faiss"))
    np.testing.assert_array_equal(index.reconstruct_n(0, 50), vectors)
    assert index.metric_type == faiss.METRIC_L1
