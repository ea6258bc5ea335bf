from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import UsageError
from catalog.table_files import check_readable, column_names, read_blocks


def rows_of(path: Path) -> list[dict]:
    return [row for block in read_blocks(str(path)) for row in block.table.to_pylist()]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"id,image\n1,a.jpg\n2,b.jpg\n"),
        ("a.csv", b"\xef\xbb\xbfid,image\r\n1,a.jpg\r\n2,b.jpg\r\n"),
        ("a.tsv", b"id\timage\n1\ta.jpg\n2\tb.jpg\n"),
        ("a.csv.gz", gzip.compress(b"id,image\n1,a.jpg\n2,b.jpg\n")),
        ("a.tsv.gz", gzip.compress(b"id\timage\n1\ta.jpg\n2\tb.jpg\n")),
    ],
    ids=["csv", "csv with byte order mark and carriage returns", "tsv", "csv.gz", "tsv.gz"],
)
def test_the_same_table_is_read_from_every_delimited_form(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert column_names(str(path)) == ["id", "image"]
    assert rows_of(path) == [{"id": "1", "image": "a.jpg"}, {"id": "2", "image": "b.jpg"}]


def test_parquet_keeps_its_types_and_dictionaries_become_values(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "tag": pa.array(["x", "y"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet")
    block = next(read_blocks(str(tmp_path / "a.parquet")))
    assert block.table.schema.field("id").type == pa.int64()
    assert block.table.schema.field("tag").type == pa.string()


def test_quoted_commas_and_newlines_stay_in_their_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"one, two\nthree ""four"""\n')
    assert rows_of(path) == [{"id": "1", "text": 'one, two\nthree "four"'}]


def test_words_that_look_like_missing_values_are_kept_as_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text\nNA,null\nnan,N/A\n")
    assert rows_of(path) == [{"id": "NA", "text": "null"}, {"id": "nan", "text": "N/A"}]


def test_rows_that_do_not_parse_are_named_by_number_and_no_other_row_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,image\n1,a\n2\n"3\n3",c\n4,d,e\n5,f\n')
    blocks = list(read_blocks(str(path)))
    good = [(int(n), row["id"]) for b in blocks for n, row in zip(b.rows, b.table.to_pylist(), strict=True)]
    bad = [(bad.row, bad.detail) for b in blocks for bad in b.unparsed]
    assert good == [(2, "1"), (4, "3\n3"), (6, "5")]
    assert bad == [(3, "has 1 columns, expected 2"), (5, "has 3 columns, expected 2")]


def test_a_file_of_nothing_but_broken_rows_still_reports_them(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,image\nx\ny\n")
    assert [bad.row for block in read_blocks(str(path)) for bad in block.unparsed] == [2, 3]


def test_text_that_is_not_utf8_is_refused_with_the_conversion_to_run(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("id,image\n1,café.jpg\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"a\.csv.*row 2.*not UTF-8.*iconv"):
        rows_of(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"\n\n", "is empty"), (b"id,image,id\n1,2,3\n", "column 'id' twice")],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message):
        column_names(str(path))


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UsageError, match=r"a\.parquet is not a readable Parquet file"):
        column_names(str(tmp_path / "a.parquet"))


def test_a_file_of_another_kind_is_refused_by_name() -> None:
    wanted = r"expected \.csv, \.tsv, \.jsonl, \.ndjson \(each also with \.gz\) or \.parquet"
    for name in ("photo.jpg", "c.json", "c.gz", "c.parquet.gz"):
        with pytest.raises(UsageError, match=f"{name} is no catalog file: {wanted}"):
            check_readable(name)


@pytest.mark.parametrize("name", ["c.csv", "c.TSV.gz", "c.tab", "c.txt", "c.jsonl", "c.ndjson.gz", "C.PARQUET", "c.pq"])
def test_every_kind_of_catalog_is_known_by_its_ending(name: str) -> None:
    check_readable(name)


@pytest.mark.parametrize(
    "row",
    ['2,"oops', '2,"oops and "more" text', '2,"a"b'],
    ids=["to the end of the file", "to a later quote", "and text after the quote"],
)
def test_a_quote_that_is_not_closed_is_named_and_swallows_no_rows(tmp_path: Path, row: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["id,text", '1,"fine\nand broken"', row, "3,c", '4,"d"', "5,e"]) + "\n")
    with pytest.raises(UsageError, match=r"a\.csv, row [34]: a quote is not closed, or text follows a closing quote"):
        rows_of(path)


def test_long_texts_with_line_breaks_are_no_unclosed_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    text = "line\n" * 100_000 + 'with ""quotes"", commas and a last line'
    path.write_bytes(gzip.compress(f'id,text\n1,"{text}"\n2,"b\nc"\n'.encode()))
    assert [row["id"] for row in rows_of(path)] == ["1", "2"]


def test_semicolons_and_a_header_alone_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;image\n1;a,b.jpg\n")
    assert rows_of(tmp_path / "a.csv") == [{"id": "1", "image": "a,b.jpg"}]
    (tmp_path / "a.csv").write_text('\n\nid;image;"price, EUR"\n1;a.jpg;2\n')
    assert rows_of(tmp_path / "a.csv") == [{"id": "1", "image": "a.jpg", "price, EUR": "2"}]
    (tmp_path / "a.csv").write_text('id,"two\nlines",l\u2028s\n1,2,3\n')
    assert rows_of(tmp_path / "a.csv") == [{"id": "1", "two\nlines": "2", "l\u2028s": "3"}]
    for text in ("id,image", "id,image\n", "id,image\n\n"):
        (tmp_path / "b.csv").write_text(text)
        assert column_names(str(tmp_path / "b.csv")) == ["id", "image"]
        assert rows_of(tmp_path / "b.csv") == []


def test_utf16_is_refused_with_the_conversion_to_run(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,image\n1,a.jpg\n".encode("utf-16"))
    with pytest.raises(UsageError, match=r"a\.csv.*not UTF-8"):
        column_names(str(tmp_path / "a.csv"))


def test_parquet_nanoseconds_become_microseconds_and_nested_dictionaries_their_values(tmp_path: Path) -> None:
    table = pa.table(
        {
            "at": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns")),
            "tags": pa.array([["x"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    block = next(read_blocks(str(tmp_path / "a.parquet")))
    assert [field.type for field in block.table.schema] == [pa.timestamp("us"), pa.list_(pa.string())]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("last", [True, False], ids=["ended", "not ended"])
def test_line_ends_and_blank_lines_do_not_change_rows_or_their_numbers(
    tmp_path: Path, line_end: str, last: bool
) -> None:
    lines = ["", "id,text", "", '1,"a', "", 'b"', "", "", "2,c", "short", "3,"]
    (tmp_path / "a.csv").write_bytes((line_end.join(lines) + line_end * last).encode())
    blocks = list(read_blocks(str(tmp_path / "a.csv")))
    good = [(int(n), *row.values()) for b in blocks for n, row in zip(b.rows, b.table.to_pylist(), strict=True)]
    assert good == [(2, "1", f"a{line_end * 2}b"), (3, "2", "c"), (5, "3", "")]
    assert [bad.row for b in blocks for bad in b.unparsed] == [4]


def test_a_long_row_far_into_a_file_costs_no_other_row_and_no_number(tmp_path: Path) -> None:
    rows = [f"{number},{'x' * 90}" for number in range(40_000)]
    rows[30_000] = '30000,"' + "long\n" * 1_000_000 + '"'
    rows[10] = rows[29_999] = rows[30_001] = "short"
    (tmp_path / "a.csv").write_text("\n".join(["id,text", *rows]) + "\n")
    blocks = list(read_blocks(str(tmp_path / "a.csv")))
    good = [(int(n), i) for b in blocks for n, i in zip(b.rows, b.table["id"].to_pylist(), strict=True)]
    assert good == [(n + 2, str(n)) for n in range(40_000) if n not in (10, 29_999, 30_001)]
    assert [bad.row for b in blocks for bad in b.unparsed] == [12, 30_001, 30_003]


def test_a_row_too_long_to_be_one_is_refused_with_the_quote_to_look_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,a\n2,"never closed\n' + "3,x\n" * 9_000_000)
    with pytest.raises(
        UsageError, match=r"a\.csv, at or after row 3: a row is longer than 16 MiB; is a quote not closed"
    ):
        rows_of(tmp_path / "a.csv")
