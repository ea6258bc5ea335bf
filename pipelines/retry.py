"""The run behind a snapshot once more: what was rejected for a reason that may pass is tried again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from catalog import storage
from catalog.errors import UsageError
from catalog.partition_rows import Changes
from catalog.run import Run
from catalog.snapshot import Snapshot
from catalog.source import CatalogSource
from encoders.decode import DecodeLimits
from pipelines.embed import EmbedConfig


def config_of(store: str, snapshot: Snapshot, beam_arguments: Sequence[str], runs_on: str | None = None) -> EmbedConfig:
    """The embed job that made a snapshot, as it was launched. Raises UsageError when that is not known any more."""
    try:
        launch = Run(store, snapshot.run).launch()
    except (FileNotFoundError, KeyError):
        raise UsageError(
            f"{storage.join(store, 'runs', snapshot.run)}/plan.json is gone or old, so nobody knows how snapshot "
            f"{snapshot.sequence} was made; run embed again with its flags: that tries the same images"
        ) from None
    if launch.get("redacted", True):
        raise UsageError(
            f"the catalog of snapshot {snapshot.sequence} had a URL with a secret, which was not written down; run "
            "embed again with its flags: that tries the same images"
        )
    source: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in launch["source"].items()
    }
    return EmbedConfig(
        source=CatalogSource(**source),
        output=store,
        encoder=launch["encoder"],
        engine=launch["engine"],
        threads=launch["threads"],
        hints=launch["hints"],
        limits=DecodeLimits(**launch["limits"]),
        changes=Changes(launch["changes"]),
        compact_at=launch["compact_at"],
        runs_on=runs_on,
        beam_arguments=tuple(beam_arguments),
    )
