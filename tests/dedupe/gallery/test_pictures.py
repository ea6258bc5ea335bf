from __future__ import annotations

import base64
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dedupe.gallery.pictures import BITMAP_HEADER, Pictures, bitmap_pixels


@given(st.binary(min_size=192, max_size=192))
def test_a_thumbnail_is_the_same_pixels_as_a_bitmap(thumbnail: bytes) -> None:
    pixels = bitmap_pixels(thumbnail)
    assert pixels is not None
    with Image.open(io.BytesIO(base64.b64decode(BITMAP_HEADER + pixels))) as image:
        assert image.format == "BMP"
        assert np.asarray(image.convert("RGB")).tobytes() == thumbnail


def test_bytes_that_are_no_thumbnail_are_shown_as_nothing() -> None:
    nothing = Pictures(lambda uri: None, lambda name, data: None)
    assert nothing.shown("uri", None) == {}
    assert nothing.shown(None, b"short") == {}


def test_an_image_is_asked_for_once() -> None:
    asked: list[str] = []

    def picture(uri: str) -> bytes:
        asked.append(uri)
        return b"\xff\xd8\xff" + uri.encode()

    stored: dict[str, bytes] = {}
    pictures = Pictures(picture, stored.__setitem__)
    names = [pictures.shown(uri, None)["picture"] for uri in ("a", "b", "a")]
    assert asked == ["a", "b"]
    assert names[0] == names[2] != names[1]
    assert stored == {f"pictures/{names[0]}": b"\xff\xd8\xffa", f"pictures/{names[1]}": b"\xff\xd8\xffb"}
    assert names[0].endswith(".jpg")


def test_a_folder_holds_a_thousand_pictures() -> None:
    stored: dict[str, bytes] = {}
    pictures = Pictures(lambda uri: b"\xff\xd8\xff" + uri.encode(), stored.__setitem__)
    for number in range(1_001):
        pictures.shown(str(number), None)
    assert sorted({name.split("/")[1] for name in stored}) == ["0", "1"]
    assert sum(name.startswith("pictures/0/") for name in stored) == 1_000
