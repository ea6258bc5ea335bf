from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import sorted_files
from catalog.sorted_files import in_order, read_sorted, write_sorted

SCHEMA = pa.schema([("item_id", pa.string()), ("rank", pa.int64()), ("text", pa.string())])
Row = tuple[str, int]


def ties(table: pa.Table) -> list[int]:
    return table["rank"].to_pylist()


def table_of(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"item_id": name, "rank": rank, "text": f"{name}-{rank}"} for name, rank in rows], SCHEMA
    )


def rows_of(tables: list[pa.Table]) -> list[Row]:
    rows = [row for table in tables for row in table.to_pylist()]
    assert all(row["text"] == f"{row['item_id']}-{row['rank']}" for row in rows)
    return [(row["item_id"], row["rank"]) for row in rows]


names = st.sampled_from(["", "a", "b", "é", "￿", "\U0001f600", "aa"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(names, st.integers(0, 30)), min_size=1, max_size=12), max_size=9), st.integers(1, 4))
def test_files_are_merged_as_python_sorts_their_rows(files: list[list[Row]], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_files, "_BATCH_ROWS", at_once)
        patch.setattr(sorted_files, "_MERGED_AT_ONCE", 3)
        paths = []
        for number, rows in enumerate(files):
            paths.append(Path(folder) / f"{number}.arrow")
            ordered = in_order(table_of(rows), ties)
            assert rows_of([ordered]) == sorted(rows)
            write_sorted(paths[-1], [ordered.slice(0, 3), ordered.slice(3)], SCHEMA)
        found = list(read_sorted(paths, Path(folder), ties))
        assert all(path.exists() for path in paths)
    assert rows_of(found) == sorted(row for rows in files for row in rows)
    assert all(len(table) <= at_once * 3 for table in found)


def test_large_rows_are_written_a_few_at_a_time(tmp_path: Path) -> None:
    rows = pa.table({"item_id": [f"{number:03d}" for number in range(100)], "text": ["x" * (1 << 17)] * 100})
    write_sorted(tmp_path / "f", [rows], rows.schema)
    batches = list(read_sorted([tmp_path / "f"], tmp_path, ties))
    assert {len(batch) for batch in batches} == {16, 4}
    assert pa.concat_tables(batches).equals(rows)
