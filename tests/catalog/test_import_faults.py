"""Every row of an import ends in one place, and nothing is half visible, whatever the rows are and the store does."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog import storage
from catalog.embedding_file import read_file, vectors_of
from catalog.errors import CatalogIndexerError
from catalog.import_vectors import ImportConfig, ImportSummary, import_vectors
from catalog.rejects import read_rejects
from catalog.snapshot import list_snapshots, read_snapshot
from catalog.storage.retry import Retrier, RetryPolicy
from catalog.vector_source import VectorInput
from tests.catalog.fault_store import Crash, Fault, FaultStore

ROOT = "memory://shop"
STORE = f"{ROOT}/embeddings"


@dataclass(frozen=True)
class Row:
    """A row of an input."""

    item_id: str | None
    vector: tuple[float, ...] | None
    label: str | None = None


GOOD = [(1.0, 2.0), (2.0, 1.0), (-3.0, 0.5)]
BAD = [None, (0.0, 0.0), (np.nan, 1.0), (np.inf, 1.0), (1e30, 1.0)]
ROWS = st.lists(
    st.builds(
        Row,
        st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "", None]),
        st.sampled_from([*GOOD, *GOOD, *BAD]),
        st.sampled_from(["x", "y", None]),
    ),
    max_size=12,
)


def put(store: FaultStore, name: str, rows: list[Row]) -> str:
    sink = io.BytesIO()
    columns = {
        "id": pa.array([row.item_id for row in rows], pa.string()),
        "embedding": pa.array([row.vector for row in rows], pa.list_(pa.float64())),
        "label": pa.array([row.label for row in rows], pa.string()),
    }
    pq.write_table(pa.table(columns), sink)
    store._put(f"{ROOT}/{name}", sink.getvalue())
    return f"{ROOT}/{name}"


def bring(*inputs: str, output: str = STORE) -> ImportSummary:
    return import_vectors(
        ImportConfig(VectorInput(inputs), output, "cosine", vector_type="float16", partitions=2, may_lose=1.0)
    )


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FaultStore:
    found = FaultStore()
    monkeypatch.setattr(storage, "store_for", lambda url: found)
    monkeypatch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=3), sleep=lambda _: None))
    return found


def expected_of(rows: list[Row]) -> tuple[dict[str, Row], dict[str, int]]:
    """What must be stored by item id, and the rejects by reason, one row after the other."""
    kept: dict[str, Row] = {}
    reasons: dict[str, int] = {}
    for row in rows:
        reason = None
        if not row.item_id:
            reason = "empty_item_id"
        elif row.vector in BAD or any(np.isnan(row.vector or ())):
            reason = "invalid_vector"
        elif row.item_id in kept:
            reason = "duplicate_item_id"
            kept[row.item_id] = min(kept[row.item_id], row, key=content_of)
        else:
            kept[row.item_id] = row
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
    return kept, dict(sorted(reasons.items()))


def content_of(row: Row) -> tuple[str, bytes]:
    return str((("label", row.label),) if row.label else ()), np.array(row.vector, np.float16).tobytes()


def stored(output: str = STORE) -> dict[str, tuple[tuple[float, ...], str | None]]:
    snapshot = read_snapshot(output, list_snapshots(output)[-1])
    found = {}
    for entry in snapshot.files:
        rows = read_file(storage.join(output, entry.path))
        labels = [metadata["label"] for metadata in rows["metadata"].to_pylist()]
        for name, vector, label in zip(
            rows["item_id"].to_pylist(), vectors_of(rows["embedding"], 2).tolist(), labels, strict=True
        ):
            assert name not in found
            found[name] = (tuple(vector), label)
    reasons: dict[str, int] = {}
    for entry in snapshot.rejects:
        for row in read_rejects(storage.join(output, entry.path)).to_pylist():
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
    assert dict(sorted(reasons.items())) == snapshot.counts.rejects_by_reason
    assert snapshot.counts.rows == len(found) + sum(reasons.values())
    return found


@given(ROWS, ROWS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counts_are_those_of_a_row_by_row_count_on_two_nights(
    store: FaultStore, first: list[Row], second: list[Row], random: object
) -> None:
    anchor = [Row("anchor", (1.0, 1.0))]  # No export is empty.
    store.objects.clear()
    store.plan({})
    before: dict[str, Row] = {}
    for night, rows in enumerate([anchor + first, anchor + second]):
        half = len(rows) // 2
        inputs = [put(store, "1.parquet", rows[:half]), put(store, "2.parquet", rows[half:])]
        if half == 0:
            inputs = inputs[1:]
        summary = bring(*inputs)
        kept, reasons = expected_of(rows)
        assert stored() == {name: (row.vector, row.label) for name, row in kept.items()}
        same = sum(name in before and content_of(before[name]) == content_of(row) for name, row in kept.items())
        named = {row.item_id for row in rows}
        assert (summary.rows, summary.embedded, summary.reused) == (len(rows), len(kept) - same, same)
        assert summary.rejects_by_reason == reasons
        assert summary.removed == sum(name not in named for name in before)
        before = kept
        shuffled = rows.copy()
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        other = f"{ROOT}/other-{night}"
        bring(put(store, "shuffled.parquet", shuffled), output=other)
        files = {entry.path for entry in read_snapshot(STORE, list_snapshots(STORE)[-1]).files}
        assert {entry.path for entry in read_snapshot(other, 1).files} == files


def night(store: FaultStore) -> None:
    """A store whose next import has something of everything: new, changed, gone, rejected, untouched."""
    put(store, "v.parquet", [Row(name, (1.0, float(n))) for n, name in enumerate("abcdef")])
    bring(f"{ROOT}/v.parquet")
    rows = [Row("a", (1.0, 0.0)), Row("b", (5.0, 5.0)), Row("c", None), Row("new", (1.0, 1.0)), Row("new", (1.0, 2.0))]
    put(store, "v.parquet", [*rows, Row("f", (1.0, 5.0)), Row("", (1.0, 1.0))])


def published(store: FaultStore) -> dict[str, bytes]:
    """What a reader sees."""
    parts = ("/snapshots/", "/files/", "/rejects/", "/store.json")
    return {url: data for url, (data, _) in store.objects.items() if any(part in url for part in parts)}


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("fresh", [False, True], ids=["second import", "first import"])
def test_a_fault_at_any_operation_changes_nothing_in_the_end(store: FaultStore, fault: Fault, fresh: bool) -> None:
    night(store)
    if fresh:
        store.objects = {url: value for url, value in store.objects.items() if not url.startswith(STORE)}
    begin = dict(store.objects)
    store.plan({})
    bring(f"{ROOT}/v.parquet")
    operations, expected = store.operations, published(store)
    assert operations > 10
    numbers = [url for url in expected if "/snapshots/" in url]
    struck = 0
    for number in range(operations + 2):
        store.objects = dict(begin)
        store.plan({number: fault})
        try:
            bring(f"{ROOT}/v.parquet")
        except Crash:
            struck += 1
            store.plan({})
            seen = published(store)
            for url in numbers:  # A snapshot is there as a whole, with all that it names, or not at all.
                assert seen.get(url) in (None, begin.get(url, (None,))[0], expected[url])
            if all(url in seen for url in numbers):
                assert expected.items() <= seen.items()
            store.plan({})
            bring(f"{ROOT}/v.parquet")
        assert published(store) == expected
    assert struck == (operations if fault in (Fault.CRASH_BEFORE, Fault.CRASH_AFTER) else 0)


def test_of_two_imports_at_once_one_is_told(store: FaultStore) -> None:
    night(store)
    store.plan({})
    begin = dict(store.objects)
    bring(f"{ROOT}/v.parquet")
    operations, told = store.operations, []
    for number in range(operations):
        store.objects = dict(begin)
        other = put(store, "w.parquet", [Row("a", (2.0, 2.0)), Row("z", (1.0, 1.0))])

        def meanwhile(other: str = other) -> None:
            bring(other)

        store.plan({}, {number: meanwhile})
        try:
            bring(f"{ROOT}/v.parquet")
        except CatalogIndexerError as error:
            told.append(str(error))
            assert stored() == {"a": ((2.0, 2.0), None), "z": ((1.0, 1.0), None)}
        store.plan({})
        assert list_snapshots(STORE) in ([1, 2], [1, 2, 3])
    assert told
    assert all("another run published snapshot 2" in sentence for sentence in told)
