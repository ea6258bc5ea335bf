"""Recalling: the pairs that an earlier report found, as pairs of pictures that are still there.

A pair is of two pictures, whichever items have them now: the lowest row of a class of equal pixels stands for it where
scores were compared, the lowest of equal hashes and thumbnail where hashes were. So a pair goes by the words of both
pictures, which the earlier report keeps, to the rows that have these words now. Exact copies, and pictures of equal
hashes, are found anew and not recalled.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import storage
from dedupe.bucketed import read_bucket, write_buckets
from dedupe.earlier import Earlier
from dedupe.job import Layout, Stretch, bucket_of
from dedupe.picture_words import KLASS, SIGNATURE, read_state, words_url
from dedupe.stages.joining import recalled_url, write_pairs

_MEASURED = ("hamming", "hamming_256", "thumbnail", "combined")


def recall_low(layout: Layout, number: int) -> None:
    """Stores the pairs whose lower row is in an earlier stretch, with its words, by the stretch of the other row."""
    earlier = _earlier(layout)
    done = layout.job.at("recall", f"low-{number:06d}.arrow")
    if storage.exists(done):
        return
    stretch = earlier.stretches[number]
    urls = [storage.join(earlier.state, "pairs", f"{bucket:06d}.arrow") for bucket in range(earlier.buckets)]
    pairs = read_bucket(urls, number).select(["row_a", "row_b", *_MEASURED])
    whole = _with_words(pairs, "a", read_state(earlier.state, stretch), stretch)
    starts = np.array([each.row for each in earlier.stretches], np.int64)
    owners = np.searchsorted(starts, pairs["row_b"].to_numpy(), side="right") - 1
    write_buckets(done, whole, owners, len(earlier.stretches))


def recall_high(layout: Layout, number: int) -> None:
    """Stores the pairs whose higher row is in an earlier stretch, as pairs of words, by the first of them."""
    earlier = _earlier(layout)
    done = layout.job.at("recall", f"high-{number:06d}.arrow")
    if storage.exists(done):
        return
    stretch = earlier.stretches[number]
    urls = [layout.job.at("recall", f"low-{each:06d}.arrow") for each in range(len(earlier.stretches))]
    whole = _with_words(read_bucket(urls, number), "b", read_state(earlier.state, stretch), stretch)
    named = pa.concat_tables([_named(whole, KLASS), _named(whole, SIGNATURE)])
    write_buckets(done, named, bucket_of(named["word_a"].to_numpy(), layout.buckets), layout.buckets)


def recall_first(layout: Layout, bucket: int) -> None:
    """Finds the row that has the first word of the pairs of a bucket, and stores them by the second."""
    done = layout.job.at("recall", f"first-{bucket:06d}.arrow")
    if storage.exists(done):
        return
    urls = [layout.job.at("recall", f"high-{each:06d}.arrow") for each in range(len(_earlier(layout).stretches))]
    found = _found(read_bucket(urls, bucket), "a", _words(layout, bucket))
    write_buckets(done, found, bucket_of(found["word_b"].to_numpy(), layout.buckets), layout.buckets)


def recall_second(layout: Layout, bucket: int) -> None:
    """Finds the row that has the second word, and stores the pairs as found."""
    done = recalled_url(layout, bucket)
    if storage.exists(done):
        return
    urls = [layout.job.at("recall", f"first-{each:06d}.arrow") for each in range(layout.buckets)]
    found = _found(read_bucket(urls, bucket), "b", _words(layout, bucket))
    rows = np.sort(np.stack([found["row_a"].to_numpy(), found["row_b"].to_numpy()], axis=1), axis=1)
    apart = pa.array(rows[:, 0] != rows[:, 1])
    pairs = {"row_a": pa.array(rows[:, 0]), "row_b": pa.array(rows[:, 1])}
    write_pairs(layout, done, pa.table({**pairs, **{name: found[name] for name in _MEASURED}}).filter(apart))


def _earlier(layout: Layout) -> Earlier:
    assert layout.job.earlier is not None
    return Earlier.read(layout.job.earlier)


def _words(layout: Layout, bucket: int) -> pa.Table:
    return read_bucket([words_url(layout, stretch) for stretch in layout.stretches], bucket)


def _with_words(pairs: pa.Table, side: str, state: pa.Table, stretch: Stretch) -> pa.Table:
    """The pairs with `klass_` and `signature_` of one of their rows, which is in that stretch."""
    places = pa.array(pairs[f"row_{side}"].to_numpy() - stretch.row)
    for name in ("klass", "signature"):
        pairs = pairs.append_column(f"{name}_{side}", state[name].take(places))
    return pairs


def _named(pairs: pa.Table, kind: int) -> pa.Table:
    """What was measured of pictures by the words of that kind: hashes by signature, scores by class."""
    name, measured = (("klass", "thumbnail"), ("signature", "hamming"))[kind]
    one, other = (pairs[f"{name}_{side}"] for side in "ab")
    there = pc.fill_null(pc.and_(pc.is_valid(pairs[measured]), pc.not_equal(one, other)), False)
    count = pc.sum(there).as_py() or 0
    mine = {KLASS: ("thumbnail", "combined"), SIGNATURE: ("hamming", "hamming_256")}[kind]
    columns = {"kind": pa.array(np.full(count, kind, np.int8))}
    for side, column in (("a", one), ("b", other)):
        columns[f"word_{side}"] = column.filter(there)
    for each in _MEASURED:
        kept = pairs[each].filter(there)
        columns[each] = kept if each in mine else pa.nulls(count, kept.type)
    return pa.table(columns)


def _found(pairs: pa.Table, side: str, words: pa.Table) -> pa.Table:
    """The pairs whose word of that side some row has, with the lowest such row."""
    lowest = words.group_by(["kind", "word"], use_threads=False).aggregate([("row", "min")])
    lowest = lowest.rename_columns(
        [{"row_min": f"row_{side}", "word": f"word_{side}"}.get(each, each) for each in lowest.column_names]
    )
    return pairs.join(lowest, ["kind", f"word_{side}"], join_type="inner", use_threads=False)
