"""`kill -9` at every stage of a night, and the same command again: the same bytes are published as if nothing had
happened. And of two nights at once, one."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.channel import read_channel
from commands.main import main
from index_builder.evaluation.evaluation_files import TIMED_FILES
from index_builder.publishing.verify import find_version, verify
from tests.conftest import files_below
from tests.pipelines.nights import INDEX, start_night, write_catalog, write_config

# With a clock in them.
TIMED = ("manifest.json", *TIMED_FILES)


def published(night: Path) -> dict[str, bytes]:
    """Every file of every published version but those with a clock in them."""
    files = files_below(night / "artifacts" / "shop" / "versions")
    return {name: data for name, data in files.items() if not name.endswith(TIMED)}


def finish(night: Path) -> None:
    """A whole night, in this process, where everything is imported already."""
    assert main(["nightly", "--config", str(night / "nightly.yaml")]) == 0


def root(night: Path) -> str:
    return str(night / "artifacts" / "shop")


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`before`: what the first night left, the catalog having changed since. `undisturbed`: the second night on it."""
    folder = tmp_path_factory.mktemp("nights")
    write_catalog(folder, range(240))
    before = folder / "before"
    before.mkdir()
    write_config(before, "../catalog.csv", index=INDEX, lock={"lease": "10s"})
    finish(before)
    (folder / "pictures" / "31.png").write_bytes((folder / "pictures" / "32.png").read_bytes())
    write_catalog(folder, range(6, 260))
    shutil.copytree(before, folder / "undisturbed")
    finish(folder / "undisturbed")
    assert read_channel(root(folder / "undisturbed"), "prod").pointer != read_channel(root(before), "prod").pointer
    return folder


@pytest.fixture
def night(nights: Path, tmp_path: Path) -> Path:
    """The second night before it begins."""
    shutil.copytree(nights / "before", nights / tmp_path.name)
    return nights / tmp_path.name


def at(night: Path, pattern: str) -> Callable[[], bool]:
    """Whether a file is there that was not, or that is another one."""
    before = {path: path.read_bytes() for path in night.glob(pattern)}

    def is_new() -> bool:
        return any(path not in before or path.read_bytes() != before[path] for path in night.glob(pattern))

    return is_new


def wait_until(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.001)


@pytest.mark.parametrize(
    "moment",
    [
        "embeddings/runs/*/commits/*.json",  # in the middle of embed
        "embeddings/snapshots/*.json",  # between embed and index
        "artifacts/shop/work/*/sample/*.arrow",
        "artifacts/shop/work/*/training.json",
        "artifacts/shop/work/*/files/*.json",
        "artifacts/shop/versions/*/golden.npz",  # before the gates
        "artifacts/shop/versions/*/manifest.json",  # before a channel moves
        "artifacts/shop/channels/candidate.json",
        "artifacts/shop/channels/prod.json",  # before the report
        "reports/2*.json",
    ],
)
def test_a_night_that_is_killed_ends_in_the_same_bytes_when_it_is_run_again(
    nights: Path, night: Path, moment: str
) -> None:
    process = start_night(night / "nightly.yaml")
    wait_until(at(night, moment), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    verify(root(night), find_version(root(night)))  # Whatever was on its way, the channel points to a whole version.
    finish(night)
    assert published(night) == published(nights / "undisturbed")
    for channel in ("candidate", "prod"):
        pointer = find_version(root(night), channel)
        assert pointer.version == find_version(root(nights / "undisturbed"), channel).version
        verify(root(night), pointer)
    report = json.loads((night / "reports" / "latest.json").read_bytes())
    assert (report["outcome"], report["replaced"]) == ("done", find_version(root(nights / "before")).version)
    assert not list((night / "artifacts" / "shop" / "work").glob("*/*"))


def test_of_two_nights_at_once_one_wins_and_the_other_says_so(nights: Path, night: Path) -> None:
    processes = [start_night(night / "nightly.yaml") for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 4], said
    refused = said[[process.returncode for process in processes].index(4)].strip().splitlines()[-1]
    assert "catalog-indexer nightly: another run is under way, as " in refused
    assert f"process {next(each.pid for each in processes if each.returncode == 0)} on " in refused
    assert "since 20" in refused
    assert "its lease ends at 20" in refused
    assert published(night) == published(nights / "undisturbed")
    assert len(list((night / "reports").glob("2*.json"))) == 2  # Of the first night, and of the winner.


def test_a_night_that_is_told_to_end_gives_the_lock_back(night: Path) -> None:
    moments = ("embeddings/runs/*/plan.json", "artifacts/shop/work/*/sample/*.arrow")
    for number, moment in zip((signal.SIGTERM, signal.SIGINT), moments, strict=True):
        process = start_night(night / "nightly.yaml")
        wait_until(at(night, moment), process)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 1
        assert f"{number.name}: interrupted; the same command goes on from here" in said
        assert json.loads((night / "artifacts/shop/locks/nightly.json").read_bytes())["released"] is True


def test_a_night_whose_machine_stood_still_finds_that_another_took_over_and_stops(nights: Path, night: Path) -> None:
    process = start_night(night / "nightly.yaml")
    wait_until(at(night, "artifacts/shop/work/*/training.json"), process)
    process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    early = start_night(night / "nightly.yaml")
    assert early.wait(60) == 4
    time.sleep(max(0, 11 - (time.monotonic() - stopped)))
    finish(night)
    channel = read_channel(root(night), "prod")
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 4, said
    assert "did not renew its lease" in said
    assert read_channel(root(night), "prod") == channel
    assert published(night) == published(nights / "undisturbed")
    assert json.loads((night / "artifacts/shop/locks/nightly.json").read_bytes())["released"] is True
