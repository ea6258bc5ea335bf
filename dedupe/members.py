"""The items of a stretch as candidates: who is preferred, who is a copy of whom, what is said of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from dedupe.items import bytes_of, read_items, text_column
from dedupe.job import Layout, Stretch
from dedupe.keeper import KeeperPolicy, order_keys
from dedupe.reviewed import Protection
from dedupe.settings import BYTES
from dedupe.verified_pixels import verified

_COLUMNS = ("product_id", "content_hash", "pixel_hash", "width", "height", "bytes", "metadata")
#: Products of one picture that are told apart; whoever has more has too many anyway.
MOST_PRODUCTS = 64


@dataclass(frozen=True)
class Members:
    """The items of a stretch; all arrays are [n] in the order of rows.

    Attributes:
        row: int64.
        item_id, product_id, group_value, label: strings.
        order, order_after: binary, from `dedupe.keeper`; smaller is preferred.
        content, pixels: uint64 [n, 2], 128 bits of the hashes.
        has_content, has_pixels: bool, whether there is one.
        protected: bool, may not be dropped.
        leader: int64, the position of the item that stands for this one: the first of those with the same bytes, group
            value and label. An item that is protected, or part of a reviewed pair, stands for itself. Those without a
            hash of pixels come after those with one.
        face: int64, the position of the most preferred of those that have one leader: it is who is named, kept or
            dropped where the leader is, and the others are copies of it.
        first: int64, the position of the first item with the same bytes, whatever is said of it: pictures are compared
            in its place, so that what is found does not depend on what people decide about items.
    """

    row: np.ndarray
    item_id: pa.Array
    product_id: pa.Array
    group_value: pa.Array
    label: pa.Array
    order: pa.Array
    order_after: pa.Array
    content: np.ndarray
    pixels: np.ndarray
    has_content: np.ndarray
    has_pixels: np.ndarray
    protected: np.ndarray
    leader: np.ndarray
    face: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @property
    def leads(self) -> np.ndarray:
        """bool [n]: whether each stands for itself."""
        return self.leader == np.arange(len(self))

    def weights(self) -> np.ndarray:
        """int64 [n]: how many items each stands for, itself included; 0 for those that stand for none."""
        return np.bincount(self.leader, minlength=len(self))

    @property
    def compared(self) -> np.ndarray:
        """bool [n]: whether each is the first with its bytes."""
        return self.first == np.arange(len(self))

    @property
    def copies(self) -> np.ndarray:
        """bool [n]: whether each has the bytes of another that is named for it."""
        return self.face != np.arange(len(self))

    def preference(self) -> np.ndarray:
        """uint64 [n]: the first eight bytes of the order, smaller is preferred as far as they tell; of the first with
        its bytes, the best of all of them."""
        keys = (int.from_bytes(key[:8].ljust(8, b"\0"), "big") for key in self.order.to_pylist())
        own = np.fromiter(keys, np.uint64, len(self))
        best = own.copy()
        np.minimum.at(best, self.first, own)
        return best

    def products(self) -> pa.ListArray:
        """list<uint64> [n]: hashes of the products of the items that each stands for, at most 64; empty for those that
        stand for none."""
        known = np.flatnonzero(~np.asarray(self.product_id.is_null()))
        names = self.product_id.take(pa.array(known)).to_pylist()
        hashes = np.fromiter((xxhash.xxh3_64_intdigest(name.encode()) for name in names), np.uint64, len(names))
        pairs = np.unique(np.rec.fromarrays([self.leader[known], hashes]))
        leaders, values = pairs["f0"], pairs["f1"]
        first = np.searchsorted(leaders, leaders, side="left")
        few = np.arange(len(leaders)) - first < MOST_PRODUCTS
        counts = np.bincount(leaders[few], minlength=len(self)) if len(leaders) else np.zeros(len(self), np.int64)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[few]))


def read_members(layout: Layout, stretch: Stretch) -> Members:
    """Reads the items of a stretch. Raises UsageError where a column that the settings name is in none of them."""
    settings = layout.job.settings
    policy = KeeperPolicy.parse(settings.keeper)
    protection = Protection(pa.array(settings.protected, pa.string()), settings.protected_values)
    parts: list[dict[str, pa.Array]] = []
    for table in read_items(layout, stretch, _COLUMNS):
        known = _known(table)
        protected = pa.array(protection.rows(known))
        before, after = order_keys(known.append_column("protected", protected), policy)
        parts.append(
            {
                "row": table["row"],
                "item_id": table["item_id"],
                "product_id": table["product_id"],
                "group_value": _group_values(layout, stretch, table),
                "label": text_column(table, settings.label_column, "--label-column"),
                "order": before,
                "order_after": pa.nulls(len(table), pa.binary()) if after is None else after,
                "content_hash": table["content_hash"],
                "pixel_hash": table["pixel_hash"],
                "protected": protected,
            }
        )
    whole = {name: _joined([part[name] for part in parts]) for name in parts[0]}
    if settings.verify == "pixels":
        whole["pixel_hash"] = verified(layout, stretch)
    protected = np.asarray(whole["protected"])
    reviewed = np.asarray(
        pc.is_in(
            whole["item_id"],
            value_set=pa.array(sorted({each for pair in settings.ignored for each in pair}), pa.string()),
        )
    )
    content, pixels = (_words(whole[name]) for name in ("content_hash", "pixel_hash"))
    has_content, has_pixels = (~np.asarray(whole[name].is_null()) for name in ("content_hash", "pixel_hash"))
    may_follow = has_content & ~protected & ~reviewed if settings.finds(BYTES) else np.zeros(len(content), bool)
    turn = np.where(has_pixels, 0, len(content)) + np.arange(len(content))
    leader, face = _leaders(whole, content, may_follow, turn)
    texts = {name: whole[name] for name in ("item_id", "product_id", "group_value", "label", "order", "order_after")}
    return Members(
        row=np.asarray(whole["row"]),
        **texts,
        content=content,
        pixels=pixels,
        has_content=has_content,
        has_pixels=has_pixels,
        protected=protected,
        leader=leader,
        face=face,
        first=_firsts(content, has_content, turn),
    )


def _known(table: pa.Table) -> pa.Table:
    """The columns that there are."""
    return table.select([name for name in table.column_names if not pa.types.is_null(table.schema.field(name).type)])


def _group_values(layout: Layout, stretch: Stretch, table: pa.Table) -> pa.Array:
    """What the item is grouped by: the value of the column, or else the name of its dataset."""
    column = layout.job.settings.group_column
    if column is not None:
        return text_column(table, column, "--group-column")
    name = layout.job.sources[stretch.source].name
    return pa.array([name or None] * len(table), pa.string())


def _joined(parts: list[pa.Array | pa.ChunkedArray]) -> pa.Array:
    chunks = [chunk for part in parts for chunk in (part.chunks if isinstance(part, pa.ChunkedArray) else [part])]
    whole = pa.chunked_array(chunks, type=parts[0].type).combine_chunks()
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)


def _words(column: pa.Array) -> np.ndarray:
    width = column.type.byte_width
    return np.ascontiguousarray(bytes_of(column, width)[:, :16]).view("<u8").reshape(-1, 2)


def _leaders(
    whole: dict[str, pa.Array], content: np.ndarray, may_follow: np.ndarray, turn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """int64 [n], int64 [n]: who stands for each, and who is named, see `Members`."""
    count = len(content)
    leader, face = np.arange(count), np.arange(count)
    places = np.flatnonzero(may_follow)
    if not len(places):
        return leader, face
    codes = [_codes(whole[name])[places] for name in ("group_value", "label")]
    keys = np.rec.fromarrays([content[places, 0], content[places, 1], *codes])
    _, kinds, counts = np.unique(keys, return_inverse=True, return_counts=True)
    repeated = counts[kinds] > 1
    places, kinds = places[repeated], kinds[repeated]
    if not len(places):
        return leader, face
    rank = _ranks([whole["order"], whole["order_after"], whole["item_id"]], places)
    leader[places] = _lowest(kinds, turn[places], places)
    face[places] = _lowest(kinds, rank, places)
    return leader, face


def _firsts(content: np.ndarray, has_content: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """int64 [n]: the position of the first with the same content; its own of one without."""
    first = np.arange(len(content))
    places = np.flatnonzero(has_content)
    if len(places):
        _, kinds = np.unique(np.rec.fromarrays([content[places, 0], content[places, 1]]), return_inverse=True)
        first[places] = _lowest(kinds, turn[places], places)
    return first


def _lowest(kinds: np.ndarray, rank: np.ndarray, places: np.ndarray) -> np.ndarray:
    """int64 [n]: for each the place of the one of its kind with the lowest rank."""
    order = np.lexsort((rank, kinds))
    starts = np.concatenate([[True], np.diff(kinds[order]) != 0])
    best = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    result = np.empty(len(places), np.int64)
    result[order] = places[order][best]
    return result


def _codes(column: pa.Array) -> np.ndarray:
    """int64 [n]: equal values have equal numbers, -1 is null."""
    encoded = column.dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1)).astype(np.int64)


def _ranks(columns: list[pa.Array], places: np.ndarray) -> np.ndarray:
    """int64 [n]: the rank of each place by the columns, the first one first."""
    taken = pa.table({str(number): column.take(pa.array(places)) for number, column in enumerate(columns)})
    order = pc.sort_indices(taken, sort_keys=[(name, "ascending") for name in taken.column_names])
    rank = np.empty(len(places), np.int64)
    rank[np.asarray(order)] = np.arange(len(places))
    return rank
