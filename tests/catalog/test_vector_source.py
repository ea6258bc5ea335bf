from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import id_list, storage, vector_files
from catalog.errors import CatalogIndexerError, UsageError
from catalog.id_list import IdReader, look_at_ids
from catalog.vector_source import VectorInput, VectorSource, open_vector_source
from tests.catalog.test_vector_files import write_vecs

VECTORS = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks from few rows, several reads from few ids."""
    monkeypatch.setattr(vector_files, "_BLOCK_BYTES", 200)
    monkeypatch.setattr(id_list, "_CHUNK", 50)
    monkeypatch.setattr(id_list, "_LONGEST", 200)


def table(path: Path, first: int, last: int, **columns: object) -> str:
    vectors = pa.array(VECTORS[first:last].tolist(), pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": vectors, **columns}), path)
    return str(path)


def rows_of(source: VectorSource) -> list[tuple[str, str, list[float]]]:
    """Item id, origin and vector of each row."""
    found = []
    for file, block in source.blocks():
        ids = block.item_id.to_pylist()
        for row, (name, vector) in enumerate(zip(ids, block.vectors.tolist(), strict=True)):
            found.append((name, f"{source.labels[file]} row {block.first + row + 1}", vector))
    return found


def test_rows_are_numbered_over_all_files_in_order(tmp_path: Path) -> None:
    np.save(tmp_path / "b-2.npy", VECTORS[30:60])
    np.save(tmp_path / "b-1.npy", VECTORS[:30])
    write_vecs(tmp_path / "c.fvecs", VECTORS[60:])
    source = open_vector_source(VectorInput((str(tmp_path / "b-*.npy"), str(tmp_path / "c.fvecs"))))
    assert (source.rows, source.dimension, source.labels) == (90, 4, ["b-1.npy", "b-2.npy", "c.fvecs"])
    names = ["b-1.npy", "b-2.npy", "c.fvecs"]
    expected = [(str(row), f"{names[row // 30]} row {row % 30 + 1}", VECTORS[row].tolist()) for row in range(90)]
    assert rows_of(source) == expected
    assert source.describe() == "90 rows of 4 float32 in 3 files; item ids row numbers; metadata: none"


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_ids_of_a_file_go_to_rows_in_order(tmp_path: Path, end: str, line_end: str) -> None:
    np.save(tmp_path / "a.npy", VECTORS[:50])
    np.save(tmp_path / "b.npy", VECTORS[50:])
    ids = [f"schuh-größe {number}" for number in range(90)]
    ids[17] = ""
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbf" + (line_end.join(ids) + end).encode())
    source = open_vector_source(
        VectorInput((str(tmp_path / "a.npy"), str(tmp_path / "b.npy")), ids=str(tmp_path / "ids.txt"))
    )
    assert [name for name, _, _ in rows_of(source)] == ids


def test_ids_may_be_compressed_and_lie_in_a_store() -> None:
    storage.write("memory://ids/ids.txt.gz", gzip.compress(b"a\nb\nc\n"))
    ids = look_at_ids("memory://ids/ids.txt.gz")
    reader = IdReader(ids)
    assert ids.rows == 3
    assert [reader.take(2).to_pylist(), reader.take(2).to_pylist(), reader.take(2).to_pylist()] == [
        ["a", "b"],
        ["c"],
        [],
    ]


def test_another_number_of_ids_than_rows_is_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    for lines, count in ((89, "89"), (91, "91")):
        (tmp_path / "ids.txt").write_text("x\n" * lines)
        with pytest.raises(
            UsageError, match=rf"ids\.txt has {count} lines, and the input has 90 rows; expected one id for each row"
        ):
            open_vector_source(VectorInput((str(tmp_path / "a.npy"),), ids=str(tmp_path / "ids.txt")))


def test_a_file_of_ids_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    for data, message in (
        (b"a\nb\n\xff\n", "line 3, is not UTF-8 text"),
        (("a\n" * 100).encode() + b"\xff", "line 101, is not UTF-8 text"),
        ("a\n".encode("utf-16"), "is UTF-16 text, not UTF-8"),
        (b"x" * 300, "line 1 is longer than 1 MiB; expected one id a line"),
    ):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=message):
            look_at_ids(str(path))
    (tmp_path / "ids.txt.gz").write_bytes(gzip.compress(b"a\n" * 1_000)[:-9])
    with pytest.raises(UsageError, match=r"ids\.txt\.gz cannot be read"):
        look_at_ids(str(tmp_path / "ids.txt.gz"))


def test_ids_that_are_replaced_while_they_are_read_are_an_error(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    (tmp_path / "ids.txt").write_text("x\n" * 90)
    source = open_vector_source(VectorInput((str(tmp_path / "a.npy"),), ids=str(tmp_path / "ids.txt")))
    (tmp_path / "ids.txt").write_text("x\n" * 50)
    with pytest.raises(CatalogIndexerError, match="the file of ids was replaced"):
        rows_of(source)


def test_files_of_tables_bring_their_ids_and_one_metadata_type(tmp_path: Path) -> None:
    a = table(tmp_path / "a.parquet", 0, 40, id=[f"a{n}" for n in range(40)], price=list(range(40)))
    b = table(tmp_path / "b.parquet", 40, 90, id=list(range(50)), price=[n + 0.5 for n in range(50)], label=["x"] * 50)
    for order in ((a, b), (b, a)):
        source = open_vector_source(VectorInput(order))
        assert str(source.metadata).splitlines() == ["price: double", "label: string"]
        metadata = [row.as_py() for _, block in source.blocks() for row in block.metadata]
        assert {"price": 3.0, "label": None} in metadata
        assert {"price": 3.5, "label": "x"} in metadata
        names = [name for name, _, _ in rows_of(source)]
        assert sorted(names) == sorted([*(f"a{n}" for n in range(40)), *(str(n) for n in range(50))])
    one, other = (open_vector_source(VectorInput(order)).identity() for order in ((a, b), (b, a)))
    assert one == other
    np.save(tmp_path / "n.npy", VECTORS)
    np.save(tmp_path / "m.npy", VECTORS)
    places = (str(tmp_path / "n.npy"), str(tmp_path / "m.npy"))
    one, other = (open_vector_source(VectorInput(order)).identity() for order in (places, places[::-1]))
    assert one != other  # Their order gives rows their numbers.


def test_a_file_without_a_single_vector_goes_with_the_others(tmp_path: Path) -> None:
    a = table(tmp_path / "a.parquet", 0, 2, id=["a", "b"])
    pq.write_table(
        pa.table({"id": ["c"], "embedding": pa.array([None], pa.list_(pa.float32()))}), tmp_path / "b.parquet"
    )
    source = open_vector_source(VectorInput((str(tmp_path / "b.parquet"), a)))
    assert [(block.vectors.shape, block.missing is None) for _, block in source.blocks()] == [
        ((1, 4), False),
        ((2, 4), True),
    ]


def test_inputs_that_do_not_go_together_are_one_sentence(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    (tmp_path / "empty.fvecs").write_bytes(b"")
    (tmp_path / "v.csv").write_text("x")
    (tmp_path / "ids.txt").write_text("x\n" * 90)
    text = table(tmp_path / "text.parquet", 0, 2, id=["x", "y"], price=["much", "more"])
    table(tmp_path / "number.parquet", 0, 2, id=["x", "y"], price=[datetime_of(1), datetime_of(2)])
    for names, flags, message in (
        (["none.npy"], {}, "--input .*/none.npy: no such file"),
        (["*.nothing"], {}, "no such file"),
        (["v.csv"], {}, r"--input .*/v.csv: expected .parquet, .npy, .fvecs or .bvecs"),
        (["a.npy", "wide.npy"], {}, r"wide\.npy has vectors of 5 dimensions, .*a\.npy of 4; a store holds"),
        (["empty.fvecs"], {}, r"empty\.fvecs has no vectors"),
        (["a.npy"], {"id_column": "id"}, r"--id-column is for Parquet files, and .*a\.npy is none"),
        (["a.npy"], {"vector_column": "v"}, r"--vector-column is for Parquet files"),
        (["text.parquet"], {"id_column": "id", "ids": "ids.txt"}, "--ids and --id-column both name the item ids"),
        (["text.parquet", "a.npy"], {}, r"a\.npy has no item ids, and .*text\.parquet has"),
        (["text.parquet", "number.parquet"], {}, "column 'price' is string in .* and timestamp.* in another file"),
        (["a.npy"], {"ids": str(tmp_path / "none.txt")}, "--ids .*none.txt: no such file"),
    ):
        with pytest.raises(UsageError, match=message):
            open_vector_source(VectorInput(tuple(str(tmp_path / name) for name in names), **flags))
    with_ids = open_vector_source(VectorInput((text,)))
    assert with_ids.by_column


def datetime_of(day: int) -> np.datetime64:
    return np.datetime64(f"2026-01-0{day}", "us")
