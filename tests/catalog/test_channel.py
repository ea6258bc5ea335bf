from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import canonical_json, storage
from catalog.channel import Channel, Pointer, channel_names, channel_url, read_channel, write_channel
from catalog.errors import ConflictError, IntegrityError, UsageError
from tests.catalog.test_manifest import valid


def pointer(number: int) -> Pointer:
    return Pointer(f"v{number}", f"{number:064x}", number)


def promoted(*numbers: int) -> Channel:
    channel = Channel("prod")
    for number in numbers:
        channel = channel.promoted(pointer(number), {})
    return channel


def test_a_channel_is_read_as_it_was_written_and_fits_its_schema(tmp_path: Path) -> None:
    root = str(tmp_path)
    written = promoted(1, 2).promoted(pointer(3), {"overlap": "a new season"}).rolled_back(None, "wrong prices")
    write_channel(root, written)
    there = read_channel(root, "prod")
    assert there == written
    assert there.token is not None
    assert channel_names(root) == ["prod"]
    valid(json.loads((tmp_path / "channels" / "prod.json").read_bytes()), "channel.v2")
    assert read_channel(root, "canary") == Channel("canary")


def test_a_pointer_of_schema_version_1_is_read_and_can_be_promoted_from() -> None:
    old = canonical_json.dump({"schema_version": 1, **pointer(4).to_json()})
    channel = Channel.from_bytes("prod", old, "t", "prod.json")
    assert channel == Channel("prod", pointer(4))
    assert channel.promoted(pointer(5), {}).earlier == (pointer(4),)


def test_rollback_goes_back_version_by_version_and_never_to_one_that_was_taken_back() -> None:
    channel = promoted(1, 2, 3)
    channel = channel.rolled_back(None, "bad")
    assert channel.pointer == pointer(2)
    channel = channel.promoted(pointer(4), {})
    assert [each.version for each in channel.earlier] == ["v2", "v1"]
    channel = channel.rolled_back(None, "").rolled_back(None, "")
    assert channel.pointer == pointer(1)
    with pytest.raises(UsageError, match="channel prod has no earlier version to go back to"):
        channel.rolled_back(None, "")


def test_rollback_to_a_named_version_leaves_out_those_in_between() -> None:
    channel = promoted(1, 2, 3, 4)
    with pytest.raises(UsageError, match="cannot go back to 'v9'; it can go back to: v3, v2, v1; any other version"):
        channel.rolled_back("v9", "")
    back = channel.rolled_back("v2", "slow")
    assert (back.pointer, back.earlier) == (pointer(2), (pointer(1),))
    assert (back.moves[-1].action, back.moves[-1].came_from, back.moves[-1].reason) == ("rollback", "v4", "slow")


def test_a_version_that_was_taken_back_is_remembered_until_it_is_promoted_again() -> None:
    channel = promoted(1, 2).rolled_back(None, "bad")
    move = channel.taken_back("v2")
    assert move is not None
    assert move.reason == "bad"
    assert channel.taken_back("v1") is None
    assert channel.promoted(pointer(2), {"rolled_back": "it was not the version"}).taken_back("v2") is None


def test_only_so_much_history_is_kept_however_long_a_channel_lives() -> None:
    channel = promoted(*range(1, 200))
    assert len(channel.earlier) == 20
    assert len(channel.moves) == 50
    assert len(channel.to_bytes()) < 32_000


@given(st.data())
def test_one_flipped_bit_anywhere_in_a_channel_is_found(data: st.DataObject) -> None:
    whole = promoted(1, 2, 3).rolled_back(None, "bad").to_bytes()
    place = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << place % 8
    try:
        read = Channel.from_bytes("prod", bytes(flipped), None, "prod.json")
    except (IntegrityError, UsageError):
        return
    # White space between the values is no part of what is said.
    assert read == Channel.from_bytes("prod", whole, None, "prod.json")


def test_a_swap_that_is_lost_tells_where_the_channel_went(tmp_path: Path) -> None:
    root = str(tmp_path)
    write_channel(root, promoted(1))
    mine, theirs = read_channel(root, "prod"), read_channel(root, "prod")
    write_channel(root, theirs.promoted(pointer(2), {}))
    with pytest.raises(ConflictError, match=r"prod was moved to version v2 by another .*; version v3 is published"):
        write_channel(root, mine.promoted(pointer(3), {}))
    assert read_channel(root, "prod").pointer == pointer(2)


def test_a_damaged_channel_and_one_of_a_later_version_are_named(tmp_path: Path) -> None:
    root = str(tmp_path)
    for content, error, said in (
        (b"{", IntegrityError, "prod.json is damaged"),
        (b"[]", IntegrityError, "prod.json is damaged"),
        (b'{"schema_version": 1}', IntegrityError, "prod.json is damaged"),
        (b'{"schema_version": 3}', UsageError, "prod.json has schema version 3"),
    ):
        storage.write(channel_url(root, "prod"), content)
        with pytest.raises(error, match=said):
            read_channel(root, "prod")


def test_a_channel_name_cannot_lead_out_of_its_folder() -> None:
    with pytest.raises(UsageError, match=r"--channel '\.\./prod' is no name"):
        channel_url("root", "../prod")
