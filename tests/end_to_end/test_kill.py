"""`kill -9` at a random moment, ten times, and the same command again: the same snapshot as if nothing had happened."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Catalog, Finished, draw_catalog, files_below, snapshots_of, start_cli


def embed(catalog: Catalog, output: Path) -> tuple[object, ...]:
    return ("embed", "--catalog", catalog.csv, "--output", output, "--partitions", 64)


Outcome = tuple[dict[str, dict], dict[str, bytes]]


def outcome(store: Path) -> Outcome:
    """What readers see: the snapshot, and the files that it names."""
    return snapshots_of(store), files_below(store / "files")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Outcome, float]:
    """A catalog, what embedding it undisturbed gives, and the seconds from start to end."""
    folder = tmp_path_factory.mktemp("kill")
    catalog = draw_catalog(folder / "catalog", 600)
    (catalog.csv.parent / "pictures" / "5.png").write_bytes(b"broken")
    started = time.monotonic()
    process = start_cli(*embed(catalog, folder / "undisturbed"))
    assert process.wait(120) == 0
    return catalog, outcome(folder / "undisturbed"), time.monotonic() - started


def test_ten_kills_at_random_moments_change_nothing_in_the_end(
    undisturbed: tuple[Catalog, Outcome, float], tmp_path: Path, cli: Callable[..., Finished]
) -> None:
    """The run that goes on is in this process, where everything is imported already; the next test starts one."""
    catalog, expected, seconds = undisturbed
    rng = random.Random(20261121)
    store, killed, committed = tmp_path / "killed", 0, []
    for attempt in range(10):
        # Each attempt in a store of its own; every other one is let come as far as its first commit.
        store = tmp_path / f"killed-{attempt}"
        process = start_cli(*embed(catalog, store))
        if attempt % 2:
            _wait_for_a_commit(store, seconds + 60)
            time.sleep(rng.uniform(0, 0.3 * seconds))
        else:
            time.sleep(rng.uniform(0, seconds))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        commits = len(list(store.glob("runs/*/commits/*.json")))
        committed.append(commits)
        again = cli(*embed(catalog, store))
        assert again.code == 0, again.err
        assert outcome(store) == expected
    assert killed >= 5
    assert any(0 < commits < 64 for commits in committed), committed


def test_a_store_that_was_killed_ten_times_over_is_finished_by_the_eleventh_run(
    undisturbed: tuple[Catalog, Outcome, float], tmp_path: Path
) -> None:
    catalog, expected, seconds = undisturbed
    store, before = tmp_path / "killed", 0
    for _ in range(10):
        process = start_cli(*embed(catalog, store))
        deadline = time.monotonic() + seconds + 60
        while process.poll() is None and len(list(store.glob("runs/*/commits/*.json"))) < min(before + 5, 64):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = len(list(store.glob("runs/*/commits/*.json")))
        assert now >= before  # No commit is undone, and each run goes on from the last.
        before = now
    finish = start_cli(*embed(catalog, store), "--json")
    _, err = finish.communicate(timeout=120)
    assert finish.returncode == 0, err
    assert outcome(store) == expected


def test_an_interrupted_job_ends_at_once_and_goes_on_from_there(
    undisturbed: tuple[Catalog, Outcome, float], tmp_path: Path
) -> None:
    catalog, expected, seconds = undisturbed
    process = start_cli(*embed(catalog, tmp_path / "e"))
    _wait_for_a_commit(tmp_path / "e", seconds + 60)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "catalog-indexer embed: interrupted; the same command goes on from here" in said
    assert "Traceback" not in said
    again = start_cli(*embed(catalog, tmp_path / "e"))
    assert again.wait(120) == 0
    assert outcome(tmp_path / "e") == expected


def _wait_for_a_commit(store: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not list(store.glob("runs/*/commits/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
