"""What `dedupe check` compares with: the newest snapshots of a report's stores, its measure and its placeholders."""

from __future__ import annotations

import pyarrow.parquet as pq

from catalog import storage
from catalog.errors import UsageError
from catalog.snapshot import latest_of
from dedupe.earlier import read_report
from dedupe.job import DedupeJob, Layout, Source
from dedupe.measure import FILE, Measure
from dedupe.settings import Settings

_ROWS = 4_096


def store_of(report: str, embeddings: str | None = None) -> tuple[Layout, Measure | None]:
    """The items to compare with, by the rules of a report, and its measure; None where it compared no scores.

    Args:
        report: URL of a complete report.
        embeddings: URL of its store, where that was moved; None for the one that it names.

    Raises:
        UsageError: there is no complete report, or nothing of its encoder in the store.
    """
    url = storage.absolute(report)
    summary = read_report(url)
    settings = Settings.from_json(summary["settings"])
    told = summary["sources"]
    if embeddings is not None and len(told) > 1:
        names = ", ".join(each["name"] for each in told)
        raise UsageError(f"--embeddings: the report is of several stores ({names}), which are looked for where it says")
    sources, snapshots = [], []
    for each in told:
        store = storage.absolute(embeddings) if embeddings is not None else each["store"]
        snapshot = latest_of(store, each["fingerprint"])
        if snapshot is None:
            raise UsageError(
                f"{storage.redact(store)} has no snapshot of the encoder that {storage.redact(url)} was made with; "
                "name the store with --embeddings, or run catalog-indexer dedupe anew"
            )
        sources.append(Source(each["name"], store, snapshot.sequence))
        snapshots.append(snapshot)
    layout = Layout(DedupeJob(url, tuple(sources), settings), snapshots)
    return layout, Measure.load(storage.join(url, FILE)) if settings.compares else None


def read_placeholders(report: str) -> dict[bytes, str]:
    """The ids of a report's placeholders by the thumbnail of their picture."""
    found: dict[bytes, str] = {}
    with storage.open_read(storage.join(storage.absolute(report), "placeholders.parquet")) as handle:
        file = pq.ParquetFile(handle, page_checksum_verification=True)
        for batch in file.iter_batches(_ROWS, columns=["placeholder_id", "thumbnail"]):
            names, pictures = (batch.column(name).to_pylist() for name in ("placeholder_id", "thumbnail"))
            # Of several with one thumbnail the first is that of most items.
            for name, thumbnail in zip(names, pictures, strict=True):
                if thumbnail is not None:
                    found.setdefault(thumbnail, name)
    return found
