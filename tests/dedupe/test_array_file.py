from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import IntegrityError
from dedupe.array_file import pack, unpack

ARRAYS = {"a": np.arange(6, dtype=np.int64).reshape(2, 3), "b": np.zeros((0, 4), np.int8)}
PACKED = pack("thing", 1, {"weight": 0.7}, ARRAYS)


def test_what_is_packed_comes_back_and_equal_content_is_equal_bytes() -> None:
    settings_, arrays = unpack(PACKED, "x", "thing", 1)
    assert settings_ == {"kind": "thing", "schema_version": 1, "weight": 0.7}
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert pack("thing", 1, {"weight": 0.7}, dict(reversed(ARRAYS.items()))) == PACKED


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_no_changed_byte_gives_other_content(at: int, change: int) -> None:
    data = bytearray(PACKED)
    data[at] ^= change
    try:
        found, arrays = unpack(bytes(data), "report/thing.npz", "thing", 1)
    except IntegrityError:
        return
    assert found["weight"] == 0.7
    assert sorted(arrays) == ["a", "b"]
    np.testing.assert_array_equal(arrays["a"], ARRAYS["a"])


def test_a_file_of_another_kind_or_version_and_half_a_file_are_refused() -> None:
    with pytest.raises(IntegrityError, match="x holds no other of version 1"):
        unpack(PACKED, "x", "other", 1)
    with pytest.raises(IntegrityError, match="x holds no thing of version 2: make it again"):
        unpack(PACKED, "x", "thing", 2)
    for part in (b"", PACKED[:100], PACKED[:-30], b"not a zip"):
        with pytest.raises(IntegrityError, match="x is damaged"):
            unpack(part, "x", "thing", 1)
