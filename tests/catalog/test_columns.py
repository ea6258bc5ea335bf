from __future__ import annotations

import pyarrow as pa
import pytest

from catalog.columns import choose_roles, fill_template, parse_template
from catalog.errors import UsageError


def test_usual_names_are_found_and_the_rest_is_metadata() -> None:
    roles = choose_roles(["SKU", "Image URL", "price", "Item-ID"], "c.csv")
    assert (roles.item_id, roles.image, roles.product_id) == ("Item-ID", "Image URL", "SKU")
    assert roles.metadata == ("price",)


def test_without_an_id_column_the_image_is_the_id() -> None:
    roles = choose_roles(["image", "label"], "c.csv")
    assert (roles.item_id, roles.image, roles.product_id) == ("image", "image", None)


def test_a_flag_wins_over_a_usual_name() -> None:
    assert choose_roles(["id", "image", "photo_key"], "c.csv", item_id="photo_key").item_id == "photo_key"


def test_a_missing_column_is_answered_with_the_columns_there_are() -> None:
    with pytest.raises(
        UsageError, match=r"c\.csv has no column 'sku' \(--product-id-column\); its columns are: id, image"
    ):
        choose_roles(["id", "image"], "c.csv", product_id="sku")
    with pytest.raises(UsageError, match=r"name it with --image-column, one of: id, price"):
        choose_roles(["id", "price"], "c.csv")


def test_a_template_makes_a_location_from_a_bare_id_and_leaves_an_empty_cell_empty() -> None:
    table = pa.table({"image": [" a1 ", "", None], "shop": ["x", "x", "x"]})
    fields = parse_template("{shop}/images/{image}.jpg", table.column_names, "image")
    assert fill_template(fields, table, "image").to_pylist() == ["x/images/a1.jpg", None, None]


def test_image_in_a_template_also_means_the_image_column_under_another_name() -> None:
    table = pa.table({"photo": [17]})
    assert fill_template(parse_template("{image}.png", ["photo"], "photo"), table, "photo").to_pylist() == ["17.png"]


@pytest.mark.parametrize("template", ["images/{colour}.jpg", "images/{image", "images/x.jpg", "{image:>9}"])
def test_a_template_that_cannot_work_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="--image-template"):
        parse_template(template, ["image"], "image")
