"""Encoders by their SPEC, loaded once a process."""

from __future__ import annotations

import re
import threading

from catalog.encoder_info import IMPORTED
from catalog.errors import UsageError
from encoders.encoder import Encoder

SPECS = "color-histogram[:rgb|hsv][:AxBxC], savedmodel:PATH[?size=224], tfhub:HANDLE[?size=224], keras:NAME[@weights]"

_loaded: dict[tuple[str, str], Encoder] = {}
_lock = threading.Lock()


def load_encoder(spec: str, engine: str = "auto") -> Encoder:
    """The encoder that `spec` names; the same object for the same text in one process.

    Args:
        spec: one of `SPECS`.
        engine: what runs SavedModels: `openvino`, `tensorflow`, or `auto`: TensorFlow where there is a GPU or where
            OpenVINO does not take the model.

    Raises:
        UsageError: the text is no SPEC, or what it names cannot be loaded.
    """
    with _lock:
        if (spec, engine) not in _loaded:
            encoder = _load(spec, engine)
            # Workers are told the absolute spelling.
            _loaded[spec, engine] = _loaded[encoder.info.spec, engine] = encoder
        return _loaded[spec, engine]


def check_spec(spec: str) -> None:
    """Raises UsageError for what is wrong with `spec` and can be told without loading it."""
    kind, _, location = spec.partition(":")
    if kind in ("savedmodel", "tfhub"):
        from encoders.saved_model import check_saved_model

        check_saved_model(kind, location)
    elif kind == "keras":
        from encoders.keras_application import check_weights

        check_weights(location)
    else:
        load_encoder(spec)


def files_of(spec: str) -> str | None:
    """The path or URL of the files that a SPEC names; None where it names none, as with a handle of TF-Hub."""
    kind, _, location = spec.partition(":")
    if kind == "savedmodel":
        return location.partition("?")[0]
    weights = location.partition("@")[2] if kind == "keras" else ""
    return None if weights in ("", "imagenet", "random") else weights


def with_precision(spec: str, precision: str) -> str:
    """`spec` with another precision. Raises UsageError for an encoder that has only one."""
    if precision == "float32":
        return spec
    if precision_of(spec) not in ("float32", precision):
        raise UsageError(f"--precision {precision} and --encoder {spec} name two precisions; leave one out")
    if precision_of(spec) == precision:
        return spec
    if not spec.startswith(("savedmodel:", "tfhub:")):
        raise UsageError(f"--precision {precision} is for savedmodel: and tfhub: encoders, not for {spec}")
    return f"{spec}{'&' if '?' in spec else '?'}precision={precision}"


def precision_of(spec: str) -> str:
    """The precision that a SPEC asks for."""
    found = re.search(r"[?&]precision=(\w+)", spec)
    return found.group(1) if found else "float32"


def without_precision(spec: str) -> str:
    """`spec` in float32."""
    place, mark, query = spec.rpartition("?")
    if not mark or "precision=" not in query:
        return spec
    kept = [option for option in query.split("&") if not option.startswith("precision=")]
    return f"{place}?{'&'.join(kept)}" if kept else place


def _load(spec: str, engine: str) -> Encoder:
    kind, _, location = spec.partition(":")
    if kind == "color-histogram":
        from encoders.color_histogram import ColorHistogramEncoder

        return ColorHistogramEncoder.from_spec(location)
    if kind == "savedmodel":
        from encoders.saved_model import load_saved_model

        return load_saved_model(location, engine)
    if kind == "tfhub":
        from encoders.saved_model import load_tfhub

        return load_tfhub(location, engine)
    if kind == "keras":
        from encoders.keras_application import load_keras_application

        return load_keras_application(location)
    if spec == IMPORTED:
        raise UsageError(
            f"--encoder {IMPORTED}: imported vectors were made elsewhere, and no encoder here makes more of them; "
            f"expected one of {SPECS}"
        )
    raise UsageError(f"--encoder {spec} is unknown; expected one of {SPECS}")
