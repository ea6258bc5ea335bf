"""A store with everything in it that a collector keeps, marks and deletes."""

from __future__ import annotations

import pytest

from catalog import storage
from catalog.storage.retry import Retrier, RetryPolicy
from tests.index_builder.publishing.collected_store import PiecewiseStore, fill


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> PiecewiseStore:
    found = PiecewiseStore()
    monkeypatch.setattr(storage, "store_for", lambda url: found)
    monkeypatch.setattr(storage, "retrier", Retrier(RetryPolicy(attempts=3), sleep=lambda _: None))
    fill()
    return found
