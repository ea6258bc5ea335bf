from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import storage
from catalog.errors import IntegrityError
from index_builder.assembly.code_files import read_codes, write_codes
from index_builder.training.codebook import Codes


@st.composite
def codes(draw: st.DrawFn) -> Codes:
    """Codes of any width; some have in them what a checksum begins with."""
    rows, width, seed = draw(st.integers(0, 40)), draw(st.integers(1, 9)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    values = np.resize(np.frombuffer(b"crc32:00000000", np.uint8), (rows, width))
    values = np.where(rng.random((rows, width)) < 0.3, rng.integers(0, 256, (rows, width)), values).astype(np.uint8)
    return Codes(np.sort(rng.integers(0, 7, rows)).astype(np.int32), rng.permutation(rows).astype(np.int32), values)


def same(one: Codes, other: Codes) -> bool:
    pairs = ((one.lists, other.lists), (one.rows, other.rows), (one.codes, other.codes))
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@settings(max_examples=60, deadline=None)
@given(codes())
def test_codes_are_read_as_they_were_written_from_a_disk_and_from_elsewhere(
    tmp_path_factory: pytest.TempPathFactory, written: Codes
) -> None:
    path = tmp_path_factory.getbasetemp() / "codes.arrow"
    for url in (str(path), "memory://codes/one.arrow"):
        write_codes(url, written)
        assert same(read_codes(url), written)
    assert storage.read_bytes("memory://codes/one.arrow") == path.read_bytes()
    table = pa.ipc.open_file(path).read_all()  # As anybody reads it.
    assert table["code"].to_pylist() == [code.tobytes() for code in written.codes]


@settings(max_examples=300, deadline=None)
@given(codes(), st.data())
def test_any_flipped_bit_is_found(written: Codes, data: st.DataObject) -> None:
    url = "memory://codes/flipped.arrow"
    write_codes(url, written)
    whole = bytearray(storage.read_bytes(url))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    storage.write(url, bytes(whole))
    with pytest.raises(IntegrityError, match=r"flipped\.arrow is damaged: .* checksum; delete it and run again"):
        read_codes(url)


def test_every_bit_of_one_file_is_checked() -> None:
    url = "memory://codes/every.arrow"
    write_codes(url, Codes(np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), np.ones((3, 2), np.uint8)))
    whole = storage.read_bytes(url)
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        storage.write(url, bytes(flipped))
        with pytest.raises(IntegrityError):
            read_codes(url)


def test_a_file_that_is_cut_empty_gone_or_without_a_checksum_is_named(tmp_path: Path) -> None:
    path = tmp_path / "codes.arrow"
    write_codes(str(path), Codes(np.zeros(5, np.int32), np.arange(5, dtype=np.int32), np.ones((5, 3), np.uint8)))
    whole = path.read_bytes()
    with pa.ipc.open_file(path) as file:
        bare = file.read_all().replace_schema_metadata(None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, bare.schema) as writer:
        writer.write_table(bare)
    for damaged in (whole[:-200], whole[:9], b"", sink.getvalue().to_pybytes()):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=r"codes\.arrow is damaged: .*; delete it and run again"):
            read_codes(str(path))
    path.unlink()
    with pytest.raises(IntegrityError, match=r"codes\.arrow is missing; run again"):
        read_codes(str(path))
