"""Views of a thumbnail: what it would be if its picture had been cropped, made grey or turned.

Two pictures are compared by each view of the one with the thumbnail of the other. A view is made of the 8 x 8 thumbnail
itself, so no picture is read again. Weights are whole 4096ths, so that every product is exact and the same on every
machine.
"""

from __future__ import annotations

from functools import cache

import numpy as np

#: Pixels of a side, and bytes of a thumbnail: rows from the top, red, green and blue of each pixel.
SIDE = 8
BYTES = SIDE * SIDE * 3
#: What one level of a thumbnail is in a view picture.
UNIT = 4096
_AXIS_UNIT = 64
#: The thumbnail as it is: always the first view.
FULL = "full"
#: Views that cost nothing in precision: edits that every shop makes.
DEFAULT_VIEWS = (
    FULL, "grey", "crop10", "crop20", "crop30", "top_left15", "top_right15", "bottom_left15", "bottom_right15",
)  # fmt: skip
#: Views of pictures that somebody turned or mirrored.
TURNED_VIEWS = ("mirrored", "upside_down", "turned90", "turned180", "turned270")
_CENTRE = {"crop10": 0.1, "crop20": 0.2, "crop30": 0.3}
# Where the window of 0.85 of each side begins, as a share of the height and of the width.
_CORNERS = {
    "top_left15": (0.0, 0.0),
    "top_right15": (0.0, 0.15),
    "bottom_left15": (0.15, 0.0),
    "bottom_right15": (0.15, 0.15),
}
# Rec. 601 luma in 256ths.
_LUMA = (77, 150, 29)


def view_pictures(thumbnails: np.ndarray, view: str) -> np.ndarray:
    """A view of each thumbnail.

    Args:
        thumbnails: uint8 [n, 192].
        view: one of `DEFAULT_VIEWS` and `TURNED_VIEWS`.

    Returns:
        float32 [n, 192], whole numbers: 4096ths of a level. Of a crop, some may be below 0 or above 255 levels.
    """
    return thumbnails.astype(np.float32) @ view_matrix(view)


@cache
def view_matrix(view: str) -> np.ndarray:
    """float32 [192, 192], whole numbers whose columns sum to 4096: a thumbnail as a row times this is its view. Raises
    ValueError for a name that is no view."""
    if view == "grey":
        return np.kron(np.eye(SIDE * SIDE), np.repeat(np.array(_LUMA)[:, None], 3, axis=1) * (UNIT // 256)).astype(
            np.float32
        )
    if view in TURNED_VIEWS:
        places = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
        turned = {
            "mirrored": places[:, ::-1],
            "upside_down": places[::-1],
            "turned90": np.rot90(places, 3),
            "turned180": np.rot90(places, 2),
            "turned270": np.rot90(places, 1),
        }[view]
        return np.kron(np.eye(SIDE * SIDE)[turned.ravel()].T, UNIT * np.eye(3)).astype(np.float32)
    top, left, share = _window(view)
    return np.kron(np.kron(_axis(top, share), _axis(left, share)).T, np.eye(3)).astype(np.float32)


def _window(view: str) -> tuple[float, float, float]:
    """Where a crop begins, from the top and from the left, and its side: shares of the picture's."""
    if view == FULL:
        return 0.0, 0.0, 1.0
    if view in _CENTRE:
        return _CENTRE[view] / 2, _CENTRE[view] / 2, 1 - _CENTRE[view]
    if view in _CORNERS:
        return *_CORNERS[view], 0.85
    raise ValueError(f"{view} is no view: {', '.join((*DEFAULT_VIEWS, *TURNED_VIEWS))}")


def _axis(begin: float, share: float) -> np.ndarray:
    """float64 [8, 8], whole numbers whose rows sum to 64: what each pixel of a side weighs in each pixel of the window.
    Cubic between the pixels' centres (Catmull and Rom), which leaves more of what is small than a straight line does;
    beyond the outer ones, as they are."""
    centres = np.clip((begin + (np.arange(SIDE) + 0.5) / SIDE * share) * SIDE - 0.5, 0, SIDE - 1)
    below = np.floor(centres).astype(int)
    weights = np.zeros((SIDE, SIDE))
    for step in range(-1, 3):
        pixels = np.clip(below + step, 0, SIDE - 1)
        np.add.at(weights, (np.arange(SIDE), pixels), _cubic(np.abs(centres - (below + step))))
    whole = np.rint(weights * _AXIS_UNIT)
    whole[np.arange(SIDE), whole.argmax(axis=1)] += _AXIS_UNIT - whole.sum(axis=1)
    return whole


def _cubic(distance: np.ndarray) -> np.ndarray:
    """What a pixel weighs at a distance from its centre, in pixels."""
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
