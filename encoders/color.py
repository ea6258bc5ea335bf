"""Colour: decoded pixels of any mode and profile to 8-bit sRGB, transparency over white.

Colour management is Little CMS by Pillow's `ImageCms`, with the perceptual intent. docs/formats.md has the policy as a
table. Not for: bytes, limits, orientation.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

_WHITE = (255, 255, 255)
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # TIFF tags.
# A profile that moves no colour by more than this is sRGB. Writers of sRGB profiles round their curves differently: the
# common ones differ by 1; the nearest other space, a plain power curve over the same primaries, by 6.
_SRGB_TOLERANCE = 2
_MOST_TRANSFORMS = 32
# The mode that a profile of a colour space takes. Others are no pictures' profiles.
_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


@dataclass(frozen=True)
class _Transform:
    """From pixels of one mode to sRGB."""

    mode: str
    apply: ImageCms.ImageCmsTransform


def to_srgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode as RGB in sRGB; the same object if nothing is to be done.

    An embedded profile is applied if it is one of the image's colour space, and an RGB profile also to grey. A broken
    one, or one of another space, is ignored: the image then counts as sRGB, CMYK goes by formula.
    """
    profile = image.info.get("icc_profile")
    color, alpha = _split(image)
    rgb = _color_to_srgb(color, profile)
    if alpha is None:
        return rgb
    over_white = Image.new("RGB", rgb.size, _WHITE)
    over_white.paste(rgb, mask=alpha)
    return over_white


def _split(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour of mode L, RGB, CMYK or LAB; and alpha of mode L, None where everything is opaque."""
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _deep_grey(image)
    if mode in ("CMYK", "LAB"):
        return image, None
    grey = mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        _narrow_color_key(image)
        both = image.convert("LA" if grey else "RGBA")
        alpha = both.getchannel("A")
        return both.convert("L" if grey else "RGB"), None if alpha.getextrema() == (255, 255) else alpha
    wanted = "L" if grey else "RGB"
    return image if mode == wanted else image.convert(wanted), None


def _narrow_color_key(image: Image.Image) -> None:
    """Of a 16-bit RGB PNG Pillow keeps the high bytes, but of its transparent colour all 16 bits."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in key)


def _color_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    transform = None
    if image.mode == "LAB":
        transform = _cached(b"", "LAB")
    elif profile:
        transform = _cached(profile, image.mode)
    if transform is None:
        if image.mode == "LAB":
            return image.getchannel(0).convert("RGB")
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode != transform.mode:
        image = image.convert(transform.mode)
    try:
        converted = transform.apply.apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB")
    converted.info = {}
    return converted


_transforms: OrderedDict[tuple[bytes, str], _Transform | None] = OrderedDict()
_transforms_lock = threading.Lock()


def _cached(profile: bytes, mode: str) -> _Transform | None:
    """`_build`, for the profiles used last. A catalog's photos share a few, and building one costs a decode."""
    key = (hashlib.sha256(profile).digest(), mode)
    with _transforms_lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key]
    built = _build(profile, mode)
    with _transforms_lock:
        _transforms[key] = built
        while len(_transforms) > _MOST_TRANSFORMS:
            _transforms.popitem(last=False)
    return built


def _build(profile: bytes, mode: str) -> _Transform | None:
    """The transform to sRGB for an image of `mode`; None where there is nothing to do, or nothing that can be done."""
    try:
        if mode == "LAB":
            source, takes = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB"
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            takes = _MODES.get(source.profile.xcolor_space.strip(), "")
            if takes != mode and (takes, mode) != ("RGB", "L"):
                return None
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, takes, "RGB", ImageCms.Intent.PERCEPTUAL)
        return None if takes in ("RGB", "L") and _changes_nothing(transform, takes) else _Transform(takes, transform)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a grid over all colours comes out as it went in."""
    steps = np.arange(0, 256, 15 if mode == "RGB" else 1, dtype=np.uint8)
    if mode == "RGB":
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    else:
        grid = steps[None]
    before = np.asarray(Image.fromarray(grid).convert("RGB"), np.int16)
    after = np.asarray(transform.apply(Image.fromarray(grid)), np.int16)
    return int(np.abs(after - before).max()) <= _SRGB_TOLERANCE


def _deep_grey(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Grey of more than 8 bits as mode L, and the alpha of its transparent value, if it has one."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))
    grey = to_eight_bits(values, bits[0] if isinstance(bits, tuple) else bits)
    if image.mode.startswith("I;16") and tags.get(_PHOTOMETRIC) == 0:  # 0 is white; Pillow inverts 8 bits only.
        grey = 255 - grey
    key = image.info.get("transparency")
    alpha = Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)) if isinstance(key, int) else None
    return Image.fromarray(grey), alpha


def to_eight_bits(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """Grey values of more than 8 bits to uint8 of the same shape.

    16-bit integers are scaled by their depth, `bits`; so are wider ones that would fit 16 bits. Floats from 0 to 1 are
    scaled by 255, and what is in 0 to 255 already is kept. All others are stretched from their least to their largest.
    Values that are no numbers become the least, infinite ones the least or the largest.
    """
    floating, sixteen_bit = values.dtype.kind == "f", values.dtype.itemsize == 2
    values = values.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    if len(finite) < values.size:
        values = np.clip(np.nan_to_num(values, nan=low), low, high)
    if floating and low >= 0 and high <= 1:
        scaled = values * 255
    elif sixteen_bit:
        scaled = values / ((1 << min(bits, 16)) - 1) * 255
    elif low >= 0 and 255 < high <= 65_535:
        scaled = values / 257
    elif low >= 0 and high <= 255:
        scaled = values
    else:
        scaled = (values - low) / ((high - low) or 1) * 255
    return np.round(np.clip(scaled, 0, 255)).astype(np.uint8)
