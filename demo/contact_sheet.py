"""One picture of search results: a query a row, its nearest neighbours beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

_TILE = 148
_GAP = 14
_CAPTION = 40
_INK, _SOFT, _PAPER, _MARK = (34, 34, 40), (120, 120, 130), (255, 255, 255), (66, 99, 235)


@dataclass(frozen=True)
class Tile:
    """A picture and the two short lines under it."""

    path: Path
    title: str
    note: str


def draw_contact_sheet(rows: Sequence[tuple[Tile, Sequence[Tile]]], output: Path, heading: str) -> None:
    """Draws queries and their neighbours as a PNG.

    Args:
        rows: each a query and its neighbours, nearest first.
        output: the file to write.
        heading: the line above.
    """
    columns = 1 + max(len(neighbours) for _, neighbours in rows)
    step = _TILE + _GAP
    sheet = Image.new("RGB", (columns * step + 2 * _GAP, len(rows) * (step + _CAPTION) + 64), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 14), heading, _INK, ImageFont.load_default(20))
    for number, (query, neighbours) in enumerate(rows):
        top = 54 + number * (step + _CAPTION)
        _draw_tile(sheet, draw, query, _GAP, top)
        draw.rounded_rectangle((_GAP - 4, top - 4, _GAP + _TILE + 4, top + _TILE + 4), 8, outline=_MARK, width=3)
        for place, tile in enumerate(neighbours):
            _draw_tile(sheet, draw, tile, 2 * _GAP + (place + 1) * step, top)
    sheet.save(output, optimize=True)


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    with Image.open(tile.path) as image:
        sheet.paste(image.convert("RGB").resize((_TILE, _TILE), Image.Resampling.LANCZOS), (left, top))
    draw.text((left, top + _TILE + 5), tile.title, _INK, ImageFont.load_default(13))
    draw.text((left, top + _TILE + 21), tile.note, _SOFT, ImageFont.load_default(12))
