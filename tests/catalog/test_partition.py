from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UsageError
from catalog.partition import check_partitions, default_partitions, item_hash, partitions_of


def test_the_hash_of_an_item_is_a_published_constant() -> None:
    assert item_hash("") == 0x2D06800538D394C2  # XXH3_64bits of no bytes, from the algorithm's own test vectors
    assert item_hash("item-1") == 0xA8ED576B406035B2


def test_the_hash_is_the_same_in_another_process() -> None:
    code = "from catalog.partition import item_hash; print(item_hash('ünïcode/1'))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(out) == item_hash("ünïcode/1")


@given(st.lists(st.text(), max_size=50), st.integers(0, 10))
def test_doubling_splits_every_partition_in_two(ids: list[str], power: int) -> None:
    before, after = partitions_of(ids, 1 << power), partitions_of(ids, 2 << power)
    assert np.isin(after - before, [0, 1 << power]).all()


@pytest.mark.parametrize(
    ("rows", "partitions"),
    [(0, 16), (3_017, 16), (65_536, 16), (1_000_000, 256), (10_000_000, 1_024), (1_000_000_000, 32_768)],
)
def test_the_number_of_partitions_follows_from_the_rows_alone(rows: int, partitions: int) -> None:
    assert default_partitions(rows) == partitions


def test_a_number_that_is_no_power_of_two_is_refused() -> None:
    assert check_partitions(64) == 64
    with pytest.raises(UsageError, match="--partitions 48 is not a power of two"):
        check_partitions(48)
