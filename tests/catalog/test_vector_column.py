from __future__ import annotations

import base64
import contextlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import storage, vector_column
from catalog.embedding_file import EmbeddingFileWriter, read_file, schema, vector_array, vectors_of
from catalog.errors import IntegrityError
from catalog.vector_column import read_vector_rows, read_vectors

NOTE = {"catalog_indexer.schema_version": "1"}
#: The layout of embedding files, as options of Arrow's writer.
OURS = {"compression": "none", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}


def numbers(rows: int, dimension: int, vector_type: str = "float16") -> np.ndarray:
    return np.random.default_rng(rows).normal(size=(rows, dimension)).astype(vector_type)


def write(path: Path, vectors: np.ndarray) -> str:
    """An embedding file as the embed job writes it."""
    rows, dimension = vectors.shape
    kind = str(vectors.dtype)
    writer = EmbeddingFileWriter(path, schema(dimension, kind, pa.schema([])), "finger")
    columns = {
        "item_id": [f"i{number:06d}" for number in range(rows)],
        "product_id": pa.nulls(rows, pa.string()),
        "embedding": vector_array(vectors, kind),
        "content_hash": pa.array([bytes(32)] * rows, pa.binary(32)),
        "phash": pa.array([1] * rows, pa.uint64()),
        "thumbnail": pa.array([bytes(192)] * rows, pa.binary(192)),
        "width": pa.array([1] * rows, pa.int32()),
        "height": pa.array([1] * rows, pa.int32()),
        "image_uri": pa.array(["/a.jpg"] * rows, pa.string()),
        "source_version": pa.array(["1"] * rows, pa.string()),
    }
    writer.append(pa.table(columns))
    return str(writer.finish())


def write_other(path: Path, vectors: np.ndarray, nullable: bool = False, **options: Any) -> str:
    """A file with the same column between two others, by Arrow's writer."""
    rows = len(vectors)
    column = vector_array(vectors, str(vectors.dtype))
    if nullable:
        column = column.cast(pa.list_(pa.field("element", column.type.value_type), vectors.shape[1]))
    embedding = pa.field("embedding", column.type, nullable=nullable)
    fields = pa.schema([pa.field("item_id", pa.int64()), embedding, pa.field("last", pa.int64())], NOTE)
    pq.write_table(pa.table([np.arange(rows), column, np.arange(rows)], schema=fields), path, **(OURS | options))
    return str(path)


def by_arrow(url: str, dimension: int) -> np.ndarray:
    return vectors_of(read_file(url, ["embedding"])["embedding"], dimension)


@pytest.fixture
def without_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow may not be asked for vectors."""

    def refuse(*_: object) -> None:
        raise AssertionError("read through Arrow")

    monkeypatch.setattr(vector_column, "_through_arrow", refuse)


@pytest.mark.usefixtures("without_arrow")
@pytest.mark.parametrize("scheme", ["", "file", "memory"])
@pytest.mark.parametrize("vector_type", ["float16", "float32"])
@pytest.mark.parametrize(("rows", "dimension"), [(9_000, 1), (5_000, 3), (4_097, 256), (4_200, 1280), (1, 1280)])
def test_vectors_are_those_that_arrow_reads(
    tmp_path: Path, scheme: str, vector_type: str, rows: int, dimension: int
) -> None:
    vectors = numbers(rows, dimension, vector_type)
    path = write(tmp_path / "f.parquet", vectors)
    url = {"": path, "file": f"file://{path}", "memory": f"memory://vectors/{rows}-{dimension}-{vector_type}"}[scheme]
    if scheme == "memory":
        storage.put_file(path, url)
    found = read_vectors(url, dimension)
    assert found.dtype == np.dtype(vector_type)
    np.testing.assert_array_equal(found, vectors)
    np.testing.assert_array_equal(found, by_arrow(url, dimension))
    some = np.unique(np.random.default_rng(1).integers(0, rows, 5))
    np.testing.assert_array_equal(read_vector_rows(url, dimension, some), vectors[some])


@pytest.mark.parametrize("vector_type", ["float16", "float32"])
def test_a_file_without_rows_has_no_vectors_of_its_type(tmp_path: Path, vector_type: str) -> None:
    none = np.empty((0, 7), vector_type)
    for path in (write(tmp_path / "ours", none), write_other(tmp_path / "other", none)):
        for found in (read_vectors(path, 7), read_vector_rows(path, 7, np.empty(0, int))):
            assert (found.shape, found.dtype) == ((0, 7), np.dtype(vector_type))


@pytest.mark.usefixtures("without_arrow")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_sizes_of_lists_pages_and_row_groups_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    rows, dimension = data.draw(st.integers(1, 90)), data.draw(st.integers(1, 40))
    vectors = numbers(rows, dimension, data.draw(st.sampled_from(["float16", "float32"])))
    path = write_other(
        tmp_path_factory.mktemp("sizes") / "f",
        vectors,
        row_group_size=data.draw(st.integers(1, 50)),
        data_page_size=data.draw(st.integers(1, 3_000)),
        write_batch_size=data.draw(st.integers(1, 30)),
    )
    np.testing.assert_array_equal(read_vectors(path, dimension), vectors)
    url = f"memory://vectors/sizes/{path}"
    storage.put_file(path, url)
    np.testing.assert_array_equal(read_vectors(url, dimension), vectors)
    wanted = np.array(sorted(data.draw(st.lists(st.integers(0, rows - 1), max_size=20))), int)
    for place in (path, url):
        np.testing.assert_array_equal(read_vector_rows(place, dimension, wanted), vectors[wanted])


LAYOUTS: dict[str, dict[str, Any]] = {
    "zstd": {"compression": "zstd"},
    "dictionary": {"use_dictionary": True},
    "second version of pages": {"data_page_version": "2.0"},
    "nullable": {"nullable": True},
    "no checksums": {"write_page_checksum": False},
    "byte stream split": {"column_encoding": {"embedding.list.element": "BYTE_STREAM_SPLIT"}},
}


@pytest.mark.parametrize("vector_type", ["float16", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_of_another_layout_is_read_by_arrow(
    tmp_path: Path, layout: str, vector_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = numbers(300, 5, vector_type)
    path = write_other(tmp_path / "f", vectors, **LAYOUTS[layout])
    buffer = np.zeros((400, 5), vector_type)
    np.testing.assert_array_equal(read_vectors(path, 5), vectors)
    assert np.shares_memory(read_vectors(path, 5, buffer), buffer)
    np.testing.assert_array_equal(buffer, np.concatenate([vectors, np.zeros((100, 5), vector_type)]))
    np.testing.assert_array_equal(read_vector_rows(path, 5, np.array([3, 299])), vectors[[3, 299]])
    monkeypatch.setattr(vector_column, "_through_arrow", None)
    with pytest.raises(TypeError):
        read_vectors(path, 5)


def test_statistics_in_the_pages_do_not_matter(tmp_path: Path, without_arrow: None) -> None:
    vectors = numbers(300, 5, "float32")
    path = write_other(tmp_path / "f", vectors, write_statistics=True)
    np.testing.assert_array_equal(read_vectors(path, 5), vectors)


def test_a_missing_vector_is_not_passed_over(tmp_path: Path) -> None:
    kind = pa.list_(pa.field("element", pa.float32()), 2)
    for values, why in (([[1, 2], None, [3, 4]], "is damaged"), ([[1, 2], [3, None]], "vectors are missing")):
        table = pa.table({"embedding": pa.array(values, kind)}, schema=pa.schema([("embedding", kind)], NOTE))
        pq.write_table(table, tmp_path / "f")
        with pytest.raises(IntegrityError, match=why):
            read_vectors(str(tmp_path / "f"), 2)


def test_another_dimension_or_type_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "f", numbers(4, 6))
    with pytest.raises(IntegrityError, match=r"halffloat.*\[6\].*, not 3 float16 or float32"):
        read_vectors(path, 3)
    pq.write_table(pa.table({"a": [1]}, schema=pa.schema([("a", pa.int64())], NOTE)), tmp_path / "g")
    with pytest.raises(IntegrityError, match="its embedding column is None"):
        read_vector_rows(str(tmp_path / "g"), 3, np.array([0]))


def test_memory_that_is_given_is_used_and_must_fit(tmp_path: Path) -> None:
    vectors = numbers(50, 4)
    path = write(tmp_path / "f", vectors)
    buffer = np.full((60, 4), 7, np.float16)
    found = read_vectors(path, 4, buffer)
    assert np.shares_memory(found, buffer)
    np.testing.assert_array_equal(found, vectors)
    assert (buffer[50:] == 7).all()
    for wrong in (buffer[:49], buffer.astype(np.float32), buffer[:, :3], np.zeros((60, 8), np.float16)[:, ::2]):
        with pytest.raises(ValueError, match=re.escape("float16 [50 or more, 4] is read")):
            read_vectors(path, 4, wrong)


def test_rows_must_ascend_and_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "f", numbers(10, 2))
    for wrong in ([3, 2], [-1], [10]):
        with pytest.raises(ValueError, match="must ascend from 0 to 9"):
            read_vector_rows(path, 2, np.array(wrong))


def column_bytes(path: str) -> list[tuple[int, int]]:
    """Where the vectors of each row group begin and end."""
    metadata = pq.ParquetFile(path).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    return [
        (column.data_page_offset, column.data_page_offset + column.total_compressed_size)
        for column in columns
        if column.path_in_schema.startswith("embedding")
    ]


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_no_flipped_bit_changes_a_vector(tmp_path: Path, scheme: str) -> None:
    vectors = numbers(120, 9)
    path = Path(write_other(tmp_path / "f", vectors, row_group_size=60, data_page_size=400, write_batch_size=100))
    url = str(path) if scheme == "file" else "memory://vectors/flipped"
    whole, wanted = path.read_bytes(), np.array([5, 61, 62])
    found = missed = 0
    (first, end), *_ = column_bytes(str(path))
    flips = [(place, bit) for place in range(first, end, 5) for bit in (0, 3, 6)]
    flips += [(place, bit) for place in range(first, first + 100) for bit in range(8)]  # A header, and levels.
    for place, bit in flips:
        storage.write(url, whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        try:
            np.testing.assert_array_equal(read_vectors(url, 9), vectors)
            missed += 1
        except IntegrityError as error:
            assert f"{url} is damaged: " in str(error)  # noqa: PT017
            found += 1
        with contextlib.suppress(IntegrityError):
            np.testing.assert_array_equal(read_vector_rows(url, 9, wanted), vectors[wanted])
    assert found > 1_000
    assert missed < 0.05 * found  # Bits of headers that say nothing.


def test_a_flipped_bit_in_values_or_levels_is_always_found(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "f", numbers(100, 8)))
    whole = path.read_bytes()
    ((first, end),) = column_bytes(str(path))
    for place in range(first + 40, end, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(IntegrityError, match=r"f is damaged: the checksum of the page at byte \d+ does not match"):
            read_vectors(str(path), 8)


def test_only_pages_that_are_needed_are_checked(tmp_path: Path) -> None:
    vectors = numbers(9_000, 256)
    path = Path(write(tmp_path / "f", vectors))
    whole = bytearray(path.read_bytes())
    whole[column_bytes(str(path))[1][1] - 1] ^= 1  # In the last vector of the second row group, of two pages.
    path.write_bytes(whole)
    sound = np.array([0, 4_095, 4_096, 5_000, 8_192, 8_999])
    np.testing.assert_array_equal(read_vector_rows(str(path), 256, sound), vectors[sound])
    with pytest.raises(IntegrityError, match="checksum"):
        read_vector_rows(str(path), 256, np.array([8_100]))


@pytest.mark.parametrize("scheme", ["file", "memory"])
def test_a_file_that_was_cut_is_named(tmp_path: Path, scheme: str) -> None:
    path = Path(write(tmp_path / "f", numbers(300, 8)))
    url = str(path) if scheme == "file" else "memory://vectors/cut"
    whole = path.read_bytes()
    ((first, end),) = column_bytes(str(path))
    footer = whole[-8 - int.from_bytes(whole[-8:-4], "little") :]
    cut = [whole[:size] for size in range(0, len(whole), 997)]
    # Bytes went missing within, and the footer is still there.
    cut += [whole[:place] + whole[place + 16 :] for place in range(first, end, 97)]
    cut += [whole[:place] + footer for place in (first, first + 20, end - 1)]
    for data in cut:
        storage.write(url, data)
        with pytest.raises(IntegrityError, match=f"^{re.escape(url)} is damaged: .*; restore it, or embed into"):
            read_vectors(url, 8)
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_vectors(str(path), 8)


def test_lists_of_other_lengths_are_found_behind_good_checksums(tmp_path: Path) -> None:
    values = pa.array(np.arange(12, dtype=np.float32))
    element = pa.field("element", pa.float32(), nullable=False)
    ragged = pa.ListArray.from_arrays(pa.array([0, 4, 6, 12], pa.int32()), values, type=pa.list_(element))
    fields = pa.schema([pa.field("embedding", ragged.type, nullable=False)])
    fixed = pa.schema([pa.field("embedding", pa.list_(element, 4), nullable=False)], NOTE)
    # What Arrow's writer would note about types is given by hand: lists of four, which these are not.
    note = {"ARROW:schema": base64.b64encode(fixed.serialize().to_pybytes()).decode(), **NOTE}
    with pq.ParquetWriter(tmp_path / "f", fields, store_schema=False, **OURS) as writer:
        writer.write_table(pa.table([ragged], schema=fields))
        writer.add_key_value_metadata(note)
    with pytest.raises(IntegrityError, match="has lists of other lengths"):
        read_vectors(str(tmp_path / "f"), 4)
    with pytest.raises(IntegrityError):
        read_file(str(tmp_path / "f"))
