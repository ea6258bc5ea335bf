"""Encoders stored as TensorFlow SavedModels: from a folder (`savedmodel:`) or by a TF-Hub handle (`tfhub:`).

Both follow the TF-Hub image feature vector convention: float32 [n, height, width, 3] in [0, 1] to float32 [n, d].
Keras 3 cannot load such models with `load_model`, so they are loaded as what they are: SavedModels.
"""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog import storage
from catalog.encoder_info import PRECISIONS, EncoderInfo
from catalog.errors import UsageError
from catalog.extras import require
from encoders.encoder import Encoder, EncoderElsewhere
from encoders.openvino_engine import CannotConvertError, OpenVinoEncoder
from encoders.tensorflow_import import has_gpu, tensorflow
from encoders.tf_function import OPTIONS, TensorFlowEncoder, describe_with, files_fingerprint, parse_options

_INPUT_SIZE = 224


def load_saved_model(location: str, engine: str) -> Encoder:
    """`savedmodel:PATH[?size=HEIGHTxWIDTH&precision=…]`. Raises UsageError when there is no SavedModel."""
    return _in_folder(location).load(engine)


def load_tfhub(location: str, engine: str) -> Encoder:
    """`tfhub:HANDLE[?…]`, downloaded once and cached by TF Hub itself (`TFHUB_CACHE_DIR`).

    Raises UsageError when the handle cannot be resolved.
    """
    handle, options = parse_options(location, "tfhub:")
    tensorflow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Its use of pkg_resources, which the locked setuptools still has.
        hub = require("tensorflow_hub")
    try:
        path = hub.resolve(handle)
        if not storage.exists(storage.join(path, "saved_model.pb")):
            raise OSError("it has no saved_model.pb")
    except Exception as error:  # TF Hub raises what its resolvers meet: URLError, OSError, ValueError, RuntimeError.
        raise UsageError(
            f"--encoder tfhub:{handle} cannot be loaded: {error}; expected a TF-Hub handle that this machine can "
            "reach, or one already in TFHUB_CACHE_DIR"
        ) from None
    return _SavedModel(f"tfhub:{handle}", path, options).load(engine)


def check_saved_model(kind: str, location: str) -> None:
    """Raises UsageError for a `savedmodel:` or `tfhub:` that cannot be, as far as that is known without the model."""
    if kind == "savedmodel":
        _in_folder(location)
    else:
        handle, options = parse_options(location, "tfhub:")
        _SavedModel(f"tfhub:{handle}", "", options)


def _in_folder(location: str) -> _SavedModel:
    path, options = parse_options(location, "savedmodel:")
    path = storage.absolute(path)
    if not storage.exists(storage.join(path, "saved_model.pb")):
        raise UsageError(f"--encoder savedmodel:{path}: there is no saved_model.pb in that folder")
    return _SavedModel(f"savedmodel:{path}", path, options)


class _SavedModel:
    """A SavedModel that was found, before an engine has it."""

    def __init__(self, spec: str, path: str, options: dict[str, str]) -> None:
        self._spec = spec
        self._path = path
        self._options = options
        self._size = _size_option(options, spec)
        self._precision = options.get("precision", "float32")
        if self._precision not in PRECISIONS:
            raise UsageError(
                f"--encoder {spec}: precision={self._precision} is unknown; expected one of {', '.join(PRECISIONS)}"
            )

    def load(self, engine: str) -> Encoder:
        """The encoder on the engine asked for, or with `auto` on the better one that takes the model."""
        if self._precision == "float16" and not has_gpu():
            return self._for_a_gpu_elsewhere(engine)
        if engine == "tensorflow" or (engine == "auto" and (self._precision == "float16" or has_gpu())):
            return self._on_tensorflow()
        try:
            with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as scratch:
                return OpenVinoEncoder(_local_folder(self._path, scratch), self._size, self._precision, self._describe)
        except CannotConvertError as error:
            if engine == "openvino":
                raise UsageError(
                    f"--inference-engine openvino does not take {self._spec}: {error}; "
                    "use --inference-engine tensorflow"
                ) from None
            return self._on_tensorflow()

    def _for_a_gpu_elsewhere(self, engine: str) -> Encoder:
        """What a launcher without a GPU needs to know of an encoder whose workers have one."""
        place = self._spec.partition(":")[2]
        found = _SavedModel(self._spec, self._path, {**self._options, "precision": "float32"}).load(engine).info
        return EncoderElsewhere(
            replace(self._describe(found.input_size), dimension=found.dimension),
            f"--precision float16 needs a GPU to run {place}; on CPUs it is float32 or bfloat16",
        )

    def _describe(self, size: tuple[int, int]) -> EncoderInfo:
        options = {name: text for name, text in self._options.items() if (name, text) != ("precision", "float32")}
        suffix = "?" + "&".join(f"{key}={value}" for key, value in sorted(options.items())) if options else ""
        spec = self._spec
        return describe_with(
            name=Path(self._path.rstrip("/")).name if spec.startswith("savedmodel:") else spec.removeprefix("tfhub:"),
            spec=spec + suffix,
            input_size=size,
            weights=files_fingerprint(self._path),
            preprocessing="unit-interval",
            precision=self._precision,
        )

    def _on_tensorflow(self) -> TensorFlowEncoder:
        tf = tensorflow()
        try:
            model = tf.saved_model.load(self._path)
        except (OSError, ValueError) as error:
            raise UsageError(f"--encoder {self._spec} is no SavedModel: {str(error).splitlines()[0]}") from None
        call = _callable_of(model, self._spec)

        def features(pixels: Any) -> Any:
            result = call(tf.cast(pixels, tf.float32) / 255.0)
            if isinstance(result, dict):
                result = result.get("default", next(iter(result.values())))
            return tf.reshape(result, [tf.shape(result)[0], -1]) if result.shape.rank != 2 else result

        size = self._size or _declared_size(model) or (_INPUT_SIZE, _INPUT_SIZE)
        return TensorFlowEncoder(self._describe(size), features, keep_alive=model, precision=self._precision)


def _local_folder(path: str, scratch: str) -> str:
    """The model's folder on this machine: itself, or a copy in `scratch`."""
    if storage.scheme_of(path) == "file":
        return storage.absolute(path)
    for url in storage.list_files(path):
        folder = Path(scratch) / storage.parent_of(url).removeprefix(path).strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        storage.local_copy(url, folder)
    return scratch


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
    unknown = set(options) - set(OPTIONS)
    if unknown:
        raise UsageError(
            f"--encoder {spec}: unknown option {sorted(unknown)[0]!r}; expected {' or '.join(OPTIONS)}, as in ?size=224"
        )
    if text is None:
        return None
    parts = text.split("x")
    if len(parts) > 2 or not all(part.isdigit() and 8 <= int(part) <= 4096 for part in parts):
        raise UsageError(f"--encoder {spec}: size={text} is no size; expected pixels, as in ?size=224 or ?size=224x192")
    return int(parts[0]), int(parts[-1])
