"""However a partition is cut - into chunks, row files, slices - its files, rejects and counts have the same bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import partition_slices, reject_pile, row_files, sorted_files, storage
from catalog.source import CatalogSource
from catalog.storage.retry import Retrier, RetryPolicy
from pipelines.embed import EmbedConfig
from tests.catalog.fault_store import FaultStore
from tests.pipelines.test_faults import BROKEN, picture_bytes
from tests.pipelines.without_beam import embed_without_beam

ROOT = "memory://shop"
CONFIG = EmbedConfig(
    CatalogSource((f"{ROOT}/1.csv", f"{ROOT}/2.csv")),
    f"{ROOT}/e",
    "color-histogram",
    partitions=2,
    threads=1,
    may_lose=1,
)
PICTURES = {"one": 1, "two": 2, "broken": BROKEN, "none": None, "forbidden": 3}
# What makes partitions small pieces, and each piece's size 1 or 2.
TINY = (
    (partition_slices, "_SLICE_ROWS", 2),
    (partition_slices, "_FOLDED_ROWS", 1),
    (row_files, "_TIMES_THE_MEAN", 0),
    (row_files, "_FEWEST", 1),
    (row_files, "_FEWEST_OF_ALL_READERS", 2),
    (sorted_files, "_BATCH_ROWS", 2),
    (sorted_files, "_MERGED_AT_ONCE", 2),
    (reject_pile, "_HELD", 2),
)


class Shop(FaultStore):
    """A store with some pictures, one of which is forbidden from the second night on."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self._given = 0
        for name, seed in PICTURES.items():
            if seed is not None:
                self._put(f"{ROOT}/{name}.png", picture_bytes(seed))

    def _put(self, url: str, data: bytes) -> None:
        """The versions of what the shop stores itself do not count what the job stores."""
        super()._put(url, data)
        if not url.startswith(f"{ROOT}/e/"):
            self._given += 1
            self.objects[url] = (bytes(data), self._given)

    def read_bytes(self, url: str, limit: int | None = None) -> bytes:
        if self.closed and url.endswith("forbidden.png"):
            raise PermissionError(url)
        return super().read_bytes(url, limit)


Rows = list[tuple[str, str, int, bool]]  # Id, picture, price, and whether the second file has it.
rows = st.lists(
    st.tuples(
        st.sampled_from(["", *"abcdefgh"]), st.sampled_from([*PICTURES, "../x"]), st.integers(0, 2), st.booleans()
    ),
    min_size=1,
    max_size=24,
)


def histories(nights: list[Rows]) -> dict[str, object]:
    """What readers see after these nights: snapshots without what they cost, files and rejects."""
    store = Shop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "store_for", lambda url: store)
        patch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=1), sleep=lambda _: None))
        for night in nights:
            for number in (1, 2):
                lines = [
                    f"{name},{picture}.png,p,{price}" for name, picture, price, second in night if second + 1 == number
                ]
                store._put(f"{ROOT}/{number}.csv", "\n".join(["item_id,image,product_id,price", *lines, ""]).encode())
            embed_without_beam(CONFIG)
            assert not any("/rows/" in url for url in store.objects)
            store.closed = True
            # Another version of this picture: it has to be read again, and cannot be.
            store._put(f"{ROOT}/forbidden.png", picture_bytes(4))
    found: dict[str, object] = {}
    for url, (data, _) in store.objects.items():
        if "/snapshots/" in url:
            found[url] = {name: value for name, value in json.loads(data).items() if name != "cost"}
        elif "/files/" in url or "/rejects/" in url:
            found[url] = data
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(rows, min_size=1, max_size=4), st.sampled_from([1, 400, 1 << 20]))
def test_small_slices_give_the_same_bytes_as_large_ones(nights: list[Rows], slice_bytes: int) -> None:
    expected = histories(nights)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in TINY:
            patch.setattr(module, name, value)
        patch.setattr(partition_slices, "_SLICE_BYTES", slice_bytes)
        assert histories(nights) == expected
    snapshots = [value for value in expected.values() if isinstance(value, dict)]
    assert snapshots[-1]["counts"]["rows"] == len(nights[-1])
