"""An encoder around any TensorFlow function: one fixed-shape graph from uint8 pixels to unit-length vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from catalog import canonical_json, storage
from catalog.encoder_info import EncoderInfo
from catalog.errors import UsageError
from encoders import decode
from encoders.encoder import Encoder, unit_length
from encoders.tensorflow_import import tensorflow

_BATCH = 32


class TensorFlowEncoder(Encoder):
    """Runs batches of exactly 32 images, the last one padded, so that one graph serves and a row's vector does not
    depend on how many rows came with it."""

    batch_size = _BATCH

    def __init__(self, info: EncoderInfo, features: Callable[[Any], Any], keep_alive: Any) -> None:
        """
        Args:
            info: the description; its dimension is found here.
            features: TensorFlow function of uint8 [n, height, width, 3] to float32 [n, d].
            keep_alive: the object that owns the variables.
        """
        tf = tensorflow()
        self._keep_alive = keep_alive
        height, width = info.input_size
        signature = [tf.TensorSpec([_BATCH, height, width, 3], tf.uint8)]
        self._run = tf.function(features, input_signature=signature)
        try:
            probe = self._run(np.zeros([_BATCH, height, width, 3], np.uint8)).numpy()
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise UsageError(
                f"--encoder {info.spec} does not take images of {height} x {width} pixels: {str(error).splitlines()[0]}"
            ) from None
        self.info = replace(info, dimension=int(probe.shape[1]))

    def encode(self, images: np.ndarray) -> np.ndarray:
        vectors = np.empty((len(images), self.info.dimension), np.float32)
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            if len(batch) < _BATCH:
                padding = np.zeros((_BATCH - len(batch), *batch.shape[1:]), np.uint8)
                vectors[start:] = self._run(np.concatenate([batch, padding])).numpy()[: len(batch)]
            else:
                vectors[start : start + _BATCH] = self._run(batch).numpy()
        return unit_length(vectors)


def describe_with(name: str, spec: str, input_size: tuple[int, int], weights: str, preprocessing: str) -> EncoderInfo:
    """The description of a cosine encoder of unit-length vectors; its dimension is filled in once the model ran.

    Args:
        weights: sha256 of the weights.
        preprocessing: name of the scaling of pixel values, `unit-interval` or a Keras module.
    """
    height, width = input_size
    parts = [
        weights,
        preprocessing,
        f"{height}x{width}",
        "bilinear-antialias",
        decode.VERSION,
        "float32",
        "unit-length",
    ]
    return EncoderInfo(
        name=name,
        spec=spec,
        dimension=0,
        input_size=input_size,
        metric="cosine",
        normalized=True,
        fingerprint=canonical_json.digest(parts),
    )


def files_fingerprint(folder: str) -> str:
    """sha256 over the names and bytes of all files below `folder`: the same wherever the model was moved to."""
    folder = storage.absolute(folder)
    listed = []
    for url in storage.list_files(folder):
        digest = hashlib.sha256()
        with storage.open_read(url) as file:
            while chunk := file.read(8 << 20):
                digest.update(chunk)
        listed.append([url.removeprefix(folder).lstrip("/"), digest.hexdigest()])
    return canonical_json.digest(sorted(listed))


def parse_options(location: str, prefix: str) -> tuple[str, dict[str, str]]:
    """Splits `PLACE?key=value&…`. A URL keeps a query of its own when that has no `size`. Raises UsageError."""
    place, mark, query = location.rpartition("?")
    if not mark or "size=" not in query:
        place, query = location, ""
    if not place:
        raise UsageError(f"--encoder {prefix} needs what to load, as in {prefix}PLACE")
    return place, dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
