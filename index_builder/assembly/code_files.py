"""Codes in the artifact store: encoded once for each embedding file and codebook, found again by content, and checked
whenever they are read, for they live for many nights.

A code file is plain Arrow with a checksum of its own bytes in it. The schema's metadata, which Arrow stores at the
beginning and once more at the end, has `catalog_indexer.check`: `crc32:` and, in eight hex digits, the CRC-32 of all
bytes of the file but those digits.
"""

from __future__ import annotations

import io
import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from catalog import storage
from catalog.errors import IntegrityError
from catalog.snapshot import FileEntry
from index_builder.training.codebook import Codes

_KIND = b"crc32:"
_DIGITS = 8


def codes_url(root: str, codebook: str, entry: FileEntry) -> str:
    """Where the codes of one embedding file under one codebook are."""
    return storage.join(root, "codes", codebook, f"{entry.sha256[:32]}.arrow")


def write_codes(url: str, codes: Codes) -> None:
    """Stores codes as one uncompressed Arrow batch."""
    width = codes.codes.shape[1]
    batch = pa.record_batch(
        {
            "list": pa.array(codes.lists),
            "row": pa.array(codes.rows),
            "code": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(width), len(codes.codes), [None, pa.py_buffer(np.ascontiguousarray(codes.codes))]
            ),
        }
    ).replace_schema_metadata({"catalog_indexer.check": _KIND + b"0" * _DIGITS})
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data = bytearray(sink.getvalue())
    digits = _checksum(data)
    for place in _places(data):
        data[place : place + _DIGITS] = digits
    storage.write(url, bytes(data))


def read_codes(url: str) -> Codes:
    """Codes as written; memory-mapped where the store is a local disk. Raises IntegrityError."""
    path = storage.store_for(url).local_path(url)
    try:
        data = _mapped(path) if path else storage.read_bytes(url)
    except FileNotFoundError:
        raise IntegrityError(f"{url} is missing; run again") from None
    found = {bytes(data[place : place + _DIGITS]) for place in _places(data)}
    if found != {_checksum(data)}:
        raise IntegrityError(f"{url} is damaged: its content does not match its checksum; delete it and run again")
    batch = pa.ipc.open_file(pa.py_buffer(data)).get_batch(0)
    code = batch.column("code")
    flat = np.frombuffer(code.buffers()[1] or b"", np.uint8)[: len(code) * code.type.byte_width]
    return Codes(
        batch.column("list").to_numpy(), batch.column("row").to_numpy(), flat.reshape(-1, code.type.byte_width)
    )


def _mapped(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _places(data: bytes | bytearray | mmap.mmap) -> tuple[int, int]:
    """Where the digits begin in the first and in the last of the two copies of the schema."""
    return data.find(_KIND) + len(_KIND), data.rfind(_KIND) + len(_KIND)


def _checksum(data: bytes | bytearray | mmap.mmap) -> bytes:
    """The digits that belong into a file."""
    first, last = _places(data)
    crc = 0
    with memoryview(data) as view:
        for begin, end in ((0, first), (first + _DIGITS, last), (last + _DIGITS, len(view))):
            with view[begin:end] as piece:
                crc = isal_zlib.crc32(piece, crc)
    return b"%08x" % crc
