from __future__ import annotations

import csv
import os
import threading
from collections.abc import Callable
from pathlib import Path

from tests.commands.conftest import Nights
from tests.conftest import Finished

Cli = Callable[..., Finished]

CAME = {("added", f"item-{number:05d}") for number in range(2_500, 2_520)}
WENT = {("removed", f"item-{number:05d}") for number in range(10)}
CHANGED = {("changed", f"item-{number:05d}") for number in range(100, 105)}


def test_two_nights_differ_by_what_came_went_and_changed(nights: Nights, cli: Cli, tmp_path: Path) -> None:
    told = cli("diff", nights.first, nights.second, *nights.flags, "--items", tmp_path / "items.csv", "--json")
    assert told.code == 0, told.err
    found = told.json
    assert (found["before"], found["after"], found["codebook"]) == (nights.first, nights.second, "kept")
    items = found["items"]
    assert (items["added"], items["removed"], items["both"], items["changed"]) == (20, 10, 2_490, 5)
    assert found["counts"]["vectors"] == {"before": 2_500, "after": 2_510, "same": False}
    assert found["counts"]["removed"] == {"before": 0, "after": 10, "same": False}
    assert found["metrics"]["recall@10"]["before"] > 0.5
    assert len(found["metrics"]["recall@10 interval"]["after"]) == 2
    assert found["settings"]["factory"]["same"]
    assert found["settings"]["labels"] == {"before": {"season": "spring"}, "after": {"season": "summer"}, "same": False}
    assert found["settings"]["training decision"] == {"before": "trained", "after": "kept", "same": False}
    assert found["settings"]["encoder fingerprint"]["same"]
    assert found["settings"]["library faiss"]["same"]
    assert found["gates"]["overlap"] == {"before": "passed", "after": "passed", "same": True}
    with (tmp_path / "items.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["change", "item_id"]
    assert sorted(map(tuple, rows[1:])) == sorted(CAME | WENT | CHANGED)


def test_channels_stand_for_versions_and_only_what_differs_is_shown(nights: Nights, cli: Cli) -> None:
    told = cli("diff", nights.first, "prod", *nights.flags)
    assert told.code == 0
    assert "items: 20 added, 10 removed, 2,490 in both, 5 of them changed" in told.out
    lines = {line.split()[0]: line for line in told.out.splitlines() if line}
    assert lines["vectors"].split() == ["vectors", "2,500", "2,510", "+10"]
    assert lines["labels"].split() == ["labels", "season", "spring", "season", "summer"]
    assert "encoder name" not in told.out
    assert "gates: the same" in told.out
    everything = cli("diff", nights.first, "prod", *nights.flags, "--all").out
    assert "encoder name" in everything
    assert "overlap" in everything
    same = cli("diff", "prod", "candidate", *nights.flags)
    assert [f"{part}: the same" in same.out for part in ("counts", "metrics", "settings", "gates")] == [True] * 4
    assert "items: 0 added, 0 removed, 2,510 in both, 0 of them changed" in same.out


def test_manifests_only_reads_no_items(nights: Nights, cli: Cli) -> None:
    (nights.folder(nights.second) / "items.arrow").unlink()
    told = cli("diff", nights.first, "prod", *nights.flags, "--manifests-only", "--json")
    assert (told.code, told.json["items"]) == (0, None)
    assert cli("diff", nights.first, "prod", *nights.flags).code == 1
    both = cli("diff", nights.first, "prod", *nights.flags, "--manifests-only", "--items", "x.csv")
    assert (both.code, "leave --manifests-only out" in both.err) == (2, True)


def test_a_file_of_items_is_written_whole_or_left_as_it_was(nights: Nights, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("of last week")
    before = sorted(tmp_path.iterdir())
    vectors = nights.folder(nights.second) / "vectors.npy"
    data = vectors.read_bytes()
    vectors.write_bytes(data[:-4] + b"four")
    for versions, code in (((nights.first, "canary"), 2), ((nights.first, nights.second), 1)):
        assert cli("diff", *versions, *nights.flags, "--items", path).code == code
        assert path.read_text() == "of last week"
        assert sorted(tmp_path.iterdir()) == before
    vectors.write_bytes(data)
    (tmp_path / "link.csv").symlink_to(path)
    assert cli("diff", nights.first, nights.second, *nights.flags, "--items", tmp_path / "link.csv").code == 0
    assert len(path.read_text().splitlines()) == 1 + len(CAME | WENT | CHANGED)
    assert (tmp_path / "link.csv").is_symlink()
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "link.csv"])
    nowhere = cli("diff", nights.first, nights.second, *nights.flags, "--items", tmp_path / "no" / "items.csv")
    assert (nowhere.code, f"there is no folder {tmp_path}/no" in nowhere.err) == (2, True)


def test_items_can_be_written_to_a_pipe(nights: Nights, cli: Cli, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.extend(pipe.read_text().splitlines()))
    reader.start()
    assert cli("diff", nights.first, nights.second, *nights.flags, "--items", pipe).code == 0
    reader.join(timeout=10)
    assert len(read) == 1 + len(CAME | WENT | CHANGED)


def test_what_is_neither_a_version_nor_a_channel_is_said(nights: Nights, cli: Cli) -> None:
    told = cli("diff", nights.first, "canary", *nights.flags)
    assert told.code == 2
    assert "has no version 'canary'; its versions are: " in told.err
    assert "its channels are: candidate, prod" in told.err
