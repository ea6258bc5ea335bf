"""The decode policy: the bytes of any picture file to upright sRGB pixels, or one reason why not.

What a file is, its first bytes say, never its name. Limits are checked on the header, before pixels are decoded.
docs/formats.md has the policy as a table; `VERSION` is part of every encoder's fingerprint.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from catalog.rejects import Reason

VERSION = "1"

# Read by content with code that ships inside Pillow. No EPS or PDF, which run an interpreter.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "ICO", "PPM", "TGA", "JPEG2000")
_MAGIC = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0"),
    *(b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP"),
)
_LARGE_PIXELS = 16_000_000
_one_large_image_at_a_time = threading.Semaphore(1)

warnings.simplefilter("ignore", Image.DecompressionBombWarning)
Image.init()  # Registers every format; by default only the common ones are known by name.


@dataclass(frozen=True)
class DecodeLimits:
    """What a picture may cost.

    Attributes:
        max_bytes: of the file.
        max_pixels: width x height of the header. 64 million is an 8,000 x 8,000 picture: 192 MB of RGB.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 64_000_000


class DecodeError(Exception):
    """These bytes do not become pixels."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode(data: bytes, limits: DecodeLimits) -> Image.Image:
    """Decodes a picture file to an upright 8-bit sRGB image of mode RGB.

    Orientation from EXIF is applied, alpha is laid over white, CMYK goes through its ICC profile, more than 8 bits are
    scaled down, and of several frames or pages the first counts.

    Raises:
        DecodeError: with the reason.
    """
    if not data:
        raise DecodeError(Reason.EMPTY, "the file has no bytes")
    if len(data) > limits.max_bytes:
        raise DecodeError(Reason.TOO_MANY_BYTES, f"more than {limits.max_bytes:,} bytes (--max-bytes)")
    # Pillow refuses beyond twice this number; it guards frames that are larger than the header says.
    Image.MAX_IMAGE_PIXELS = limits.max_pixels // 2
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > limits.max_pixels:
                raise DecodeError(
                    Reason.TOO_MANY_PIXELS,
                    f"{width} x {height} is more than {limits.max_pixels:,} pixels (--max-pixels)",
                )
            if width * height < _LARGE_PIXELS:
                return _to_srgb(image)
            with _one_large_image_at_a_time:  # Keeps the peak at one large picture, whatever the number of threads.
                return _to_srgb(image)
    except DecodeError:
        raise
    except Image.DecompressionBombError:
        raise DecodeError(
            Reason.TOO_MANY_PIXELS, f"the header asks for more than {limits.max_pixels:,} pixels (--max-pixels)"
        ) from None
    except UnidentifiedImageError:
        known = data.startswith(_MAGIC) or data[4:12] in (b"ftypavif",) or data[8:12] == b"WEBP"
        if known:
            raise DecodeError(Reason.UNDECODABLE, "begins like a picture, but its header makes no sense") from None
        raise DecodeError(Reason.UNSUPPORTED_FORMAT, "is none of " + ", ".join(_FORMATS)) from None
    except MemoryError:
        raise DecodeError(Reason.TOO_MANY_PIXELS, "needs more memory than there is") from None
    except (
        Exception
    ) as error:  # Pillow's plugins raise what their parsers meet: struct.error, SyntaxError, KeyError, ...
        raise _explain(error) from None


def _explain(error: Exception) -> DecodeError:
    text = f"{type(error).__name__}: {error}"
    # Pillow has no type for a file that ends too early; these are its words for it.
    early = ("truncated", "broken data stream", "unexpected end", "not enough", "buffer overrun")
    if isinstance(error, EOFError) or any(word in text.lower() for word in early):
        return DecodeError(Reason.TRUNCATED, text)
    return DecodeError(Reason.UNDECODABLE, text)


def _to_srgb(image: Image.Image) -> Image.Image:
    image.load()
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # A broken EXIF block is no reason to lose a good picture.
        upright = image
    return _to_rgb(upright if upright is not None else image)


def _to_rgb(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return Image.fromarray(_to_eight_bits(np.asarray(image)), "L").convert("RGB")
    if mode == "LAB":
        return _through_profile(image, ImageCms.createProfile("LAB")) or image.getchannel(0).convert("RGB")
    if mode == "CMYK" and image.info.get("icc_profile"):
        profile = io.BytesIO(image.info["icc_profile"])
        return _through_profile(image, profile) or image.convert("RGB")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, with_alpha).convert("RGB")
    return image if mode == "RGB" else image.convert("RGB")


def _through_profile(image: Image.Image, profile: Any) -> Image.Image | None:
    """The image in sRGB by its colour profile; None when the profile is unusable."""
    try:
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of more than 8 bits to uint8: by their depth if they are 16-bit, else by their range."""
    floating, sixteen_bit = values.dtype.kind == "f", values.dtype.itemsize == 2
    values = np.nan_to_num(values.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    if floating and low >= 0 and high <= 1:
        scaled = values * 255
    elif sixteen_bit or (low >= 0 and 255 < high <= 65_535):
        scaled = values / 257
    elif low >= 0 and high <= 255:
        scaled = values
    else:
        scaled = (values - low) / (high - low) * 255
    return np.round(scaled).astype(np.uint8)
