from __future__ import annotations

import io
import random
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import reject_pile, sorted_files
from catalog.reject_pile import RejectPile
from catalog.rejects import SCHEMA, Reject, read_lasting, read_rejects

rejects = st.lists(
    st.tuples(
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["duplicate_item_id", "not_found", "empty"]),
        st.sampled_from([None, "/x", "https://shop/a.jpg?signature=1"]),
        st.sampled_from([None, "v1"]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(rejects, st.integers(1, 9), st.randoms(use_true_random=False))
def test_rejects_are_the_same_bytes_in_any_order_and_however_many_are_held(
    rows: list[tuple], held: int, rng: random.Random
) -> None:
    pile_of = [Reject(name, f"c.csv row {n}", why, uri, None, v) for n, (name, why, uri, v) in enumerate(rows)]
    shuffled = rng.sample(pile_of, len(pile_of))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(reject_pile, "_HELD", held)
        patch.setattr(sorted_files, "_MERGED_AT_ONCE", 2)
        patch.setattr(sorted_files, "_BATCH_ROWS", 2)
        pile = RejectPile(Path(folder))
        for reject in shuffled:
            pile.add(reject)
        path, _ = pile.write()
        data, found = path.read_bytes(), read_rejects(str(path)).to_pylist()
        lasting = [row for table in read_lasting(str(path)) for row in table.to_pylist()]
    expected = [
        {**vars(each), "image_uri": each.image_uri and each.image_uri.split("?")[0]}
        for each in sorted(pile_of, key=lambda each: (each.item_id, each.origin))
    ]
    assert found == [{name: row[name] for name in SCHEMA.names} for row in expected]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(expected, SCHEMA), sink, compression="zstd")
    assert data == sink.getvalue()
    assert len(pile) == len(rows)
    assert pile.by_reason() == {why: sum(row[1] == why for row in rows) for why in sorted({row[1] for row in rows})}
    assert lasting == [row for row in found if row["reason"] == "empty" and row["source_version"]]
