from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.conftest import Catalog, Finished, draw_picture
from tests.index_builder.vectors import clustered, exact_rows

Cli = Callable[..., Finished]

VECTORS = clustered(300, 16)


def write(path: Path, vectors: np.ndarray = VECTORS) -> Path:
    ids = [f"song-{number}" for number in range(len(vectors))]
    titles = [f"title {number}" for number in range(len(vectors))]
    columns = {"item_id": ids, "title": titles, "vector": pa.array(vectors.tolist(), pa.list_(pa.float32()))}
    pq.write_table(pa.table(columns), path)
    return path


def test_imported_vectors_are_indexed_searched_and_verified_without_a_picture(tmp_path: Path, cli: Cli) -> None:
    flags = ["import-vectors", "--input", write(tmp_path / "v.parquet"), "--metric", "cosine", "--encoder-name", "clap"]
    done = cli(*flags, "--output", tmp_path / "e", "--json")
    assert (done.code, done.json["embedded"], done.json["snapshot"]) == (0, 300, 1)
    assert cli("index", "--embeddings", tmp_path / "e", "--artifacts", tmp_path / "a", "--name", "songs").code == 0
    named = ["--artifacts", tmp_path / "a", "--name", "songs"]
    for row in (0, 7, 150):
        np.save(tmp_path / "q.npy", VECTORS[row])
        results = cli("search", *named, "--vector", tmp_path / "q.npy", "-k", 5, "--json").json["results"]
        exact = exact_rows(VECTORS[row : row + 1], VECTORS.astype(np.float16), "cosine", 5)[0]
        assert [result["item_id"] for result in results] == [f"song-{n}" for n in exact]
        assert results[0]["metadata"] == {"title": f"title {row}"}
        assert {result["image_uri"] for result in results} == {None}
    by_item = cli("search", *named, "--item", "song-7", "-k", 1)
    assert by_item.out.splitlines()[2].split()[:3] == ["1", "1.0000", "song-7"]
    assert cli("versions", *named, "--json").json["versions"][0]["vectors"] == 300
    assert cli("verify", *named, "--json").json["intact"] is True
    assert cli("rejects", "--embeddings", tmp_path / "e", "--retry", "--json").json["retry"] is None

    changed = VECTORS.copy()
    changed[7] = -changed[7]
    write(tmp_path / "v.parquet", changed)
    assert cli(*flags, "--output", tmp_path / "e", "--json").json["snapshot"] == 2
    assert cli("index", "--embeddings", tmp_path / "e", "--artifacts", tmp_path / "a", "--name", "songs").code == 0
    np.save(tmp_path / "q.npy", -VECTORS[7])
    results = cli("search", *named, "--vector", tmp_path / "q.npy", "-k", 1, "--json").json["results"]
    assert results[0]["item_id"] == "song-7"


def test_no_picture_is_encoded_for_imported_vectors(
    tmp_path: Path, cli: Cli, make_catalog: Callable[..., Catalog]
) -> None:
    flags = ["--input", write(tmp_path / "v.parquet"), "--metric", "l2", "--output", tmp_path / "e"]
    assert cli("import-vectors", *flags).code == 0
    assert cli("index", "--embeddings", tmp_path / "e", "--artifacts", tmp_path / "a", "--name", "songs").code == 0
    draw_picture(1).save(tmp_path / "q.png")
    search = ["search", "--artifacts", tmp_path / "a", "--name", "songs", "--image", tmp_path / "q.png"]
    for extra in ([], ["--encoder", "color-histogram"]):
        refused = cli(*search, *extra)
        assert refused.code == 2
        assert refused.err.strip() == (
            "catalog-indexer search: --image: the vectors of this index (imported) were imported, so no encoder is "
            "known that makes such a vector of a picture; ask with --item or --vector"
        )
    refused = cli("embed", "--catalog", make_catalog(2).csv, "--output", tmp_path / "e", "--encoder", "imported")
    assert refused.code == 2
    assert "--encoder imported: imported vectors were made elsewhere" in refused.err


def test_pictures_and_imported_vectors_are_lineages_of_one_store(
    tmp_path: Path, cli: Cli, make_catalog: Callable[..., Catalog]
) -> None:
    catalog, store = make_catalog(40), tmp_path / "e"
    bring = ["import-vectors", "--input", write(tmp_path / "v.parquet"), "--metric", "l2", "--output", store, "--json"]
    embed = ["embed", "--catalog", catalog.csv, "--output", store, "--may-lose", 1, "--json"]
    first = cli(*embed)
    assert (first.json["snapshot"], first.json["lineage"]) == (1, 1)
    second = cli(*bring)
    assert (second.json["snapshot"], second.json["lineage"], second.json["embedded"]) == (2, 2, 300)
    assert "starts a new lineage" in second.err
    index = ["index", "--embeddings", store, "--artifacts", tmp_path / "a", "--name", "both", "--json"]
    assert cli(*index).json["vectors"] == 300
    third = cli(*embed)
    assert (third.json["snapshot"], third.json["lineage"], third.json["reused"]) == (3, 1, 40)
    assert cli(*index).json["vectors"] == 40
    fourth = cli(*bring)
    assert (fourth.json["snapshot"], fourth.json["lineage"], fourth.json["reused"]) == (4, 2, 300)


def test_import_json_has_the_documented_fields(tmp_path: Path, cli: Cli) -> None:
    flags = ["--input", write(tmp_path / "v.parquet"), "--metric", "dot", "--output", tmp_path / "e", "--json"]
    assert set(cli("import-vectors", *flags).json) == {
        "rows",
        "embedded",
        "reused",
        "rejected",
        "rejects_by_reason",
        "removed",
        "snapshot",
        "lineage",
        "fingerprint",
        "dimension",
        "vector_type",
        "normalized",
        "seconds",
    }


def test_ids_that_do_not_match_are_refused_with_nothing_written(tmp_path: Path, cli: Cli) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    (tmp_path / "ids.txt").write_text("only\none\n")
    flags = ["--input", tmp_path / "v.npy", "--ids", tmp_path / "ids.txt", "--metric", "l2", "--output", tmp_path / "e"]
    refused = cli("import-vectors", *flags)
    assert refused.code == 2
    assert refused.err.strip() == (
        f"catalog-indexer import-vectors: --ids {tmp_path}/ids.txt has 2 lines, and the input has 300 rows; expected "
        "one id for each row"
    )
    assert not (tmp_path / "e").exists()
