from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from catalog import storage
from catalog.rejects import Reason
from encoders import image_loader
from encoders.decode import DecodeLimits
from encoders.image_loader import Answer, ImageLoader, ImageRequest, LoadedImage, LoadFailure, SameContent
from encoders.meter import Meter
from tests.conftest import draw_picture


@pytest.fixture
def loader() -> ImageLoader:
    return ImageLoader((20, 30), DecodeLimits(), threads=4)


def one(loader: ImageLoader, path: Path) -> Answer:
    return next(loader.load_all([ImageRequest(str(path))]))


def test_images_come_in_the_order_asked_for_good_or_not(tmp_path: Path, loader: ImageLoader) -> None:
    uris = []
    for number in range(120):
        path = tmp_path / f"{number}.png"
        if number % 7:
            draw_picture(number, (60 + number, 50)).save(path)
        uris.append(str(path))
    answers = list(loader.load_all([ImageRequest(uri) for uri in uris]))
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
    def fail(url: str, limit: int) -> storage.Fetched:
        raise error

    draw_picture(1).save(tmp_path / "a.png")
    monkeypatch.setattr(storage, "fetch", fail)
    answer = one(loader, tmp_path / "a.png")
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

        def fail(url: str, limit: int, error: Exception = error) -> storage.Fetched:
            raise error

        monkeypatch.setattr(storage, "fetch", fail)
        answer = next(loader.load_all([ImageRequest("memory://a")]))
        assert isinstance(answer, LoadFailure)
        assert "SECRET" not in answer.detail


def test_a_file_over_the_byte_limit_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big").write_bytes(bytes(10_000))
    asked = []
    fetch = storage.fetch
    monkeypatch.setattr(storage, "fetch", lambda url, limit: asked.append(limit) or fetch(url, limit))
    answer = one(ImageLoader((8, 8), DecodeLimits(max_bytes=1_000)), tmp_path / "big")
    assert isinstance(answer, LoadFailure)
    assert answer.reason == Reason.TOO_MANY_BYTES
    assert asked == [1_001]


def test_no_more_images_are_under_way_than_the_window(loader: ImageLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, started = threading.Lock(), [0]

    def count(uri: str, limit: int) -> storage.Fetched:
        with lock:
            started[0] += 1
        raise FileNotFoundError(uri)

    monkeypatch.setattr(storage, "fetch", count)
    answers = loader.load_all(ImageRequest(str(number)) for number in range(10_000))
    next(answers)
    time.sleep(0.2)
    assert started[0] <= image_loader.WINDOW
    answers.close()


def test_reads_wait_while_too_many_bytes_are_not_decoded_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_loader, "_BYTES_AHEAD", 10_000)
    loader = ImageLoader((8, 8), DecodeLimits(), threads=1)
    under_way, most, lock = [0], [0], threading.Lock()

    def fetch(url: str, limit: int) -> storage.Fetched:
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        return storage.Fetched(b"x" * 5_000, "v")

    def work(request: object, fetched: object, meter: object) -> LoadFailure:
        time.sleep(0.002)
        with lock:
            under_way[0] -= 1
        return LoadFailure(Reason.EMPTY, "")

    monkeypatch.setattr(storage, "fetch", fetch)
    monkeypatch.setattr(loader, "_work", work)
    assert len(list(loader.load_all(ImageRequest(str(number)) for number in range(400)))) == 400
    assert most[0] < 2 * image_loader._FETCHERS  # Those that were reading when the room was full, and no more.


def test_bytes_that_are_known_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_picture(1).save(tmp_path / "a.png")
    known = hashlib.sha256((tmp_path / "a.png").read_bytes()).digest()
    monkeypatch.setattr(image_loader, "decode", None)
    loader = ImageLoader((8, 8), DecodeLimits())
    answer = next(loader.load_all([ImageRequest(str(tmp_path / "a.png"), known)]))
    assert answer == SameContent(storage.version_of(str(tmp_path / "a.png")))


def test_an_error_that_is_no_answer_reaches_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_picture(1).save(tmp_path / "a.png")

    def encode(images: np.ndarray) -> np.ndarray:
        raise RuntimeError("the device is gone")

    loader = ImageLoader((8, 8), DecodeLimits(), encode=encode)
    with pytest.raises(RuntimeError, match="the device is gone"):
        list(loader.load_all([ImageRequest(str(tmp_path / "a.png"))] * 3))


def test_several_callers_share_a_loader(tmp_path: Path, loader: ImageLoader) -> None:
    for number in range(40):
        draw_picture(number, (30 + number, 30)).save(tmp_path / f"{number}.png")

    def widths(numbers: range) -> list[int]:
        answers = loader.load_all(ImageRequest(str(tmp_path / f"{number}.png")) for number in numbers)
        return [answer.width for answer in answers if isinstance(answer, LoadedImage)]

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(widths, (range(40), range(39, -1, -1))))
    assert found == [list(range(30, 70)), list(range(69, 29, -1))]


def test_the_meter_counts_what_was_read(tmp_path: Path) -> None:
    draw_picture(1).save(tmp_path / "a.png")
    meter = Meter()
    loader = ImageLoader((8, 8), DecodeLimits(), encode=lambda images: np.zeros((1, 4), np.float32))
    list(loader.load_all([ImageRequest(str(tmp_path / "a.png")), ImageRequest(str(tmp_path / "none.png"))], meter))
    totals = meter.totals()
    size = (tmp_path / "a.png").stat().st_size
    assert (totals["fetched_images"], totals["fetched_bytes"], totals["encoded_images"]) == (1, size, 1)
    assert set(totals) == {
        *("fetched_images", "fetched_bytes", "fetch_seconds", "decode_seconds", "encoded_images", "encode_seconds")
    }
