"""Gates that look at a version alone."""

from __future__ import annotations

from collections.abc import Mapping

from catalog.manifest import Manifest
from index_builder.publishing.fresh_open import Opened
from index_builder.publishing.soundness import Soundness
from index_builder.publishing.verdict import Thresholds, Verdict, nothing_to_compare

_TOO_OLD = "the version was built before this was measured"


def judge_opened(opened: Opened) -> list[Verdict]:
    """Was every byte read back from the store, does the version open in a fresh process with the flags that it is
    served with, and does it answer there as it did when it was evaluated?"""
    if opened.damage:
        not_there = "nothing was opened, for the version is damaged"
        return [
            Verdict("read_back", False, 0, opened.files, opened.damage),
            Verdict("fresh_process", False, None, None, not_there),
            Verdict("golden_queries", False, None, 0, not_there),
        ]
    files = f"{opened.files} files, {opened.bytes:,} bytes, as published"
    verdicts = [Verdict("read_back", True, opened.files, opened.files, files)]
    if opened.failure:
        return [
            *verdicts,
            Verdict("fresh_process", False, None, None, f"a fresh process could not serve it: {opened.failure}"),
            Verdict("golden_queries", False, None, 0, "nothing was asked, for the version did not open"),
        ]
    how = f"opened and searched in {opened.seconds:.1f} s, {opened.peak_memory / 1e6:,.0f} MB at most"
    wrong = len(opened.golden)
    golden = opened.golden[0] if wrong else f"all {opened.golden_queries} are answered as they were"
    return [
        *verdicts,
        Verdict("fresh_process", True, round(opened.seconds, 3), None, f"{how}, {opened.where}"),
        Verdict("golden_queries", not wrong, wrong, 0, golden),
    ]


def judge_version(manifest: Manifest, soundness: Soundness | None, thresholds: Thresholds) -> list[Verdict]:
    """Recall, self-lookup, repeated ids and the lists' imbalance.

    Args:
        manifest: of the version.
        soundness: of the version; None for one that was built before it was measured.
        thresholds: what is asked for.
    """
    return [
        _recall_floor(manifest.recall, thresholds.recall_floor),
        *(
            _sound(soundness, manifest.metric, thresholds)
            if soundness is not None
            else [nothing_to_compare(gate, _TOO_OLD) for gate in ("self_lookup", "duplicate_ids", "list_imbalance")]
        ),
    ]


def _recall_floor(recall: Mapping[str, float], floor: float) -> Verdict:
    found = recall["10"]
    return Verdict("recall_floor", found >= floor, found, floor, f"recall@10 is {found:.4f}, wanted at least {floor:g}")


def _sound(soundness: Soundness, metric: str, thresholds: Thresholds) -> list[Verdict]:
    share, least = soundness.self_lookup, thresholds.self_lookup
    found = f"{share:.1%} of the queries find their own item among ten, wanted at least {least:.1%}"
    repeated = soundness.duplicate_ids
    verdicts = [
        nothing_to_compare("self_lookup", "by the dot product, longer vectors come before an item itself")
        if metric == "dot"
        else Verdict("self_lookup", share >= least, share, least, found),
        Verdict("duplicate_ids", repeated == 0, repeated, 0, f"{repeated:,} rows repeat an item id"),
    ]
    factor, most = soundness.list_imbalance, thresholds.list_imbalance
    if factor is None:
        return [*verdicts, nothing_to_compare("list_imbalance", "the index has no inverted lists")]
    says = f"the imbalance factor is {factor:.2f}, wanted at most {most:g}; {soundness.empty_lists:,} lists are empty"
    return [*verdicts, Verdict("list_imbalance", factor <= most, factor, most, says)]
