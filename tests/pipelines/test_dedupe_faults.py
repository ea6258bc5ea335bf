"""A dedupe job that is killed goes on from what it has stored, and says the same; a million copies cost what few do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog import storage
from dedupe.job import Layout
from dedupe.settings import Settings
from dedupe.stages import settling
from pipelines.dedupe import DedupeConfig, dedupe, read_summary
from pipelines.dedupe_steps import plan_stages
from tests.catalog.fault_store import Crash, Fault, FaultStore
from tests.pipelines.dedupe_jobs import deduped, planned, report_files, run_stages
from tests.pipelines.dedupe_stores import draw_pictures, draw_rows, write_store

SETTINGS = Settings(group_column="split", label_column="label", splits="train=0.5,test=0.5", placeholder_products=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(11)
    return write_store(tmp_path_factory.mktemp("store") / "e", draw_rows(rng, draw_pictures(rng, 8), 60), rejects=2)


def cut(store: str, output: Path | str) -> Layout:
    """In several stretches and buckets."""
    return planned({"": store}, output, SETTINGS, stretch_rows=20, bucket_rows=15)


def test_a_job_that_is_killed_in_any_stage_goes_on_and_says_the_same(store: str, tmp_path: Path) -> None:
    run_stages(cut(store, tmp_path / "whole"))
    stages = len(plan_stages(cut(store, tmp_path / "killed")))
    for killed in range(stages):
        for number, (_, stage, units) in enumerate(plan_stages(cut(store, tmp_path / "killed"))[: killed + 1]):
            stage.setup()
            for unit in units[:1] if number == killed else units:
                list(stage.process(unit))
    run_stages(cut(store, tmp_path / "killed"))
    assert report_files(tmp_path / "killed") == report_files(tmp_path / "whole")


@pytest.mark.parametrize("fault", [Fault.CRASH_BEFORE, Fault.CRASH_AFTER])
def test_a_job_that_dies_at_a_change_of_its_store_goes_on_and_says_the_same(
    fault: Fault, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, real = FaultStore(), storage._store
    monkeypatch.setattr(storage, "store_for", lambda url: memory if url.startswith("memory:") else real("file"))
    told = ("keep.csv", "drop.csv", "splits.csv", "summary.json")
    output = "memory://shop/report"

    def attempt() -> dict[str, bytes]:
        if read_summary(output) is None:
            run_stages(cut(store, output))
        return {name: memory.objects[f"{output}/{name}"][0] for name in told}

    whole, count = attempt(), memory.operations
    for at in np.linspace(0, count - 1, 4).astype(int).tolist():
        memory.objects = {}
        memory.plan({at: fault})
        with pytest.raises(Crash):
            attempt()
        memory.plan({})
        assert attempt() == whole


def test_the_local_runner_does_what_the_stages_do_one_after_the_other(store: str, tmp_path: Path) -> None:
    run_stages(cut(store, tmp_path / "stages"))
    config = DedupeConfig({"": store}, str(tmp_path / "beam"), SETTINGS, pictures=0, stretch_rows=20, bucket_rows=15)
    summary = dedupe(config)
    assert summary["items"] == 60
    assert report_files(tmp_path / "beam") == report_files(tmp_path / "stages")


def test_a_picture_that_is_everywhere_is_one_line_and_compared_with_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    picture, other = draw_pictures(rng, 1)[0], draw_pictures(rng, 1)[0]
    other = replace(other, pixel_hash=bytes(range(16)))
    many = draw_rows(rng, [picture], 20_000, files=1)
    for number, row in enumerate(many):
        row["item_id"], row["product_id"] = f"item-{number:06d}", f"p{number}"
    rows = [*many, *draw_rows(rng, [other], 2, "other", files=1)]
    handed: Counter[str] = Counter()
    real = settling.write_buckets

    def count(url: str, table: object, *more: object) -> None:
        handed[url.rsplit("/", 2)[1]] += len(table)  # type: ignore[arg-type]
        real(url, table, *more)  # type: ignore[arg-type]

    for stage in ("describing", "joining", "spreading", "gathering", "grouping", "settling", "merging"):
        monkeypatch.setattr(f"dedupe.stages.{stage}.write_buckets", count)
    report = deduped({"": write_store(tmp_path / "e", rows)}, tmp_path / "r", Settings(label_column="label"))
    assert [row["items"] for row in report.placeholders] == [20_000]
    assert (report.summary["dropped"], report.summary["pairs"]) == (1, 1)
    # A row a partition and label at most, however many have the picture; and nothing of it in a component.
    assert 0 < handed["classes"] < 100
    assert handed["members"] <= 2
    assert handed["lists"] < 100
    assert handed["linked"] == handed["pairs"] == 1 or handed["pairs"] == 0
