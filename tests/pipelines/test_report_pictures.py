"""Pictures for a report: small, and of what can be read."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from pipelines.pixel_hashes import hash_all
from pipelines.report_pictures import small_pictures


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.linear_gradient("L").convert("RGB").resize((900, 300)).save(path)
    return path


def test_pictures_are_small_webp_files_and_what_cannot_be_read_is_left_out(photo: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff nothing")
    found = small_pictures([str(photo), str(broken), str(tmp_path / "missing.jpg"), "http://127.0.0.1:9/a.jpg"])
    assert list(found) == [str(photo)]
    with Image.open(io.BytesIO(found[str(photo)])) as picture:
        assert (picture.format, picture.size) == ("WEBP", (192, 64))
    assert len(found[str(photo)]) < 64 << 10


def test_pixels_of_files_with_other_bytes_have_one_hash_in_full_size(photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.bmp"
    with Image.open(photo) as picture:
        picture.save(other)
        picture.resize((450, 150)).save(tmp_path / "c.png")
    one, same, smaller, missing = hash_all([str(photo), str(other), str(tmp_path / "c.png"), str(tmp_path / "d.png")])
    assert one == same != smaller
    assert missing is None
