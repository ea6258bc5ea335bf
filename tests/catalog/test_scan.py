from __future__ import annotations

import csv
from pathlib import Path

import pytest

from catalog.errors import UsageError
from catalog.scan import scan
from catalog.source import CatalogSource, open_catalog, read_rows
from tests.conftest import draw_picture


def make_folder(root: Path) -> Path:
    for name in ("Fruit/Apple/1.jpg", "Fruit/Apple/2.PNG", "Fruit/Pear/1.jpg", "loose.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        draw_picture(1).save(root / name)
    (root / "notes.txt").write_text("not a picture")
    (root / ".hidden.jpg").write_bytes(b"")
    return root


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("inside", [True, False])
def test_every_picture_is_listed_once_with_its_folder_as_category(tmp_path: Path, inside: bool) -> None:
    folder = make_folder(tmp_path / "shop")
    output = (folder if inside else tmp_path) / "catalog.csv"
    summary = scan(str(folder), str(output))
    rows = read(output)
    assert [row["item_id"] for row in rows] == [
        "Fruit/Apple/1.jpg",
        "Fruit/Apple/2.PNG",
        "Fruit/Pear/1.jpg",
        "loose.jpg",
    ]
    assert [row["category"] for row in rows] == ["Fruit/Apple", "Fruit/Apple", "Fruit/Pear", ""]
    assert (summary.items, summary.categories) == (4, 3)
    catalog = open_catalog(CatalogSource((str(output),)))
    located = [row["image_uri"] for batch in read_rows(catalog.readers[0]) for row in batch.to_pylist()]
    assert all(Path(uri).is_file() for uri in located)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name in ("none", "file"):
        with pytest.raises(UsageError, match=f"{name} is no folder"):
            scan(str(tmp_path / name), str(tmp_path / "catalog.csv"))


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no pictures below it"):
        scan(str(tmp_path), str(tmp_path / "catalog.csv"))
    assert list(tmp_path.iterdir()) == []
