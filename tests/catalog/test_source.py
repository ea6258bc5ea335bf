from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import storage
from catalog.errors import UsageError
from catalog.rows import split_by_partition
from catalog.source import CatalogSource, open_catalog, read_rows


def all_rows(source: CatalogSource) -> list[dict]:
    catalog = open_catalog(source)
    rows = [row for reader in catalog.readers for batch in read_rows(reader) for row in batch.to_pylist()]
    assert len(rows) == catalog.rows
    return rows


def test_roles_are_found_images_located_and_other_columns_carried_with_their_types(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("item_id,image,product_id,price,stock,sale,sku\na,x/1.jpg,p,1.5,3,true,007\nb,2.jpg,,,,,\n")
    assert all_rows(CatalogSource((str(path),)))[0] == {
        "item_id": "a",
        "product_id": "p",
        "image_uri": f"{tmp_path}/x/1.jpg",
        "origin": "c.csv row 2",
        "reason": None,
        "detail": None,
        "source_version": None,
        "metadata": {"price": 1.5, "stock": 3, "sale": True, "sku": "007"},
    }
    second = all_rows(CatalogSource((str(path),)))[1]
    assert second["metadata"] == {"price": None, "stock": None, "sale": None, "sku": None}


def test_types_are_those_that_all_files_share(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("id,image,size\na,1.jpg,3\n")
    (tmp_path / "2.csv").write_text("id,image,size,extra\nb,2.jpg,XL,7\n")
    rows = all_rows(CatalogSource((str(tmp_path / "*.csv"),)))
    assert [row["metadata"] for row in rows] == [{"size": "3", "extra": None}, {"size": "XL", "extra": 7}]


def test_parquet_and_csv_go_together_when_their_types_do(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("id,image,size\na,1.jpg,3\n")
    pq.write_table(pa.table({"id": [5], "image": ["2.jpg"], "size": [1.5]}), tmp_path / "2.parquet")
    rows = all_rows(CatalogSource((str(tmp_path / "1.csv"), str(tmp_path / "2.parquet"))))
    assert [(row["item_id"], row["metadata"]["size"]) for row in rows] == [("a", 3.0), ("5", 1.5)]
    pq.write_table(pa.table({"id": [5], "image": ["2.jpg"], "size": ["XL"]}), tmp_path / "2.parquet")
    rows = all_rows(CatalogSource((str(tmp_path / "2.parquet"), str(tmp_path / "1.csv"))))
    assert [row["metadata"]["size"] for row in rows] == ["XL", "3"]
    pq.write_table(pa.table({"id": [5], "image": ["2.jpg"], "size": [7]}), tmp_path / "2.parquet")
    (tmp_path / "1.csv").write_text("id,image,size\na,1.jpg,XL\n")
    with pytest.raises(UsageError, match=r"column 'size' is int64 in one catalog file and string in .*1\.csv"):
        open_catalog(CatalogSource((str(tmp_path / "2.parquet"), str(tmp_path / "1.csv"))))


def test_parquet_values_are_not_reinterpreted(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "image": ["1.jpg"], "note": [""], "tags": [["x", "y"]]})
    pq.write_table(table, tmp_path / "c.parquet")
    assert all_rows(CatalogSource((str(tmp_path / "c.parquet"),)))[0]["metadata"] == {"note": "", "tags": ["x", "y"]}


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("", "no_image"),
        ("../secret.jpg", "outside_root"),
        ("a/../../b.jpg", "outside_root"),
        ("https://host/a.jpg", "scheme_not_allowed"),
        ("nosuch://host/a.jpg", "scheme_not_allowed"),
        ("https://[host/a.jpg", "scheme_not_allowed"),
        ("github://host/a.jpg", "scheme_not_allowed"),
        ("a/../b.jpg", None),
        ("gs://bucket/a.jpg", None),
    ],
)
def test_where_an_image_may_be(tmp_path: Path, image: str, reason: str | None) -> None:
    (tmp_path / "c.csv").write_text(f"id,image\n1,{image}\n")
    assert all_rows(CatalogSource((str(tmp_path / "c.csv"),)))[0]["reason"] == reason


@pytest.mark.parametrize(
    ("image", "located"),
    [
        ("a b.jpg", "https://cdn.test/img/a b.jpg"),
        ("x/../a.jpg?next=../b&sig=1", "https://cdn.test/img/a.jpg?next=../b&sig=1"),
        ("../a.jpg", "outside_root"),
        ("%2e%2e/a.jpg", "outside_root"),
        ("https://other.test/a.jpg", "https://other.test/a.jpg"),
    ],
)
def test_relative_images_may_be_on_a_web_server(tmp_path: Path, image: str, located: str) -> None:
    (tmp_path / "c.csv").write_text(f"id,image\n1,{image}\n")
    row = all_rows(CatalogSource((str(tmp_path / "c.csv"),), "https://cdn.test/img/", allow_http=True))[0]
    assert (row["reason"] or row["image_uri"]) == located


def test_an_image_outside_the_allowed_roots_is_a_reject_without_its_signature(tmp_path: Path) -> None:
    images = ["in.jpg", "/etc/x.jpg", "https://cdn.test/a.jpg?sig=SECRET", "https://evil.test/a.jpg?sig=SECRET"]
    (tmp_path / "c.csv").write_text("id,image\n" + "".join(f"{n},{image}\n" for n, image in enumerate(images)))
    roots = (str(tmp_path), "https://cdn.test")
    rows = all_rows(CatalogSource((str(tmp_path / "c.csv"),), allow_http=True, image_roots=roots))
    assert [(row["reason"], row["image_uri"]) for row in rows] == [
        (None, f"{tmp_path}/in.jpg"),
        ("outside_root", "/etc/x.jpg"),
        (None, "https://cdn.test/a.jpg?sig=SECRET"),
        ("outside_root", "https://evil.test/a.jpg"),
    ]
    assert rows[1]["detail"] == "the location is below none of the roots that --allow-root names"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"images_root": "https://cdn.test/img"}, "--images-root https://cdn.test/img needs --allow-http"),
        ({"images_root": "ftp://cdn.test"}, "--images-root ftp://cdn.test is no place that images are read from"),
        ({"images_root": "https://cdn.test/?sig=SECRET", "allow_http": True}, "has a user or a query"),
        ({"image_roots": ("https://cdn.test",)}, "--allow-root https://cdn.test needs --allow-http"),
        ({"image_roots": ("gs://shop/../x",)}, "--allow-root gs://shop/../x is not a valid place"),
    ],
)
def test_a_root_that_nothing_can_be_read_from_is_wrong_usage(tmp_path: Path, flags: dict, message: str) -> None:
    (tmp_path / "c.csv").write_text("id,image\n1,a.jpg\n")
    with pytest.raises(UsageError, match=message) as refused:
        open_catalog(CatalogSource((str(tmp_path / "c.csv"),), **flags))
    assert "SECRET" not in str(refused.value)


def test_where_images_may_be_is_part_of_a_catalogs_identity_and_secrets_are_not(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,image\n1,a.jpg\n")
    template = "https://cdn.test/{image}?sig="
    sources = [
        CatalogSource((str(tmp_path / "c.csv"),)),
        CatalogSource((str(tmp_path / "c.csv"),), allow_http=True),
        CatalogSource((str(tmp_path / "c.csv"),), image_roots=(str(tmp_path),)),
        CatalogSource((str(tmp_path / "c.csv"),), image_template=f"{template}SECRET"),
        CatalogSource((str(tmp_path / "c.csv"),), image_template=f"{template}SECRET2"),
    ]
    identities = [open_catalog(source).identity() for source in sources]
    assert len(set(identities)) == len(sources)
    assert "SECRET" not in "".join(identities)


def test_signed_locations_become_ids_without_their_signatures(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("image\nhttps://cdn.test/a.jpg?sig=SECRET\n")
    row = all_rows(CatalogSource((str(tmp_path / "c.csv"),), allow_http=True))[0]
    assert (row["item_id"], row["image_uri"]) == ("https://cdn.test/a.jpg", "https://cdn.test/a.jpg?sig=SECRET")


def test_images_root_and_template_locate_bare_ids(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("image,label\nabc,x\n")
    source = CatalogSource((str(tmp_path / "c.csv"),), "gs://photos/shop", "images/{image}.jpg")
    row = all_rows(source)[0]
    assert (row["item_id"], row["image_uri"]) == ("abc", "gs://photos/shop/images/abc.jpg")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.csv", 'image\na.jpg\n\n"b, 2.jpg"\n'),
        ("c.csv", '\ufeffimage\r\na.jpg\r\n"b, 2.jpg"'),
        ("c.tsv", "image\na.jpg\nb, 2.jpg\n"),
        ("c.jsonl", '{"image": "a.jpg"}\n{"image": "b, 2.jpg"}\n'),
    ],
)
def test_a_catalog_of_one_column_has_the_image_for_its_id(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode())
    rows = all_rows(CatalogSource((str(tmp_path / name),)))
    assert [(row["item_id"], row["image_uri"], row["reason"]) for row in rows] == [
        ("a.jpg", f"{tmp_path}/a.jpg", None),
        ("b, 2.jpg", f"{tmp_path}/b, 2.jpg", None),
    ]
    assert "metadata" not in rows[0]


def test_rows_without_id_and_rows_that_do_not_parse_are_kept_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,image\n,1.jpg\nb\nc,3.jpg\n")
    rows = all_rows(CatalogSource((str(tmp_path / "c.csv"),)))
    assert sorted((row["origin"], row["reason"]) for row in rows) == [
        ("c.csv row 2", "empty_item_id"),
        ("c.csv row 3", "unparsable_row"),
        ("c.csv row 4", None),
    ]


def test_a_catalog_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--catalog .*none-\*\.csv: no such file"):
        open_catalog(CatalogSource((str(tmp_path / "none-*.csv"),)))


def test_splitting_by_partition_loses_and_doubles_nothing(tmp_path: Path) -> None:
    lines = [f"item-{number},{number}.jpg" for number in range(500)] + [",x.jpg", "broken"]
    (tmp_path / "c.csv").write_text("\n".join(["id,image", *lines]) + "\n")
    catalog = open_catalog(CatalogSource((str(tmp_path / "c.csv"),)))
    batch = next(iter(read_rows(catalog.readers[0])))
    parts = split_by_partition(batch, 8)
    origins = [row["origin"] for part in parts.values() for row in part.to_pylist()]
    assert sorted(origins) == sorted(batch.column("origin").to_pylist())
    assert set(parts) <= set(range(8))


def test_an_id_of_a_type_that_is_no_id_is_refused(tmp_path: Path) -> None:
    for values in ([[1]], [b"\xff"], [1.5]):
        pq.write_table(pa.table({"id": values, "image": ["a.jpg"]}), tmp_path / "c.parquet")
        with pytest.raises(UsageError, match=r"c\.parquet: column 'id' is .*must be text or whole numbers"):
            open_catalog(CatalogSource((str(tmp_path / "c.parquet"),)))


def test_files_of_one_name_are_told_apart_in_the_origin(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.csv").write_text(f"id,image\n{folder},1.jpg\n")
    rows = all_rows(CatalogSource((str(tmp_path / "*" / "c.csv"),)))
    assert [row["origin"] for row in rows] == [f"{tmp_path}/{folder}/c.csv row 2" for folder in ("a", "b")]


def test_a_catalog_is_read_from_any_fsspec_url_and_glob() -> None:
    for name in ("1", "2"):
        storage.write(f"memory://fsspec-catalog/{name}.csv", f"id,image\n{name},{name}.jpg\n".encode())
    rows = all_rows(CatalogSource(("memory://fsspec-catalog/*.csv",)))
    assert [(row["item_id"], row["image_uri"].removeprefix("memory:").lstrip("/")) for row in rows] == [
        ("1", "fsspec-catalog/1.jpg"),
        ("2", "fsspec-catalog/2.jpg"),
    ]
