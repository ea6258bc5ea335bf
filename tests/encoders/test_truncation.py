from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from catalog.rejects import Reason
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.truncation import ends_early

KINDS = {
    "JPEG": {},
    "progressive": {"format": "JPEG", "progressive": True},
    "PNG": {},
    "GIF": {},
    "WEBP": {},
    "AVIF": {},
    "TIFF": {},
    "lzw": {"format": "TIFF", "compression": "tiff_lzw"},
    "jpeg in tiff": {"format": "TIFF", "compression": "jpeg"},
    "BMP": {},
    "ICO": {},
    "PPM": {},
    "JPEG2000": {},
}


def noise(kind: str) -> bytes:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (80, 100, 3), dtype=np.uint8))
    sink = io.BytesIO()
    image.save(sink, **{"format": kind, **KINDS[kind]})
    return sink.getvalue()


@pytest.mark.parametrize("least", [None, (8, 8)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_truncated_in_every_format(kind: str, least: tuple[int, int] | None) -> None:
    data = noise(kind)
    decode(data, DecodeLimits(), least)
    # Before 12 bytes a format cannot be told for sure; the last bytes of some are an end mark that Pillow does not ask.
    cuts = {12, 13, 16, 20, 24, 33, 47, 60, 100, 200, *(len(data) * part // 40 for part in range(1, 39))}
    for cut in sorted(cuts - set(range(12))):
        with pytest.raises(DecodeError) as raised:
            decode(data[:cut], DecodeLimits(), least)
        assert raised.value.reason == Reason.TRUNCATED, (cut, raised.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_does_not_end_early(kind: str) -> None:
    assert not ends_early(noise(kind))
    assert not ends_early(b"no picture at all")


@pytest.mark.parametrize("kind", ["PNG", "lzw"])
def test_a_whole_file_with_broken_data_is_not_called_truncated(kind: str) -> None:
    data = bytearray(noise(kind))
    middle = len(data) // 2
    data[middle - 2_000 : middle + 2_000] = bytes(4_000)
    with pytest.raises(DecodeError) as raised:
        decode(bytes(data), DecodeLimits())
    assert raised.value.reason == Reason.UNDECODABLE
