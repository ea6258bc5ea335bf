"""Prism, Beam's other local runner: a program of its own, to which this process is the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.snapshot import latest_snapshot
from tests.conftest import REPOSITORY, Finished, absent, files_below, snapshots_of, start_cli

# What carries a clock, or the seconds that something took.
CLOCKS = {"manifest.json", "timings.json", "recall.svg"}


@pytest.fixture(scope="module")
def prism() -> tuple[str, ...]:
    """The flags of a job on Prism."""
    program = REPOSITORY / ".tools" / "bin" / "prism"
    if not program.exists():
        absent("prism (see `make engines`)")
    return ("--", "--runner=PrismRunner", f"--prism_location={program}")


def ran(*arguments: object) -> Finished:
    """A command in a process of its own: Prism ends with it."""
    process = start_cli(*arguments)
    out, err = process.communicate(timeout=200)
    return Finished(process.returncode, out, err)


def versions_of(artifacts: Path) -> dict[str, bytes]:
    found = files_below(artifacts / "shop" / "versions")
    return {name: data for name, data in found.items() if Path(name).name not in CLOCKS}


def test_a_snapshot_and_an_index_of_prism_are_byte_for_byte_those_of_the_local_runner(
    make_catalog: Any, tmp_path: Path, prism: tuple[str, ...]
) -> None:
    catalog = make_catalog(120)
    (catalog.csv.parent / "pictures" / "7.png").unlink()
    for name, flags in (("local", ()), ("prism", prism)):
        store, artifacts = tmp_path / name / "e", tmp_path / name / "a"
        embedded = ran("embed", "--catalog", catalog.csv, "--output", store, "--partitions", 4, *flags)
        assert embedded.code == 0, embedded.err
        assert "119 embedded" in embedded.err
        indexed = ran(
            *("index", "--embeddings", store, "--artifacts", artifacts, "--name", "shop", "--queries", 40),
            *("--factory", "IVF3,SQ8", "--recall-floor", 0, *flags),
        )
        assert indexed.code == 0, indexed.err
        # Nothing of how Prism is started, and of what it does.
        assert ("engine local: --prism_log_level=warn" in indexed.err) is (name == "prism")
        assert not {"WARNING", "INFO", "ERROR"} & set(indexed.err.split())
    local, other = tmp_path / "local", tmp_path / "prism"
    assert files_below(local / "e" / "files") == files_below(other / "e" / "files")
    assert snapshots_of(local / "e") == snapshots_of(other / "e")
    assert versions_of(local / "a") == versions_of(other / "a") != {}


def test_what_a_worker_of_prism_says_to_the_user_arrives_as_one_sentence(
    make_catalog: Any, tmp_path: Path, prism: tuple[str, ...]
) -> None:
    catalog, store = make_catalog(12), tmp_path / "e"
    assert ran("embed", "--catalog", catalog.csv, "--output", store, "--partitions", 1).code == 0
    snapshot = latest_snapshot(str(store))
    assert snapshot is not None
    damaged = store / snapshot.files[0].path
    data = bytearray(damaged.read_bytes())
    data[200] ^= 0xFF
    damaged.write_bytes(bytes(data))
    stores = ("--embeddings", store, "--artifacts", tmp_path / "a", "--name", "shop")
    failed = ran("index", *stores, *prism)
    assert failed.code == 1
    assert failed.err.splitlines()[-1].startswith(f"catalog-indexer index: {damaged} is damaged: ")
    assert "Traceback" not in failed.err
    told = ran("index", "--debug", *stores, *prism)
    assert "Traceback" in told.err
