"""Sixteen publishers at once, on every kind of store: the log is linear, no version is lost, losers are told."""

from __future__ import annotations

import threading

import pytest

from catalog.channel import read_channel
from catalog.errors import ConflictError
from catalog.version_log import read_log
from index_builder.publishing import promote as promoting
from index_builder.publishing.promote import Request, promote
from index_builder.publishing.publish import publish
from index_builder.publishing.verdict import Verdict
from index_builder.publishing.verify import verify
from tests.catalog.conftest import gcs, s3
from tests.catalog.test_storage import root
from tests.index_builder.publishing.made_versions import stored_version

__all__ = ["gcs", "root", "s3"]  # Fixtures: an empty folder in each kind of store.


def test_sixteen_publishers_at_once_lose_no_version_and_every_loser_is_told(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Barrier(16)

    def gates(*given: object) -> list[Verdict]:
        asked.wait(60)  # All have read the channel, and none has moved it.
        return []

    monkeypatch.setattr(promoting, "ask_gates", gates)
    manifests = [stored_version(root, f"v{number:02d}") for number in range(16)]
    won: list[str] = []
    lost: list[Exception] = []

    def work(number: int) -> None:
        pointer = publish(root, manifests[number])[1]
        try:
            promote(root, pointer, Request("prod"))
            won.append(pointer.version)
        except Exception as error:
            lost.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    log = read_log(root)
    assert [entry.sequence for entry in log] == list(range(1, 17))
    assert sorted(entry.version for entry in log) == [manifest.version for manifest in manifests]
    assert len(won) == 1
    assert len(lost) == 15
    assert all(isinstance(error, ConflictError) for error in lost), lost
    assert all(f"prod was moved to version {won[0]} by another publisher" in str(error) for error in lost)
    channel = read_channel(root, "prod")
    assert channel.pointer in log
    assert channel.pointer is not None
    assert channel.pointer.version == won[0]
    assert verify(root, channel.pointer).version == won[0]
    # However they came: `candidate` is on the newest, and never went back.
    candidate = read_channel(root, "candidate")
    assert candidate.pointer == log[-1]
    numbers = {entry.version: entry.sequence for entry in log}
    assert [numbers[move.version] for move in candidate.moves] == sorted(numbers[m.version] for m in candidate.moves)


def test_sixteen_who_promote_one_after_the_other_lose_no_move(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promoting, "ask_gates", lambda *given: [])
    manifests = [stored_version(root, f"v{number:02d}") for number in range(16)]

    def work(number: int) -> None:
        pointer = publish(root, manifests[number])[1]
        for _ in range(400):
            try:
                promote(root, pointer, Request("prod"))
                return
            except ConflictError:
                continue

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
    channel = read_channel(root, "prod")
    assert sorted(move.version for move in channel.moves) == [manifest.version for manifest in manifests]
    # Each came from the one before: no update was lost.
    assert [move.came_from for move in channel.moves] == [None, *(move.version for move in channel.moves[:-1])]
