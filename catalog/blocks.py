"""Consecutive rows of a catalog file, as its reader hands them on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class UnparsedRow:
    """A row that is not a row of its table."""

    row: int
    detail: str


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one file: `rows[i]` is the row number of `table[i]`. CSV and JSON columns are text."""

    table: pa.Table
    rows: np.ndarray
    unparsed: list[UnparsedRow] = field(default_factory=list)
