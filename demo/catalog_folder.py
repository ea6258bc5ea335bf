"""The demo's catalog as a folder of category folders: drawn products, near-duplicates, and two broken files."""

from __future__ import annotations

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
                image = draw_product(category, color, str(number))
                image.save(folder / category / f"{color}-{number}.jpg", quality=88)
                files += 1
                if number == 0:
                    _photographed_again(image).save(folder / category / f"{color}-{number}-again.jpg", quality=70)
                    files += 1
    whole = (folder / "mugs" / "red-0.jpg").read_bytes()
    (folder / "mugs" / "broken-upload.jpg").write_bytes(whole[: len(whole) // 3])
    (folder / "bags" / "not-a-picture.jpg").write_bytes(b"<html><body>404 Not Found</body></html>\n")
    return files + 2


def _photographed_again(image: Image.Image) -> Image.Image:
    closer = image.crop((6, 4, SIDE - 6, SIDE - 8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return ImageEnhance.Brightness(closer).enhance(1.04)
