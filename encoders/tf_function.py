"""An encoder around any TensorFlow function: one fixed-shape graph from uint8 pixels to unit-length vectors."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
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
#: What may follow the `?` of a SPEC.
OPTIONS = ("size", "precision")
# What Grappler is told to do to a float32 graph; SavedModels cannot be rebuilt under a Keras policy.
_REWRITES = {
    "float32": {},
    "float16": {"auto_mixed_precision": True},
    "bfloat16": {"auto_mixed_precision_onednn_bfloat16": True},
}


class TensorFlowEncoder(Encoder):
    """Runs batches of exactly 32 images, the last one padded, so that one graph serves and a row's vector does not
    depend on how many rows came with it."""

    batch_size = _BATCH

    def __init__(
        self, info: EncoderInfo, features: Callable[[Any], Any], keep_alive: Any, precision: str = "float32"
    ) -> None:
        """
        Args:
            info: the description; its dimension is found here.
            features: TensorFlow function of uint8 [n, height, width, 3] to float32 [n, d].
            keep_alive: the object that owns the variables.
            precision: `float32`; `float16` is mixed precision on a GPU, `bfloat16` on a CPU.
        """
        tf = tensorflow()
        if precision == "float16" and not tf.config.list_physical_devices("GPU"):
            raise UsageError("--precision float16 needs a GPU; on CPUs it is float32 or bfloat16")
        self._keep_alive = keep_alive
        self._rewrites = _REWRITES[precision]
        self._one_at_a_time = threading.Lock()  # A batch uses the whole device.
        height, width = info.input_size
        signature = [tf.TensorSpec([_BATCH, height, width, 3], tf.uint8)]
        self._run = tf.function(features, input_signature=signature)
        try:
            probe = self._call(np.zeros([_BATCH, height, width, 3], np.uint8))
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
                vectors[start:] = self._call(np.concatenate([batch, padding]))[: len(batch)]
            else:
                vectors[start : start + _BATCH] = self._call(batch)
        return unit_length(vectors)

    def _call(self, batch: np.ndarray) -> np.ndarray:
        with self._one_at_a_time, _grappler(self._rewrites):
            return np.asarray(self._run(batch).numpy(), np.float32)


@contextlib.contextmanager
def _grappler(rewrites: dict[str, bool]) -> Iterator[None]:
    """Graph rewrites for the calls of the body: the setting is the process's, the encoder is not alone in it."""
    if not rewrites:
        yield
        return
    optimizer = tensorflow().config.optimizer
    before = optimizer.get_experimental_options()
    optimizer.set_experimental_options(rewrites)
    try:
        yield
    finally:
        optimizer.set_experimental_options({**before, **{name: before.get(name, False) for name in rewrites}})


def describe_with(
    name: str, spec: str, input_size: tuple[int, int], weights: str, preprocessing: str, precision: str = "float32"
) -> EncoderInfo:
    """The description of a cosine encoder of unit-length vectors; its dimension is filled in once the model ran.

    Args:
        weights: sha256 of the weights.
        preprocessing: name of the scaling of pixel values, `unit-interval` or a Keras module.
        precision: of the computation. The engine is no part of it: in one precision, engines agree.
    """
    height, width = input_size
    parts = [
        weights,
        preprocessing,
        f"{height}x{width}",
        "bilinear-antialias",
        decode.VERSION,
        precision,
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
    """Splits `PLACE?key=value&…`. A URL keeps a query of its own that has none of our keys. Raises UsageError."""
    place, mark, query = location.rpartition("?")
    if not mark or not any(f"{key}=" in query for key in OPTIONS):
        place, query = location, ""
    if not place:
        raise UsageError(f"--encoder {prefix} needs what to load, as in {prefix}PLACE")
    return place, dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)
