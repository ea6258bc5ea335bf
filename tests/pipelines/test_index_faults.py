"""A build that is killed anywhere goes on, does at most one unit of work again, and ends in the same bytes."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest

from catalog import storage
from catalog.channel import Pointer, read_channel
from catalog.errors import CatalogIndexerError
from catalog.import_vectors import ImportConfig, import_vectors
from catalog.manifest import Manifest, manifest_url
from catalog.snapshot import read_snapshot
from catalog.storage.retry import Retrier, RetryPolicy
from catalog.vector_source import VectorInput
from index_builder import work
from index_builder.evaluation import evaluation_files
from index_builder.evaluation.evaluation_files import TIMED_FILES
from index_builder.evaluation.timings import Timings
from index_builder.planning.index_plan import IndexPlan
from index_builder.publishing.promote import Request, promote, settle
from index_builder.publishing.publish import log_published
from index_builder.publishing.verify import read_published, verify
from index_builder.stages.finishing import finish
from index_builder.version_job import VersionJob, version_id
from pipelines.index_steps import plan_stages
from tests.catalog.fault_store import Crash, Fault, FaultStore
from tests.index_builder.vectors import clustered

STORE, ROOT = "memory://shop/embeddings", "memory://shop/artifacts/shop"
PLAN = IndexPlan(
    family="ivf_pq",
    factory="OPQ2_8,IVF8,PQ2",
    metric="cosine",
    dimension=8,
    rotation="opq",
    rotated=8,
    lists=8,
    code="pq8",
    code_bytes=2,
    subquantizers=2,
    training_rows=600,
    refine=True,
    parts=2,
)


# One operation of so many is struck; the first of them is another one in each build.
_EVERY = 8


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> FaultStore:
    found = FaultStore()
    found.immutable = ("/snapshots/", "/embeddings/files/", "/versions/", "/log/", "/codes/", "/codebooks/")
    monkeypatch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=3), sleep=lambda _: None))
    # Small units, so that there are several of each stage.
    monkeypatch.setattr(work, "_STRETCH_ROWS", 300)
    monkeypatch.setattr(work, "SHARD_ROWS", 400)
    monkeypatch.setattr(evaluation_files, "measure_timings", lambda *given: Timings(0, []))
    monkeypatch.setattr(evaluation_files, "draw_recall", lambda *given: b"<svg/>")
    source = f"{tmp_path}/vectors.npy"
    np.save(source, clustered(800, 8))
    _import(source, found, monkeypatch)
    return found


def _import(source: str, found: FaultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors come from a file, and go into the store."""
    real = storage._store

    def choose(url: str) -> object:
        return found if url.startswith("memory:") else real("file")

    monkeypatch.setattr(storage, "store_for", choose)
    import_vectors(ImportConfig(VectorInput((source,)), STORE, "cosine", partitions=4))


def job() -> VersionJob:
    snapshot = read_snapshot(STORE, 1)
    made = VersionJob(ROOT, "shop", STORE, snapshot.encoder.fingerprint, 1, PLAN, "prod", queries=40, memory=20_000)
    return replace(made, version=version_id(made, snapshot))


def build(job: VersionJob) -> None:
    """The job without Beam: every unit of every stage in its turn."""
    snapshot = read_snapshot(STORE, 1)
    if storage.exists(manifest_url(job.root, job.version)):
        finish(job, snapshot, {})
        promote(job.root, log_published(job.root, job.version), Request("prod", job.thresholds))
        return
    for stage, units in plan_stages(job, snapshot):
        steps = stage(job)
        steps.setup()
        for unit in units:
            list(steps.process(unit))
    finish(job, snapshot, {})
    pointer = log_published(job.root, job.version)
    settle(job.root, read_published(job.root, pointer), pointer, Request("prod"))


def published(store: FaultStore) -> dict[str, bytes]:
    """Every file of the published version but those with a clock in them."""
    timed = ("manifest.json", *TIMED_FILES)
    return {url: data for url, (data, _) in store.objects.items() if "/versions/" in url and not url.endswith(timed)}


def unit_of(url: str) -> str:
    """The unit of work that writes an object."""
    for stage, pattern in (
        ("sample", r"/work/.*/sample/(\d+)"),
        ("train", r"/(?:queries|metadata|training)\.(?:arrow|json)$|/codebooks/"),
        ("encode", r"/truth/|/codes/"),
        ("merge", r"/runs/(.+)"),
        ("assemble", r"/(?:index|items|vectors)\.part-(\d+)"),
        ("finish", r"/(?:evaluation|timings|golden|recall|answers|source|manifest)\.|/log/|/channels/"),
    ):
        if re.search(pattern, url):
            found = re.search(pattern, url)
            assert found is not None
            return f"{stage} {found.groups()[-1] if found.groups() and stage != 'train' else ''}"
    raise AssertionError(url)


def watched(store: FaultStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The objects that are written from now on, in order."""
    written: list[str] = []
    real = FaultStore._put
    monkeypatch.setattr(FaultStore, "_put", lambda self, url, data: (written.append(url), real(self, url, data))[1])
    return written


@dataclass(frozen=True)
class Undisturbed:
    """A build that nothing hinders: what was there before, what it published, how many operations it asked of its
    store, and which of them changed something."""

    store: FaultStore
    before: dict[str, tuple[bytes, int]]
    published: dict[str, bytes]
    operations: int
    changes: list[int]


@pytest.fixture
def undisturbed(store: FaultStore) -> Undisturbed:
    before = dict(store.objects)
    store.plan({})
    build(job())
    return Undisturbed(store, before, published(store), store.operations, list(store.changes))


def test_a_build_killed_after_any_change_of_its_store_does_one_unit_again_and_ends_in_the_same_bytes(
    undisturbed: Undisturbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill leaves is what the last change before it left, so these are all the states there are."""
    store, wanted = undisturbed.store, undisturbed.published
    assert len(undisturbed.changes) > 40
    written = watched(store, monkeypatch)
    for number in undisturbed.changes:
        store.objects = dict(undisturbed.before)
        store.plan({number: Fault.CRASH_AFTER})
        written.clear()
        with pytest.raises(Crash):
            build(job())
        first = list(written)
        _nobody_sees_half_a_version(store)
        store.plan({})
        written.clear()
        build(job())
        again = {unit_of(url) for url in written if url in first}
        assert len(again) <= 1, (number, again)
        assert published(store) == wanted, number
        assert not any("/work/" in url for url in store.objects), number
        assert verify(ROOT, _served()).version == job().version


def _served() -> Pointer:
    pointer = read_channel(ROOT, "prod").pointer
    assert pointer is not None
    return pointer


def _nobody_sees_half_a_version(store: FaultStore) -> None:
    store.plan({})
    pointer = read_channel(ROOT, "prod").pointer
    if pointer is not None:
        verify(ROOT, pointer)


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.REFUSED])
def test_lost_answers_and_refusals_everywhere_change_nothing(undisturbed: Undisturbed, fault: Fault) -> None:
    store = undisturbed.store
    for first in range(_EVERY):
        store.objects = dict(undisturbed.before)
        struck = dict.fromkeys(range(first, 2 * undisturbed.operations, _EVERY), fault)
        store.plan(struck)
        build(job())
        assert len(struck) < 2 * undisturbed.operations // _EVERY  # It has come to some, and they are taken out.
        assert published(store) == undisturbed.published, first


def test_two_builders_at_once_publish_one_version(undisturbed: Undisturbed) -> None:
    store = undisturbed.store
    for number in range(0, undisturbed.operations, 17):
        store.objects = dict(undisturbed.before)
        store.plan({}, {number: lambda: build(job())})
        # Where the other one is faster, it has cleared the work away; the job itself looks whether it has published.
        with contextlib.suppress(CatalogIndexerError, FileNotFoundError):
            build(job())
        store.plan({})
        assert published(store) == undisturbed.published, number
        logs = [url for url in store.objects if "/log/" in url]
        assert len(logs) == 1
        manifest = Manifest.from_bytes(store.objects[manifest_url(ROOT, job().version)][0], "manifest")
        assert manifest.vectors == 800
