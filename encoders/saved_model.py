"""Encoders stored as TensorFlow SavedModels: from a folder (`savedmodel:`) or by a TF-Hub handle (`tfhub:`).

Both follow the TF-Hub image feature vector convention: float32 [n, height, width, 3] in [0, 1] to float32 [n, d].
Keras 3 cannot load such models with `load_model`, so they are loaded as what they are: SavedModels.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from catalog import storage
from catalog.errors import UsageError
from catalog.extras import require
from encoders.tensorflow_import import tensorflow
from encoders.tf_function import TensorFlowEncoder, describe_with, files_fingerprint, parse_options

_INPUT_SIZE = 224


def load_saved_model(location: str) -> TensorFlowEncoder:
    """`savedmodel:PATH[?size=HEIGHTxWIDTH]`. Raises UsageError when there is no SavedModel."""
    path, options = parse_options(location, "savedmodel:")
    path = storage.absolute(path)
    if not storage.exists(storage.join(path, "saved_model.pb")):
        raise UsageError(f"--encoder savedmodel:{path}: there is no saved_model.pb in that folder")
    tf = tensorflow()
    return _encoder(tf, tf.saved_model.load(path), f"savedmodel:{path}", path, options)


def load_tfhub(location: str) -> TensorFlowEncoder:
    """`tfhub:HANDLE[?size=HEIGHTxWIDTH]`, downloaded once and cached by TF Hub itself (`TFHUB_CACHE_DIR`).

    Raises UsageError when the handle cannot be resolved.
    """
    handle, options = parse_options(location, "tfhub:")
    tf = tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Its use of pkg_resources, which the locked setuptools still has.
        hub = require("tensorflow_hub")
    try:
        path = hub.resolve(handle)
        model = hub.load(path)
    except Exception as error:  # TF Hub raises what its resolvers meet: URLError, OSError, ValueError, RuntimeError.
        raise UsageError(
            f"--encoder tfhub:{handle} cannot be loaded: {error}; expected a TF-Hub handle that this machine can "
            "reach, or one already in TFHUB_CACHE_DIR"
        ) from None
    return _encoder(tf, model, f"tfhub:{handle}", path, options)


def _encoder(tf: Any, model: Any, spec: str, path: str, options: dict[str, str]) -> TensorFlowEncoder:
    call = _callable_of(model, spec)
    size = _size_option(options, spec) or _declared_size(model) or (_INPUT_SIZE, _INPUT_SIZE)

    def features(pixels: Any) -> Any:
        result = call(tf.cast(pixels, tf.float32) / 255.0)
        if isinstance(result, dict):
            result = result.get("default", next(iter(result.values())))
        return tf.reshape(result, [tf.shape(result)[0], -1]) if result.shape.rank != 2 else result

    suffix = "" if not options else "?" + "&".join(f"{key}={value}" for key, value in sorted(options.items()))
    info = describe_with(
        name=Path(path.rstrip("/")).name if spec.startswith("savedmodel:") else spec.removeprefix("tfhub:"),
        spec=spec + suffix,
        input_size=size,
        weights=files_fingerprint(path),
        preprocessing="unit-interval",
    )
    return TensorFlowEncoder(info, features, keep_alive=model)


def _callable_of(model: Any, spec: str) -> Any:
    """The function of a SavedModel from images to features."""
    if callable(model):
        return lambda images: model(images)
    signatures = getattr(model, "signatures", {})
    for name in ("default", "image_feature_vector", "serving_default"):
        if name in signatures:
            signature = signatures[name]
            inputs = list(signature.structured_input_signature[1])
            if len(inputs) == 1:
                return lambda images: signature(**{inputs[0]: images})
    raise UsageError(
        f"--encoder {spec}: the SavedModel is not callable and has no signature with one image input; "
        "expected a TF-Hub image feature vector model"
    )


def _declared_size(model: Any) -> tuple[int, int] | None:
    """(height, width) that the model's own functions ask for, if they do."""
    functions = list(getattr(model.__call__, "concrete_functions", [])) if callable(model) else []
    functions += list(getattr(model, "signatures", {}).values())
    for function in functions:
        arguments, keywords = function.structured_input_signature
        for spec in [*arguments, *keywords.values()]:
            shape = getattr(spec, "shape", None)
            if shape is not None and shape.rank == 4 and shape[1] and shape[2]:
                return int(shape[1]), int(shape[2])
    return None


def _size_option(options: dict[str, str], spec: str) -> tuple[int, int] | None:
    text = options.get("size")
    unknown = set(options) - {"size"}
    if unknown:
        raise UsageError(
            f"--encoder {spec}: unknown option {sorted(unknown)[0]!r}; the only one is size, as in ?size=224"
        )
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdigit() and 8 <= int(part) <= 4096 for part in parts):
        raise UsageError(f"--encoder {spec}: size={text} is no size; expected pixels, as in ?size=224 or ?size=224x192")
    return int(parts[0]), int(parts[-1])
