from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import vector_files
from catalog.errors import UsageError
from catalog.vector_files import VectorBlock
from catalog.vector_tables import TableFile, look_at_table_file

VECTORS = np.random.default_rng(0).integers(-50, 50, (500, 6))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks from few rows."""
    monkeypatch.setattr(vector_files, "_BLOCK_BYTES", 2_000)


def write(path: Path, **columns: object) -> str:
    pq.write_table(pa.table(columns), path, row_group_size=70)
    return str(path)


def look(url: str, vector: str | None = None, item_id: str | None = None) -> TableFile:
    return look_at_table_file(url, vector, item_id, with_ids=True)


def blocks_of(file: TableFile) -> list[VectorBlock]:
    blocks = list(file.blocks(True, file.metadata))
    assert len(blocks) > 1
    assert [block.first for block in blocks] == np.cumsum([0, *(len(block.vectors) for block in blocks)])[:-1].tolist()
    return blocks


def lists(values: np.ndarray, type_: pa.DataType) -> pa.Array:
    return pa.array([row.tolist() for row in values], type_)


@pytest.mark.parametrize("number", [pa.float16(), pa.float32(), pa.float64(), pa.int8(), pa.int32(), pa.int64()])
@pytest.mark.parametrize("kind", ["list", "large_list", "fixed_size_list"])
def test_every_kind_of_list_of_numbers_is_read(tmp_path: Path, number: pa.DataType, kind: str) -> None:
    values = VECTORS.astype(np.float16) if number == pa.float16() else VECTORS
    type_ = {"list": pa.list_(number), "large_list": pa.large_list(number), "fixed_size_list": pa.list_(number, 6)}
    file = look(write(tmp_path / "v.parquet", embedding=lists(values, type_[kind])))
    assert (file.rows, file.dimension) == (500, 6)
    found = np.concatenate([block.vectors for block in blocks_of(file)])
    np.testing.assert_array_equal(found, VECTORS)


def test_tensors_of_a_fixed_shape_are_vectors(tmp_path: Path) -> None:
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(VECTORS.astype(np.float32))
    file = look(write(tmp_path / "v.parquet", features=tensors))
    np.testing.assert_array_equal(np.concatenate([block.vectors for block in blocks_of(file)]), VECTORS)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64())])
def test_null_and_empty_vectors_are_missing_and_null_values_are_no_numbers(tmp_path: Path, kind: pa.DataType) -> None:
    rows: list[list[float | None] | None] = [[float(value) for value in row] for row in VECTORS]
    for number in range(0, 500, 7):
        rows[number] = None if number % 2 else []
    rows[3] = [1.0, None, 2.0, 3.0, 4.0, 5.0]
    file = look(write(tmp_path / "v.parquet", embedding=pa.array(rows, kind)))
    blocks = blocks_of(file)
    missing = [np.zeros(len(block.vectors), bool) if block.missing is None else block.missing for block in blocks]
    assert np.flatnonzero(np.concatenate(missing)).tolist() == list(range(0, 500, 7))
    found = np.concatenate([block.vectors for block in blocks])
    assert np.isnan(found[3]).tolist() == [False, True, False, False, False, False]
    for number, row in enumerate(rows):
        if row and number != 3:
            assert found[number].tolist() == row


def test_a_null_that_arrow_cannot_read_is_one_sentence(tmp_path: Path) -> None:
    rows = [None, *VECTORS[1:].tolist()]
    file = look(write(tmp_path / "v.parquet", embedding=pa.array(rows, pa.list_(pa.float32(), 6))))
    with pytest.raises(UsageError, match="column 'embedding' has a null among lists of a fixed size"):
        blocks_of(file)


def test_columns_get_their_roles_by_name_and_by_flag(tmp_path: Path) -> None:
    vector = lists(VECTORS, pa.list_(pa.float32()))
    numbers = list(range(500))
    url = write(
        tmp_path / "v.parquet", tags=lists(VECTORS, pa.list_(pa.int8())), ID=numbers, key=numbers, Vector=vector
    )
    file = look(url)
    assert (file.vector, file.item_id, file.metadata.names, file.left_out) == ("Vector", "ID", ["key"], ("tags",))
    file = look(url, vector="tags", item_id="key")
    assert (file.vector, file.item_id, file.metadata.names, file.left_out) == ("tags", "key", ["ID"], ("Vector",))
    assert blocks_of(file)[0].item_id[1].as_py() == "1"
    without = look_at_table_file(url, None, None, with_ids=False)
    assert (without.item_id, without.metadata.names) == (None, ["ID", "key"])
    only = look(write(tmp_path / "one.parquet", whatever=vector, features=["text"] * 500))
    assert (only.vector, only.metadata.names) == ("whatever", ["features"])


def test_scalar_columns_are_carried_with_their_types_and_others_are_left_out(tmp_path: Path) -> None:
    when = datetime.datetime(2026, 1, 1)
    url = write(
        tmp_path / "v.parquet",
        item_id=[f" i{number} " for number in range(500)],
        product_id=pa.array([None, "p"] * 250),
        embedding=lists(VECTORS, pa.list_(pa.float32())),
        price=pa.array([1.5] * 500),
        label=pa.array(["x"] * 500).dictionary_encode(),
        seen=pa.array([when] * 500, pa.timestamp("ns")),
        image=pa.array([b"\x89"] * 500),
        tags=pa.array([["a"]] * 500),
        more=pa.array([{"a": 1}] * 500),
    )
    file = look(url)
    assert file.left_out == ("image", "tags", "more")
    block = blocks_of(file)[0]
    assert block.item_id[7].as_py() == "i7"
    assert block.product_id.slice(0, 2).to_pylist() == [None, "p"]
    assert block.metadata[0].as_py() == {"price": 1.5, "label": "x", "seen": when}
    assert str(file.metadata.field("label").type) == "string"


def test_a_column_that_is_not_what_is_needed_is_one_sentence(tmp_path: Path) -> None:
    vector = lists(VECTORS, pa.list_(pa.float32()))
    url = write(tmp_path / "v.parquet", a=vector, b=vector, name=["x"] * 500, when=[1.5] * 500)
    for vector_column, id_column, message in (
        (None, None, "more than one column could be the vector; name it with --vector-column: a, b"),
        ("c", None, r"has no column 'c' \(--vector-column\); its columns are: a, b, name, when"),
        ("a", "c", r"has no column 'c' \(--id-column\); its columns are: a, b, name, when"),
        ("name", None, "column 'name' is string; vectors must be lists of numbers"),
        ("a", "when", "column 'when' is double; ids must be text or whole numbers"),
        ("a", "b", r"column 'b' is list<.*>; ids must be text or whole numbers"),
    ):
        with pytest.raises(UsageError, match=message):
            look(url, vector_column, id_column)
    none = write(tmp_path / "none.parquet", name=["x"], nested=pa.array([[[1.0]]]))
    with pytest.raises(UsageError, match=r"no column holds lists of numbers, which vectors are; its columns are: name"):
        look(none)


def test_a_row_of_another_dimension_and_a_cut_file_are_one_sentence(tmp_path: Path) -> None:
    rows = [row.tolist() for row in VECTORS]
    rows[400] = rows[400][:5]
    file = look(write(tmp_path / "v.parquet", embedding=pa.array(rows, pa.list_(pa.float32()))))
    with pytest.raises(UsageError, match="row 401 has a vector of 5 dimensions, expected 6 in every row"):
        blocks_of(file)
    whole = (tmp_path / "v.parquet").read_bytes()
    (tmp_path / "v.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match=r"v\.parquet is not a readable Parquet file"):
        look(str(tmp_path / "v.parquet"))


def test_a_file_without_a_single_vector_has_no_dimension(tmp_path: Path) -> None:
    url = write(tmp_path / "v.parquet", embedding=pa.array([None, []] * 300, pa.list_(pa.float32())))
    assert look(url).dimension is None
