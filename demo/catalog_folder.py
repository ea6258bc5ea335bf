"""The demo's catalog as a folder of category folders: drawn products, near-duplicates, and two broken files."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageEnhance

from demo.products import CATEGORIES, COLORS, SIDE, draw_product

_PER_COLOR = 7


def draw_catalog(folder: Path) -> int:
    """Draws the catalog into `folder`; returns the number of files.

    In each category the first product of each colour is photographed twice: the second time a little closer, brighter,
    and saved as another JPEG - the near-duplicates that real catalogs are full of.
    """
    files = 0
    for category in CATEGORIES:
        (folder / category).mkdir(parents=True, exist_ok=True)
        for color in COLORS:
            for number in range(_PER_COLOR):
                files += _draw(folder / category, category, color, number)
    whole = (folder / "mugs" / "red-0.jpg").read_bytes()
    _write_once(folder / "mugs" / "broken-upload.jpg", whole[: len(whole) // 3])
    _write_once(folder / "bags" / "not-a-picture.jpg", b"<html><body>404 Not Found</body></html>\n")
    return files + 2


def _draw(folder: Path, category: str, color: str, number: int) -> int:
    """Draws one product, and the first of a colour twice; returns the number of files."""
    image = draw_product(category, color, str(number))
    _write_once(folder / f"{color}-{number}.jpg", _jpeg(image, 88))
    if number:
        return 1
    _write_once(folder / f"{color}-{number}-again.jpg", _jpeg(_photographed_again(image), 70))
    return 2


def _jpeg(image: Image.Image, quality: int) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def _write_once(path: Path, data: bytes) -> None:
    """Leaves a file alone that has these bytes already, so that a second demo shows a night without changes."""
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)


def _photographed_again(image: Image.Image) -> Image.Image:
    closer = image.crop((6, 4, SIDE - 6, SIDE - 8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(closer).enhance(1.04)
