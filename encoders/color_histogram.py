"""Joint colour histograms: no weights, no network; the offline default, and a baseline that is hard to fool.

Swain and Ballard, "Color Indexing", 1991.
"""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from catalog.encoder_info import EncoderInfo
from catalog.errors import UsageError
from encoders import decode
from encoders.encoder import Encoder

_SIDE = 128
# Below this saturation (of 255) a pixel is grey to the eye and its hue is noise: white backgrounds would scatter.
_GREY = 16
_DEFAULT_BINS = {"rgb": (8, 8, 8), "hsv": (16, 4, 4)}


class ColorHistogramEncoder(Encoder):
    """The share of an image's pixels in each cell of a grid over RGB or HSV.

    Each vector sums to 1, so Euclidean, L1 and cosine are all meaningful; half the L1 distance is one minus the
    histogram intersection.
    """

    one_by_one = True

    def __init__(self, space: str = "hsv", bins: tuple[int, int, int] | None = None) -> None:
        self._space = space
        self._bins = bins or _DEFAULT_BINS[space]
        shape = "x".join(map(str, self._bins))
        spec = f"color-histogram:{space}:{shape}"
        self.info = EncoderInfo(
            name=f"color-histogram-{space}-{shape}",
            spec=spec,
            dimension=int(np.prod(self._bins)),
            input_size=(_SIDE, _SIDE),
            metric="l2",
            normalized=False,
            fingerprint=hashlib.sha256(f"{spec}|{_SIDE}|{_GREY}|decode {decode.VERSION}".encode()).hexdigest(),
        )

    @classmethod
    def from_spec(cls, options: str) -> ColorHistogramEncoder:
        """From `[rgb|hsv][:AxBxC]`. Raises UsageError."""
        space, _, shape = options.partition(":")
        space = space or "hsv"
        try:
            bins = tuple(int(part) for part in shape.split("x")) if shape else None
        except ValueError:
            bins = ()
        if space not in _DEFAULT_BINS or (bins is not None and (len(bins) != 3 or not all(1 <= b <= 64 for b in bins))):
            raise UsageError(
                f"--encoder color-histogram:{options} is unknown; expected color-histogram[:rgb|hsv][:AxBxC] "
                "with 1 to 64 bins a channel, such as color-histogram:hsv:16x4x4"
            )
        return cls(space, bins)

    def encode(self, images: np.ndarray) -> np.ndarray:
        counts = np.empty((len(images), self.info.dimension), np.float32)
        for row, pixels in enumerate(images):
            if self._space == "hsv":
                pixels = np.asarray(Image.fromarray(pixels).convert("HSV"))
            flat = pixels.reshape(-1, 3).astype(np.int64)
            if self._space == "hsv":
                flat[flat[:, 1] < _GREY, 0] = 0
            cells = np.zeros(len(flat), np.int64)
            for channel, bins in enumerate(self._bins):
                cells = cells * bins + flat[:, channel] * bins // 256
            counts[row] = np.bincount(cells, minlength=self.info.dimension)
        return counts / np.float32(images.shape[1] * images.shape[2])
