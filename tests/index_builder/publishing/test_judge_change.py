from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog.channel import Channel, Pointer
from index_builder.publishing.answers import Answers
from index_builder.publishing.judge_change import Judged, Unreadable, judge_change
from index_builder.publishing.verdict import Thresholds, Verdict
from tests.index_builder.publishing.made_versions import ENCODER, stored_version

PROD = Channel("prod", Pointer("v1", "a" * 64, 1))


def answers(recall: list[float], found: list[list[str]] | None = None, vectors: int = 1) -> Answers:
    count = len(recall)
    return Answers(
        item_ids=[f"item-{number:04d}" for number in range(count)],
        vectors=np.arange(4 * count, dtype=np.float32).reshape(count, 4) * vectors,
        recall=np.array(recall),
        found_itself=np.ones(count, bool),
        found=found or [[f"n{number}-{place}" for place in range(10)] for number in range(count)],
    )


@pytest.fixture
def current(tmp_path: Path) -> Judged:
    return Judged(stored_version(str(tmp_path), "v1"), answers([0.9] * 200))


@pytest.fixture
def new(tmp_path: Path) -> Judged:
    manifest = stored_version(str(tmp_path), "v2", source={"store": "gs://bucket/embeddings", "snapshot": 2})
    return Judged(manifest, answers([0.9] * 200))


def verdicts(
    new: Judged, current: Judged | Unreadable | str, channel: Channel = PROD, **asked: object
) -> dict[str, Verdict]:
    return {each.gate: each for each in judge_change(new, current, channel, replace(Thresholds(), **asked))}


def refused(new: Judged, current: Judged | Unreadable | str, channel: Channel = PROD, **asked: object) -> list[str]:
    return [gate for gate, each in verdicts(new, current, channel, **asked).items() if not each.passed]


def test_a_version_like_the_one_before_passes_and_a_new_channel_compares_nothing(new: Judged, current: Judged) -> None:
    assert refused(new, current) == []
    alone = verdicts(new, "channel prod is new", Channel("prod"))
    assert all(each.passed for each in alone.values())
    assert "channel prod is new" in alone["overlap"].says
    assert set(alone) == set(verdicts(new, current))


@pytest.mark.parametrize(("vectors", "passes"), [(1_200, True), (1_201, False), (800, True), (799, False)])
def test_the_number_of_vectors_may_drift_so_far_either_way(
    new: Judged, current: Judged, vectors: int, passes: bool
) -> None:
    other = Judged(replace(new.manifest, vectors=vectors), new.answers)
    assert (refused(other, current) == []) is passes
    assert refused(other, current, count_drift=0.5) == []


def test_another_encoder_is_refused_unless_it_is_meant_and_answers_are_not_compared_then(
    new: Judged, current: Judged
) -> None:
    other = Judged(replace(new.manifest, encoder=replace(ENCODER, fingerprint="e" * 64)), answers([0.1] * 200))
    assert refused(other, current) == ["encoder_change"]
    assert "--allow-encoder-change if it is meant" in verdicts(other, current)["encoder_change"].says
    assert refused(other, current, allow_encoder_change=True) == []
    assert "another encoder" in verdicts(other, current)["recall_drop"].says


def test_an_older_snapshot_of_the_same_store_is_refused(new: Judged, current: Judged) -> None:
    assert refused(Judged(current.manifest, "none"), Judged(new.manifest, "none")) == ["snapshot_order"]
    elsewhere = replace(current.manifest, source={"store": "gs://other", "snapshot": 1})
    assert refused(Judged(elsewhere, "none"), Judged(new.manifest, "none")) == []


def test_recall_is_compared_pair_by_pair_so_that_a_small_certain_loss_is_seen(new: Judged, current: Judged) -> None:
    generator = np.random.default_rng(1)
    spread = generator.uniform(0.2, 1.0, 200)
    before = Judged(current.manifest, answers(spread.tolist()))
    after = Judged(new.manifest, answers((spread - 0.03).tolist()))
    assert refused(after, before) == ["recall_drop"]
    verdict = verdicts(after, before)["recall_drop"]
    assert verdict.value == pytest.approx(-0.03)
    assert verdict.interval == pytest.approx((-0.03, -0.03))
    assert refused(after, before, recall_drop=0.05) == []
    assert verdicts(before, after)["recall_drop"].passed  # A gain.


def test_a_loss_that_may_be_chance_is_let_pass(new: Judged, current: Judged) -> None:
    noisy = [0.9] * 20
    noisy[0], noisy[1], noisy[2] = 0.0, 1.0, 1.0
    before, after = Judged(current.manifest, answers([0.9] * 20)), Judged(new.manifest, answers(noisy))
    verdict = verdicts(after, before)["recall_drop"]
    assert verdict.value is not None
    assert float(verdict.value) < -0.02
    assert verdict.interval is not None
    assert verdict.interval[0] < -0.02 < 0 <= verdict.interval[1]
    assert verdict.passed


def test_queries_that_say_nothing_are_left_out_of_the_comparison(new: Judged, current: Judged) -> None:
    silent = [float("nan")] * 195 + [0.1] * 5
    assert "say nothing" in verdicts(Judged(new.manifest, answers(silent)), current)["recall_drop"].says


def test_answers_that_others_give_are_counted(new: Judged, current: Judged) -> None:
    before = current.answers
    assert before is not None
    half = [[*found[:4], *(f"other-{place}" for place in range(6))] for found in before.found]
    changed = Judged(new.manifest, answers([0.9] * 200, half))
    assert refused(changed, current) == ["overlap"]
    assert verdicts(changed, current)["overlap"].value == pytest.approx(0.4)
    assert refused(changed, current, overlap=0.4) == []


def test_only_queries_of_the_same_item_with_the_same_vector_are_compared(new: Judged, current: Judged) -> None:
    moved = Judged(new.manifest, answers([0.1] * 200, vectors=2))
    assert "only 0 of the 200 queries are the same" in verdicts(moved, current)["recall_drop"].says
    assert refused(moved, current) == ["overlap"]  # All is new, and somebody should know.
    small = Judged(new.manifest, answers([0.1] * 9, vectors=2))
    assert refused(small, current) == []
    older = Judged(current.manifest, "version v1 was built before answers were kept")
    assert "version v1 was built before answers were kept" in verdicts(new, older)["overlap"].says
    assert refused(new, older) == []


def test_the_last_digits_of_a_vector_may_be_another_machines(new: Judged, current: Judged) -> None:
    found = answers([0.9] * 200)
    found.vectors[:] *= np.float32(1 + 1e-4)
    assert refused(Judged(new.manifest, found), current) == []
    assert verdicts(Judged(new.manifest, found), current)["overlap"].value == 1.0


def test_another_metric_is_refused_and_answers_are_not_compared_then(new: Judged, current: Judged) -> None:
    other = Judged(replace(new.manifest, metric="l2"), answers([0.1] * 200))
    assert refused(other, current) == ["metric_change"]
    assert "another metric" in verdicts(other, current)["overlap"].says


def test_a_version_on_the_channel_that_cannot_be_read_needs_somebody_to_look(new: Judged) -> None:
    unread = Unreadable("v1", "manifest.json is damaged")
    assert refused(new, unread) == ["encoder_change"]
    assert "manifest.json is damaged" in verdicts(new, unread)["encoder_change"].says
    assert refused(new, unread, allow_encoder_change=True) == []
    assert set(verdicts(new, unread)) == set(verdicts(new, "channel prod is new"))


def test_a_version_that_was_taken_back_is_refused_until_it_is_forced(new: Judged, current: Judged) -> None:
    channel = Channel("prod").promoted(Pointer("v1", "a" * 64, 1), {}).promoted(Pointer("v2", "b" * 64, 2), {})
    back = channel.rolled_back(None, "wrong prices")
    assert refused(new, current, back) == ["rolled_back"]
    assert "wrong prices" in verdicts(new, current, back)["rolled_back"].says
    assert refused(new, "channel canary is new", Channel("canary")) == []
