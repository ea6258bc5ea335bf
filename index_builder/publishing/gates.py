"""All gates, asked of a stored version before a channel moves to it."""

from __future__ import annotations

from collections.abc import Mapping

from catalog.channel import Channel
from catalog.errors import IntegrityError
from catalog.manifest import Manifest
from index_builder.publishing.answers import Answers, read_answers
from index_builder.publishing.fresh_open import open_fresh
from index_builder.publishing.judge_change import Judged, Unreadable, judge_change
from index_builder.publishing.judge_version import judge_opened, judge_version
from index_builder.publishing.soundness import Soundness
from index_builder.publishing.verdict import GATES, Thresholds, Verdict, force
from index_builder.publishing.verify import read_published, read_verified


def ask_gates(
    root: str, manifest: Manifest, channel: Channel, thresholds: Thresholds, forced: Mapping[str, str]
) -> list[Verdict]:
    """The verdict of each gate, in the order of `GATES`.

    Args:
        root: URL of ARTIFACTS/<name>.
        manifest: of a version whose files are stored; it need not be stored itself.
        channel: that would move to the version.
        thresholds: what is asked for.
        forced: reasons to override gates that refuse.
    """
    verdicts = judge_opened(open_fresh(root, manifest))
    if verdicts[0].passed:
        judged = Judged(manifest, _answers(root, manifest))
        soundness = Soundness.from_json(manifest.soundness) if manifest.soundness else None
        verdicts += judge_version(manifest, soundness, thresholds)
        verdicts += judge_change(judged, _current(root, channel, manifest.version), channel, thresholds)
    return force(sorted(verdicts, key=lambda each: GATES.index(each.gate)), forced)


def _current(root: str, channel: Channel, version: str) -> Judged | Unreadable | str:
    """The version on the channel, or why it is not to be compared with."""
    if channel.pointer is None:
        return f"channel {channel.name} is new"
    if channel.pointer.version == version:
        return f"channel {channel.name} is on this version already"
    try:
        manifest = read_published(root, channel.pointer)
    except IntegrityError as error:
        return Unreadable(channel.pointer.version, str(error))
    try:
        return Judged(manifest, _answers(root, manifest))
    except IntegrityError as error:
        return Judged(manifest, str(error))


def _answers(root: str, manifest: Manifest) -> Answers | str:
    entry = manifest.file("answers")
    if entry is None:
        return f"version {manifest.version} was built before answers were kept"
    return read_answers(read_verified(root, manifest.version, entry), entry.path)
