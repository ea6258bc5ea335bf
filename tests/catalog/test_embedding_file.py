from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.embedding_file import (
    LATER,
    EmbeddingFileWriter,
    completed,
    file_schema,
    read_file,
    schema,
    vector_array,
    vectors_of,
)
from catalog.errors import IntegrityError


def table(rows: int, vector_type: str, first: int = 0, metadata: bool = True) -> pa.Table:
    rng = np.random.default_rng(first)
    columns = {
        "item_id": [f"i{number:06d}" for number in range(first, first + rows)],
        "product_id": pa.nulls(rows, pa.string()),
        "embedding": vector_array(rng.normal(size=(rows, 6)), vector_type),
        "content_hash": pa.array([hashlib.sha256(b"x").digest()] * rows, pa.binary(32)),
        "phash": pa.array([2**64 - 1] * rows, pa.uint64()),
        "thumbnail": pa.array([bytes(192)] * rows, pa.binary(192)),
        "width": [10] * rows,
        "height": [20] * rows,
        "image_uri": ["/a.jpg"] * rows,
        "source_version": ["1"] * rows,
    }
    if metadata:
        columns["metadata"] = pa.array([{"price": 1.5}] * rows, pa.struct([("price", pa.float64())]))
    return pa.table(columns)


METADATA = pa.schema([("price", pa.float64())])


@pytest.mark.parametrize("vector_type", ["float16", "float32"])
def test_what_is_written_is_read_and_the_name_is_the_hash_of_the_bytes(tmp_path: Path, vector_type: str) -> None:
    writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, vector_type, METADATA), "finger")
    parts = [table(3000, vector_type), table(3000, vector_type, first=3000)]
    for part in parts:
        writer.append(part)
    written = writer.store(str(tmp_path / "store"), "files/00003")
    data = (tmp_path / "store" / written.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == written.sha256
    assert written.path == f"files/00003/{written.sha256[:32]}.parquet"
    assert (written.rows, written.bytes) == (6000, len(data))
    whole = read_file(str(tmp_path / "store" / written.path))
    expected = pa.concat_tables(parts)
    assert whole["item_id"].to_pylist() == expected["item_id"].to_pylist()
    np.testing.assert_array_equal(vectors_of(whole["embedding"], 6), vectors_of(expected["embedding"], 6))
    assert whole["metadata"].to_pylist() == expected["metadata"].to_pylist()


def test_the_bytes_do_not_depend_on_how_rows_were_appended(tmp_path: Path) -> None:
    rows, digests = table(5000, "float16"), set()
    for step in (5000, 4096, 333):
        writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, "float16", METADATA), "finger")
        for start in range(0, 5000, step):
            writer.append(rows.slice(start, step))
        digests.add(writer.store(str(tmp_path / "store"), "f").sha256)
    assert len(digests) == 1


def test_rows_without_the_later_columns_are_written_and_read_with_nulls_beside_those_that_have_them(
    tmp_path: Path,
) -> None:
    writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, "float16", METADATA), "finger")
    old, new = table(2, "float16"), table(2, "float16", first=2)
    values = ([b"p" * 16] * 2, [b"h" * 32] * 2, [2**40] * 2)
    for field, column in zip(LATER, values, strict=True):
        new = new.append_column(field, pa.array(column, field.type))
    writer.append(old)
    writer.append(new)
    stored = read_file(str(tmp_path / writer.store(str(tmp_path), "f").path))
    for field, column in zip(LATER, values, strict=True):
        assert (stored.schema.field(field.name), stored[field.name].to_pylist()) == (field, [None, None, *column])


def test_completed_rows_have_nulls_for_what_may_be_null_and_nothing_else_is_made_up() -> None:
    rows, wanted = table(3, "float16", metadata=False), schema(6, "float16", METADATA)
    made = completed(rows, wanted)
    assert made.schema == wanted
    assert {name: made[name].null_count for name in (*(field.name for field in LATER), "metadata")} == {
        "pixel_hash": 3,
        "phash_256": 3,
        "bytes": 3,
        "metadata": 3,
    }
    assert made.select(rows.column_names).to_pydict() == rows.to_pydict()
    assert completed(made, wanted).equals(made)
    with pytest.raises(KeyError, match="phash"):
        completed(rows.drop_columns(["phash"]), wanted)


def test_no_signature_gets_into_a_file(tmp_path: Path) -> None:
    rows = table(2, "float16")
    uris = pa.array(["https://u:key@h/a.jpg?X-Signature=abc#f", "gs://shop/shoe #3.jpg"])
    rows = rows.set_column(rows.column_names.index("image_uri"), "image_uri", uris)
    writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, "float16", METADATA), "finger")
    writer.append(rows)
    stored = read_file(str(tmp_path / writer.store(str(tmp_path), "f").path))
    assert stored["image_uri"].to_pylist() == ["https://h/a.jpg", "gs://shop/shoe #3.jpg"]


def test_the_file_says_what_it_is_and_any_parquet_reader_gets_fixed_size_lists(tmp_path: Path) -> None:
    writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, "float32", METADATA), "finger")
    writer.append(table(2, "float32"))
    path = tmp_path / writer.store(str(tmp_path), "f").path
    found = pq.ParquetFile(path).schema_arrow
    assert pa.types.is_fixed_size_list(found.field("embedding").type)
    assert found.metadata[b"catalog_indexer.fingerprint"] == b"finger"
    assert file_schema(str(path)).names == found.names


def test_a_catalog_without_metadata_has_no_metadata_column(tmp_path: Path) -> None:
    writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, "float16", pa.schema([])), "finger")
    writer.append(table(2, "float16", metadata=False))
    path = str(tmp_path / writer.store(str(tmp_path), "f").path)
    assert read_file(path, ["item_id", "metadata"]).column_names == ["item_id"]


def test_a_flipped_byte_in_any_page_is_found_and_named(tmp_path: Path) -> None:
    writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, "float16", METADATA), "finger")
    writer.append(table(200, "float16"))
    path = tmp_path / writer.store(str(tmp_path), "f").path
    whole = path.read_bytes()
    original, named = read_file(str(path)), []
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    places = range(4, len(whole) - footer, 3)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = read_file(str(path))
        except IntegrityError as error:
            named.append(str(error))
        else:
            assert found.equals(original)  # A byte that says nothing, such as a statistic of a page.
    assert len(places) > 500
    assert len(named) > 0.8 * len(places)
    assert all(f"{path} is damaged" in sentence for sentence in named)
    path.write_bytes(whole[:-100])
    with pytest.raises(IntegrityError, match="is damaged"):
        read_file(str(path))
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_file(str(path))


def test_text_is_compressed_and_vectors_are_not(tmp_path: Path) -> None:
    metadata = pa.schema([("price", pa.float64()), ("note", pa.string())])
    writer = EmbeddingFileWriter(tmp_path / "scratch", schema(6, "float16", metadata), "finger")
    rows = table(500, "float16", metadata=False)
    notes = pa.array([{"price": 1.5, "note": "the same long words again and again"}] * 500, pa.struct(list(metadata)))
    writer.append(rows.append_column("metadata", notes))
    group = pq.ParquetFile(tmp_path / writer.store(str(tmp_path), "f").path).metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns.pop("embedding.list.element").compression == "UNCOMPRESSED"
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert columns["metadata.note"].total_compressed_size < 500
