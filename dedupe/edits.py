"""Edits that people make of pictures, made on purpose: what a threshold for near-duplicates is calibrated with.

Each is a function of one upright RGB picture; none draws a random number, so the same picture gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from catalog.errors import UsageError

_QUALITY = 90  # Of what is saved after an edit, as most programs do.
_WHITE, _RED, _BLUE = (255, 255, 255), (200, 20, 20), (20, 60, 200)
_LEAST_SIDE = 8


def edit(image: Image.Image, name: str) -> bytes:
    """The bytes of a JPEG file: `image` (mode RGB) after the edit `name`."""
    changed, quality = {**EDITS, **TURNS}[name]
    data = io.BytesIO()
    changed(image).save(data, "JPEG", quality=quality)
    return data.getvalue()


def edits_named(text: str, turned: bool = False) -> tuple[str, ...]:
    """The edits that `--edits` asks for: `default`, `all`, or names with commas between them.

    Args:
        turned: add those of `TURNS` to `default`.

    Raises:
        UsageError: a name is unknown, or one of `TURNS` that was not asked for with `--flips`.
    """
    if text == "all":
        return (*EDITS, *TURNS)
    if text == "default":
        return (*EDITS, *TURNS) if turned else tuple(EDITS)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in EDITS and name not in TURNS:
            raise UsageError(f"--edits {name} is unknown; expected default, all, or some of {', '.join(_all_names())}")
        if name in TURNS and not turned:
            raise UsageError(f"--edits {name} is found with mirrored and turned views only; give --flips with it")
    if not names:
        raise UsageError(f"--edits names none; expected default, all, or some of {', '.join(_all_names())}")
    return names


def _all_names() -> tuple[str, ...]:
    return (*EDITS, *TURNS)


def _same(image: Image.Image) -> Image.Image:
    return image


def _scaled(factor: float) -> Callable[[Image.Image], Image.Image]:
    def scale(image: Image.Image) -> Image.Image:
        width, height = (max(_LEAST_SIDE, round(side * factor)) for side in image.size)
        return image.resize((width, height), Image.Resampling.LANCZOS)

    return scale


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 150))


def _cropped(left: float, top: float, right: float, bottom: float) -> Callable[[Image.Image], Image.Image]:
    """Without these shares of the width and the height."""

    def crop(image: Image.Image) -> Image.Image:
        width, height = image.size
        x, y = int(width * left), int(height * top)
        return image.crop((x, y, max(x + 1, width - int(width * right)), max(y + 1, height - int(height * bottom))))

    return crop


def _overlaid(image: Image.Image) -> Image.Image:
    """A bar with text across the lower part."""
    marked, (width, height) = image.copy(), image.size
    draw = ImageDraw.Draw(marked)
    draw.rectangle((0, int(height * 0.8), width, int(height * 0.95)), fill=_RED)
    font = ImageFont.load_default(size=max(12, int(height * 0.08)))
    draw.text((width * 0.1, height * 0.83), "SALE -50%", fill=_WHITE, font=font)
    return marked


def _with_logo(image: Image.Image) -> Image.Image:
    """A disc in the upper left corner."""
    marked, (width, height) = image.copy(), image.size
    box = (int(width * 0.05), int(height * 0.05), int(width * 0.25), int(height * 0.25))
    ImageDraw.Draw(marked).ellipse(box, fill=_BLUE)
    return marked


def _framed(image: Image.Image) -> Image.Image:
    return ImageOps.expand(image, border=max(1, min(image.size) // 10), fill=_WHITE)


def _squared(image: Image.Image) -> Image.Image:
    """Stretched, not cut."""
    side = max(_LEAST_SIDE, min(image.size))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def _tilted(image: Image.Image) -> Image.Image:
    return image.rotate(5, resample=Image.Resampling.BICUBIC, fillcolor=_WHITE)


def _sharpened(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.UnsharpMask(4, 150))


def _turned(how: Image.Transpose) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.transpose(how)


Edit = tuple[Callable[[Image.Image], Image.Image], int]

#: By name: what is done, and the quality of the JPEG.
EDITS: dict[str, Edit] = {
    "jpeg30": (_same, 30),
    "jpeg10": (_same, 10),
    "resize50": (_scaled(0.5), _QUALITY),
    "resize25": (_scaled(0.25), _QUALITY),
    "blur": (_blurred, _QUALITY),
    "bright": (lambda image: ImageEnhance.Brightness(image).enhance(1.35), _QUALITY),
    "dark": (lambda image: ImageEnhance.Brightness(image).enhance(0.65), _QUALITY),
    "contrast": (lambda image: ImageEnhance.Contrast(image).enhance(1.5), _QUALITY),
    "grey": (lambda image: ImageOps.grayscale(image).convert("RGB"), _QUALITY),
    "saturate": (lambda image: ImageEnhance.Color(image).enhance(1.8), _QUALITY),
    "crop10": (_cropped(0.05, 0.05, 0.05, 0.05), _QUALITY),
    "crop20": (_cropped(0.1, 0.1, 0.1, 0.1), _QUALITY),
    "crop30": (_cropped(0.15, 0.15, 0.15, 0.15), _QUALITY),
    "corner15": (_cropped(0, 0, 0.15, 0.15), _QUALITY),
    "overlay": (_overlaid, _QUALITY),
    "logo": (_with_logo, _QUALITY),
    "border": (_framed, _QUALITY),
    "square": (_squared, _QUALITY),
    "rotate5": (_tilted, _QUALITY),
    "sharpen": (_sharpened, _QUALITY),
}
#: Those that mirrored and turned views find, and nothing else.
TURNS: dict[str, Edit] = {
    "flip": (_turned(Image.Transpose.FLIP_LEFT_RIGHT), _QUALITY),
    "flop": (_turned(Image.Transpose.FLIP_TOP_BOTTOM), _QUALITY),
    "rotate90": (_turned(Image.Transpose.ROTATE_90), _QUALITY),
    "rotate180": (_turned(Image.Transpose.ROTATE_180), _QUALITY),
    "rotate270": (_turned(Image.Transpose.ROTATE_270), _QUALITY),
}
