"""FAISS, imported when first needed: the CPU or the GPU distribution, whichever is installed."""

from __future__ import annotations

from typing import Any

from catalog.extras import require


def faiss() -> Any:
    """The FAISS module. Raises MissingExtraError when neither distribution is installed."""
    return require("faiss", "cpu", "gpu")
