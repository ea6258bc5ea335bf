from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from catalog import storage
from catalog.rejects import Reason
from encoders.decode import DecodeLimits
from encoders.image_loader import ImageLoader, LoadedImage, LoadFailure
from tests.conftest import draw_picture


@pytest.fixture
def loader() -> ImageLoader:
    return ImageLoader((20, 30), DecodeLimits(), threads=4)


def test_images_come_in_the_order_asked_for_good_or_not(tmp_path: Path, loader: ImageLoader) -> None:
    uris = []
    for number in range(120):
        path = tmp_path / f"{number}.png"
        if number % 7:
            draw_picture(number, (60 + number, 50)).save(path)
        uris.append(str(path))
    answers = list(loader.load_all(uris))
    assert len(answers) == 120
    for number, answer in enumerate(answers):
        if number % 7:
            assert isinstance(answer, LoadedImage)
            assert (answer.width, answer.height) == (60 + number, 50)
            assert answer.pixels.shape == (20, 30, 3)
            assert answer.pixels.dtype == np.uint8
            assert answer.content_hash == hashlib.sha256((tmp_path / f"{number}.png").read_bytes()).digest()
        else:
            assert answer == LoadFailure(Reason.NOT_FOUND, "there is no such file")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PermissionError("no"), Reason.FORBIDDEN),
        (TimeoutError("late"), Reason.TIMEOUT),
        (OSError(5, "Input/output error"), Reason.UNREADABLE),
        (storage.AddressRefusedError("http://h/a leads to 10.0.0.1"), Reason.ADDRESS_REFUSED),
    ],
)
def test_a_failed_read_has_its_reason(
    tmp_path: Path, loader: ImageLoader, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: Reason
) -> None:
    def fail(url: str, limit: int | None = None) -> bytes:
        raise error

    draw_picture(1).save(tmp_path / "a.png")
    monkeypatch.setattr(storage, "read_bytes", fail)
    answer = loader.load(str(tmp_path / "a.png"))
    assert isinstance(answer, LoadFailure)
    assert answer.reason == reason


def test_what_an_error_quotes_is_told_without_secrets(loader: ImageLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [
        OSError("GET https://u:SECRET@h/a?sig=SECRET"),
        OSError(5, "lost /a?sig=SECRET"),
        storage.AddressRefusedError("http://h/a?sig=SECRET leads to 10.0.0.1"),
        ValueError("no URL: https://u:SECRET@[h"),
    ]
    for error in errors:

        def fail(url: str, error: Exception = error) -> str:
            raise error

        monkeypatch.setattr(storage, "version_of", fail)
        answer = loader.load("memory://a")
        assert isinstance(answer, LoadFailure)
        assert "SECRET" not in answer.detail


def test_a_file_over_the_byte_limit_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big").write_bytes(bytes(10_000))
    asked = []
    read = storage.read_bytes
    monkeypatch.setattr(storage, "read_bytes", lambda url, limit: asked.append(limit) or read(url, limit))
    answer = ImageLoader((8, 8), DecodeLimits(max_bytes=1_000)).load(str(tmp_path / "big"))
    assert isinstance(answer, LoadFailure)
    assert answer.reason == Reason.TOO_MANY_BYTES
    assert asked == [1_001]


def test_no_more_images_are_under_way_than_the_window(loader: ImageLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, started = threading.Lock(), [0]

    def count(uri: str) -> LoadFailure:
        with lock:
            started[0] += 1
        return LoadFailure(Reason.EMPTY, uri)

    monkeypatch.setattr(loader, "load", count)
    answers = loader.load_all(str(number) for number in range(10_000))
    next(answers)
    time.sleep(0.2)
    assert started[0] <= loader._window
    answers.close()
