"""Images by location to vectors: the loader and the encoder put together as the encoder likes it.

An engine that takes images one by one, on many threads, is called by the thread that decoded the image, while the
pixels are in its cache. One that wants batches (a GPU) is called with batches of its fixed size while the next are
decoded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from encoders.decode import DecodeLimits
from encoders.encoder import Encoder
from encoders.image_loader import Answer, ImageLoader, ImageRequest, LoadedImage
from encoders.meter import Meter

_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


class ImageEncoder:
    """Encodes images; one a process is enough, for any number of callers.

    Attributes:
        info: of the encoder.
        turn: for callers that want their images to be under way one caller after the other.
    """

    def __init__(self, encoder: Encoder, limits: DecodeLimits, threads: int | None = None) -> None:
        self.info = encoder.info
        self.turn = threading.Lock()
        self._encoder = encoder
        self._loader = ImageLoader(
            encoder.info.input_size, limits, threads, encoder.encode if encoder.one_by_one else None
        )

    def encode_all(self, requests: Iterable[ImageRequest], meter: Meter) -> Iterator[Answer]:
        """Yields one answer for each request, in order; every `LoadedImage` has its `vector`, and no pixels."""
        answers = self._loader.load_all(requests, meter)
        if self._encoder.one_by_one:
            yield from answers
            return
        waiting: list[Answer] = []
        ready = 0
        for answer in answers:
            waiting.append(answer)
            ready += isinstance(answer, LoadedImage)
            if ready == self._encoder.batch_size or (ready == 0 and len(waiting) == self._encoder.batch_size):
                yield from self._encode(waiting, meter)
                waiting, ready = [], 0
        yield from self._encode(waiting, meter)

    def _encode(self, answers: list[Answer], meter: Meter) -> Iterator[Answer]:
        images = [answer for answer in answers if isinstance(answer, LoadedImage)]
        vectors: Iterator[np.ndarray] = iter(())
        if images:
            started = time.perf_counter()
            vectors = iter(self._encoder.encode(np.stack([image.pixels for image in images])))
            meter.encoded(len(images), time.perf_counter() - started)
        for answer in answers:
            yield (
                replace(answer, pixels=_NO_PIXELS, vector=next(vectors)) if isinstance(answer, LoadedImage) else answer
            )
