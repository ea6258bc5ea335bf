from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from index_builder.publishing.fresh_open import Opened
from index_builder.publishing.judge_version import judge_opened, judge_version
from index_builder.publishing.soundness import Soundness
from index_builder.publishing.verdict import Thresholds, Verdict
from tests.index_builder.publishing.made_versions import stored_version

SOUND = Soundness(items=1_000, indexed=1_000, duplicate_ids=0, list_imbalance=1.4, empty_lists=2, self_lookup=0.97)
WELL = Opened(files=4, bytes=1_000, seconds=1.5, peak_memory=10**8, golden_queries=32)


def refused(verdicts: list[Verdict]) -> list[str]:
    return [each.gate for each in verdicts if not each.passed]


def test_a_version_that_opens_and_answers_as_before_passes() -> None:
    verdicts = judge_opened(WELL)
    assert [each.gate for each in verdicts] == ["read_back", "fresh_process", "golden_queries"]
    assert refused(verdicts) == []
    assert "4 files, 1,000 bytes" in verdicts[0].says


def test_damage_a_failure_to_open_and_other_answers_are_told_apart() -> None:
    damaged = judge_opened(replace(WELL, damage="index.faiss is damaged: its sha256 is not the published one"))
    assert refused(damaged) == ["read_back", "fresh_process", "golden_queries"]
    assert "index.faiss is damaged" in damaged[0].says
    failed = judge_opened(replace(WELL, failure="MemoryError: too little"))
    assert refused(failed) == ["fresh_process", "golden_queries"]
    assert "MemoryError: too little" in failed[1].says
    other = judge_opened(replace(WELL, golden=["golden query 3: row 7 is not found any more"]))
    assert refused(other) == ["golden_queries"]
    assert "row 7" in other[2].says


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"duplicate_ids": 1}, "duplicate_ids"),
        ({"list_imbalance": 10.5}, "list_imbalance"),
        ({"self_lookup": 0.89}, "self_lookup"),
    ],
)
def test_each_measure_refuses_by_its_own_gate(tmp_path: Path, change: dict[str, float], gate: str) -> None:
    manifest = stored_version(str(tmp_path), "v1")
    assert refused(judge_version(manifest, SOUND, Thresholds())) == []
    assert refused(judge_version(manifest, replace(SOUND, **change), Thresholds())) == [gate]


def test_recall_is_compared_with_the_floor_and_the_edge_passes(tmp_path: Path) -> None:
    manifest = stored_version(str(tmp_path), "v1", recall={"10": 0.8})
    assert refused(judge_version(manifest, SOUND, Thresholds(recall_floor=0.8))) == []
    assert refused(judge_version(manifest, SOUND, Thresholds(recall_floor=0.81))) == ["recall_floor"]


def test_a_flat_index_has_no_lists_and_an_old_version_no_measures(tmp_path: Path) -> None:
    manifest = stored_version(str(tmp_path), "v1")
    flat = judge_version(manifest, replace(SOUND, list_imbalance=None, empty_lists=None), Thresholds())
    assert {each.gate: each.value for each in flat}["list_imbalance"] is None
    assert refused(judge_version(manifest, None, Thresholds())) == []
