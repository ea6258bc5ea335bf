from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from dedupe import raw_rows
from dedupe.raw_rows import is_blank, raw_csv_rows, raw_lines

cells = st.text(st.sampled_from('ab",;\t\r\n é'), max_size=6)


def quoted(cell: str) -> str:
    """A cell in quotes where it needs them, or does no harm by them."""
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & set('",;\t\r\n') else cell


tables = st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=8)


@given(
    table=tables,
    delimiter=st.sampled_from(",;\t"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    chunk=st.integers(1, 9),
)
@settings(max_examples=200, deadline=None)
def test_rows_are_those_that_were_written_and_together_the_file(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str]], delimiter: str, end: str, chunk: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    rows = [(delimiter.join(map(quoted, row)) + end).encode() for row in table]
    path.write_bytes(b"".join(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_rows, "_CHUNK_BYTES", chunk)
        assert list(raw_csv_rows(str(path), delimiter)) == rows


@given(data=st.lists(st.sampled_from([b"a", b'"', b",", b"\n", b"\r", b"\xef\xbb\xbf"])).map(b"".join))
@settings(max_examples=300, deadline=None)
def test_no_byte_of_any_file_is_lost(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_bytes(data)
    assert b"".join(raw_csv_rows(str(path), ",")) == data
    assert b"".join(raw_lines(str(path))) == data
    assert list(raw_lines(str(path))) == re.findall(rb"[^\n]*\n|[^\n]+", data)


def test_a_mark_before_a_quoted_header_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbf"a\nb",c\n1,2')
    assert list(raw_csv_rows(str(path), ",")) == [b'\xef\xbb\xbf"a\nb",c\n', b"1,2"]


def test_blank_rows_are_told(tmp_path: Path) -> None:
    assert [is_blank(row, True) for row in (b"\r\n", b"\n", b" \n", b"")] == [True, True, False, True]
    assert [is_blank(row, False) for row in (b"\n", b" \t\n", b"{}\n")] == [True, True, False]


def test_a_quote_that_is_not_closed_takes_no_more_memory_than_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_rows, "_CHUNK_BYTES", 16)
    monkeypatch.setattr(raw_rows, "_LONGEST_ROW", 100)
    path = tmp_path / "rows.csv"
    path.write_bytes(b'a,b\n1,2\n"3,' + b"4\n" * 500)
    with pytest.raises(UsageError, match=r"rows\.csv, row 3: it is longer than"):
        list(raw_csv_rows(str(path), ","))
