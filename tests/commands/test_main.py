from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from catalog.errors import UsageError
from commands.main import COMMANDS
from tests.conftest import REPOSITORY, Catalog, Finished, draw_picture

Cli = Callable[..., Finished]

HEAVY = ("apache_beam", "tensorflow", "faiss", "pyarrow", "numpy", "PIL", "fsspec")


def modules_after(code: str) -> set[str]:
    """The heavy packages that are imported once `code` has run in a fresh process."""
    probe = f"{code}\nimport sys; print('MODULES', *[name for name in {HEAVY!r} if name in sys.modules])"
    out = subprocess.run([sys.executable, "-c", probe], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(out.stdout.splitlines()[-1].split()[1:])


def test_help_is_fast_because_it_imports_nothing_heavy() -> None:
    code = "from commands.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert modules_after(code) == set()


def test_a_consumer_of_artifacts_needs_neither_beam_nor_tensorflow_nor_pillow() -> None:
    modules = modules_after("import index_builder.catalog_index, index_builder.publishing.listing; import faiss")
    assert modules.isdisjoint({"apache_beam", "tensorflow", "PIL"})


def test_every_command_explains_itself(cli: Cli) -> None:
    overview = cli("--help")
    assert overview.code == 0
    for command in COMMANDS:
        assert command in overview.out
        assert cli(command, "--help").code == 0


def test_wrong_usage_exits_with_two(cli: Cli, tmp_path: Path) -> None:
    assert cli("nosuch").code == 2
    assert cli("embed", "--output", tmp_path / "e").code == 2
    refused = cli("embed", "--catalog", tmp_path / "none.csv", "--output", tmp_path / "e")
    assert refused.code == 2
    assert refused.err.strip() == f"catalog-indexer embed: --catalog {tmp_path}/none.csv: no such file"
    assert list(tmp_path.iterdir()) == []
    extra = cli("verify", "--artifacts", tmp_path, "--name", "x", "--", "--runner=X")
    assert (extra.code, extra.err.strip()) == (2, "catalog-indexer verify: takes no flags after --")


def test_an_output_that_cannot_be_is_one_sentence(
    make_catalog: Callable[..., Catalog], cli: Cli, tmp_path: Path
) -> None:
    catalog = make_catalog(1)
    (tmp_path / "file").write_text("x")
    for output, message in (
        (tmp_path / "file", "cannot be used: Not a directory"),
        ("az://bucket/e", "writing to az:// is not supported"),
    ):
        refused = cli("embed", "--catalog", catalog.csv, "--output", output)
        assert refused.code == 2
        assert message in refused.err.splitlines()[-1]


def test_a_missing_package_is_one_sentence(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("pipelines")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    missing = cli("embed", "--catalog", "c.csv", "--output", tmp_path / "e")
    assert missing.code == 2
    assert missing.err.strip() == (
        "catalog-indexer embed: the package apache_beam is not installed: run pip install '.[pipeline]' in a "
        "checkout of catalog-indexer"
    )


@pytest.fixture
def published(make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli) -> list[object]:
    """The flags of a small published index."""
    catalog = make_catalog(40)
    assert cli("embed", "--catalog", catalog.csv, "--output", tmp_path / "e").code == 0
    assert cli("index", "--embeddings", tmp_path / "e", "--artifacts", tmp_path / "a", "--name", "shop").code == 0
    return ["--artifacts", tmp_path / "a", "--name", "shop"]


def test_embed_json_has_the_documented_fields(make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli) -> None:
    catalog = make_catalog(10)
    (catalog.csv.parent / "pictures" / "2.png").unlink()
    done = cli("embed", "--catalog", catalog.csv, "--output", tmp_path / "e", "--json")
    assert done.code == 0
    assert set(done.json) == {
        "rows",
        "embedded",
        "reused",
        "rejected",
        "rejects_by_reason",
        "removed",
        "stale",
        "snapshot",
        "lineage",
        "fingerprint",
        "seconds",
        "images_per_second",
        "cost",
        "precision",
    }
    assert (done.json["embedded"], done.json["rejects_by_reason"]) == (9, {"not_found": 1})


def test_fail_on_rejects_exits_with_one_after_writing_everything(
    make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli
) -> None:
    catalog = make_catalog(10)
    (catalog.csv.parent / "pictures" / "2.png").unlink()
    flags = ["embed", "--catalog", catalog.csv, "--output", tmp_path / "e", "--json"]
    assert cli(*flags, "--fail-on-rejects", 1).code == 0
    failed = cli(*flags, "--fail-on-rejects", 0)
    assert failed.code == 1
    assert "1 rows were rejected or could not be read for now, --fail-on-rejects 0" in failed.err
    assert failed.json["snapshot"] == 1


def test_index_json_has_the_documented_fields(published: list[object], tmp_path: Path, cli: Cli) -> None:
    done = cli("index", "--embeddings", tmp_path / "e", *published, "--json").json
    assert set(done) == {
        "vectors",
        "dimension",
        "metric",
        "index",
        "bytes",
        "bytes_per_vector",
        "recall",
        "version",
        "channel",
        "promoted",
        "gates",
        "seconds",
        "seconds_by_stage",
    }
    assert done["promoted"]
    assert set(done["recall"]) == {"1", "10", "100"}


def test_search_by_item_image_and_vector_agree(published: list[object], tmp_path: Path, cli: Cli) -> None:
    by_item = cli("search", *published, "--item", "item-0007", "-k", 5, "--json").json
    by_image = cli("search", *published, "--image", tmp_path / "catalog/pictures/7.png", "-k", 5, "--json").json
    from index_builder.catalog_index import CatalogIndex

    vector = CatalogIndex.open(str(tmp_path / "a"), "shop").vector_of("item-0007")
    np.save(tmp_path / "v.npy", vector)
    by_vector = cli("search", *published, "--vector", tmp_path / "v.npy", "-k", 5, "--json").json
    assert set(by_item) == {"version", "results"}
    assert set(by_item["results"][0]) == {"rank", "item_id", "product_id", "score", "distance", "image_uri", "metadata"}
    names = [[result["item_id"] for result in answer["results"]] for answer in (by_item, by_image, by_vector)]
    assert names[0] == names[1] == names[2]
    assert names[0][0] == "item-0007"
    assert by_item["results"][0]["metadata"] == {"price": 7.5, "label": "label 2"}
    table = cli("search", *published, "--item", "item-0007", "-k", 3).out.splitlines()
    assert table[1].split() == ["rank", "score", "item", "product", "price", "label"]
    assert table[2].split()[:4] == ["1", "1.0000", "item-0007", "p2"]


def test_a_question_that_cannot_be_answered_is_refused(published: list[object], tmp_path: Path, cli: Cli) -> None:
    np.save(tmp_path / "long.npy", np.zeros(300))
    np.save(tmp_path / "nan.npy", np.full(256, np.nan))
    np.savez(tmp_path / "many.npz", a=np.zeros(256))
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "page.jpg").write_text("<html>")
    for flags, message in (
        (["--item", "nosuch"], "has no item 'nosuch'"),
        (["--vector", tmp_path / "long.npy"], "the vector has shape [300], the index wants [256]"),
        (["--image", "http://host/a.jpg"], "images are read from disks and object stores only"),
        (["--vector", tmp_path / "nan.npy"], "the vector has a value that is not a finite number"),
        (["--vector", tmp_path / "text.npy"], "is not a NumPy .npy file of numbers"),
        (["--vector", tmp_path / "none.npy"], "there is no such file"),
        (["--vector", tmp_path / "many.npz"], "is not a NumPy .npy file of numbers"),
        (["--vector", tmp_path / "empty.npy"], "is not a NumPy .npy file of numbers"),
        (["--vector", tmp_path], "is not a NumPy .npy file of numbers"),
        (["--image", tmp_path / "none.jpg"], "there is no such file, or it cannot be read"),
        (["--image", tmp_path / "page.jpg"], "unsupported_format"),
        (["--item", "item-0001", "--channel", "canary"], "has no channel 'canary'; its channels are: candidate, prod"),
        (["--item", "item-0001", "--version", "v9"], "has no version 'v9'; its versions are: 000001-"),
    ):
        refused = cli("search", *published, *flags)
        assert refused.code == 2
        assert message in refused.err
        assert refused.err.count("\n") == 1


def test_an_image_is_not_encoded_by_another_encoder(published: list[object], tmp_path: Path, cli: Cli) -> None:
    draw_picture(1).save(tmp_path / "q.png")
    refused = cli("search", *published, "--image", tmp_path / "q.png", "--encoder", "color-histogram:rgb")
    assert refused.code == 2
    assert "was made with (color-histogram-hsv-16x4x4" in refused.err


def test_versions_lists_what_is_published(published: list[object], cli: Cli) -> None:
    listed = cli("versions", *published, "--json").json["versions"]
    assert [(version["vectors"], version["channels"]) for version in listed] == [(40, ["candidate", "prod"])]
    assert "prod" in cli("versions", *published).out


def test_a_flipped_byte_is_named_by_verify_and_refused_by_search(
    published: list[object], tmp_path: Path, cli: Cli
) -> None:
    assert cli("verify", *published, "--json").json["intact"] is True
    assert cli("verify", *published, "--version", "v9").code == 2
    folder = next((tmp_path / "a" / "shop" / "versions").iterdir())
    rng = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for place in (0, len(whole) - 1, *rng.integers(0, len(whole), 6)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << rng.integers(0, 8))]) + whole[place + 1 :])
            for command in (["verify"], ["search", "--item", "item-0001"]):
                refused = cli(command[0], *published, *command[1:])
                assert refused.code == 1
                assert f"{path} is damaged" in refused.err
        assert cli("verify", *published, "--json").json["intact"] is False
        path.write_bytes(whole)
    assert cli("verify", *published).code == 0


def test_scan_makes_a_catalog_that_embed_reads(tmp_path: Path, cli: Cli) -> None:
    for category in ("a", "b"):
        (tmp_path / "shop" / category).mkdir(parents=True)
        draw_picture(len(category)).save(tmp_path / "shop" / category / "1.jpg")
    done = cli("scan", tmp_path / "shop", "--output", tmp_path / "c.csv", "--json")
    assert (done.json["items"], done.json["categories"]) == (2, 2)
    assert cli("embed", "--catalog", tmp_path / "c.csv", "--output", tmp_path / "e", "--json").json["embedded"] == 2


def test_numbers_that_make_no_sense_are_wrong_usage(cli: Cli, tmp_path: Path) -> None:
    flags = ["embed", "--catalog", "c.csv", "--output", tmp_path / "e"]
    for flag, value in (("--partitions", 0), ("--max-bytes", -5), ("--max-pixels", 0), ("--fail-on-rejects", -1)):
        refused = cli(*flags, f"{flag}={value}")
        assert refused.code == 2
        assert f"argument {flag}: {value} is less than" in refused.err
    refused = cli("search", "--artifacts", tmp_path, "--name", "x", "--item", "y", "-k", "0")
    assert (refused.code, "argument -k: 0 is less than 1" in refused.err) == (2, True)


def test_json_has_null_where_metadata_has_nan(make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli) -> None:
    catalog = make_catalog(3)
    table = pyarrow.csv.read_csv(catalog.csv)
    pq.write_table(
        table.set_column(3, "price", pa.array([float("nan"), 1.5, 2.5])), catalog.csv.with_suffix(".parquet")
    )
    cli("embed", "--catalog", catalog.csv.with_suffix(".parquet"), "--output", tmp_path / "e")
    artifact = ("--artifacts", tmp_path / "a", "--name", "shop")
    cli("index", "--embeddings", tmp_path / "e", *artifact)
    found = cli("search", *artifact, "--item", "item-0000", "--json")
    assert found.json["results"][0]["metadata"]["price"] is None
    assert "NaN" not in found.out


@pytest.mark.parametrize("kind", [RuntimeError, UsageError])
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_what_a_command_says_holds_no_secrets_of_urls(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], debug: list[str]
) -> None:
    import commands.versions

    def fail(args: object) -> int:
        raise kind("GET https://user:SECRET@host/a?sig=SECRET failed")

    monkeypatch.setattr(commands.versions, "run", fail)
    failed = cli("versions", "--artifacts", "a", "--name", "n", *debug)
    assert failed.code == (2 if kind is UsageError else 1)
    assert "GET https://host/a failed" in failed.err
    assert ("Traceback" in failed.err) is bool(debug)
    assert "SECRET" not in failed.err
    assert "SECRET" not in cli("versions", "https://user:SECRET@host/a?sig=SECRET").err


def test_what_is_logged_holds_no_secrets_of_urls() -> None:
    from commands.output import SecretsLeftOut

    try:
        raise RuntimeError("https://host/a?sig=SECRET")
    except RuntimeError:
        record = logging.LogRecord("x", 40, "f", 1, "GET %s", ("https://u:SECRET@host/b",), sys.exc_info())
    text = SecretsLeftOut("%(message)s").format(record)
    assert "GET https://host/b" in text
    assert "RuntimeError: https://host/a" in text
    assert "SECRET" not in text
