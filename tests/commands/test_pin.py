from __future__ import annotations

from collections.abc import Callable

from tests.commands.conftest import Nights
from tests.conftest import Finished

Cli = Callable[..., Finished]


def test_a_version_is_pinned_and_lifted(nights: Nights, cli: Cli) -> None:
    flags = ("pin", *nights.flags, "--version", nights.first)
    pinned = cli(*flags, "--reason", "the audit", "--json")
    assert pinned.code == 0
    assert pinned.err.strip() == f"version {nights.first} is pinned: the audit"
    assert pinned.json["pins"][0]["reason"] == "the audit"
    again = cli(*flags, "--reason", "the summer")
    assert again.err.strip() == f"version {nights.first} is pinned: the audit; the summer"
    lifted = cli(*flags, "--remove", "--reason", "it is over", "--json")
    assert lifted.err.strip() == f"version {nights.first} is not pinned"
    assert (lifted.json["pins"], lifted.json["lifted"]["reason"]) == ([], "it is over")


def test_what_cannot_be_pinned_is_said(nights: Nights, cli: Cli) -> None:
    without = cli("pin", *nights.flags, "--version", nights.first)
    assert (without.code, "a pin needs a --reason" in without.err) == (2, True)
    nobody = cli("pin", *nights.flags, "--version", "v9", "--reason", "x")
    assert (nobody.code, "has no version 'v9'" in nobody.err) == (2, True)
    (nights.folder(nights.first) / "manifest.json").unlink()
    gone = cli("pin", *nights.flags, "--version", nights.first, "--reason", "x")
    assert (gone.code, "was collected, or is not whole" in gone.err) == (1, True)
