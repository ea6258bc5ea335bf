"""Gates that compare a version with the one that the channel points to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.channel import Channel
from catalog.manifest import Manifest
from index_builder.evaluation.recall import interval, mean_share
from index_builder.publishing.answers import Answers, same_queries
from index_builder.publishing.verdict import Thresholds, Verdict, nothing_to_compare

# Fewer queries in common say nothing.
_LEAST_IN_COMMON = 10
_COMPARING = ("encoder_change", "metric_change", "count_drift", "recall_drop", "overlap")


@dataclass(frozen=True)
class Judged:
    """A version as it is compared: its manifest, and its answers, or why there are none to compare."""

    manifest: Manifest
    answers: Answers | str


@dataclass(frozen=True)
class Unreadable:
    """A version on the channel that cannot be read, and why."""

    version: str
    why: str


def judge_change(
    new: Judged, current: Judged | Unreadable | str, channel: Channel, thresholds: Thresholds
) -> list[Verdict]:
    """What would change for those who follow the channel.

    Args:
        new: the version to promote.
        current: what the channel points to; `Unreadable` if it cannot be read; or why there is nothing to compare with.
        channel: with its history.
        thresholds: what is asked for.
    """
    taken_back = _rolled_back(new.manifest.version, channel)
    if isinstance(current, Unreadable):
        return [taken_back, *_unknown(current, thresholds.allow_encoder_change)]
    if isinstance(current, str):
        return [
            nothing_to_compare("snapshot_order", current),
            taken_back,
            *(nothing_to_compare(gate, current) for gate in _COMPARING),
        ]
    return [
        _snapshot_order(new.manifest, current.manifest),
        taken_back,
        _encoder_change(new.manifest, current.manifest, thresholds.allow_encoder_change),
        _metric_change(new.manifest, current.manifest),
        _count_drift(new.manifest, current.manifest, thresholds.count_drift),
        *_same_questions(new, current, thresholds),
    ]


def _unknown(current: Unreadable, allowed: bool) -> list[Verdict]:
    """Nobody knows what would change: somebody has to look."""
    says = f"version {current.version} on the channel cannot be read, and its encoder is not known: {current.why}"
    others = [gate for gate in ("snapshot_order", *_COMPARING) if gate != "encoder_change"]
    return [
        Verdict("encoder_change", allowed, None, None, says),
        *(nothing_to_compare(gate, f"version {current.version} cannot be read") for gate in others),
    ]


def _snapshot_order(new: Manifest, current: Manifest) -> Verdict:
    if new.source.get("store") != current.source.get("store"):
        return nothing_to_compare("snapshot_order", f"version {current.version} is of another embedding store")
    ours, theirs = new.source.get("snapshot"), current.source.get("snapshot")
    if ours is None or theirs is None:
        return nothing_to_compare("snapshot_order", "a version names no snapshot")
    says = f"made of snapshot {ours}, version {current.version} of snapshot {theirs}"
    return Verdict("snapshot_order", ours >= theirs, ours, theirs, says)


def _rolled_back(version: str, channel: Channel) -> Verdict:
    move = channel.taken_back(version)
    if move is None:
        return Verdict("rolled_back", True, None, None, f"was not taken back from channel {channel.name}")
    why = f": {move.reason}" if move.reason else ", no reason given"
    return Verdict(
        "rolled_back",
        False,
        move.at,
        None,
        f"was taken back from channel {channel.name} at {move.at} by {move.by}{why}",
    )


def _encoder_change(new: Manifest, current: Manifest, allowed: bool) -> Verdict:
    ours, theirs = new.encoder.fingerprint, current.encoder.fingerprint
    if ours == theirs:
        return Verdict("encoder_change", True, ours[:12], theirs[:12], f"the same encoder, {new.encoder.name}")
    says = (
        f"the encoder is {new.encoder.name} ({ours[:12]}), version {current.version} has {current.encoder.name} "
        f"({theirs[:12]}): queries of the one find nothing with the other"
    )
    if allowed:
        return Verdict("encoder_change", True, ours[:12], theirs[:12], f"{says}; allowed by --allow-encoder-change")
    return Verdict("encoder_change", False, ours[:12], theirs[:12], f"{says}; --allow-encoder-change if it is meant")


def _metric_change(new: Manifest, current: Manifest) -> Verdict:
    says = f"measures {new.metric}, version {current.version} {current.metric}"
    return Verdict("metric_change", new.metric == current.metric, new.metric, current.metric, says)


def _count_drift(new: Manifest, current: Manifest, most: float) -> Verdict:
    drift = round(new.vectors / current.vectors - 1, 6) if current.vectors else 0.0
    says = f"{new.vectors:,} vectors, {current.vectors:,} before: {drift:+.2%}, wanted at most {most:.2%} either way"
    return Verdict("count_drift", abs(drift) <= most, drift, most, says)


def _same_questions(new: Judged, current: Judged, thresholds: Thresholds) -> list[Verdict]:
    why = None
    if new.manifest.encoder.fingerprint != current.manifest.encoder.fingerprint:
        why = "another encoder asks with other vectors"
    elif new.manifest.metric != current.manifest.metric:
        why = "another metric has other neighbours"
    elif isinstance(new.answers, str) or isinstance(current.answers, str):
        why = new.answers if isinstance(new.answers, str) else str(current.answers)
    if why is not None or isinstance(new.answers, str) or isinstance(current.answers, str):
        return [nothing_to_compare(gate, str(why)) for gate in ("recall_drop", "overlap")]
    version, asked = current.manifest.version, (len(new.answers.item_ids), len(current.answers.item_ids))
    pairs = same_queries(new.answers, current.answers)
    if len(pairs) < _LEAST_IN_COMMON:
        why = f"only {len(pairs)} of the {asked[0]:,} queries are the same as version {version} was asked"
        few = min(asked) < _LEAST_IN_COMMON  # So small a catalog is not compared; a large one is all new.
        return [nothing_to_compare("recall_drop", why), Verdict("overlap", few, len(pairs), _LEAST_IN_COMMON, why)]
    return [
        _recall_drop(new.answers, current.answers, pairs, version, thresholds.recall_drop),
        _overlap(new.answers, current.answers, pairs, version, thresholds.overlap),
    ]


def _recall_drop(
    new: Answers, current: Answers, pairs: Sequence[tuple[int, int]], version: str, most: float
) -> Verdict:
    """Each version's recall is against the exact neighbours in its own catalog; the queries are the same, so that the
    differences are of pairs. Refused where more is lost than may be and it is not chance: the interval is below 0."""
    changes = np.array([new.recall[ours] - current.recall[theirs] for ours, theirs in pairs])
    changes = changes[np.isfinite(changes)]
    if len(changes) < _LEAST_IN_COMMON:
        return nothing_to_compare("recall_drop", "the queries in common ask for copies only, which say nothing")
    mean, (low, high) = mean_share(changes), interval(changes)
    says = (
        f"recall@10 changes by {mean:+.4f} [{low:+.4f}, {high:+.4f}] against version {version} on {len(changes):,} "
        f"queries that both were asked, may fall by {most:g}"
    )
    return Verdict("recall_drop", not (mean < -most and high < 0), mean, -most, says, (low, high))


def _overlap(new: Answers, current: Answers, pairs: Sequence[tuple[int, int]], version: str, least: float) -> Verdict:
    shares = []
    for ours, theirs in pairs:
        before = set(current.found[theirs])
        if before:
            shares.append(len(before & set(new.found[ours])) / len(before))
    if not shares:
        return nothing_to_compare("overlap", f"version {version} answers none of the queries in common")
    mean, (low, high) = mean_share(np.array(shares)), interval(np.array(shares))
    says = (
        f"{mean:.1%} [{low:.1%}, {high:.1%}] of the ten answers that version {version} gives to {len(shares):,} "
        f"queries are given again, wanted at least {least:.1%}"
    )
    return Verdict("overlap", mean >= least, mean, least, says, (low, high))
