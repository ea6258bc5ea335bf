"""Pictures known by words of 64 bits, so that a later report can tell them again, whichever items have them then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.partition import item_hashes, partitions_of
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.items import bytes_of
from dedupe.job import Layout, Stretch, bucket_of, mix
from dedupe.members import Members

KLASS, SIGNATURE = 0, 1
#: Which row stands for a picture, by what it is known by.
WORDS = pa.schema([("kind", pa.int8()), ("word", pa.uint64()), ("row", pa.int64())])
#: What is kept of a row; `klass` and `signature` are null where a picture is not known by one.
STATE = pa.schema([("item", pa.uint64()), ("klass", pa.uint64()), ("signature", pa.uint64())])


def class_words(members: Members) -> np.ndarray:
    """uint64 [n]: the same for pictures that are known to be the same; of one without a hash, its own."""
    words = np.where(members.has_pixels, members.pixels[:, 0], members.content[:, 0])
    return np.where(members.has_pixels | members.has_content, words, members.row.astype(np.uint64))


def signature_words(signatures: pa.Table) -> np.ndarray:
    """uint64 [n]: the same for pictures with the same perceptual hashes and thumbnail.

    Args:
        signatures: `phash`, `phash_256` and `thumbnail`.
    """
    has_256 = ~np.asarray(signatures["phash_256"].is_null())
    words = [signatures["phash"].fill_null(0).to_numpy().astype(np.uint64), has_256.astype(np.uint64)]
    for name, width in (("phash_256", 32), ("thumbnail", 192)):
        words += list(np.ascontiguousarray(bytes_of(signatures[name], width)).view("<u8").T)
    mixed = np.zeros(len(signatures), np.uint64)
    for word in words:
        mixed = mix(mixed + np.uint64(0x9E3779B97F4A7C15) ^ word)
    return mixed


def write_state(layout: Layout, stretch: Stretch, members: Members, signatures: pa.Table) -> None:
    """Keeps what a later report needs of the rows of a stretch, by partition."""
    known = members.has_pixels | members.has_content
    unpictured = np.asarray(signatures["thumbnail"].is_null())
    ids = members.item_id.to_pylist()
    table = pa.table(
        {
            "item": pa.array(item_hashes(ids)),
            "klass": pa.array(class_words(members), mask=~known),
            "signature": pa.array(signature_words(signatures), mask=unpictured),
        },
        schema=STATE,
    )
    partition = partitions_of(ids, layout.snapshots[stretch.source].partitions) - stretch.first
    write_buckets(state_url(layout.job.state, stretch), table, partition, stretch.last - stretch.first)


def state_url(state: str, stretch: Stretch) -> str:
    """Where the rows of a stretch are kept below the state of a report."""
    return storage.join(state, "rows", f"{stretch.number:06d}.arrow")


def read_state(state: str, stretch: Stretch, partitions: Sequence[int] | None = None) -> pa.Table:
    """`STATE` of the rows of a stretch in their order, or of some of its partitions."""
    wanted = range(stretch.first, stretch.last) if partitions is None else partitions
    url = state_url(state, stretch)
    tables = [read_bucket([url], each - stretch.first) for each in wanted]
    return pa.concat_tables([STATE.empty_table(), *tables])


def write_words(layout: Layout, stretch: Stretch, compared: np.ndarray, hashed: np.ndarray) -> None:
    """Stores by which words the pictures of a stretch are known; the state of the stretch must be written.

    Args:
        layout: of the job.
        stretch: which.
        compared: bool [n], the rows that are compared by score.
        hashed: bool [n], those that are compared by hash.
    """
    if layout.job.earlier is None:
        return
    state = read_state(layout.job.state, stretch)
    rows = np.arange(stretch.row, stretch.row + stretch.rows)
    parts = []
    for kind, name, chosen in ((KLASS, "klass", compared), (SIGNATURE, "signature", hashed)):
        places = np.flatnonzero(chosen & ~np.asarray(state[name].is_null()))
        kinds = pa.array(np.full(len(places), kind, np.int8))
        words = state[name].take(pa.array(places)).cast(pa.uint64())
        parts.append(pa.table({"kind": kinds, "word": words, "row": pa.array(rows[places])}, schema=WORDS))
    table = pa.concat_tables(parts)
    owners = bucket_of(table["word"].to_numpy(), layout.buckets)
    write_buckets(words_url(layout, stretch), table, owners, layout.buckets)


def words_url(layout: Layout, stretch: Stretch) -> str:
    """Where `WORDS` of a stretch are."""
    return layout.job.at("words", f"{stretch.number:06d}.arrow")
