"""Encoders of `keras.applications`: the network by name, its own preprocessing, pooled features (`keras:NAME`)."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from typing import Any

import numpy as np

from catalog import storage
from catalog.errors import UsageError
from encoders.tensorflow_import import tensorflow
from encoders.tf_function import TensorFlowEncoder, describe_with

# Published training resolutions that are not 224 (keras.io/api/applications).
_INPUT_SIZES = {
    "Xception": 299,
    "InceptionV3": 299,
    "InceptionResNetV2": 299,
    "NASNetLarge": 331,
    "EfficientNetB1": 240,
    "EfficientNetB2": 260,
    "EfficientNetB3": 300,
    "EfficientNetB4": 380,
    "EfficientNetB5": 456,
    "EfficientNetB6": 528,
    "EfficientNetB7": 600,
    "EfficientNetV2B1": 240,
    "EfficientNetV2B2": 260,
    "EfficientNetV2B3": 300,
    "EfficientNetV2S": 384,
    "EfficientNetV2M": 480,
    "EfficientNetV2L": 480,
}


def load_keras_application(location: str) -> TensorFlowEncoder:
    """`keras:NAME[@weights]`: `weights` is `imagenet` (the default), `random`, or a `.weights.h5` file of the network
    without its classifier.

    Raises:
        UsageError: no such network, or its weights cannot be loaded.
    """
    name, _, weights = location.partition("@")
    weights = weights or "imagenet"
    tf = tensorflow()
    import keras

    builder, preprocess, module = _application(keras, name)
    side = _INPUT_SIZES.get(name, 224)
    source: str | None = weights
    scratch = tempfile.TemporaryDirectory(prefix="catalog-indexer-")
    spec = f"keras:{name}@{weights}"
    if weights == "random":
        source = None
        keras.utils.set_random_seed(0)
    elif weights != "imagenet":
        check_weights(location)
        source = str(storage.local_copy(storage.absolute(weights), scratch.name))
        spec = f"keras:{name}@{storage.absolute(weights)}"
    try:
        with warnings.catch_warnings():
            # Keras only warns where a file lacks a layer's weights, and leaves that layer at random.
            warnings.simplefilter("error", UserWarning)
            model = builder(include_top=False, pooling="avg", input_shape=(side, side, 3), weights=source)
    except Exception as error:  # Keras raises ValueError, OSError or what h5py raises.
        raise UsageError(
            f"--encoder {spec}: the weights cannot be loaded ({str(error).splitlines()[0]}); expected `imagenet` with "
            "a network connection or a filled Keras cache, `random`, or a weights file of the network without its top"
        ) from None
    info = describe_with(name, spec, (side, side), _weights_fingerprint(model), f"keras.{module}")
    return TensorFlowEncoder(
        info, lambda pixels: model(preprocess(tf.cast(pixels, tf.float32)), training=False), keep_alive=model
    )


def check_weights(location: str) -> None:
    """Raises UsageError for a weights file that is not there."""
    weights = location.partition("@")[2]
    if weights not in ("", "imagenet", "random") and not storage.exists(weights):
        raise UsageError(f"--encoder keras:{location}: there is no weights file {weights}")


def _application(keras: Any, name: str) -> tuple[Any, Any, str]:
    """The network, its preprocessing function, and the name of its module."""
    names = []
    for module_name in dir(keras.applications):
        module = getattr(keras.applications, module_name)
        if not hasattr(module, "preprocess_input"):
            continue
        builders = [attribute for attribute in dir(module) if attribute[0].isupper()]
        if name in builders:
            return getattr(module, name), module.preprocess_input, module_name
        names += builders
    raise UsageError(f"--encoder keras:{name}: no such network; expected one of {', '.join(sorted(set(names)))}")


def _weights_fingerprint(model: Any) -> str:
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.shape}{weight.dtype}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
