"""Encoders by their SPEC, loaded once a process."""

from __future__ import annotations

import threading

from catalog.errors import UsageError
from encoders.encoder import Encoder

SPECS = "color-histogram[:rgb|hsv][:AxBxC], savedmodel:PATH[?size=224], tfhub:HANDLE[?size=224], keras:NAME[@weights]"

_loaded: dict[str, Encoder] = {}
_lock = threading.Lock()


def load_encoder(spec: str) -> Encoder:
    """The encoder that `spec` names; the same object for the same text in one process.

    Raises:
        UsageError: the text is no SPEC, or what it names cannot be loaded.
    """
    with _lock:
        if spec not in _loaded:
            encoder = _load(spec)
            _loaded[spec] = _loaded[encoder.info.spec] = encoder  # Workers are told the absolute spelling.
        return _loaded[spec]


def _load(spec: str) -> Encoder:
    kind, _, location = spec.partition(":")
    if kind == "color-histogram":
        from encoders.color_histogram import ColorHistogramEncoder

        return ColorHistogramEncoder.from_spec(location)
    if kind == "savedmodel":
        from encoders.saved_model import load_saved_model

        return load_saved_model(location)
    if kind == "tfhub":
        from encoders.saved_model import load_tfhub

        return load_tfhub(location)
    if kind == "keras":
        from encoders.keras_application import load_keras_application

        return load_keras_application(location)
    raise UsageError(f"--encoder {spec} is unknown; expected one of {SPECS}")
