from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from demo.products import CATEGORIES, COLORS, draw_product
from tests.conftest import Finished


def test_the_same_product_is_drawn_the_same_twice_and_another_one_is_not() -> None:
    first, again, other = (np.asarray(draw_product("mugs", "red", seed)) for seed in ("1", "1", "2"))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_every_category_and_colour_can_be_drawn_in_its_colour() -> None:
    for category in CATEGORIES:
        hues = []
        for color in COLORS:
            hsv = np.asarray(draw_product(category, color, "0").convert("HSV")).reshape(-1, 3)
            vivid = hsv[hsv[:, 1] > 60]
            hues.append(float(np.median(vivid[:, 0])) / 255 if len(vivid) > 500 else None)
        assert hues[-1] is None  # Grey.
        wanted = [hue for hue, _ in COLORS.values()][:-1]
        for found, hue in zip(hues[:-1], wanted, strict=True):
            assert found is not None
            assert min(abs(found - hue), 1 - abs(found - hue)) < 0.06


def test_the_demo_runs_everything_and_draws_what_it_found(cli: Callable[..., Finished], tmp_path: Path) -> None:
    done = cli("demo", "--output", tmp_path / "demo", "--json")
    assert done.code == 0
    assert done.json["embed"]["rejects_by_reason"] == {"truncated": 1, "unsupported_format": 1}
    assert done.json["embed"]["embedded"] == 384
    with Image.open(tmp_path / "demo" / "neighbours.png") as sheet:
        assert sheet.width > 1_000
        assert len(set(sheet.convert("RGB").resize((64, 64)).getdata())) > 100
    for line in done.err.splitlines():
        if line.startswith("5. search"):
            query = line.split(": ")[0].split()[-1].removesuffix(".jpg")
            color = query.split("/")[1].split("-")[0]
            assert f"{color}-" in line.split(": ")[1].split(",")[0]
    again = cli("demo", "--output", tmp_path / "demo", "--json")
    assert (again.json["embed"]["embedded"], again.json["index"]["version"]) == (0, done.json["index"]["version"])
