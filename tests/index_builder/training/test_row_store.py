from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index_builder.training import row_store as module
from index_builder.training.row_store import RowStore, grouped
from tests.index_builder.vectors import clustered


@pytest.fixture(params=["memory", "disk"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "rows" if request.param == "disk" else None


def test_rows_are_read_as_they_were_written_in_blocks_and_spread_evenly(
    path: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 100)
    vectors = clustered(1_050, 7)
    rows = RowStore(path, 1_050, 7)
    rows.write(600, vectors[600:])
    rows.write(0, vectors[:600])
    np.testing.assert_array_equal(rows.read(90, 777), vectors[90:777])
    np.testing.assert_array_equal(np.concatenate([block for _, block in rows.blocks(100)]), vectors)
    np.testing.assert_array_equal(rows.evenly(5_000), vectors)
    picked = np.linspace(0, 1_049, 33).astype(int)
    np.testing.assert_array_equal(rows.evenly(33), vectors[picked])


def test_rows_are_grouped_in_their_order_and_the_scratch_file_is_gone(
    path: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 10)
    vectors, groups = clustered(1_000, 5), np.random.default_rng(0).integers(0, 6, 1_000)
    groups[groups == 4] = 5  # One group is empty.
    rows = RowStore(path, 1_000, 5)
    rows.write(0, vectors)
    ordered, starts = grouped(rows, groups, 6, tmp_path / "grouped" if path else None)
    for group in range(6):
        np.testing.assert_array_equal(ordered.read(starts[group], starts[group + 1]), vectors[groups == group])
    assert list(tmp_path.iterdir()) == []
