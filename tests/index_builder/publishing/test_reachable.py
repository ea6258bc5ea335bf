from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.channel import Channel, Pointer
from catalog.errors import UsageError
from catalog.manifest import Manifest
from index_builder.publishing.holdings import Holdings
from index_builder.publishing.pins import Pin, Pins
from index_builder.publishing.reachable import DAY, HOUR, Retention, reasons_to_keep, seconds_since
from tests.index_builder.publishing.made_versions import ENCODER

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
KEEP_ONE = Retention(keep=1)
NOTHING = Manifest("v", "shop", "2026-01-01T00:00:00+00:00", ENCODER, "l2", 1, {}, None, {}, {}, {}, {}, {})


def pointer(version: str) -> Pointer:
    return Pointer(version, "0" * 64, int(version[1:]))


def holdings(count: int, **changed: Any) -> Holdings:
    """v1 to v<count>, old, that nobody needs."""
    names = [f"v{number}" for number in range(1, count + 1)]
    whole = {name: replace(NOTHING, version=name) for name in names}
    return replace(Holdings([pointer(name) for name in names], whole, {}, [], {}, {}, {}), **changed)


def kept(held: Holdings, retention: Retention = KEEP_ONE, deleting: Sequence[str] = ()) -> dict[str, list[str]]:
    return {name: found for name, found in reasons_to_keep(held, retention, NOW, deleting).items() if found}


def test_the_newest_versions_stay_and_a_version_counts_where_it_is_last_in_the_log() -> None:
    assert kept(holdings(3)) == {"v3": ["newest 1"]}
    again = holdings(3)
    again.log.append(pointer("v1"))
    assert set(kept(again, Retention(keep=2))) == {"v3", "v1"}
    gone = holdings(3)
    del gone.whole["v3"]
    assert kept(gone) == {"v2": ["newest 1"]}


def test_what_a_channel_points_to_and_what_it_goes_back_to_first_stay() -> None:
    prod = Channel("prod", pointer("v2"), (pointer("v1"), pointer("v3")))
    assert kept(holdings(5, channels=[prod, Channel("new")])) == {
        "v1": ["rollback of prod"],
        "v2": ["channel prod"],
        "v5": ["newest 1"],
    }


def test_pins_stay_until_they_are_lifted() -> None:
    held = holdings(4)
    held.whole["v1"] = replace(NOTHING, version="v1", pins=["the audit"])
    held.whole["v2"] = replace(NOTHING, version="v2", pins=["the audit"])
    held.pins["v2"] = Pins((), Pin("over", "me", "2026-02-01T00:00:00+00:00"))
    held.pins["v3"] = Pins((Pin("the summer", "me", "2026-02-01T00:00:00+00:00"),))
    assert kept(held) == {"v1": ["pin: the audit"], "v3": ["pin: the summer"], "v4": ["newest 1"]}


@pytest.mark.parametrize(
    ("created_at", "why"),
    [
        ("2026-02-28T00:00:01+00:00", ["young"]),
        ("2026-02-28T01:00:00+02:00", []),
        ("2026-04-01T00:00:00+00:00", ["young"]),  # Of a clock that is ahead.
        ("2026-01-01T00:00:00", ["of unknown age"]),
        ("some day", ["of unknown age"]),
    ],
)
def test_young_versions_stay_and_those_that_do_not_say_when_they_were_made(created_at: str, why: list[str]) -> None:
    held = holdings(2)
    held.whole["v1"] = replace(NOTHING, version="v1", created_at=created_at)
    assert kept(held).get("v1", []) == why


def test_a_damaged_version_stays_and_so_does_all_that_it_may_need() -> None:
    held = holdings(5, damaged={"v3": "its sha256 is not the published one"})
    del held.whole["v3"]
    assert kept(held) == {
        "v1": ["older than v3, which is damaged and may need it"],
        "v2": ["older than v3, which is damaged and may need it"],
        "v3": ["damaged: its sha256 is not the published one"],
        "v5": ["newest 1"],
    }


def test_of_what_is_being_deleted_only_a_need_counts() -> None:
    held = holdings(3)
    held.whole["v3"] = replace(NOTHING, version="v3", created_at=NOW.isoformat())
    assert kept(held, deleting=["v3"]) == {"v2": ["newest 1"]}
    held.channels.append(Channel("prod", pointer("v3")))
    assert kept(held, deleting=["v3"]) == {"v2": ["newest 1"], "v3": ["channel prod"]}


@given(st.lists(st.sets(st.integers(1, 12), max_size=3), min_size=12, max_size=12))
def test_all_that_the_newest_version_needs_stays(needs: list[set[int]]) -> None:
    held = holdings(12)
    for number, wanted in enumerate(needs, 1):
        held.whole[f"v{number}"] = replace(NOTHING, version=f"v{number}", needs=tuple(f"v{each}" for each in wanted))
    reached = {12}
    for _ in needs:
        reached |= {each for number in reached for each in needs[number - 1]}
    found = kept(held)
    assert set(found) == {f"v{number}" for number in reached}
    for number in reached:
        by = [f"needed by v{each}" for each in sorted(reached, key=str) if number in needs[each - 1]]
        assert [why for why in found[f"v{number}"] if why.startswith("needed")] == by


def test_a_retention_that_races_is_refused() -> None:
    with pytest.raises(UsageError, match="--keep 0 would leave nothing"):
        Retention(keep=0)
    for grace, told in ((600.0, "10min"), (HOUR - 1, "3599s"), (0.5, "0.5s"), (0.0, "0s")):
        with pytest.raises(UsageError, match=rf"^--grace is {told}; at least 1h, "):
            Retention(keep=1, grace=grace)
    for abandoned, told in ((23 * HOUR, "23h"), (0.0, "0s")):
        with pytest.raises(UsageError, match=rf"^--abandoned is {told}; at least 24h, "):
            Retention(keep=1, abandoned=abandoned)
    assert Retention(keep=1, grace=HOUR, abandoned=DAY).young == DAY
    assert Retention(keep=1, young=0).grace == DAY


def test_ages_are_counted_over_time_zones() -> None:
    assert seconds_since("2026-03-01T01:00:00+02:00", NOW) == HOUR
    assert seconds_since("", NOW) is None
