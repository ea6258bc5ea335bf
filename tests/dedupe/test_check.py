"""A picture matches exactly the items that comparing it with each of them by every rule would name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UsageError
from dedupe.check import Checker, Verdict
from dedupe.check_queries import COLUMNS
from dedupe.checked_store import read_placeholders, store_of
from dedupe.hash_guard import agree, tells
from dedupe.items import SIGNATURES
from dedupe.measure import Measure
from dedupe.placeholders import nearly_empty
from dedupe.settings import BYTES, EMBEDDING, PHASH, PIXELS, THUMBNAIL, Settings
from tests.dedupe.histories import DIMENSION, PICTURES, POOL, compared, write_store

ITEMS = {f"item-{number:02d}": number * 2 for number in range(POOL // 2)} | {"again": 6, "empty": 4}
ASKED = [
    Settings(),
    Settings(threshold=0.5, thumbnail_threshold=0.6, phash_radius=6),
    Settings(tiers=("bytes", "embedding"), threshold=0.6),
    Settings(tiers=("pixels", "phash")),
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checked")
    write_store(folder / "store", ITEMS)
    for number, asked in enumerate(ASKED):
        compared(folder / "store", folder / f"report-{number}", asked)
    return [folder / f"report-{number}" for number in range(len(ASKED))]


def checker(report: Path, numbers: list[int], most: int = 100) -> tuple[Checker, Any]:
    layout, measure = store_of(str(report))
    rows = [{name: PICTURES[number][name] for name in COLUMNS} for number in numbers]
    table = pa.Table.from_pylist(rows, schema=pa.schema([(name, SIGNATURES[name]) for name in COLUMNS]))
    vectors = np.stack([PICTURES[number]["vector"] for number in numbers])
    return Checker(layout.job.settings, measure, table, vectors, read_placeholders(str(report)), most), layout


def verdicts(report: Path, numbers: list[int], most: int = 100) -> list[Verdict]:
    asked, layout = checker(report, numbers, most)
    asked.ask_store(layout)
    return asked.verdicts()


def by_hand(one: dict[str, Any], other: dict[str, Any], asked: Settings, measure: Measure) -> int | None:
    """The tier that takes two pictures for the same, rule by rule."""
    thumbnails = [np.frombuffer(each["thumbnail"], np.uint8)[None] for each in (one, other)]
    if asked.finds(BYTES) and one["content_hash"] == other["content_hash"]:
        return BYTES
    if asked.finds(PIXELS) and one["pixel_hash"] == other["pixel_hash"]:
        return PIXELS
    if any(nearly_empty(each)[0] for each in thumbnails):
        return None
    bits = (one["phash"] ^ other["phash"]).bit_count()
    more = sum((a ^ b).bit_count() for a, b in zip(one["phash_256"], other["phash_256"], strict=True))
    hashes_say = all(tells(each)[0] for each in thumbnails) and agree(*thumbnails)[0]
    if asked.finds(PHASH) and hashes_say and bits <= asked.phash_radius and more <= asked.phash_256_radius:
        return PHASH
    left, right = (
        measure.describe(each, picture["vector"][None])[0]
        for each, picture in zip(thumbnails, (one, other), strict=True)
    )
    both = [measure.scores(left, right[:1]), measure.scores(right, left[:1])]
    thumbnail, combined = (max(float(scores[side].max()) for scores in both) for side in (0, 1))
    if asked.finds(THUMBNAIL) and thumbnail >= np.float32(asked.thumbnail_threshold):
        return THUMBNAIL
    return EMBEDDING if asked.finds(EMBEDDING) and combined >= np.float32(asked.threshold) else None


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(range(len(ASKED))), st.lists(st.integers(0, POOL - 1), min_size=1, max_size=4))
def test_the_matches_are_those_of_every_rule_by_hand(reports: list[Path], which: int, numbers: list[int]) -> None:
    measure = Measure.load(str(reports[which] / "measure.npz"))
    tiers = ("bytes", "pixels", "phash", "thumbnail", "embedding")
    for number, verdict in zip(numbers, verdicts(reports[which], numbers), strict=True):
        expected = {
            item: tiers[tier]
            for item, other in ITEMS.items()
            if (tier := by_hand(PICTURES[number], PICTURES[other], ASKED[which], measure)) is not None
        }
        assert {match.item_id: match.tier for match in verdict.matches} == expected
        assert verdict.found == len(expected)


def test_every_tier_and_no_match_at_all_occur(reports: list[Path]) -> None:
    found = [verdict for report in reports for verdict in verdicts(report, list(range(POOL)))]
    tiers = {match.tier for verdict in found for match in verdict.matches}
    assert tiers >= {"bytes", "pixels", "phash", "embedding"}
    assert {"duplicate", "placeholder"} <= {verdict.name for verdict in found}
    assert any(not verdict.matches for verdict in found)


def test_the_best_matches_are_kept_and_the_others_counted(reports: list[Path]) -> None:
    for whole, short in zip(verdicts(reports[1], [6, 8, 20]), verdicts(reports[1], [6, 8, 20], 2), strict=True):
        assert short.matches == whole.matches[:2]
        assert short.found == whole.found == len(whole.matches) > 2
    assert verdicts(reports[0], [6], 2)[0].matches[0].tier == "bytes"


def test_a_picture_of_the_batch_matches_those_before_it_only(reports: list[Path]) -> None:
    asked, _ = checker(reports[0], [6, 20, 6, 4, 4])
    asked.ask_batch(list("abcde"))
    found = asked.verdicts()
    assert [[match.item_id for match in verdict.matches] for verdict in found] == [[], [], ["a"], [], ["d"]]
    assert [verdict.name for verdict in found] == ["new", "new", "duplicate", "placeholder", "placeholder"]
    assert all(match.in_batch for verdict in found for match in verdict.matches)


def test_a_picture_of_many_products_is_told_to_be_a_placeholder(tmp_path: Path) -> None:
    write_store(tmp_path / "store", {f"{number:02d}x": 20 for number in range(12)} | {"one": 30})
    compared(tmp_path / "store", tmp_path / "report")
    placeholder, plain = verdicts(tmp_path / "report", [20, 30], 3)
    assert (placeholder.name, placeholder.found, len(placeholder.matches)) == ("placeholder", 12, 3)
    assert placeholder.matches[0].placeholder is not None
    assert (plain.name, plain.matches[0].item_id) == ("duplicate", "one")


def test_what_cannot_be_compared_with_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no complete report"):
        store_of(str(tmp_path / "none"))
    write_store(tmp_path / "store", {"a": 0})
    compared(tmp_path / "store", tmp_path / "report")
    with pytest.raises(UsageError, match=r"has no snapshot of the encoder that .*report was made with"):
        store_of(str(tmp_path / "report"), str(tmp_path / "elsewhere"))
    assert store_of(str(tmp_path / "report"))[0].snapshots[0].encoder.dimension == DIMENSION
