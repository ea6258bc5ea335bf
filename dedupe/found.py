"""What a report keeps of what was found, so that its pairs can be judged anew without looking for them again.

`found/job.json` says how the pairs were looked for; beside it is a folder with the bucketed files of pairs, or the
place of another report's, where this report is one that judged them anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from catalog import canonical_json, storage
from catalog.errors import IntegrityError, UsageError
from catalog.snapshot import snapshot_url
from dedupe.job import DEDUPE_VERSION, Layout, Source
from dedupe.settings import Settings
from dedupe.stages.joining import kept_urls, looks_for
from dedupe.verified_pixels import partitions_of, pixels_url

SCHEMA_VERSION = 1
_TRAINED = ("measure.npz", "lists.npz")


@dataclass(frozen=True)
class Found:
    """Pairs that were found.

    Attributes:
        pairs: URL of the folder with them.
        settings: that they were looked for with: pairs beyond its bounds are not there.
        sources: the snapshots.
        snapshots: sha256 of each snapshot's file.
        measure: URL of the calibration that pictures were measured with, None where there was none.
        stretch_rows, bucket_rows: how they are shared out, see `dedupe.job.DedupeJob`.
    """

    pairs: str
    settings: Settings
    sources: tuple[Source, ...]
    snapshots: tuple[str, ...]
    measure: str | None
    stretch_rows: int
    bucket_rows: int


def keep_found(layout: Layout) -> None:
    """Stores `found/job.json`, and lets go of what earlier runs to the same place have left. A report that judges pairs
    anew names those of the report that found them, and has a copy of what they were measured with.

    A report of what is new since an earlier one does not have all pairs, and keeps none.
    """
    job = layout.job
    folder = storage.join(job.output, "found")
    mine = None if job.earlier is not None else storage.join(folder, job.identity)
    for other in {storage.parent_of(url) for url in storage.list_files(folder)} - {mine, folder}:
        storage.delete_tree(other)
    if job.earlier is not None:
        return
    if job.found is None:
        found = Found(
            pairs=job.identity,
            settings=job.settings,
            sources=job.sources,
            snapshots=_digests(job.sources),
            measure=job.measure,
            stretch_rows=job.stretch_rows,
            bucket_rows=job.bucket_rows,
        )
    else:
        found = _read(storage.join(storage.parent_of(job.found), "job.json"))
        for name in _TRAINED if looks_for(layout, "lists") else ():
            report = storage.parent_of(storage.parent_of(job.found))
            storage.write(storage.join(job.output, name), storage.read_bytes(storage.join(report, name)))
    value = {"schema_version": SCHEMA_VERSION, "dedupe_version": DEDUPE_VERSION, **asdict(found)}
    value["settings"] = found.settings.to_json()
    storage.write(storage.join(folder, "job.json"), canonical_json.dump(value))


def read_found(report: str) -> Found:
    """The pairs that a report judged.

    Raises:
        UsageError: the report has none, or another version of this program found them.
        IntegrityError: what says so is damaged.
    """
    try:
        return _read(storage.join(report, "found", "job.json"))
    except FileNotFoundError:
        raise UsageError(
            f"{storage.redact(report)} has not kept the pairs that it found; run catalog-indexer dedupe again"
        ) from None


def check_found(layout: Layout, found: Found) -> None:
    """Raises UsageError where the files of pairs are not there, or a snapshot is no longer what it was."""
    there = set(storage.list_files(found.pairs))
    wanted = list(kept_urls(layout))
    if layout.job.settings.verify:
        wanted += [pixels_url(layout, number, partition) for number, partition in partitions_of(layout)]
    if missing := [url for url in wanted if url not in there]:
        raise UsageError(
            f"{storage.redact(missing[0])} is not there, {len(missing):,} of {len(wanted):,} files of pairs are "
            "missing; run catalog-indexer dedupe again"
        )
    for source, known, now in zip(found.sources, found.snapshots, _digests(found.sources), strict=True):
        if known != now:
            raise UsageError(
                f"snapshot {source.sequence} of {storage.redact(source.store)} is not the one that the report is of; "
                "run catalog-indexer dedupe on it"
            )


def _read(url: str) -> Found:
    value = canonical_json.load(storage.read_bytes(url), url)
    try:
        versions = value["schema_version"], value["dedupe_version"]
    except (KeyError, TypeError):
        raise IntegrityError(f"{storage.redact(url)} is damaged: it names no version") from None
    if versions != (SCHEMA_VERSION, DEDUPE_VERSION):
        raise UsageError(
            f"the pairs of {storage.redact(url)} are of version {versions[0]}.{versions[1]}; this version judges "
            f"{SCHEMA_VERSION}.{DEDUPE_VERSION}: run catalog-indexer dedupe again"
        )
    folder = storage.parent_of(url)

    def build(value: Any) -> Found:
        pairs = value["pairs"]
        # A report can be moved as a whole: its own pairs are beside it.
        return Found(
            pairs=pairs if "/" in pairs else storage.join(folder, pairs),
            settings=Settings.from_json(value["settings"]),
            sources=tuple(Source(**each) for each in value["sources"]),
            snapshots=tuple(value["snapshots"]),
            measure=value["measure"],
            stretch_rows=value["stretch_rows"],
            bucket_rows=value["bucket_rows"],
        )

    return canonical_json.shaped(value, url, build)


def _digests(sources: tuple[Source, ...]) -> tuple[str, ...]:
    urls = [snapshot_url(source.store, source.sequence) for source in sources]
    return tuple(canonical_json.digest(canonical_json.load(storage.read_bytes(url), url)) for url in urls)
