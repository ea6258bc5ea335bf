from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import canonical_json
from catalog.errors import IntegrityError
from index_builder.measures import prepare
from index_builder.training import centroids
from index_builder.training.codebook import Codebook, encode_vectors
from index_builder.training.codebook_files import describe_codebook, read_codebook, write_codebook
from index_builder.training.drift import Fit
from index_builder.version_job import BUILDER_VERSION
from tests.index_builder.small_index import trained
from tests.index_builder.vectors import clustered, small_plan

FIT = Fit(1, 2, 3, 0, 100, 3_000)
FILES = ("codebook.faiss", "cells.npy", "starts.npy", "codebook.json")


@pytest.fixture(scope="module", params=["cosine", "l2"])
def made(request: pytest.FixtureRequest) -> tuple[Codebook, np.ndarray, str]:
    """With centroids in two levels."""
    vectors = prepare(clustered(1_500, 24), request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(centroids, "FLAT_BELOW", 8)
        return trained(vectors, small_plan(request.param)), vectors, request.param


def stored(root: Path, made: tuple[Codebook, np.ndarray, str]) -> Path:
    """The folder of the codebook `one`."""
    write_codebook(str(root), "one", made[0], small_plan(made[2]), 1_500, FIT)
    return root / "codebooks" / "one"


def test_a_stored_codebook_encodes_as_the_one_that_was_trained(
    made: tuple[Codebook, np.ndarray, str], tmp_path: Path
) -> None:
    folder = stored(tmp_path, made)
    codebook, vectors, metric = made
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    again = read_codebook(str(tmp_path), "one")
    one, other = encode_vectors(codebook, vectors, metric), encode_vectors(again, vectors, metric)
    assert hashlib.sha256(one.codes.tobytes()).digest() == hashlib.sha256(other.codes.tobytes()).digest()
    np.testing.assert_array_equal(one.lists, other.lists)
    described = describe_codebook(str(tmp_path), "one")
    assert described is not None
    assert (described.plan, described.fit) == (small_plan(metric).to_json(), FIT)
    assert described.builder == BUILDER_VERSION
    assert describe_codebook(str(tmp_path), "two") is None


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(FILES), data=st.data())
def test_a_codebook_with_a_flipped_bit_is_not_used(
    made: tuple[Codebook, np.ndarray, str],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    data: st.DataObject,
) -> None:
    root = tmp_path_factory.getbasetemp() / made[2]
    path = stored(root, made) / name
    whole = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(whole))
    with pytest.raises(IntegrityError, match=f"{path} is damaged: .*; delete the folder that it is in and run again"):
        read_codebook(str(root), "one")


@pytest.mark.parametrize("name", FILES)
def test_a_codebook_that_lacks_a_file_is_named(
    made: tuple[Codebook, np.ndarray, str], tmp_path: Path, name: str
) -> None:
    path = stored(tmp_path, made) / name
    path.unlink()
    with pytest.raises(IntegrityError, match=f"{path} is damaged: it is missing"):
        read_codebook(str(tmp_path), "one")


def test_a_codebook_of_a_format_without_checksums_is_as_good_as_none(
    made: tuple[Codebook, np.ndarray, str], tmp_path: Path
) -> None:
    path = stored(tmp_path, made) / "codebook.json"
    value = canonical_json.load(path.read_bytes(), str(path))
    for name in ("files", "sha256", "builder_version"):
        del value[name]
    path.write_bytes(canonical_json.dump({**value, "schema_version": 2}))
    assert describe_codebook(str(tmp_path), "one") is None
    with pytest.raises(IntegrityError, match="of another version of catalog-indexer"):
        read_codebook(str(tmp_path), "one")
