"""What a run builds on: the store as it is, the snapshot before, and what the run must not do to them."""

from __future__ import annotations

from collections.abc import Callable

from catalog.embedding_store import StoreSettings, create, read_settings
from catalog.encoder_info import EncoderInfo
from catalog.errors import CatalogIndexerError, IntegrityError, UsageError
from catalog.partition import check_partitions, default_partitions
from catalog.snapshot import Snapshot, latest_of


def settings_of(output: str, partitions: int | None, vector_type: str | None) -> StoreSettings | None:
    """The settings of a store that is there already; None where there is none.

    Raises:
        UsageError: a flag asks for others, or there can be no store.
    """
    try:
        there = read_settings(output)
    except OSError as error:
        raise UsageError(f"--output {output} cannot be used: {error.strerror or error}") from None
    if there is None:
        if partitions is not None:
            check_partitions(partitions)
        return None
    for flag, wanted, found in (
        ("--partitions", partitions, there.partitions),
        ("--vector-type", vector_type, there.vector_type),
    ):
        if wanted is not None and wanted != found:
            raise UsageError(f"{flag} {wanted}: {output} was created with {found}; leave the flag out")
    return there


def open_store(output: str, partitions: int | None, vector_type: str | None, rows: int) -> StoreSettings:
    """The settings of a store, which is created where there is none: float16 unless told, and partitions by the number
    of rows. Raises UsageError, as `settings_of`."""
    there = settings_of(output, partitions, vector_type)
    if there is not None:
        return there
    wanted = StoreSettings(default_partitions(rows) if partitions is None else partitions, vector_type or "float16")
    try:
        return create(output, wanted)
    except OSError as error:
        raise UsageError(f"--output {output} cannot be used: {error.strerror or error}") from None


def find_base(
    output: str,
    parent: Snapshot | None,
    encoder: EncoderInfo,
    settings: StoreSettings,
    rows: int,
    say: Callable[[str], None],
    what: str = "catalog",
) -> Snapshot | None:
    """The snapshot to build on: the newest of this encoder, None where it has none yet.

    Args:
        output: URL of the store.
        parent: its newest snapshot.
        encoder: whose vectors the run has.
        settings: of the store.
        rows: that the run has.
        say: told when a lineage begins or goes on.
        what: the rows come from, for people.

    Raises:
        UsageError, IntegrityError: the run must not follow the newest snapshot.
    """
    if parent is None:
        return None
    if (parent.vector_type, parent.partitions) != (settings.vector_type, settings.partitions):
        raise IntegrityError(
            f"{output}/store.json does not belong to snapshot {parent.sequence}, which has {parent.partitions} "
            f"partitions of {parent.vector_type}; restore it, or give another --output"
        )
    if rows == 0 and parent.vectors:
        raise UsageError(
            f"the {what} has no rows, and {output} has {parent.vectors:,} items, which would all be removed; an empty "
            "export is refused: give another --output if it is meant"
        )
    if parent.encoder.fingerprint == encoder.fingerprint:
        return parent
    base = latest_of(output, encoder.fingerprint)
    how = f"goes on with lineage {base.lineage}, from snapshot {base.sequence}" if base else "starts a new lineage"
    say(
        f"another encoder than snapshot {parent.sequence}'s ({parent.encoder.name}, fingerprint "
        f"{parent.encoder.fingerprint[:12]}): the run {how}; vectors of two encoders never meet in one snapshot"
    )
    return base


def check_loss(before: Snapshot | None, after: Snapshot, may_lose: float, what: str = "catalog") -> None:
    """Raises CatalogIndexerError when more of the items of `before` would go than may: a mount that is missing or a
    wrong flag looks like a catalog whose items are gone."""
    if before is None or after.vectors >= before.vectors * (1 - may_lose):
        return
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in after.counts.rejects_by_reason.items())
    raise CatalogIndexerError(
        f"of {before.vectors:,} items only {after.vectors:,} would be left ({after.counts.removed:,} are not in the "
        f"{what} any more; rejected: {reasons or 'none'}); nothing was published. If meant, give --may-lose 1"
    )
