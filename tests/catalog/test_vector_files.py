from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from catalog import storage, vector_files
from catalog.errors import UsageError
from catalog.vector_files import look_at_array_file


def write_vecs(path: Path, vectors: np.ndarray) -> Path:
    """The slow way: row by row."""
    with path.open("wb") as file:
        for row in vectors:
            file.write(np.int32(len(row)).tobytes())
            file.write(row.tobytes())
    return path


def read_all(path: Path | str) -> np.ndarray:
    found = look_at_array_file(str(path))
    blocks = list(found.blocks())
    assert [block.first for block in blocks] == np.cumsum([0, *(len(block.vectors) for block in blocks)])[:-1].tolist()
    vectors = np.concatenate([block.vectors for block in blocks])
    assert (found.rows, found.dimension) == vectors.shape
    return vectors


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks from few rows."""
    monkeypatch.setattr(vector_files, "_BLOCK_BYTES", 1_000)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "i1", "u1", "<i2", ">i4", "<i8", "<u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_is_read_as_numpy_reads_it(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.random.default_rng(0).integers(0, 100, (321, 7))
    np.save(tmp_path / "v.npy", np.array(values, dtype, order=order))
    found = read_all(tmp_path / "v.npy")
    np.testing.assert_array_equal(found, np.load(tmp_path / "v.npy"))
    assert found.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize("shape", [(0, 5), (1, 5), (5, 1), (1, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_of_few_rows_or_columns(tmp_path: Path, shape: tuple[int, int], order: str) -> None:
    values = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape, order=order)
    np.save(tmp_path / "v.npy", values)
    found = look_at_array_file(str(tmp_path / "v.npy"))
    assert (found.rows, found.dimension) == shape
    np.testing.assert_array_equal(np.concatenate([values[:0], *(b.vectors for b in found.blocks())]), values)


def test_an_npy_file_in_fortran_order_is_read_from_a_store(tmp_path: Path) -> None:
    values = np.asfortranarray(np.random.default_rng(0).normal(size=(300, 9)))
    sink = io.BytesIO()
    np.save(sink, values)
    storage.write("memory://vectors/f.npy", sink.getvalue())
    np.testing.assert_array_equal(read_all("memory://vectors/f.npy"), values)


@pytest.mark.parametrize(("ending", "dtype"), [("fvecs", "<f4"), ("bvecs", "u1")])
def test_fvecs_and_bvecs_are_read_row_by_row(tmp_path: Path, ending: str, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 255, (321, 7)).astype(dtype)
    np.testing.assert_array_equal(read_all(write_vecs(tmp_path / f"v.{ending}", values)), values)


def test_an_empty_fvecs_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "v.fvecs").write_bytes(b"")
    found = look_at_array_file(str(tmp_path / "v.fvecs"))
    assert (found.rows, found.dimension, list(found.blocks())) == (0, None, [])


def test_a_file_that_is_not_whole_or_not_vectors_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    for values, message in (
        (np.zeros(5), r"v\.npy holds float64 \[5\]; expected numbers of shape \[rows, dimension\]"),
        (np.zeros((2, 3, 4)), r"holds float64 \[2, 3, 4\]"),
        (np.zeros((2, 3), complex), r"holds complex128 \[2, 3\]"),
        (np.zeros((2, 3), bool), r"holds bool \[2, 3\]"),
        (np.zeros((2, 3), np.longdouble), r"holds float128 \[2, 3\]"),
        (np.array([["a"]]), r"holds <U1 \[1, 1\]"),
        (np.array([[None]]), r"holds object \[1, 1\]"),
        (np.zeros((2, 0)), "has vectors of 0 dimensions; expected 1 to 65,536"),
        (np.zeros((1, 65_537), np.float16), "has vectors of 65537 dimensions"),
    ):
        np.save(path, values)
        with pytest.raises(UsageError, match=message):
            look_at_array_file(str(path))
    np.save(path, np.zeros((10, 4), np.float32))
    whole = path.read_bytes()
    for data, message in (
        (whole[:-1], "is cut: it has 287 bytes, its header asks for 288"),
        (whole + b"x", "has 1 bytes behind its array; expected one array in a file"),
        (whole[:30], "is not a NumPy .npy file of numbers"),
        (b"", "is not a NumPy .npy file of numbers"),
        (b"PK\x03\x04", "is not a NumPy .npy file of numbers"),
    ):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=message):
            look_at_array_file(str(path))


def test_an_fvecs_file_that_is_not_whole_is_one_sentence(tmp_path: Path) -> None:
    path = write_vecs(tmp_path / "v.fvecs", np.zeros((10, 4), np.float32))
    whole = path.read_bytes()
    for data, message in (
        (whole[:-3], "has 197 bytes, which is no number of whole rows: one of 4 dimensions has 20"),
        (whole[:2], "has 2 bytes; expected an int32 dimension before each row"),
        (b"\xff" * 20, "has vectors of -1 dimensions"),
        (bytes(20), "has vectors of 0 dimensions"),
    ):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=message):
            look_at_array_file(str(path))
    # Of a row that has another dimension only the row itself tells.
    path.write_bytes(whole[:160] + np.int32(3).tobytes() + whole[164:])
    with pytest.raises(UsageError, match="row 9 says that it has 3 dimensions, the first row 4"):
        read_all(path)


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros((1_000, 4), np.float32))
    found = look_at_array_file(str(tmp_path / "v.npy"))
    np.save(tmp_path / "v.npy", np.zeros((500, 4), np.float32))
    with pytest.raises(UsageError, match=r"v\.npy became shorter while it was read"):
        list(found.blocks())
