"""Files that hold vectors and nothing else, `.npy`, `.fvecs` and `.bvecs`, as blocks of rows, in bounded memory.

Not for: which item a row is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from catalog import storage
from catalog.errors import UsageError

#: More is no vector of any model: it is a file of another kind.
MOST_DIMENSIONS = 65_536
_BLOCK_BYTES = 8 << 20
_VALUES: dict[str, np.dtype] = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1")}
ENDINGS = (".npy", *_VALUES)


@dataclass(frozen=True)
class VectorBlock:
    """Consecutive rows of one file.

    Attributes:
        first: how many rows of the file come before.
        vectors: [n, d] of any real or whole numbers.
        missing: bool [n], the rows that have no vector, which are zeros in `vectors`; None where all have one.
        item_id, product_id: text; None where the file says nothing of it.
        metadata: struct; None where there is none.
    """

    first: int
    vectors: np.ndarray
    missing: np.ndarray | None = None
    item_id: pa.Array | None = None
    product_id: pa.Array | None = None
    metadata: pa.StructArray | None = None


@dataclass(frozen=True)
class ArrayFile:
    """A file whose rows all have the same size.

    Attributes:
        url: the file.
        rows, dimension: of it; the dimension is None where an empty file does not say.
        values: dtype of a value.
        offset: bytes before the first row.
        headed: whether each row begins with its dimension, an int32.
        fortran: whether columns, not rows, are contiguous.
    """

    url: str
    rows: int
    dimension: int | None
    values: np.dtype
    offset: int = 0
    headed: bool = False
    fortran: bool = False

    @property
    def kind(self) -> str:
        """For people: what a value is."""
        return str(self.values.newbyteorder("="))

    def blocks(self) -> Iterator[VectorBlock]:
        """The rows in order, a few MB at a time.

        Raises:
            UsageError: a row has another dimension, or the file ends before its last row.
        """
        if self.rows == 0:
            return
        assert self.dimension is not None
        step = rows_at_once(self.dimension)
        if self.fortran:
            with tempfile.TemporaryDirectory(prefix="catalog-indexer-") as folder:
                path = storage.local_copy(self.url, folder)
                whole = np.memmap(path, self.values, "r", self.offset, (self.rows, self.dimension), "F")
                for first in range(0, self.rows, step):
                    yield VectorBlock(first, np.ascontiguousarray(whole[first : first + step]))
                del whole
            return
        record = _record(self.values, self.dimension, self.headed)
        with storage.open_read(self.url) as file:
            file.seek(self.offset)
            for first in range(0, self.rows, step):
                count = min(step, self.rows - first)
                data = _read(file, count * record.itemsize)
                if len(data) < count * record.itemsize:
                    raise UsageError(f"{storage.redact(self.url)} became shorter while it was read; run it again")
                block = np.frombuffer(data, record)
                if self.headed:
                    self._check_heads(block["dimension"], first)
                yield VectorBlock(first, block["values"])

    def _check_heads(self, heads: np.ndarray, first: int) -> None:
        wrong = np.flatnonzero(heads != self.dimension)
        if len(wrong):
            raise UsageError(
                f"{storage.redact(self.url)}: row {first + int(wrong[0]) + 1} says that it has {heads[wrong[0]]} "
                f"dimensions, the first row {self.dimension}; expected one dimension in all rows"
            )


def rows_at_once(dimension: int) -> int:
    """Rows in a block."""
    return max(1, min(65_536, _BLOCK_BYTES // (4 * dimension)))


def look_at_array_file(url: str) -> ArrayFile:
    """What a file holds, by its beginning and its size. Raises UsageError when it is not whole or not of its kind."""
    ending = next(ending for ending in ENDINGS if url.lower().endswith(ending))
    look: Callable[[BinaryIO, str], ArrayFile] = _look_at_npy if ending == ".npy" else _look_at_vecs
    with storage.open_read(url) as file:
        return look(file, url)


def _look_at_npy(file: BinaryIO, url: str) -> ArrayFile:
    where = storage.redact(url)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file)
    except (ValueError, KeyError, EOFError):
        raise UsageError(f"{where} is not a NumPy .npy file of numbers") from None
    if dtype.kind not in "fiu" or dtype.itemsize > 8 or len(shape) != 2:
        raise UsageError(f"{where} holds {dtype} {list(shape)}; expected numbers of shape [rows, dimension]")
    rows, dimension = int(shape[0]), _check_dimension(int(shape[1]), where)
    offset = file.tell()
    has, needs = _size(file), offset + rows * dimension * dtype.itemsize
    if has < needs:
        raise UsageError(f"{where} is cut: it has {has:,} bytes, its header asks for {needs:,}")
    if has > needs:
        raise UsageError(f"{where} has {has - needs:,} bytes behind its array; expected one array in a file")
    # Of one row or one column both orders are the same bytes.
    return ArrayFile(url, rows, dimension, dtype, offset, fortran=bool(fortran and min(shape) > 1))


def _look_at_vecs(file: BinaryIO, url: str) -> ArrayFile:
    where, ending = storage.redact(url), url.lower()[-6:]
    values, head = _VALUES[ending], file.read(4)
    if not head:
        return ArrayFile(url, 0, None, values, headed=True)
    if len(head) < 4:
        raise UsageError(f"{where} has {len(head)} bytes; expected an int32 dimension before each row")
    dimension = _check_dimension(int.from_bytes(head, "little", signed=True), where)
    size, row = _size(file), _record(values, dimension, headed=True).itemsize
    if size % row:
        raise UsageError(
            f"{where} has {size:,} bytes, which is no number of whole rows: one of {dimension} dimensions has {row:,}; "
            "the file is cut, or its rows differ in dimension"
        )
    return ArrayFile(url, size // row, dimension, values, headed=True)


def _check_dimension(dimension: int, where: str) -> int:
    if not 1 <= dimension <= MOST_DIMENSIONS:
        raise UsageError(f"{where} has vectors of {dimension} dimensions; expected 1 to {MOST_DIMENSIONS:,}")
    return dimension


def _record(values: np.dtype, dimension: int, headed: bool) -> np.dtype:
    body = ("values", values, (dimension,))
    return np.dtype([("dimension", "<i4"), body] if headed else [body])


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _read(file: BinaryIO, size: int) -> bytes:
    """`size` bytes, fewer only at the end of the file."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data
