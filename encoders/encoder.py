"""What every encoder is: a description, and a function from a batch of pixels to a batch of vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from catalog.encoder_info import EncoderInfo
from catalog.errors import UsageError


class Encoder(ABC):
    """Turns pixels into vectors. Loaded once a process and shared by its threads."""

    info: EncoderInfo
    #: Rows that `encode` is best called with. A constant of the encoder, so that results do not depend on the machine.
    batch_size: int = 32
    #: Whether `encode` is fastest with one image at a time, called by many threads at once.
    one_by_one: bool = False

    @abstractmethod
    def encode(self, images: np.ndarray) -> np.ndarray:
        """Encodes a batch.

        Args:
            images: uint8 [n, height, width, 3], sRGB, of `info.input_size`.

        Returns:
            float32 [n, info.dimension].
        """


class EncoderElsewhere(Encoder):
    """An encoder that this machine can describe and cannot run."""

    def __init__(self, info: EncoderInfo, why: str) -> None:
        self.info = info
        self._why = why

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Raises UsageError."""
        raise UsageError(self._why)


def unit_length(vectors: np.ndarray) -> np.ndarray:
    """float32 [n, d] with each row divided by its Euclidean length; a row of zeros stays as it is."""
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length == 0, 1, length)
