"""Which of several duplicates is kept: an ordered list of reasons to prefer one, and the item id in the end."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UsageError
from catalog.metadata import as_texts
from dedupe.sort_keys import flag_key, is_number, joined, number_key, text_key

DEFAULT = "resolution,bytes"
_PICTURE = ("resolution", "bytes")
_MEDOID = "medoid"
_FORMS = "resolution, bytes, medoid, COLUMN:asc, COLUMN:desc or COLUMN=FIRST|SECOND"


@dataclass(frozen=True)
class Term:
    """One reason: `resolution`, `bytes`, `medoid`, or a `column` by order or by its `preferred` values, best first."""

    name: str
    column: str | None = None
    descending: bool = False
    preferred: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeeperPolicy:
    """Reasons to prefer one duplicate, the first counting most. Protected items come before all of them, and ties are
    broken by item id."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str, flag: str = "--keeper") -> KeeperPolicy:
        """Reads `resolution,bytes,vendor=acme|globex,created_at:asc,medoid`; a term with a comma is quoted, as in CSV.

        Raises:
            UsageError: names the flag and the term, and what would be right.
        """
        parts = [part.strip() for part in next(csv.reader([text]), [])]
        if not any(parts):
            raise UsageError(f"{flag} is empty; expected a list of {_FORMS}, such as {DEFAULT}")
        terms = [_term(part, flag) for part in parts]
        for number, term in enumerate(terms):
            if term in terms[:number]:
                raise UsageError(f"{flag} names {parts[number]!r} twice; the first counts, leave the other out")
        return cls(tuple(terms))

    def check(self, columns: pa.Schema, where: str, flag: str = "--keeper") -> None:
        """Refuses columns that no dataset has, or that have no order.

        Args:
            columns: metadata and other columns that may be named, as of all the datasets together.
            where: the dataset, for the message.
        """
        for term in self.terms:
            if term.column is None:
                continue
            if term.column not in columns.names:
                listed = ", ".join(columns.names) or "none"
                raise UsageError(f"{flag}: {where} has no column {term.column!r}; its columns are: {listed}")
            kind = columns.field(term.column).type
            if pa.types.is_nested(kind):
                raise UsageError(f"{flag}: column {term.column!r} of {where} holds {kind}; it has no order")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the policy reads, each once."""
        return tuple(dict.fromkeys(term.column for term in self.terms if term.column is not None))

    @property
    def medoid(self) -> bool:
        """Whether the member most alike all others is asked for, so that there are two keys."""
        return any(term.name == _MEDOID for term in self.terms)

    def __str__(self) -> str:
        return ",".join(term.name for term in self.terms)


def order_keys(table: pa.Table, policy: KeeperPolicy) -> tuple[pa.Array, pa.Array | None]:
    """What to sort rows by: smaller bytes are preferred, in any file and process. Missing values come last.

    Args:
        table: `item_id`, `protected` (bool), `width`, `height`, `bytes` (ints; a missing column is a missing value),
            and the columns of the policy: fields of the struct `metadata`, or else columns of the table. A field must
            have the same type in all files that are compared, see `catalog.metadata.unify`.

    Returns:
        binary [n], never null, and None. With `medoid` two keys: what counts more than it, and what counts less.
    """
    keys: list[list[pa.Array]] = [[flag_key(~_plain(table["protected"]).to_numpy(zero_copy_only=False))], []]
    part = 0
    for term in policy.terms:
        if term.name == _MEDOID:
            part = 1
        else:
            keys[part].append(_key(table, term))
    keys[part].append(_plain(table["item_id"]).cast(pa.string()).cast(pa.binary()))
    return joined(keys[0], len(table)), joined(keys[1], len(table)) if part else None


def _term(part: str, flag: str) -> Term:
    if part in (*_PICTURE, _MEDOID):
        return Term(part)
    column, equals, values = part.partition("=")
    if equals:
        preferred = tuple(value.strip() for value in values.split("|"))
        if not column or not all(preferred) or len(set(preferred)) < len(preferred):
            raise UsageError(f"{flag}: {part!r} must name a column and its values, each once: COLUMN=FIRST|SECOND")
        return Term(part, column.strip(), preferred=preferred)
    column, _, direction = part.rpartition(":")
    if not column or direction not in ("asc", "desc"):
        hint = f"; say {part}:asc, {part}:desc or {part}=FIRST|SECOND for a column" if part and ":" not in part else ""
        raise UsageError(f"{flag}: {part!r} is none of {_FORMS}{hint}")
    return Term(part, column.strip(), descending=direction == "desc")


def _key(table: pa.Table, term: Term) -> pa.Array:
    rows = len(table)
    if term.name == "resolution":
        sides = [_column(table, name) for name in ("width", "height")]
        if any(side is None for side in sides):
            return number_key(pa.nulls(rows, pa.int64()))
        return number_key(pc.multiply(*(side.cast(pa.int64()) for side in sides if side is not None)), descending=True)
    if term.column is None:
        sizes = _column(table, "bytes")
        return number_key(pa.nulls(rows, pa.int64()) if sizes is None else sizes.cast(pa.int64()), descending=True)
    values = _metadata(table, term.column)
    if term.preferred:
        return number_key(_ranks(values, term.preferred))
    if is_number(values.type):
        return number_key(values, term.descending)
    return text_key(pa.array(as_texts(values), pa.string()), term.descending)


def _ranks(values: pa.Array, preferred: tuple[str, ...]) -> pa.Array:
    """int64 [n]: the place of each value in the list, those of no place after them, null for null."""
    place = pc.index_in(pa.array(as_texts(values), pa.string()), value_set=pa.array(preferred, pa.string()))
    return pc.if_else(values.is_null(), None, pc.fill_null(place, len(preferred))).cast(pa.int64())


def _metadata(table: pa.Table, name: str) -> pa.Array:
    """A column that a policy names; null where this table has none of the name."""
    struct = _column(table, "metadata")
    if struct is not None and struct.type.get_field_index(name) >= 0:
        values = pc.struct_field(struct, [name])
    else:
        found = _column(table, name)
        values = pa.nulls(len(table), pa.string()) if found is None else found
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values


def _column(table: pa.Table, name: str) -> pa.Array | None:
    return _plain(table[name]) if name in table.column_names else None


def _plain(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def order_of(key: pa.Array | pa.ChunkedArray, *others: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """int64 [n]: the rows by `key`, ties by the others in turn."""
    columns = {str(number): column for number, column in enumerate((key, *others))}
    sorting = [(name, "ascending") for name in columns]
    return pc.sort_indices(pa.table(columns), sort_keys=sorting).to_numpy().astype(np.int64)
