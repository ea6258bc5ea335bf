"""Text files of a catalog as streams of bytes, plain or gzip, and what is said of bytes that are not UTF-8."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa

from catalog import storage
from catalog.errors import UsageError

# Longest first: UTF-32 begins as UTF-16 does.
_OTHER_ENCODINGS = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_OTHER_FILES = (
    (b"\x1f\x8b", "is compressed with gzip; give it a name that ends in .gz"),
    (b"PK\x03\x04", "is a zip or Excel file; save it as CSV in UTF-8"),
)


def open_bytes(url: str) -> Any:
    """The bytes of a text file as an Arrow stream, gzip undone where the name says so. Raises OSError."""
    stream = pa.PythonFile(storage.open_read(url), "r")
    return pa.CompressedInputStream(stream, "gzip") if url.lower().endswith(".gz") else stream


def open_text(url: str) -> io.TextIOWrapper:
    """The characters of a text file, line ends as they are; bytes that are not UTF-8 come as lone surrogates."""
    raw = io.BufferedReader(_RawStream(open_bytes(url)), 1 << 20)
    return io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")


def is_unicode(text: str) -> bool:
    """Whether there are no lone surrogates in `text`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_beginning(url: str, beginning: bytes) -> None:
    """Raises UsageError when the first bytes of a file say that it is no UTF-8 text."""
    for signature, name in _OTHER_ENCODINGS:
        if beginning.startswith(signature):
            raise UsageError(_convert(f"{storage.redact(url)} is {name} text, not UTF-8", name.lower()))
    for signature, what in _OTHER_FILES:
        if beginning.startswith(signature):
            raise UsageError(f"{storage.redact(url)} {what}")
    if b"\0" in beginning.split(b"\n", 1)[0]:
        raise UsageError(
            f"{storage.redact(url)} has zero bytes in its first line; expected UTF-8 text (UTF-16 without a byte order "
            "mark has them: iconv -f utf-16le -t utf-8)"
        )


def not_utf8(url: str, row: str) -> UsageError:
    """The error of a file with bytes that are not UTF-8; `row` says where: `row 7`."""
    return UsageError(_convert(f"{storage.redact(url)}, {row}, is not UTF-8 text", "latin1"))


def cannot_be_read(url: str, error: Exception) -> UsageError:
    """The error of a file that its store, or gzip, does not give."""
    return UsageError(f"{storage.redact(url)} cannot be read: {error}")


def _convert(what: str, encoding: str) -> str:
    return f"{what}; convert it first, for example: iconv -f {encoding} -t utf-8"


class _RawStream(io.RawIOBase):
    """An Arrow stream as Python's own kind, which `io.TextIOWrapper` needs."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
