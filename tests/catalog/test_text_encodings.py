from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from catalog.errors import UsageError
from catalog.source import CatalogSource, open_catalog

_ROWS = "".join(f"{number},pictures/{number}.jpg\n" for number in range(300_000)).encode()  # Several blocks of Arrow's.
_LATIN1 = "x,café.jpg\n".encode("latin-1")


def refusal(path: Path, data: bytes) -> str:
    path.write_bytes(gzip.compress(data, 1) if path.name.endswith(".gz") else data)
    with pytest.raises(UsageError) as refused:
        open_catalog(CatalogSource((str(path),)))
    return str(refused.value).removeprefix(f"{path.parent}/")


@pytest.mark.parametrize(
    ("name", "data", "row"),
    [
        ("c.csv", b"id,image\n" + _ROWS + _LATIN1 + _ROWS, 300_002),
        ("c.csv", b'\nid,image\n\n"a\nb",c\n\n' + _LATIN1, 3),
        ("c.csv.gz", b"id,image\n" + _ROWS + _LATIN1, 300_002),
        ("c.tsv", "id\timage\n1\tcafé.jpg\n".encode("latin-1"), 2),
        ("c.csv", "id,image,größe\n".encode("latin-1") + b"1,a.jpg,2\n", 1),
        ("c.csv", "id,image,größe\n".encode("latin-1") + _ROWS, 1),
        ("c.csv", b"id,image\n1,a.jpg\nbroken caf\xe9\n", 3),
        ("c.jsonl", b'{"image": "a.jpg"}\n\n{"image": "caf\xe9.jpg"}\n', 2),
        ("c.ndjson.gz", b'{"image": "a.jpg"}\n' * 90_000 + b'{"image": "caf\xe9.jpg"}\n', 90_001),
    ],
    ids=[
        "late in a file",
        "after quoted line breaks and blank lines",
        "late in a gzip file",
        "tabs",
        "a header",
        "the header of a large file",
        "a row that does not parse",
        "json lines",
        "json lines in gzip",
    ],
)
def test_latin1_is_refused_with_its_file_its_row_and_the_conversion_to_run(
    tmp_path: Path, name: str, data: bytes, row: int
) -> None:
    wanted = f"{name}, row {row}, is not UTF-8 text; convert it first, for example: iconv -f latin1 -t utf-8"
    assert refusal(tmp_path / name, data) == wanted


@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.csv.gz", "c.jsonl"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_byte_order_mark_of_another_encoding_names_it(tmp_path: Path, name: str, encoding: str) -> None:
    said = refusal(tmp_path / name, "id,image\n1,a.jpg\n".encode(encoding))
    assert said == (
        f"{name} is {encoding.upper()} text, not UTF-8; convert it first, for example: iconv -f {encoding} -t utf-8"
    )


def test_big_endian_and_unmarked_utf16_are_told_too(tmp_path: Path) -> None:
    text = "id,image\n1,a.jpg\n"
    assert "is UTF-16 text" in refusal(tmp_path / "c.csv", b"\xfe\xff" + text.encode("utf-16-be"))
    assert "zero bytes in its first line" in refusal(tmp_path / "c.csv", text.encode("utf-16-le"))


def test_what_is_no_text_at_all_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "c.csv", gzip.compress(_ROWS)).startswith("c.csv is compressed with gzip")
    assert refusal(tmp_path / "c.csv", b"PK\x03\x04...").startswith("c.csv is a zip or Excel file")
    (tmp_path / "plain.csv.gz").write_bytes(b"id,image\n1,a.jpg\n")
    for ending in ("csv", "jsonl"):
        lines = b'{"id": 1, "image": "a.jpg"}\n' * 9_000 if ending == "jsonl" else b"id,image\n" + _ROWS
        (tmp_path / f"cut.{ending}.gz").write_bytes(gzip.compress(lines)[:-20])
        for name in ("plain.csv.gz", f"cut.{ending}.gz"):
            with pytest.raises(UsageError, match=f"{name} cannot be read: "):
                open_catalog(CatalogSource((str(tmp_path / name),)))
