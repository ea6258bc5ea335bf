from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.channel import Pointer
from catalog.errors import EncoderMismatchError, IntegrityError
from index_builder.consuming.cache import NoSpaceError
from index_builder.consuming.failures import Failures, kind_of

POINTER = Pointer("v1", "a" * 64, 1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (IntegrityError("x"), "corrupt"),
        (EncoderMismatchError("x"), "encoder"),
        (NoSpaceError("x"), "disk"),
        (OSError(errno.ENOSPC, "x"), "disk"),
        (FileNotFoundError("x"), "store"),
        (ValueError("x"), "other"),
    ],
)
def test_a_failure_has_a_kind(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind


@given(every=st.floats(1e-3, 1e6), times=st.integers(1, 3_000))
def test_pauses_grow_to_an_hour_and_stay_there_however_often_it_failed(every: float, times: int) -> None:
    now = [0.0]
    failures = Failures(every, lambda: now[0])
    for _ in range(times):
        failures.note(IntegrityError("x"), POINTER)
    pause, longest = every, max(every, 3_600.0)
    for _ in range(min(times, 64)):
        pause = min(longest, 2 * pause)
    now[0] = pause * 0.999
    assert not failures.is_due(POINTER)
    now[0] = pause * 1.001
    assert failures.is_due(POINTER)


def test_a_version_that_was_not_closed_is_counted_and_its_secrets_are_not_told() -> None:
    failures = Failures(1)
    failures.note_close(OSError("https://u:SECRET@h/x?sig=SECRET"), "v1")
    assert failures.by_kind["close"] == 1
    assert failures.last == "version v1 was not closed: https://h/x"
    assert failures.is_due(POINTER)
    failures.forget()
    assert failures.last is None
