"""Images by location: fetched by many threads, decoded (and encoded) by as many as there are cores, answered in order.

A rolling window of images is under way at a time, so reads, decodes and the encoder overlap, and memory is bounded by
the window, not by the number of images. Not for: what the answers become.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from catalog import storage
from catalog.errors import CatalogIndexerError
from catalog.rejects import Reason
from encoders.decode import DecodeError, DecodeLimits, decode
from encoders.meter import Meter
from encoders.picture_signature import phash_256, pixel_hash, signature

_FETCHERS = 64
WINDOW = 160  # Images under way for one caller: enough for 30 ms a read at 2,000 images a second.
_BYTES_AHEAD = 256 << 20
_USUAL_BYTES = 1 << 20


@dataclass(frozen=True)
class ImageRequest:
    """An image to load.

    Attributes:
        uri: its location.
        known_hash: sha256 of the bytes whose vector is stored already; the same bytes are not decoded again.
    """

    uri: str
    known_hash: bytes | None = None


@dataclass(frozen=True)
class LoadedImage:
    """An image ready for an encoder, or through it.

    Attributes:
        pixels: uint8 [height, width, 3] of the encoder's input size.
        width, height: of the upright original.
        content_hash: sha256 of the file's bytes.
        phash, thumbnail, phash_256, pixel_hash: see `encoders.picture_signature`.
        file_bytes: size of the file.
        source_version: what the store said of the object that was read.
        vector: float32 [d] where the loader was given an encoder, `pixels` being empty then.
    """

    pixels: np.ndarray
    width: int
    height: int
    content_hash: bytes
    phash: int
    thumbnail: bytes
    phash_256: bytes
    pixel_hash: bytes
    file_bytes: int
    source_version: str
    vector: np.ndarray | None = None


@dataclass(frozen=True)
class SameContent:
    """The image's bytes are those that were known."""

    source_version: str


@dataclass(frozen=True)
class LoadFailure:
    """Why an image did not load; `source_version` is there when it was read."""

    reason: Reason
    detail: str
    source_version: str | None = None


Answer = LoadedImage | SameContent | LoadFailure
_NO_PIXELS = np.empty((0, 0, 3), np.uint8)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resize(image: Image.Image, input_size: tuple[int, int]) -> Image.Image:
    """An RGB image stretched to `input_size` (height, width) with a bilinear filter whose support grows with the
    reduction, so that fine patterns do not alias."""
    height, width = input_size
    return image.resize((width, height), Image.Resampling.BILINEAR)


class ImageLoader:
    """Loads images with two pools of threads, shared by all callers; one loader a process is enough."""

    def __init__(
        self,
        input_size: tuple[int, int],
        limits: DecodeLimits,
        threads: int | None = None,
        encode: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """
        Args:
            input_size: (height, width) of the pixels.
            limits: of one image.
            threads: that decode; two for each core by default, as one of them often waits for the encoder.
            encode: uint8 [1, height, width, 3] to float32 [1, d], called by the thread that decoded the image.
        """
        self._input_size = input_size
        self._limits = limits
        self._encode = encode
        self._room = _Room(_BYTES_AHEAD)
        self._fetching = ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch")
        self._decoding = ThreadPoolExecutor(threads or 2 * cores(), thread_name_prefix="decode")

    def load_all(self, requests: Iterable[ImageRequest], meter: Meter | None = None) -> Iterator[Answer]:
        """Yields one answer for each request, in the order given. May be called by several threads at once."""
        meter = meter or Meter()
        waiting: deque[Future[Answer]] = deque()
        try:
            for request in requests:
                waiting.append(self._start(request, meter))
                if len(waiting) >= WINDOW:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def _start(self, request: ImageRequest, meter: Meter) -> Future[Answer]:
        answer: Future[Answer] = Future()
        self._fetching.submit(self._fetch, request, meter, answer)
        return answer

    def _fetch(self, request: ImageRequest, meter: Meter, answer: Future[Answer]) -> None:
        if not answer.set_running_or_notify_cancel():
            return
        held = self._room.take(_USUAL_BYTES)  # What it is likely to be, before anybody knows.
        try:
            fetched = self._read(request.uri, meter)
            if isinstance(fetched, LoadFailure):
                self._room.give_back(held)
                answer.set_result(fetched)
                return
            held += self._room.correct(len(fetched.data) - held)
            self._decoding.submit(self._finish, request, fetched, meter, answer)
        except BaseException as error:
            self._room.give_back(held)
            answer.set_exception(error)

    def _finish(self, request: ImageRequest, fetched: storage.Fetched, meter: Meter, answer: Future[Answer]) -> None:
        try:
            outcome = self._work(request, fetched, meter)
        except BaseException as error:
            self._room.give_back(len(fetched.data))
            answer.set_exception(error)
        else:
            self._room.give_back(len(fetched.data))
            answer.set_result(outcome)

    def _read(self, uri: str, meter: Meter) -> storage.Fetched | LoadFailure:
        started = time.perf_counter()
        try:
            fetched = storage.fetch(uri, self._limits.max_bytes + 1)
        except CatalogIndexerError as error:  # A scheme whose package is not installed, or that is none.
            return LoadFailure(Reason.SCHEME_NOT_ALLOWED, storage.redact_text(str(error)))
        except (ValueError, TypeError) as error:  # A location that is none, such as one with a NUL in it.
            return LoadFailure(Reason.UNREADABLE, f"the location is not valid: {storage.redact_text(str(error))}")
        except OSError as error:
            return _read_failure(error)
        meter.fetched(len(fetched.data), time.perf_counter() - started)
        return fetched

    def _work(self, request: ImageRequest, fetched: storage.Fetched, meter: Meter) -> Answer:
        started = time.perf_counter()
        digest = hashlib.sha256(fetched.data).digest()
        if digest == request.known_hash:
            return SameContent(fetched.version)
        try:
            image = self._prepare(fetched.data, digest, fetched.version)
        except DecodeError as error:
            return LoadFailure(error.reason, error.detail, fetched.version)
        decoded = time.perf_counter()
        meter.decoded(decoded - started)
        if self._encode is None:
            return image
        vector = self._encode(image.pixels[None])[0]
        meter.encoded(1, time.perf_counter() - decoded)
        return LoadedImage(**{**vars(image), "pixels": _NO_PIXELS, "vector": vector})

    def load_bytes(self, data: bytes) -> LoadedImage:
        """Decodes one image that is already in memory. Raises DecodeError."""
        return self._prepare(data, hashlib.sha256(data).digest(), "")

    def _prepare(self, data: bytes, digest: bytes, version: str) -> LoadedImage:
        picture = decode(data, self._limits, least=self._input_size)
        resized = resize(picture.image, self._input_size)
        phash, thumbnail = signature(resized)
        return LoadedImage(
            pixels=np.asarray(resized),
            width=picture.width,
            height=picture.height,
            content_hash=digest,
            phash=phash,
            thumbnail=thumbnail,
            phash_256=phash_256(resized),
            pixel_hash=pixel_hash(picture),
            file_bytes=len(data),
            source_version=version,
        )


class _Room:
    """Bytes that were read and wait to be decoded; who would read more waits while there are too many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, count: int) -> int:
        """Waits until there is room for `count` bytes, and takes it."""
        with self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + count <= self._most)
            self._taken += count
        return count

    def correct(self, count: int) -> int:
        """Takes more or less, without waiting: the bytes are there already."""
        with self._changed:
            self._taken += count
            if count < 0:
                self._changed.notify_all()
        return count

    def give_back(self, count: int) -> None:
        with self._changed:
            self._taken -= count
            self._changed.notify_all()


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
