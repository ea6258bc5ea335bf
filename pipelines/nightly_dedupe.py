"""The duplicates of a night: a report of its snapshot that builds on that of an earlier night where it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog import canonical_json, storage
from catalog.errors import UsageError
from pipelines.dedupe import DedupeConfig, dedupe, plan, read_summary

SCHEMA_VERSION = 1
# Earlier reports that are remembered; the newest that is still there and was made alike is built on.
_REMEMBERED = 30
#: What a night tells of the report.
TOLD = (
    "since",
    "new",
    "items",
    "kept",
    "dropped",
    "groups",
    "by_tier",
    "placeholders",
    "placeholder_items",
    "unreadable",
    "seconds",
)


@dataclass(frozen=True)
class NightlyDedupe:
    """What a night is asked for.

    Attributes:
        folder: URL of the folder of the reports.
        config: of the job; its output is the folder.
    """

    folder: str
    config: DedupeConfig


def dedupe_night(wanted: NightlyDedupe, say: Callable[[str], None]) -> dict[str, Any]:
    """Makes the report of the newest snapshot, `FOLDER/<snapshot>-<settings>/`, and remembers it in `latest.json`. One
    that is complete is only read.

    Returns:
        `report`, `snapshot`, and `TOLD` of its summary.

    Raises:
        whatever stops the job.
    """
    layout = plan(wanted.config)
    sequence = layout.job.sources[0].sequence
    asked = [wanted.config.settings.to_json(), layout.job.measure, layout.snapshots[0].encoder.fingerprint]
    name = f"{sequence:06d}-{canonical_json.digest(asked)[:10]}"
    report = storage.join(wanted.folder, name)
    summary = read_summary(report)
    if summary is not None:
        say(f"the duplicates of snapshot {sequence} are reported already")
        return _told(report, sequence, {**summary, "seconds": 0.0})
    remembered = _remembered(wanted.folder)
    config = replace(wanted.config, output=report, snapshot=sequence)
    since = next((each for each in _before(wanted.folder, remembered, sequence) if _may_build_on(config, each)), None)
    if since is None:
        say("dedupe compares everything: there is no earlier report that was made alike")
    summary = dedupe(replace(config, since=since), say)
    latest = {"schema_version": SCHEMA_VERSION, "reports": [name, *remembered][:_REMEMBERED]}
    storage.write(_latest(wanted.folder), canonical_json.dump(latest))
    return _told(report, sequence, summary)


def _told(report: str, sequence: int, summary: dict[str, Any]) -> dict[str, Any]:
    return {"report": report, "snapshot": sequence, **{name: summary[name] for name in TOLD}}


def _latest(folder: str) -> str:
    return storage.join(folder, "latest.json")


def _remembered(folder: str) -> list[str]:
    """Names of reports, the newest first."""
    url = _latest(folder)
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        return []
    return list(canonical_json.parse(data, url, lambda value: value["reports"]))


def _before(folder: str, names: Sequence[str], sequence: int) -> list[str]:
    """URLs of the reports of snapshots before that one."""
    return [storage.join(folder, name) for name in names if int(name.partition("-")[0]) < sequence]


def _may_build_on(config: DedupeConfig, report: str) -> bool:
    try:
        plan(replace(config, since=report))
    except UsageError:
        return False
    return True
