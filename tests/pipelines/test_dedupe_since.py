"""A report since an earlier one is the report that comparing everything would make."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import canonical_json
from catalog.errors import UsageError
from dedupe.earlier import Earlier
from dedupe.news import is_new
from dedupe.settings import Settings
from pipelines.dedupe import DedupeConfig, plan
from pipelines.dedupe_steps import plan_stages
from tests.dedupe.histories import POOL, compared, write_store

ITEMS = st.dictionaries(st.integers(0, 40).map(lambda number: f"{number:02d}x"), st.integers(0, POOL - 1), min_size=1)
CUTS = [{}, {"stretch_rows": 6, "bucket_rows": 10}]
ASKED = [Settings(), Settings(tiers=("bytes", "phash")), Settings(tiers=("pixels", "embedding"), threshold=0.6)]


def told(report: Path) -> dict[str, Any]:
    """What a report says of the items: all of it but where it is."""
    files: dict[str, Any] = {name: (report / name).read_bytes() for name in ("keep.csv", "drop.csv")}
    for name in ("groups", "pairs", "placeholders", "conflicts"):
        rows = pq.read_table(report / f"{name}.parquet").to_pylist()
        files[name] = sorted(rows, key=lambda row: canonical_json.dump({key: str(row[key]) for key in row}))
    return files


@settings(max_examples=10, deadline=None)
@given(st.lists(ITEMS, min_size=2, max_size=3), st.sampled_from(CUTS), st.sampled_from(ASKED), st.booleans())
def test_after_any_history_it_is_the_report_of_comparing_everything(
    history: list[dict[str, int]], cut: dict[str, int], asked: Settings, doubled: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        last: dict[str, Path] = {}
        for night, items in enumerate(history):
            write_store(folder / "store", items, 8 if doubled and night else 4)
            since = {"since": str(last["report"])} if last else {}
            last["report"] = folder / f"night-{night}"
            # Both runs are cut alike, for who stands for equal files depends on the cut.
            compared(folder / "store", last["report"], asked, **since, **cut)
        compared(folder / "store", folder / "fresh", asked, **cut)
        assert told(last["report"]) == told(folder / "fresh")


@pytest.mark.parametrize("asked", ASKED[:2], ids=["all", "hashes"])
def test_a_pair_outlives_the_items_that_stood_for_its_pictures(asked: Settings, tmp_path: Path) -> None:
    """Item `a` and its copies in pixels and in hashes go; what was found of it is found of those that stay."""
    pairs = {}
    for gone in ((), ("a",), ("c",), ("a", "b"), ("a", "c")):
        folder = tmp_path / ("-".join(gone) or "none")
        items = {"a": 0, "b": 1, "c": 2, "d": 3, "e": 5, "f": 20}
        write_store(folder / "store", items)
        compared(folder / "store", folder / "before", asked)
        write_store(folder / "store", {name: each for name, each in items.items() if name not in gone})
        summary = compared(folder / "store", folder / "after", asked, since=str(folder / "before"))
        compared(folder / "store", folder / "fresh", asked)
        assert summary["new"] == 0
        assert told(folder / "after") == told(folder / "fresh")
        pairs[gone] = summary["pairs"]
    assert pairs[()] > pairs["a", "b"] > 0


def test_only_items_that_came_or_changed_are_new(tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_store(store, {"a": 0, "b": 7, "c": 14})
    compared(store, tmp_path / "before")
    write_store(store, {"a": 1, "b": 9, "d": 14})
    layout = plan(DedupeConfig({"": str(store)}, str(tmp_path / "after"), since=str(tmp_path / "before")))
    name, describe, units = plan_stages(layout)[0]
    assert name == "Describe"
    describe.setup()
    list(describe.process(units[0]))
    found = dict(zip(ids_of(layout), is_new(layout, layout.stretches[0]).tolist(), strict=True))
    assert found == {"a": False, "b": True, "d": True}  # The picture of a is the same in another file.


def ids_of(layout: Any) -> list[str]:
    from dedupe.items import read_items

    return [name for table in read_items(layout, layout.stretches[0], []) for name in table["item_id"].to_pylist()]


def test_what_it_cannot_build_on_is_refused_in_a_sentence(tmp_path: Path) -> None:
    store, before = tmp_path / "store", tmp_path / "before"
    write_store(store, {"a": 0, "b": 1})

    def refused(since: Path = before, **changes: Any) -> str:
        with pytest.raises(UsageError) as error:
            plan(DedupeConfig(**{"embeddings": {"": str(store)}, "output": "/o", "since": str(since)} | changes))
        return str(error.value)

    assert refused() == f"{before} holds no complete report; run catalog-indexer dedupe there first, or again"
    compared(store, before)
    ends = "; ask for the same, or leave out --since"
    assert refused(settings=Settings(threshold=0.8)) == (
        f"--since {before}: it was made with --threshold 0.77, and this run asks for 0.8{ends}"
    )
    assert "--tiers bytes,pixels,phash,thumbnail,embedding, and this run asks for bytes" in refused(
        settings=Settings(tiers=("bytes",))
    )
    layout = plan(DedupeConfig({"": str(store)}, "/o", since=str(before)))
    earlier = Earlier.read(str(before))
    assert earlier.objection(layout.job.sources, layout.snapshots, Settings(), None) is None
    said = earlier.objection(layout.job.sources, layout.snapshots, Settings(), "/c")
    assert said == "it was not made with --calibration /c"
    write_store(tmp_path / "other", {"a": 0})
    assert refused(embeddings={"": str(tmp_path / "other")}).startswith(
        f"--since {before}: it is a report of {store}, and this one is of {tmp_path / 'other'}"
    )
    plan(DedupeConfig({"": str(store)}, "/o", Settings(keeper="bytes", placeholder_products=3), since=str(before)))
