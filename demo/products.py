"""Draws products: six categories, eight colours, all of it from a seed and none of it from a network."""

from __future__ import annotations

import colorsys
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFilter

SIDE = 256
_SCALE = 2  # Drawn at twice the size and scaled down, for smooth edges.
_CANVAS = SIDE * _SCALE

Color = tuple[int, int, int]
Draw = ImageDraw.ImageDraw

# Hue and saturation; lightness and a little of both vary from product to product.
COLORS = {
    "red": (0.99, 0.75),
    "orange": (0.07, 0.85),
    "yellow": (0.14, 0.85),
    "green": (0.36, 0.60),
    "teal": (0.48, 0.65),
    "blue": (0.60, 0.70),
    "purple": (0.76, 0.50),
    "grey": (0.60, 0.05),
}


def draw_product(category: str, color: str, seed: str) -> Image.Image:
    """One product on a studio background: RGB, 256 x 256, the same for the same arguments on every machine.

    Args:
        category: one of `CATEGORIES`.
        color: one of `COLORS`.
        seed: which of the many products of that category and colour.
    """
    rng = random.Random(f"{category}/{color}/{seed}")
    hue, saturation = COLORS[color]
    hue = (hue + rng.uniform(-0.02, 0.02)) % 1
    saturation = min(1.0, saturation * rng.uniform(0.85, 1.1))
    lightness = rng.uniform(0.42, 0.58)
    body, shade, light = (_rgb(hue, lightness + step, saturation) for step in (0.0, -0.14, 0.16))
    product = Image.new("RGBA", (_CANVAS, _CANVAS))
    CATEGORIES[category](ImageDraw.Draw(product), rng, body, shade, light)
    image = _background(rng)
    shadow = Image.new("RGBA", product.size)
    shadow.paste((40, 40, 60, 90), mask=product.getchannel("A"))
    shadow = shadow.filter(ImageFilter.GaussianBlur(14))
    image.paste(shadow, (10, 16), shadow)
    image.paste(product, mask=product)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _rgb(hue: float, lightness: float, saturation: float) -> Color:
    red, green, blue = colorsys.hls_to_rgb(hue, min(0.95, max(0.05, lightness)), saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(rng: random.Random) -> Image.Image:
    """A light studio sweep, paler at the top."""
    tint = _rgb(rng.random(), 0.93, 0.15)
    gradient = Image.linear_gradient("L").resize((_CANVAS, _CANVAS))
    return Image.composite(
        Image.new("RGB", gradient.size, tint), Image.new("RGB", gradient.size, (252, 252, 252)), gradient
    )


def _mug(draw: Draw, rng: random.Random, body: Color, shade: Color, light: Color) -> None:
    width, height = rng.randint(170, 220), rng.randint(200, 260)
    left, top = 256 - width // 2 - 20, 262 - height // 2
    right, bottom = left + width, top + height
    draw.arc((right - 50, top + 45, right + 75, bottom - 45), -90, 90, shade, 24)
    draw.rounded_rectangle((left, top, right, bottom), 28, body)
    draw.ellipse((left, top - 22, right, top + 22), light)
    draw.ellipse((left + 16, top - 12, right - 16, top + 14), shade)
    for stripe in range(rng.randint(0, 3)):
        draw.rectangle((left, top + 80 + stripe * 40, right, top + 96 + stripe * 40), light)


def _bottle(draw: Draw, rng: random.Random, body: Color, shade: Color, light: Color) -> None:
    width, height = rng.randint(110, 150), rng.randint(300, 350)
    left, top = 256 - width // 2, 256 - height // 2
    right, bottom = left + width, top + height
    neck = width // 3
    draw.rounded_rectangle((256 - neck // 2, top - 40, 256 + neck // 2, top + 90), 8, body)
    draw.rounded_rectangle((256 - neck // 2 - 6, top - 56, 256 + neck // 2 + 6, top - 24), 8, shade)
    draw.rounded_rectangle((left, top + 60, right, bottom), 44, body)
    label = rng.randint(120, 170)
    draw.rectangle((left, top + label, right, top + label + 90), (250, 248, 240))
    draw.line((left + 20, top + label + 30, right - 20, top + label + 30), shade, 8)
    draw.line((left + 20, top + label + 56, right - 40, top + label + 56), light, 8)


def _shirt(draw: Draw, rng: random.Random, body: Color, shade: Color, light: Color) -> None:
    sleeve = rng.randint(150, 230)
    hem = rng.randint(400, 440)
    draw.polygon([(170, 110), (60, sleeve), (100, sleeve + 70), (190, 190)], shade)
    draw.polygon([(342, 110), (452, sleeve), (412, sleeve + 70), (322, 190)], shade)
    draw.polygon([(170, 104), (342, 104), (352, hem), (160, hem)], body)
    draw.ellipse((206, 78, 306, 146), light)
    if rng.random() < 0.5:
        draw.ellipse((216, 220, 296, 300), light)
    else:
        for line in range(4):
            draw.rectangle((164, 200 + line * 50, 348, 214 + line * 50), light)


def _lamp(draw: Draw, rng: random.Random, body: Color, shade: Color, light: Color) -> None:
    top, narrow, wide = rng.randint(80, 120), rng.randint(60, 90), rng.randint(120, 160)
    draw.rectangle((248, 250, 264, 410), shade)
    draw.rounded_rectangle((176, 404, 336, 432), 14, shade)
    draw.polygon([(256 - narrow, top), (256 + narrow, top), (256 + wide, 272), (256 - wide, 272)], body)
    draw.polygon([(256 - narrow, top), (256 - narrow + 24, top), (256 - wide + 50, 272), (256 - wide, 272)], light)


def _shoe(draw: Draw, rng: random.Random, body: Color, shade: Color, light: Color) -> None:
    heel = rng.randint(150, 200)
    draw.polygon([(90, heel), (190, heel + 10), (270, 270), (420, 300), (430, 350), (90, 350)], body)
    draw.ellipse((350, 280, 444, 356), body)
    draw.rounded_rectangle((80, 344, 448, 378 + rng.randint(0, 24)), 16, (248, 248, 244))
    for lace in range(4):
        draw.line((200 + lace * 30, 240 + lace * 18, 236 + lace * 30, 222 + lace * 18), light, 10)
    draw.line((110, 330, 330, 330), shade, 12)


def _bag(draw: Draw, rng: random.Random, body: Color, shade: Color, light: Color) -> None:
    width, height = rng.randint(220, 290), rng.randint(190, 240)
    left, top = 256 - width // 2, 290 - height // 2
    right, bottom = left + width, top + height
    handle = rng.randint(60, 90)
    draw.arc((256 - handle, top - 110, 256 + handle, top + 110), 180, 360, shade, 20)
    draw.rounded_rectangle((left, top, right, bottom), 30, body)
    draw.rectangle((left, top + 60, right, top + 74), shade)
    draw.ellipse((238, top + 48, 274, top + 84), light)


CATEGORIES: dict[str, Callable[[Draw, random.Random, Color, Color, Color], None]] = {
    "bags": _bag,
    "bottles": _bottle,
    "lamps": _lamp,
    "mugs": _mug,
    "shirts": _shirt,
    "shoes": _shoe,
}
