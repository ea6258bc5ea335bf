"""The metadata columns that a job's settings name: whether they are there, and the type that holds what is in all
files, so that values of different nights and datasets are compared alike."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from catalog import storage
from catalog.embedding_file import file_schema
from catalog.errors import UsageError
from catalog.metadata import unify
from catalog.snapshot import Snapshot
from dedupe.keeper import KeeperPolicy
from dedupe.settings import Settings

#: Columns of embedding files that may be named like those of metadata.
OWN = ("item_id", "product_id")
_READERS = 16


def named_columns(settings: Settings) -> dict[str, str]:
    """The columns that the settings name, with the flag that does, for the message; those of `--keeper` without."""
    found = {name: f"--protect {name}=…" for name, _ in settings.protected_values}
    if settings.label_column is not None:
        found[settings.label_column] = f"--label-column {settings.label_column}"
    if settings.group_column is not None:
        found[settings.group_column] = f"--group-column {settings.group_column}"
    return found


def metadata_columns(settings: Settings, stores: Sequence[tuple[str, Snapshot]]) -> pa.Schema:
    """The metadata columns that the settings name. Where they name one, the footers of all files are read.

    Raises:
        UsageError: none of the files has a column, or its values have no order or are no values of a group.
    """
    policy = KeeperPolicy.parse(settings.keeper)
    named = named_columns(settings)
    wanted = {*named, *policy.columns}
    if not wanted:
        return pa.schema([])
    there = _columns(stores)
    where = " and ".join(storage.redact(store) for store, _ in stores)
    known = pa.schema([*there, *(pa.field(name, pa.string()) for name in OWN if name not in there.names)])
    policy.check(known, where)
    for name, flag in named.items():
        if name not in known.names:
            listed = ", ".join(sorted(known.names))
            raise UsageError(f"{flag}: {where} has no column {name!r}; its columns are: {listed}")
        if pa.types.is_nested(known.field(name).type):
            raise UsageError(f"{flag}: column {name!r} of {where} holds {known.field(name).type}; it has no one value")
    return pa.schema([field for field in there if field.name in wanted])


def _columns(stores: Sequence[tuple[str, Snapshot]]) -> pa.Schema:
    urls = [storage.join(store, entry.path) for store, snapshot in stores for entry in snapshot.files]
    with ThreadPoolExecutor(min(_READERS, max(1, len(urls)))) as pool:
        schemas = list(pool.map(file_schema, urls))
    kinds = [schema.field("metadata").type for schema in schemas if "metadata" in schema.names]
    return pa.schema(list(unify(kinds)))


def to_text(columns: pa.Schema) -> str:
    """A schema as text, for a job's description."""
    return bytes(columns.serialize().to_pybytes()).hex() if len(columns) else ""


def from_text(text: str) -> pa.Schema:
    """The schema that `to_text` was given."""
    return pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(text))) if text else pa.schema([])
