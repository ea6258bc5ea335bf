"""The thread that renews a lock while a body runs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from google.auth.exceptions import DefaultCredentialsError

from catalog import storage
from catalog.errors import ConflictError, LockedError
from catalog.lease import Hold, Lease, holding
from tests.catalog.test_lease import ELSEWHERE


def test_a_lock_is_renewed_while_the_body_runs_and_given_back_after_it(tmp_path: Path) -> None:
    path = f"{tmp_path}/locks/nightly.json"
    with holding(Lease(path, "one", 1.5, process=ELSEWHERE)):
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            with pytest.raises(LockedError):
                Lease(path, "two", 1.5).take()
            time.sleep(0.05)
    assert Lease(path, "two", 1.5).take() is None


def test_a_body_whose_lease_was_taken_is_told_and_leaves_it_alone(tmp_path: Path) -> None:
    path, said = f"{tmp_path}/locks/nightly.json", list[str]()
    with holding(Lease(path, "one", 0.3), said.append) as held:
        _, token = storage.read_with_token(path)
        try:
            storage.compare_and_swap(path, Hold("two", ELSEWHERE, 0, 4e9).to_bytes(), token)
        except ConflictError:  # It was renewed in between.
            storage.write(path, Hold("two", ELSEWHERE, 0, 4e9).to_bytes())
        deadline = time.monotonic() + 10
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(LockedError):
            held.renew()
    assert "another run took it" in said[0]
    assert Hold.from_bytes(storage.read_bytes(path), path).run == "two"


def test_whatever_goes_wrong_with_a_renewal_the_next_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said, writes = f"{tmp_path}/locks/nightly.json", list[str](), [0]
    real = Lease._write

    def write(self: Lease, hold: Hold, token: str | None) -> None:
        writes[0] += 1
        if writes[0] in (2, 3):
            raise DefaultCredentialsError("none at https://u:SECRET@metadata/x?token=SECRET")
        real(self, hold, token)

    monkeypatch.setattr(Lease, "_write", write)
    with holding(Lease(path, "one", 1.5), said.append) as held:
        taken = held.held
        deadline = time.monotonic() + 20
        while held.held == taken and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held.held is not None
        assert taken is not None
        assert held.held.until > taken.until
        with pytest.raises(LockedError):
            Lease(path, "two", 1.5).take()
    wrong = "DefaultCredentialsError: none at https://metadata/x"
    assert said == [f"the lock could not be renewed, which is tried again: {wrong}"] * 2


def test_a_lock_that_cannot_be_given_back_does_not_undo_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def release(self: Lease) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(Lease, "release", release)
    with holding(Lease(f"{tmp_path}/nightly.json", "one", 60), said.append):
        pass
    assert said == ["the lock could not be given back, and runs out by itself: DefaultCredentialsError: none"]
