"""FAISS, imported when first needed: the CPU or the GPU distribution, whichever is installed."""

from __future__ import annotations

import functools
from importlib import metadata
from typing import Any

from catalog.errors import UsageError
from catalog.extras import require

# Files are written by this one or later, and older ones do not read all of them.
FAISS_AT_LEAST = "1.15.1"
_DISTRIBUTIONS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cuvs")


@functools.cache
def faiss() -> Any:
    """The FAISS module.

    Raises:
        MissingExtraError: no distribution of it is installed.
        UsageError: two are; they overwrite each other's files.
    """
    installed = [name for name in _DISTRIBUTIONS if _is_installed(name)]
    if len(installed) > 1:
        raise UsageError(
            f"{' and '.join(installed)} are installed together and overwrite each other: run "
            f"pip uninstall {' '.join(installed)}, then install one of them again"
        )
    return require("faiss")


def _is_installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True
