"""Optional packages: imported late, and when one is missing, the one command that installs it."""

from __future__ import annotations

import importlib
from types import ModuleType

from catalog.errors import MissingExtraError

# Module -> the extras of setup.py that bring it, any one of which will do.
_EXTRAS_OF_MODULE = {
    "apache_beam": ("pipeline",),
    "faiss": ("cpu", "gpu"),
    "jsonschema": ("pipeline",),
    "keras": ("pipeline",),
    "matplotlib": ("pipeline",),
    "PIL": ("pipeline",),
    "prometheus_client": ("metrics",),
    "pkg_resources": ("pipeline",),  # wanted by tensorflow_hub
    "s3fs": ("s3",),
    "tensorflow": ("pipeline",),
    "threadpoolctl": ("pipeline",),
    "tensorflow_hub": ("pipeline",),
    "yaml": ("pipeline",),
}


def require(module: str) -> ModuleType:
    """Imports an optional package.

    Raises:
        MissingExtraError: it is not installed; the sentence has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise explain_missing(error) or error from None


def explain_missing(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The sentence for a missing module, None where it belongs to no extra and is therefore a defect."""
    module = (error.name or "").split(".")[0]
    extras = _EXTRAS_OF_MODULE.get(module)
    if extras is None:
        return None
    return MissingExtraError(f"the package {module} is not installed: run {how_to_install(*extras)}")


def how_to_install(*extras: str) -> str:
    """The command for one of several extras."""
    commands = " or ".join(f"pip install '.[{extra}]'" for extra in extras)
    return f"{commands} in a checkout of catalog-indexer"
