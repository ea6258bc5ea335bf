from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import json_lines
from catalog.errors import UsageError
from catalog.json_line import Nested, Number, parse_line
from catalog.source import CatalogSource, open_catalog, read_rows


def read(path: Path, data: bytes | str | None = None) -> list[dict]:
    """All rows of the catalog, which `data` is written to first."""
    if data is not None:
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    catalog = open_catalog(CatalogSource((str(path),)))
    rows = [row for reader in catalog.readers for batch in read_rows(reader) for row in batch.to_pylist()]
    assert len(rows) == catalog.rows
    return rows


def refused(path: Path, data: bytes | str) -> str:
    with pytest.raises(UsageError) as error:
        read(path, data)
    return str(error.value)


def values_of(path: Path, *values: str) -> list[Any]:
    """What becomes of the values, as JSON writes them, of one column."""
    lines = [f'{{"id": {number}, "image": "a.jpg", "x": {value}}}' for number, value in enumerate(values)]
    return [row["metadata"]["x"] for row in read(path, "\n".join(lines))]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("c.jsonl", b'{"id": "1", "image": "a.jpg"}\n{"id": "2", "image": "b.jpg"}\n'),
        ("c.NDJSON", b'{"id": "1", "image": "a.jpg"}\n{"id": "2", "image": "b.jpg"}'),
        ("c.jsonl", b'\xef\xbb\xbf{"id":"1","image":"a.jpg"}\r\n \r\n\r\n{"image":"b.jpg","id":"2"}\r\n\r\n'),
        ("c.jsonl.gz", gzip.compress(b'{"id": 1, "image": "a.jpg"}\n{"id": 2, "image": "\\u0062.jpg"}')),
        ("c.ndjson.gz", gzip.compress(b'\xef\xbb\xbf{"id": 1, "image": "a.jpg"}\n{"id": 2, "image": "b.jpg"}')),
    ],
    ids=["jsonl", "ndjson without a last line end", "mark, carriage returns, blank lines", "jsonl.gz", "ndjson.gz"],
)
def test_the_same_catalog_is_read_from_every_form_of_json_lines(tmp_path: Path, name: str, data: bytes) -> None:
    rows = read(tmp_path / name, data)
    found = [(row["item_id"], row["image_uri"], row["origin"]) for row in rows]
    assert found == [(n, f"{tmp_path}/{i}.jpg", f"{name} row {n}") for n, i in (("1", "a"), ("2", "b"))]


def test_keys_of_later_lines_are_columns_and_missing_ones_are_null(tmp_path: Path) -> None:
    lines = ['{"id": 1, "image": "a.jpg"}'] * 20_000 + ['{"image": "b.jpg", "size": 7, "note": null}', "{}"]
    rows = read(tmp_path / "c.jsonl", "\n".join(lines))
    assert rows[0]["metadata"] == {"size": None, "note": None}
    assert rows[20_000]["metadata"] == {"size": 7, "note": None}
    assert [row["reason"] for row in rows[19_999:]] == [None, "empty_item_id", "empty_item_id"]


@pytest.mark.parametrize(
    ("values", "becomes"),
    [
        (["1", "-20", "null", "123456789012345678"], [1, -20, None, 123456789012345678]),
        (["1", "2.50", "1e5", "-0", "1.5E-3"], [1.0, 2.5, 100000.0, -0.0, 0.0015]),
        (["true", "false", "null"], [True, False, None]),
        (['"007"', '"12"', '""', "null"], ["007", "12", "", None]),
        (["7", '"XL"', "1.10", "true"], ["7", "XL", "1.10", "true"]),
        (["true", "1"], ["true", "1"]),
        (["9223372036854775808", "1"], ["9223372036854775808", "1"]),
        (["123456789012345678", "1.5"], ["123456789012345678", "1.5"]),
        (["1.7976931348623157e+308", "1"], [1.7976931348623157e308, 1.0]),
        (["1e999"], ["1e999"]),
        (["1e-999"], ["1e-999"]),
        (["0.12345678901234567890123"], ["0.12345678901234567890123"]),
        (["Infinity", "1.5"], [float("inf"), 1.5]),
        (['"\\u00e9\\ud83d\\ude00\\n"'], ["é😀\n"]),
        (
            ['["a", {"w":1.10}, null]', '{"b":"\\u00e9","b":[true]}'],
            ['["a", {"w": 1.10}, null]', '{"b": "é", "b": [true]}'],
        ),
        (['["a"]', "1"], ['["a"]', "1"]),
        (["null"], [None]),
    ],
)
def test_types_are_the_narrowest_that_lose_nothing(tmp_path: Path, values: list[str], becomes: list[Any]) -> None:
    found = values_of(tmp_path / "c.jsonl", *values)
    assert found == becomes
    assert list(map(type, found)) == list(map(type, becomes))


def test_json_lines_and_csv_share_their_types(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("id,image,size,price\na,1.jpg,3,2\n")
    (tmp_path / "2.jsonl").write_text('{"id": "b", "image": "2.jpg", "size": "XL", "price": 1.5, "new": true}')
    catalog = open_catalog(CatalogSource((str(tmp_path / "1.csv"), str(tmp_path / "2.jsonl"))))
    rows = [row["metadata"] for reader in catalog.readers for batch in read_rows(reader) for row in batch.to_pylist()]
    assert rows == [{"size": "3", "price": 2.0, "new": None}, {"size": "XL", "price": 1.5, "new": True}]


def test_a_line_that_is_no_object_is_kept_with_its_number_and_what_it_is(tmp_path: Path) -> None:
    lines = [
        '{"id": 1, "image": "a.jpg"}',
        '{"id": 2, "image": ',
        "[1]",
        "",
        "17",
        '"text"',
        "null",
        '{"id": 6, "image": "b.jpg", "id": 7}',
        '{"id": 7} {"id": 8}',
        '{"id": "\\ud800", "image": "a.jpg"}',
        "[" * 100_000,
        '{"id": 11, "image": "c.jpg"}',
    ]
    rows = read(tmp_path / "c.jsonl", "\n".join(lines))
    assert {row["origin"]: row["item_id"] for row in rows if not row["reason"]} == {
        "c.jsonl row 1": "1",
        "c.jsonl row 11": "11",
    }
    assert {row["origin"]: row["detail"] for row in rows if row["reason"] == "unparsable_row"} == {
        "c.jsonl row 2": "the row is not JSON: Expecting value at character 19",
        "c.jsonl row 3": "the row is a list, expected a JSON object",
        "c.jsonl row 4": "the row is a number, expected a JSON object",
        "c.jsonl row 5": "the row is a string, expected a JSON object",
        "c.jsonl row 6": "the row is null, expected a JSON object",
        "c.jsonl row 7": "the row has the key 'id' twice",
        "c.jsonl row 8": "the row is not JSON: Extra data at character 11",
        "c.jsonl row 9": "the row has half a surrogate pair (\\ud800 to \\udfff), which is no character",
        "c.jsonl row 10": "the row is nested too deeply",
    }


def test_a_first_line_that_is_cut_off_is_one_bad_row(tmp_path: Path) -> None:
    for second in ('{"id": 2, "image": "b.jpg"}', '{"id": 2, "image": "b.jpg"} x\n{"id": 3, "image": "b.jpg"}'):
        rows = read(tmp_path / "c.jsonl", '{"id": 1, "image": "a.j\n' + second)
        assert next(row["detail"] for row in rows if row["origin"] == "c.jsonl row 1").startswith("the row is not JSON")
        assert any(not row["reason"] for row in rows)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"id": 1, "image": "a.jpg"}, indent=2),
        json.dumps([{"id": 1, "image": "a.jpg"}, {"id": 2}], indent=2),
        '[{"id": 1, "image": "a.jpg"},\n{"id": 2, "image": "b.jpg"}]',
        '[\n{"id": 1, "image": "a.jpg"},\n{"id": 2, "image": "b.jpg"}\n]\n',
    ],
    ids=["an object", "a list", "a list of two lines", "a list of an object a line"],
)
def test_json_over_several_lines_is_refused_with_what_would_be_right(tmp_path: Path, text: str) -> None:
    said = refused(tmp_path / "c.jsonl", text)
    assert said.startswith(f"{tmp_path}/c.jsonl has JSON over several lines; JSON Lines wants one object a line")


def test_a_file_without_any_object_is_refused(tmp_path: Path) -> None:
    assert "is empty; expected one JSON object a line" in refused(tmp_path / "c.jsonl", " \n\n")
    said = refused(tmp_path / "c.jsonl", '[{"id": 1, "image": "a.jpg"}, {"id": 2, "image": "b.jpg"}]')
    assert "no line that is a JSON object (row 1 is a list, expected a JSON object)" in said
    assert "no column looks like the image" in refused(tmp_path / "c.jsonl", '{"id": 1}')


@pytest.mark.parametrize("bytes_more", [0, 1])
def test_a_line_may_be_so_long_and_no_longer(tmp_path: Path, bytes_more: int) -> None:
    around = '{"id": 2, "image": "b.jpg", "text": ""}'
    text = "x" * (json_lines._LONGEST_LINE - len(around) + bytes_more)
    line = around.replace('""', f'"{text}"')
    path = tmp_path / "c.jsonl"
    rows = read(path, f'{{"id": 1, "image": "a.jpg"}}\n{line}\n{{"id": 3, "image": "c.jpg"}}\n{line}')
    good = (
        {row["origin"]: len(row["metadata"]["text"] or "") for row in rows if not row["reason"]}
        if not bytes_more
        else {}
    )
    bad = {row["origin"]: row["detail"] for row in rows if row["reason"]}
    if bytes_more:
        said = "the row is longer than 16 MiB, the most that a line may have"
        assert bad == {"c.jsonl row 2": said, "c.jsonl row 4": said}
        assert [row["item_id"] for row in rows if not row["reason"]] == ["1", "3"]
    else:
        assert not bad
        assert good == {f"c.jsonl row {n}": len(text) if n in (2, 4) else 0 for n in (1, 2, 3, 4)}


def test_keys_without_end_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    lines = "".join(f'{{"image": "a.jpg", "{number}": 1}}\n' for number in range(2_000))
    assert "has more than 1,000 different keys by row 1000" in refused(tmp_path / "c.jsonl", lines)


def test_an_id_or_image_that_is_a_list_or_object_in_every_row_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path / "c.jsonl", '{"id": 1, "image": ["a.jpg"]}\n{"id": 2, "image": {"url": "b.jpg"}}\n')
    assert "'image' is a list or an object in every row; ids and image locations must be text or whole numbers" in said


def test_a_template_takes_columns_that_only_some_lines_have(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"image": 5}\n' * 3 + '{"image": 6, "shop": "x"}\n')
    catalog = open_catalog(CatalogSource((str(tmp_path / "c.jsonl"),), "gs://b", "{shop}/{image}.jpg"))
    rows = [row["image_uri"] for batch in read_rows(catalog.readers[0]) for row in batch.to_pylist()]
    assert rows[0] == "/5.jpg"
    assert rows[-1] == "gs://b/x/6.jpg"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), _VALUES, max_size=5), st.booleans())
def test_every_cell_is_its_value(record: dict[str, Any], escaped: bool) -> None:
    cells = parse_line(json.dumps(record, ensure_ascii=escaped))
    assert list(cells) == list(record)
    for key, cell in cells.items():
        value = record[key]
        if isinstance(cell, Nested | Number) or isinstance(value, bool):
            assert json.loads(cell or "") == value
        else:
            assert cell == value
