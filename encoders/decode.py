"""The decode policy: the bytes of any picture file to upright sRGB pixels, or one reason why not.

What a file is, its first bytes say, never its name. Limits are checked on the header, before pixels are decoded.
docs/formats.md has the policy as a table; `VERSION` is part of every encoder's fingerprint.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image, UnidentifiedImageError

from catalog.rejects import Reason
from encoders.color import to_srgb
from encoders.headers import frame_count, scan_count, tile_pixels
from encoders.truncation import ends_early

VERSION = "2"

# Read by content with code that ships inside Pillow. No EPS or PDF, which run an interpreter.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "PPM", "TGA", "JPEG2000")
_MAGIC = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0"),
    *(b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP"),
)
# Compressions of TIFF that Pillow names and that the libtiff in its wheels is built without.
_NOT_IN_LIBTIFF = ("webp",)
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# How far above `least` a reduced JPEG stays. See `decode`.
_MARGIN = 2
# For the perceptual hash, which is made of 32 x 32 means.
_LEAST_SIDE = 64
# What the fuzzers of libjpeg-turbo allow; a progressive JPEG has about ten.
_MOST_SCANS = 500
_LARGE_PIXELS = 16_000_000
_one_large_image_at_a_time = threading.Semaphore(1)

warnings.simplefilter("ignore", Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # Of a broken EXIF block, say: no news here.
Image.init()  # Registers every format; by default only the common ones are known by name.


@dataclass(frozen=True)
class DecodeLimits:
    """What a picture may cost.

    Attributes:
        max_bytes: of the file.
        max_pixels: width x height of the header. 64 million is an 8,000 x 8,000 picture: 192 MB of RGB.
        max_frames: frames or pages. Only the first is decoded, but parsers walk over all.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 64_000_000
    max_frames: int = 10_000


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        image: mode RGB, sRGB, upright; smaller than the original if it came reduced.
        width, height: of the upright original.
    """

    image: Image.Image
    width: int
    height: int


class DecodeError(Exception):
    """These bytes do not become pixels."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode(data: bytes, limits: DecodeLimits, least: tuple[int, int] | None = None) -> Picture:
    """Decodes a picture file to upright 8-bit sRGB.

    Args:
        data: the bytes of the file.
        limits: checked on the header, before pixels are decoded.
        least: height and width that the picture is needed for. A JPEG may then come reduced to a half, a quarter or an
            eighth by its DCT coefficients (libjpeg's scaled decode), with at least twice `least` on each side. Photos
            that were reduced have a mean cosine of 0.9995 with themselves decoded in full under MobileNetV2, and a
            mean distance of 0 bits of their perceptual hash; with just `least` it was 0.996
            (`python -m benchmarks.decode`). No other format is reduced, and nothing is ever enlarged.

    Raises:
        DecodeError: with the reason; the same one with and without `least`.
    """
    if not data:
        raise DecodeError(Reason.EMPTY, "the file has no bytes")
    if len(data) > limits.max_bytes:
        raise DecodeError(Reason.TOO_MANY_BYTES, f"more than {limits.max_bytes:,} bytes (--max-bytes)")
    # Pillow refuses beyond twice this number; it guards frames that are larger than the header says.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels // 2
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            scans = _check_header(image, data, limits)
            return _decode_opened(image, scans, least)
    except DecodeError:
        raise
    except Image.DecompressionBombError:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS, f"the header asks for more than {limits.max_pixels:,} pixels (--max-pixels)"
        ) from None
    except UnidentifiedImageError:
        if not _begins_like_a_picture(data):
            raise DecodeError(Reason.UNSUPPORTED_FORMAT, "is none of " + ", ".join(_FORMATS)) from None
        if ends_early(data):
            raise DecodeError(Reason.TRUNCATED, "ends within its header") from None
        raise DecodeError(Reason.UNDECODABLE, "begins like a picture, but its header makes no sense") from None
    except MemoryError:
        raise DecodeError(Reason.TOO_MANY_PIXELS, "needs more memory than there is") from None
    except (
        Exception
    ) as error:  # Pillow's plugins raise what their parsers meet: struct.error, SyntaxError, KeyError, ...
        raise _explain(error, data) from None


def _begins_like_a_picture(data: bytes) -> bool:
    return data.startswith(_MAGIC) or data[4:12] in (b"ftypavif", b"ftypavis") or data[8:12] == b"WEBP"


def _explain(error: Exception, data: bytes) -> DecodeError:
    """The reason why Pillow failed. It has no types for it, only words."""
    text = f"{type(error).__name__}: {error}"
    words = text.lower()
    if "out of memory" in words:
        return DecodeError(Reason.TOO_MANY_PIXELS, text)
    early = ("truncated", "unexpected end", "not enough", "reached eof", "only got")
    if isinstance(error, EOFError) or any(word in words for word in early) or ends_early(data):
        return DecodeError(Reason.TRUNCATED, text)
    if "unsupported" in words:
        return DecodeError(Reason.UNSUPPORTED_FORMAT, text)
    return DecodeError(Reason.UNDECODABLE, text)


def _check_header(image: Image.Image, data: bytes, limits: DecodeLimits) -> int:
    """Holds an opened, not yet decoded image against the limits. Returns the scans of a JPEG, 1 for others."""
    width, height = image.size
    if width * height > limits.max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS, f"{width} x {height} is more than {limits.max_pixels:,} pixels (--max-pixels)"
        )
    if tile_pixels(image) > limits.max_pixels:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS, f"one of its tiles has more than {limits.max_pixels:,} pixels (--max-pixels)"
        )
    if frame_count(image, data, limits.max_frames) > limits.max_frames:
        raise DecodeError(Reason.TOO_MANY_FRAMES, f"more than {limits.max_frames:,} frames or pages (--max-frames)")
    if image.info.get("compression") in _NOT_IN_LIBTIFF:
        raise DecodeError(Reason.UNSUPPORTED_FORMAT, f"a TIFF with {image.info['compression']} compression")
    scans = scan_count(image, data)
    if scans > _MOST_SCANS:
        raise DecodeError(Reason.TOO_MANY_FRAMES, f"a JPEG of more than {_MOST_SCANS} scans")
    return scans


def _decode_opened(image: Image.Image, scans: int, least: tuple[int, int] | None) -> Picture:
    original = image.size
    if least is not None and image.format in ("JPEG", "MPO"):
        turned = _orientation(image) >= 5
        height, width = (max(_LEAST_SIDE, _MARGIN * side) for side in least)
        image.draft(None, (height, width) if turned else (width, height))
    reduced = image.size != original
    # What is held meanwhile: of several scans the coefficients of the whole picture, however small it comes out.
    held = original if scans > 1 else image.size
    if held[0] * held[1] < _LARGE_PIXELS:
        upright = _load(image)
    else:
        with _one_large_image_at_a_time:  # Keeps the peak at one large picture, whatever the number of threads.
            upright = _load(image)
    if not reduced:
        return Picture(upright, upright.width, upright.height)
    width, height = original if _orientation(image) < 5 else original[::-1]
    return Picture(upright, width, height)


def _load(image: Image.Image) -> Image.Image:
    image.load()
    rgb = to_srgb(image)
    transposition = _TRANSPOSITIONS.get(_orientation(image))  # Only now: a PNG may have it behind its pixels.
    return rgb if transposition is None else rgb.transpose(transposition)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A broken EXIF block is no reason to lose a good picture."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return orientation if orientation in _TRANSPOSITIONS else 1
    except Exception:
        return 1
