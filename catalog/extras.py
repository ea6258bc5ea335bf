"""Lazy imports of optional packages, with the one command that installs what is missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from catalog.errors import MissingExtraError


def require(module: str, *extras: str) -> ModuleType:
    """Imports `module`, or says which extra brings it.

    Args:
        module: dotted name, such as `faiss`.
        extras: the extras of `setup.py` that install it, any one of which will do, best first.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != module.split(".")[0]:
            raise  # The package is there and itself broken: its own message says more.
        commands = " or ".join(f"pip install 'catalog-indexer[{extra}]'" for extra in extras)
        raise MissingExtraError(f"{module} is not installed: run {commands}") from None
