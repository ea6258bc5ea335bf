"""What images cost on their way to a vector: counted while many threads work on them."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class Meter:
    """Sums over images; seconds are summed over threads, so they exceed the time that passed.

    Attributes:
        fetched_images, fetched_bytes: objects read, and their bytes.
        fetch_seconds: waiting for reads, retries included.
        decode_seconds: hashing, decoding, resizing.
        encoded_images, encode_seconds: in the encoder.
    """

    fetched_images: int = 0
    fetched_bytes: int = 0
    fetch_seconds: float = 0.0
    decode_seconds: float = 0.0
    encoded_images: int = 0
    encode_seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def fetched(self, count: int, seconds: float) -> None:
        """One object of `count` bytes was read."""
        with self._lock:
            self.fetched_images += 1
            self.fetched_bytes += count
            self.fetch_seconds += seconds

    def decoded(self, seconds: float) -> None:
        """One image was decoded."""
        with self._lock:
            self.decode_seconds += seconds

    def encoded(self, images: int, seconds: float) -> None:
        """`images` images went through the encoder together."""
        with self._lock:
            self.encoded_images += images
            self.encode_seconds += seconds

    def totals(self) -> dict[str, float]:
        """The sums by name, seconds to the millisecond."""
        with self._lock:
            return {name: round(value, 3) for name, value in vars(self).items() if not name.startswith("_")}
