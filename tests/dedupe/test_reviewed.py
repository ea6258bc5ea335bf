from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from catalog.errors import UsageError
from dedupe.reviewed import read_ignored, read_protected


def written(path: Path, text: str) -> str:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def pairs(path: Path, text: str) -> list[tuple[str, str]]:
    table = read_ignored(written(path, text))
    return list(zip(*table.to_pydict().values(), strict=True))


def test_pairs_found_different_are_ignored_once_and_pairs_found_the_same_are_not(tmp_path: Path) -> None:
    text = "item_id,other_item_id,verdict\nb,a,different\na,b,Different\nc,d,same\n"
    assert pairs(tmp_path / "reviewed.csv", text) == [("a", "b")]


def test_the_last_verdict_on_a_pair_counts(tmp_path: Path) -> None:
    text = "verdict,other_item_id,item_id,by\ndifferent,a,b,me\nsame,b,a,you\nsame,c,d,me\ndifferent,d,c,me\n"
    assert pairs(tmp_path / "reviewed.csv", text) == [("c", "d")]


@pytest.mark.parametrize("text", ["item_id,other_item_id\nx,y\nz,w\n", "x,y\nz , w\n", "y;x\nw;z\n"])
def test_a_plain_list_of_pairs_ignores_all_of_them(tmp_path: Path, text: str) -> None:
    assert pairs(tmp_path / "pairs.csv", text) == [("w", "z"), ("x", "y")]


def test_one_pair_without_a_header_is_a_list(tmp_path: Path) -> None:
    assert pairs(tmp_path / "pairs.csv", "A,b") == [("A", "b")]


def test_a_list_of_no_pairs_ignores_none(tmp_path: Path) -> None:
    assert pairs(tmp_path / "pairs.csv", "item_id,other_item_id,verdict\n") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item_id,other_item_id,verdict\na,b,same\na,c,maybe\n", "row 3: verdict 'maybe' is neither 'different' nor"),
        ("item_id,other_item_id,verdict\na,b,\n", "row 2: verdict '' is neither"),
        ("item_id,other_item_id\na,\n", "row 2: an item id is empty"),
        ("a,b\nc,c\n", "row 2: both ids are 'c'"),
        ("a,a\n", "row 1: both ids are 'a'"),
        ("a,b\nc,d\ne,f,g\n", "row 3, has 3 columns, expected 2"),
        ("a,b,c\n", "has the columns a, b, c; expected item_id, other_item_id and verdict"),
        ("", "is empty"),
    ],
)
def test_a_list_that_is_none_is_refused_by_file_and_row(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        pairs(tmp_path / "reviewed.csv", text)
    assert said in str(refused.value)
    assert str(tmp_path / "reviewed.csv") in str(refused.value)


def test_ids_of_lists_and_values_of_columns_protect(tmp_path: Path) -> None:
    lines = written(tmp_path / "ids.txt.gz", "a\n\n b \n")
    rows = written(tmp_path / "keep.csv", 'item_id,group_id\n"c",1\na,2\n')
    table = pa.table(
        {
            "item_id": ["a", "b", "c", "d", "e", "f", "g"],
            "metadata": [{"vendor": v, "year": y} for v, y in zip("xyxzuxx", [0, 0, 0, 0, 0, 7, None], strict=True)],
            "dataset": ["old"] * 7,
        }
    )
    protection = read_protected([lines, rows, "vendor=z|u", "year=7", "shade=red"])
    assert sorted(protection.ids.to_pylist()) == ["a", "b", "c"]
    assert protection.rows(table).tolist() == [True] * 6 + [False]
    assert read_protected(["dataset=old"]).rows(table).all()
    assert not read_protected([]).rows(table).any()
    assert read_protected([lines]).rows(table.slice(1, 3)).tolist() == [True, False, False]


def test_a_file_with_an_equals_sign_is_a_file_when_it_is_in_a_folder(tmp_path: Path) -> None:
    assert read_protected([written(tmp_path / "year=2020.txt", "a\n")]).ids.to_pylist() == ["a"]


def test_a_protected_list_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column 'item_id'; its columns are: id"):
        read_protected([written(tmp_path / "a.csv", "id\nx\n")])
    with pytest.raises(UsageError, match=r"b\.csv, row 3: the item id is empty"):
        read_protected([written(tmp_path / "b.csv", "item_id,x\na,1\n,2\n")])
    with pytest.raises(UsageError, match="--protect vendor=: expected a column and its values"):
        read_protected(["vendor="])
    for missing in ("none.txt", "none.csv"):
        with pytest.raises(UsageError, match=f"{missing} cannot be read"):
            read_protected([str(tmp_path / missing)])
