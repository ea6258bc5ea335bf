from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.embedding_store import StoreSettings, create, read_settings
from catalog.encoder_info import EncoderInfo
from catalog.errors import ConflictError, IntegrityError, UsageError
from catalog.run import PartitionResult, Run, RunPlan
from catalog.snapshot import (
    Counts,
    FileEntry,
    RejectsEntry,
    Snapshot,
    latest_of,
    latest_snapshot,
    read_snapshot,
    snapshot_url,
    write_snapshot,
)

ENCODER = EncoderInfo("tiny", "savedmodel:/m", 4, (8, 8), "cosine", True, "f" * 64)
FILE = FileEntry(3, "files/00003/abc.parquet", "a" * 64, 100, 5, ("x",))
SNAPSHOT = Snapshot(
    sequence=1,
    parent=None,
    lineage=1,
    run="r1",
    encoder=ENCODER,
    vector_type="float16",
    partitions=16,
    counts=Counts(6, 4, 0, 2, {"not_found": 2}, 1),
    files=(FILE,),
    rejects=(RejectsEntry(3, "rejects/r1/00003.parquet", "b" * 64, 2),),
)


def test_a_snapshot_is_read_as_it_was_written_and_the_newest_is_found(tmp_path: Path) -> None:
    store = str(tmp_path)
    assert latest_snapshot(store) is None
    write_snapshot(store, SNAPSHOT)
    second = replace(SNAPSHOT, sequence=2, parent=1)
    write_snapshot(store, second)
    assert read_snapshot(store, 1) == SNAPSHOT
    assert latest_snapshot(store) == second
    assert SNAPSHOT.vectors == 4


def test_of_two_runs_that_end_at_once_one_loses_and_a_retry_does_not(tmp_path: Path) -> None:
    write_snapshot(str(tmp_path), SNAPSHOT)
    write_snapshot(str(tmp_path), SNAPSHOT)
    with pytest.raises(ConflictError, match="another run published snapshot 1"):
        write_snapshot(str(tmp_path), replace(SNAPSHOT, run="r2"))
    assert read_snapshot(str(tmp_path), 1).run == "r1"


def test_a_missing_a_newer_and_a_damaged_snapshot_are_told_apart(tmp_path: Path) -> None:
    store = str(tmp_path)
    write_snapshot(store, SNAPSHOT)
    with pytest.raises(UsageError, match="has no snapshot 7; it has: 1"):
        read_snapshot(store, 7)
    path = Path(snapshot_url(store, 1))
    text = path.read_text()
    path.write_text(text.replace('"schema_version": 1', '"schema_version": 9'))
    with pytest.raises(UsageError, match="schema version 9; this version reads 1"):
        read_snapshot(store, 1)
    path.write_text(text[:-30])
    with pytest.raises(IntegrityError, match=r"000001\.json is damaged"):
        read_snapshot(store, 1)


def test_a_run_is_named_by_its_plan_and_by_nothing_else() -> None:
    plan = RunPlan("catalog", "f", "float16", 16, None, {"max_bytes": 1})
    assert plan.run_id == replace(plan).run_id
    others = [replace(plan, parent=1), replace(plan, catalog="other"), replace(plan, settings={"max_bytes": 2})]
    assert len({plan.run_id, *(other.run_id for other in others)}) == 4


def test_the_first_commit_of_a_partition_counts(tmp_path: Path) -> None:
    run = Run(str(tmp_path), "r1")
    assert run.read_commit(3) is None
    first = PartitionResult(3, (FILE,), None, Counts(1, 1, 0, 0), True)
    late = replace(first, counts=Counts(1, 0, 1, 0))
    assert run.commit(first) == first
    assert run.commit(late) == first
    assert run.read_commit(3) == first


def test_the_first_to_create_a_store_decides_its_settings(tmp_path: Path) -> None:
    settings = StoreSettings(16, "float16")
    assert create(str(tmp_path), settings) == settings
    assert create(str(tmp_path), replace(settings, partitions=64)) == settings


def test_the_newest_snapshot_of_an_encoder_is_found_behind_those_of_others(tmp_path: Path) -> None:
    store = str(tmp_path)
    other = replace(ENCODER, fingerprint="e" * 64)
    for sequence, encoder in ((1, ENCODER), (2, ENCODER), (3, other)):
        write_snapshot(store, replace(SNAPSHOT, sequence=sequence, encoder=encoder))
    found = latest_of(store, ENCODER.fingerprint)
    assert found is not None
    assert found.sequence == 2
    assert latest_of(store, "0" * 64) is None


def test_snapshots_and_commits_without_the_later_fields_are_still_read(tmp_path: Path) -> None:
    run = Run(str(tmp_path), "r1")
    run.commit(PartitionResult(3, (FILE,), None, Counts(1, 1, 0, 0), True))
    write_snapshot(str(tmp_path), SNAPSHOT)
    for path, gone in (
        (tmp_path / "snapshots" / "000001.json", ("lineage", "cost")),
        (tmp_path / "runs" / "r1" / "commits" / "00003.json", ("cost",)),
    ):
        value = json.loads(path.read_text())
        value["counts"].pop("stale")
        path.write_text(json.dumps({name: each for name, each in value.items() if name not in gone}))
    assert read_snapshot(str(tmp_path), 1) == SNAPSHOT
    assert run.read_commit(3) == PartitionResult(3, (FILE,), None, Counts(1, 1, 0, 0), True)


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"schema_version": 1}', '{"schema_version": 1, "partitions": 16}'])
def test_json_of_another_shape_is_damage_and_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "000001.json").write_text(text)
    (tmp_path / "store.json").write_text(text)
    (tmp_path / "runs" / "r" / "commits").mkdir(parents=True)
    (tmp_path / "runs" / "r" / "commits" / "00003.json").write_text(text)
    for read, name in (
        (lambda: read_snapshot(str(tmp_path), 1), "000001.json"),
        (lambda: read_settings(str(tmp_path)), "store.json"),
        (lambda: Run(str(tmp_path), "r").read_commit(3), "00003.json"),
    ):
        with pytest.raises(IntegrityError, match=f"{name} is damaged"):
            read()
