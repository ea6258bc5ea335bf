"""The places in a night's configuration: relative ones are below the folder that it is in."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from catalog import storage
from catalog.errors import UsageError

# Keys whose values are places.
_PLACES = ("catalog", "images_root", "allow_root")
#: And those of the stores.
STORES = ("embeddings", "artifacts", "reports")
_DEDUPE_PLACES = ("output", "calibration", "ignore")


def with_places(value: Mapping[str, Any], folder: str, where: str) -> dict[str, Any]:
    """The value with every relative place below `folder`, which is the configuration's own."""

    def absolute(place: str) -> str:
        if storage.is_url(place) or place.startswith(("/", "~")):
            return storage.absolute(place)
        if storage.scheme_of(folder) == "file":
            return os.path.normpath(os.path.join(folder, place))
        scheme, rest = folder.split("://", 1)
        bucket, _, path = rest.partition("/")
        inside = posixpath.normpath(posixpath.join(path, place))
        if inside.startswith(".."):
            raise UsageError(f"{where}: {place} leads out of {scheme}://{bucket}; write the whole URL")
        return f"{scheme}://{bucket}/{inside}"

    def all_absolute(found: Any) -> Any:
        return [absolute(each) for each in found] if isinstance(found, list) else absolute(found)

    embed = {key: all_absolute(found) if key in _PLACES else found for key, found in value["embed"].items()}
    if "encoder" in embed:
        embed["encoder"] = _encoder(embed["encoder"], absolute)
    stores = {key: absolute(value[key]) for key in STORES}
    changed = {**value, **stores, "embed": embed}
    if "dedupe" in value:
        changed["dedupe"] = _dedupe_places(value["dedupe"], absolute)
    return changed


def _dedupe_places(section: Mapping[str, Any], absolute: Callable[[str], str]) -> dict[str, Any]:
    from dedupe.reviewed import names_column

    found = {key: absolute(each) if key in _DEDUPE_PLACES else each for key, each in section.items()}
    protect = section.get("protect", [])
    sources = [protect] if isinstance(protect, str) else protect
    return {**found, "protect": [each if names_column(each) else absolute(each) for each in sources]}


def _encoder(spec: str, absolute: Callable[[str], str]) -> str:
    """The SPEC with the file that it names below the configuration's folder."""
    kind, _, rest = spec.partition(":")
    if kind == "savedmodel":
        path, sign, query = rest.partition("?")
        return f"{kind}:{absolute(path)}{sign}{query}"
    name, sign, weights = rest.partition("@")
    return f"{kind}:{name}@{absolute(weights)}" if kind == "keras" and weights.endswith(".h5") else spec
