"""Images by location: read, checked, decoded and resized in a rolling window of threads, answered in order.

Memory is bounded by the window, not by the number of images. Not for: what the pixels become.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from catalog import storage
from catalog.rejects import Reason
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.picture_signature import signature


@dataclass(frozen=True)
class LoadedImage:
    """An image ready for an encoder.

    Attributes:
        pixels: uint8 [height, width, 3] of the encoder's input size.
        width, height: of the upright original.
        content_hash: sha256 of the file's bytes.
        phash, thumbnail: see `encoders.picture_signature`.
        source_version: what the store said of the object before it was read.
    """

    pixels: np.ndarray
    width: int
    height: int
    content_hash: bytes
    phash: int
    thumbnail: bytes
    source_version: str


@dataclass(frozen=True)
class LoadFailure:
    """Why an image did not load."""

    reason: Reason
    detail: str


def resize(image: Image.Image, input_size: tuple[int, int]) -> np.ndarray:
    """An RGB image as uint8 [height, width, 3], stretched to `input_size` (height, width) with a bilinear filter whose
    support grows with the reduction, so that fine patterns do not alias."""
    height, width = input_size
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


class ImageLoader:
    """Loads images with a fixed number of threads; one loader a process, used by one caller at a time."""

    def __init__(self, input_size: tuple[int, int], limits: DecodeLimits, threads: int | None = None) -> None:
        self._input_size = input_size
        self._limits = limits
        # Reads wait on a disk or a network while decodes use a core: a few threads more than cores.
        self._threads = threads or (os.cpu_count() or 1) + 2
        self._window = 4 * self._threads + 32

    def load_all(self, uris: Iterable[str]) -> Iterator[LoadedImage | LoadFailure]:
        """Yields one answer for each location, in the order given."""
        waiting: deque[Future[LoadedImage | LoadFailure]] = deque()
        with ThreadPoolExecutor(self._threads, thread_name_prefix="image-loader") as pool:
            try:
                for uri in uris:
                    waiting.append(pool.submit(self.load, uri))
                    if len(waiting) >= self._window:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def load(self, uri: str) -> LoadedImage | LoadFailure:
        """Reads and decodes one image."""
        try:
            version = storage.version_of(uri)
            data = storage.read_bytes(uri, self._limits.max_bytes + 1)
        except ValueError as error:  # A location that is none, such as one with a NUL in it.
            return LoadFailure(Reason.UNREADABLE, f"the location is not valid: {storage.redact_text(str(error))}")
        except OSError as error:
            return _read_failure(error)
        try:
            return self._prepare(data, version)
        except DecodeError as error:
            return LoadFailure(error.reason, error.detail)

    def load_bytes(self, data: bytes) -> LoadedImage:
        """Decodes one image that is already in memory. Raises DecodeError."""
        return self._prepare(data, "")

    def _prepare(self, data: bytes, version: str) -> LoadedImage:
        image = decode(data, self._limits)
        phash, thumbnail = signature(image)
        digest = hashlib.sha256(data).digest()
        pixels = resize(image, self._input_size)
        return LoadedImage(pixels, image.width, image.height, digest, phash, thumbnail, version)


def _read_failure(error: OSError) -> LoadFailure:
    if isinstance(error, storage.AddressRefusedError):
        return LoadFailure(Reason.ADDRESS_REFUSED, storage.redact_text(str(error)))
    reasons = (
        (FileNotFoundError, Reason.NOT_FOUND, "there is no such file"),
        (NotADirectoryError, Reason.NOT_FOUND, "there is no such file"),
        (PermissionError, Reason.FORBIDDEN, "reading it is not allowed"),
        (TimeoutError, Reason.TIMEOUT, "the read took too long"),
    )
    for kind, reason, detail in reasons:
        if isinstance(error, kind):
            return LoadFailure(reason, detail)
    return LoadFailure(Reason.UNREADABLE, storage.redact_text(f"{type(error).__name__}: {error.strerror or error}"))
