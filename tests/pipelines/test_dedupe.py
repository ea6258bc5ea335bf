"""Dedupe as a whole, on small drawn stores, against comparing every item with every other."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dedupe.settings import TIERS, Settings
from tests.pipelines.dedupe_jobs import Report, deduped, planned, report_files, run_stages
from tests.pipelines.dedupe_oracle import Expected, components, expected, leakage, read_rows
from tests.pipelines.dedupe_stores import draw_pictures, draw_rows, write_store

Key = tuple[str | None, str]
few = hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
fewer = hypothesis_settings(few, max_examples=4)


_ITEMS = st.integers(0, 29).map("item-{:03d}".format)
_PAIRS = st.tuples(_ITEMS, _ITEMS).filter(lambda pair: pair[0] < pair[1])


@st.composite
def jobs(draw: st.DrawFn, tiers: tuple[tuple[str, ...], ...] = (TIERS,)) -> dict[str, Any]:
    """What to draw stores from, and settings."""
    two = draw(st.booleans())
    column = draw(st.sampled_from([None, "split"]))
    chosen = Settings(
        tiers=draw(st.sampled_from(tiers)),
        threshold=draw(st.sampled_from([0.6, 0.77, 0.9])),
        keeper=draw(st.sampled_from(["resolution,bytes", "made:asc,resolution,bytes"])),
        group_column=column,
        label_column="label",
        across=(two or column is not None) and draw(st.booleans()),
        protected=tuple(draw(st.lists(_ITEMS, max_size=4))),
        protected_values=draw(st.sampled_from([(), (("split", ("test",)),)])),
        ignored=tuple(sorted(set(draw(st.lists(_PAIRS, max_size=20))))),
        placeholder_products=draw(st.sampled_from([2, 3, 10])),
        placeholder_groups=draw(st.sampled_from([None, None, 2])),
        splits="train=0.5,test=0.5",
    )
    return {
        "settings": chosen,
        "seed": draw(st.integers(0, 10_000)),
        "scenes": draw(st.integers(1, 6)),
        "items": draw(st.integers(1, 30)),
        "two": two,
        # Files of before tell nothing of pixels: without the hash of bytes, copies would be near ones.
        "old": draw(st.sets(st.integers(0, 3), max_size=2)) if "bytes" in chosen.tiers else set(),
        "bare": draw(st.sets(st.integers(0, 3), max_size=1)),
    }


def write_stores(folder: Path, job: dict[str, Any]) -> dict[str, str]:
    """The stores of a drawn job, by dataset."""
    rng = np.random.default_rng(job["seed"])
    pictures = draw_pictures(rng, job["scenes"], contradicted=not job["old"])
    old, bare, files = frozenset(job["old"]), frozenset(job["bare"]), 1 if job["old"] else 3
    rows = draw_rows(rng, pictures, job["items"], files=files)
    first = write_store(folder / "a", rows, old, bare, rejects=job["seed"] % 3)
    if not job["two"]:
        return {"": first}
    rows = draw_rows(rng, pictures, 12, "other", files)
    return {"a": first, "b": write_store(folder / "b", rows, rejects=1)}


def compared(job: dict[str, Any], folder: Path) -> tuple[Report, Expected, dict[Key, int]]:
    """A report, what it has to say, and the number of each item."""
    stores = write_stores(folder, job)
    report = deduped(stores, folder / "report", job["settings"])
    found = expected(read_rows(stores), job["settings"], folder / "report" / "measure.npz")
    return report, found, {(row["dataset"], row["item_id"]): at for at, row in enumerate(found.rows)}


@given(jobs((*[TIERS] * 4, *(("bytes",), ("pixels", "phash"), ("pixels", "thumbnail"), ("phash", "embedding")))))
@few
def test_a_report_says_what_comparing_every_item_with_every_other_says(job: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        report, found, number = compared(job, Path(folder))
    check_counts(report, found)
    check_lines(report, found, number)
    check_groups(report, found, number)
    check_pairs(report, found, number, job["settings"])
    check_leakage(report, found, job["settings"])
    check_splits(report, found, number)


def check_counts(report: Report, found: Expected) -> None:
    summary = report.summary
    assert summary["items"] == len(found.rows) == summary["kept"] + summary["dropped"]
    assert summary["kept"] == len(report.keep)
    assert summary["dropped"] == len(report.drop) == sum(summary["by_tier"].values())
    assert summary["by_tier"] == {tier: Counter(line["tier"] for line in report.drop)[tier] for tier in TIERS}
    roles = Counter(row["role"] for row in report.groups)
    assert (roles["dropped"], roles["keeper"], roles["protected"]) == (
        summary["dropped"],
        summary["groups"],
        summary["protected"],
    )
    assert summary["groups"] == len({row["group_id"] for row in report.groups})
    assert summary["duplicates"] == summary["dropped"] + summary["protected"]
    assert summary["pairs"] == len(report.pairs)
    assert sum(map(sum, summary["score_histogram"]["counts"].values())) == summary["pairs"]
    assert summary["placeholders"] == len(report.placeholders)
    assert summary["placeholder_items"] == sum(row["items"] for row in report.placeholders)
    assert summary["unreadable"] == len(report.unreadable)
    assert summary["label_conflicts"] == len({row["group_id"] for row in report.conflicts})


def key(row: dict[str, Any], name: str = "item_id", dataset: str = "dataset") -> Key:
    """An item, as a report names it."""
    return row.get(dataset), row[name]


def check_lines(report: Report, found: Expected, number: dict[Key, int]) -> None:
    """Every item is in one of the files, once, and dropped for whom the rule says."""
    lines = {key(line): line for line in (*report.keep, *report.drop)}
    assert len(lines) == len(report.keep) + len(report.drop)
    assert set(lines) == set(number)
    role = {**dict.fromkeys(number, "alone"), **{key(row): row["role"] for row in report.groups}}
    role.update({each: "placeholder" for each, line in lines.items() if line["reason"].startswith("a placeholder")})
    assert role == {each: found.role[at] for each, at in number.items()}
    for each, line in lines.items():
        kept = number[key(line, "kept_item_id", "kept_dataset")]
        told = found.kept_for.get(number[each])
        assert kept == (number[each] if told is None else told[0])
        assert line["tier"] == (None if told is None else told[1])
        if told is not None:
            assert np.float32(line["score"]) == np.float32(told[2])
            assert found.relation(number[each], kept) == told[1:]
            assert found.role[kept] != "dropped"


def check_groups(report: Report, found: Expected, number: dict[Key, int]) -> None:
    members = defaultdict(list)
    for row in report.groups:
        members[row["group_id"]].append(row)
    for group in members.values():
        assert group[0]["role"] == "keeper"
        assert [row["role"] for row in group].count("keeper") == 1
        assert {key(row, "kept_item_id", "kept_dataset") for row in group} == {key(group[0])}
        assert len(group) > 1
    assert [row["group_id"] for row in report.groups] == sorted(row["group_id"] for row in report.groups)
    lines = {key(line): line["group_id"] for line in (*report.keep, *report.drop) if line["group_id"] is not None}
    assert lines == {key(row): row["group_id"] for row in report.groups}
    labels = defaultdict(set)
    for row in report.groups:
        assert row["thumbnail"] == found.rows[number[key(row)]]["thumbnail"]
        if row["label"] is not None:
            labels[row["group_id"]].add(row["label"])
    conflicts = {(group, label) for group, some in labels.items() if len(some) > 1 for label in some}
    assert {(row["group_id"], row["label"]) for row in report.conflicts} == conflicts


def check_pairs(report: Report, found: Expected, number: dict[Key, int], settings: Settings) -> None:
    """Each is a pair by the rule; and where neither people nor groups part any, they are all that there are between
    different pictures, and join all copies of one."""
    group = {key(row): row["group_id"] for row in report.groups}
    seen = set()
    for row in report.pairs:
        one, other = key(row), key(row, "other_item_id", "other_dataset")
        tier, score = found.relation(number[one], number[other]) or (None, 0)
        assert (row["tier"], np.float32(row["score"])) == (tier, np.float32(score))
        assert row["group_id"] == (group.get(one) if group.get(one) == group.get(other) else None)
        assert number[one] < number[other]
        seen.add((number[one], number[other]))
    assert len(seen) == len(report.pairs)
    if settings.ignored or settings.across:
        return
    open_items = [at for at, role in enumerate(found.role) if role != "placeholder"]
    classes = Counter(found.klass[at] for at in open_items)
    near = {
        frozenset((found.klass[one], found.klass[other]))
        for one, other in itertools.combinations(open_items, 2)
        if found.klass[one] != found.klass[other] and found.relation(one, other) is not None
    }
    between = Counter(frozenset((found.klass[one], found.klass[other])) for one, other in seen)
    assert {pair: count for pair, count in between.items() if len(pair) == 2} == dict.fromkeys(near, 1)
    assert {pair: count for pair, count in between.items() if len(pair) == 1} == {
        frozenset([klass]): count - 1 for klass, count in classes.items() if count > 1
    }


def check_leakage(report: Report, found: Expected, settings: Settings) -> None:
    names, items, pairs = leakage(found, settings)
    said = report.summary["leakage"]
    if said is None:
        assert names == []
    else:
        assert (said["values"], said["leaking"], said["pairs"]) == (names, items, pairs)


def check_splits(report: Report, found: Expected, number: dict[Key, int]) -> None:
    splits = {row["item_id"]: row["split"] for row in report.splits}
    assert set(splits) == {row["item_id"] for row in found.rows}
    label = components(found)
    together = defaultdict(set)
    for row, component in zip(found.rows, label, strict=True):
        together[component].add(splits[row["item_id"]])
    assert all(len(some) == 1 for some in together.values())


@given(jobs((TIERS, ("phash", "embedding"))), st.integers(1, 12), st.integers(2, 20))
@fewer
def test_how_the_work_is_cut_and_in_which_order_it_is_done_does_not_show(
    job: dict[str, Any], stretch_rows: int, bucket_rows: int
) -> None:
    with TemporaryDirectory() as folder:
        stores = write_stores(Path(folder), job)
        whole, cut = Path(folder) / "whole", Path(folder) / "cut"
        deduped(stores, whole, job["settings"])
        layout = planned(stores, cut, job["settings"], stretch_rows=stretch_rows, bucket_rows=bucket_rows)
        run_stages(layout, backwards=True)
        assert report_files(cut) == report_files(whole)
