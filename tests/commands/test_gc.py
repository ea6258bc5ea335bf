from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.conftest import Nights
from tests.conftest import Finished, files_below

Cli = Callable[..., Finished]


@pytest.fixture
def unneeded(nights: Nights) -> Nights:
    """The first version is on no channel any more, and none goes back to it."""
    shutil.rmtree(nights.root / "channels")
    return nights


def wait_for_the_grace(nights: Nights) -> None:
    path = nights.root / "collection.json"
    body = json.loads(path.read_text())
    for mark in body["marks"].values():
        mark["since"] = "2026-01-01T00:00:00+00:00"
    path.write_text(json.dumps(body))


def test_what_is_needed_is_told_with_its_reasons_and_nothing_is_deleted(nights: Nights, cli: Cli) -> None:
    cli("pin", *nights.flags, "--version", nights.first, "--reason", "the audit")
    before = files_below(nights.root)
    told = cli("gc", *nights.flags, "--keep", 1)
    assert told.code == 0
    lines = {line.split()[0]: line for line in told.out.splitlines()}
    assert "stays: rollback of candidate; rollback of prod; pin: the audit; young" in lines[f"versions/{nights.first}"]
    assert "stays: channel candidate; channel prod; newest 1; young" in lines[f"versions/{nights.second}"]
    assert told.err.strip() == "nothing to collect"
    assert files_below(nights.root) == before


def test_a_version_is_marked_and_deleted_after_its_grace(unneeded: Nights, cli: Cli) -> None:
    flags = ("gc", *unneeded.flags, "--keep", 1, "--young", "0s", "--grace", "1h")
    before = files_below(unneeded.root)
    dry = cli(*flags)
    assert "would be marked, until 2" in dry.out
    assert "nothing was changed; --delete marks, and deletes what was marked a grace ago" in dry.err
    assert files_below(unneeded.root) == before
    marked = cli(*flags, "--delete")
    assert "is marked now, until 2" in marked.out
    assert "2 marked now" in marked.err  # Codes of files that the second version has folded into others, too.
    assert files_below(unneeded.root).keys() - before.keys() == {"collection.json"}
    wait_for_the_grace(unneeded)
    assert "would be deleted" in cli(*flags).out
    deleted = cli(*flags, "--delete", "--json").json
    things = {each["path"]: each for each in deleted["things"]}
    gone = things[f"versions/{unneeded.first}"]
    size = sum(len(data) for name, data in before.items() if name.startswith(f"versions/{unneeded.first}/"))
    assert (gone["step"], gone["bytes"], deleted["bytes"]["deleted"] >= size) == ("deleted", size, True)
    assert things[f"versions/{unneeded.second}"]["why"] == ["newest 1"]
    assert not unneeded.folder(unneeded.first).exists()
    # The codebook is the second version's too, and all of its codes.
    assert cli("verify", *unneeded.flags, "--version", unneeded.second, "--deep").code == 0
    codes = {name for name in before if name.startswith("codes/")}
    assert codes - files_below(unneeded.root).keys() != codes


def test_times_are_given_with_their_units(nights: Nights, cli: Cli) -> None:
    wrong = cli("gc", *nights.flags, "--keep", 1, "--grace", "soon")
    assert (wrong.code, "'soon' is not a time such as 90s, 30min, 24h or 7d" in wrong.err) == (2, True)
    short = cli("gc", *nights.flags, "--keep", 1, "--grace", "30min")
    assert (short.code, "--grace is 30min; at least 1h" in short.err) == (2, True)
    soon = cli("gc", *nights.flags, "--keep", 1, "--abandoned", "90min")
    assert (soon.code, "--abandoned is 90min; at least 24h" in soon.err) == (2, True)
    assert cli("gc", *nights.flags).code == 2
    assert "0 is less than 1" in cli("gc", *nights.flags, "--keep", 0).err


def test_a_damaged_version_is_told_and_kept(nights: Nights, cli: Cli) -> None:
    (nights.folder(nights.first) / "manifest.json").write_text("{}")
    told = cli("gc", *nights.flags, "--keep", 1, "--young", "0s", "--delete")
    assert told.code == 0
    assert "manifest.json is damaged" in told.out
    assert nights.folder(nights.first).exists()


def test_an_artifact_that_is_not_there_is_told(cli: Cli, tmp_path: Path) -> None:
    told = cli("gc", "--artifacts", tmp_path, "--name", "shop", "--keep", 1, "--delete")
    assert (told.code, told.out) == (2, "")
    assert f"{tmp_path}/shop: nothing is published there" in told.err
    assert list(tmp_path.iterdir()) == []


def test_what_a_first_build_has_left_is_collected(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "shop" / "work" / "000001-0123456789").mkdir(parents=True)
    (tmp_path / "shop" / "work" / "000001-0123456789" / "queries.arrow").write_bytes(b"work")
    told = cli("gc", "--artifacts", tmp_path, "--name", "shop", "--keep", 1)
    assert (told.code, told.out.split()[4]) == (0, "work/000001-0123456789")
