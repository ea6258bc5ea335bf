"""Places that are no configuration, and mistakes that are found before a night begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog import storage
from catalog.errors import CatalogIndexerError, UsageError
from catalog.storage.base import TransientError
from pipelines.nightly_config import read_nightly
from tests.conftest import Finished
from tests.pipelines.test_nightly_config import changed, read, refusal


def test_a_place_that_is_no_file_is_named_with_its_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for place, said in (
        (str(tmp_path), f"--config {tmp_path} is a folder; expected a YAML file"),
        ("", "--config '' is a folder; expected a YAML file"),
        (f"{tmp_path}/file/x", f"--config '{tmp_path}/file/x' cannot be read: Not a directory"),
        ("a\0b", "--config 'a\\x00b' cannot be read: embedded null byte"),
        ("nosuch://u:SECRET@h/x", "--config nosuch://h/x: nosuch:// is not a storage scheme that fsspec knows"),
        ("https://u:SECRET@no.such.invalid/x?sig=SECRET", "--config 'https://no.such.invalid/x' cannot be read: "),
        ("http://127.0.0.1:9/x", "--config 'http://127.0.0.1:9/x' cannot be read: "),
    ):
        with pytest.raises(UsageError) as refused:
            read_nightly(place)
        assert str(refused.value).startswith(said)
        assert "SECRET" not in storage.redact_text(str(refused.value))


def test_a_store_that_does_not_answer_for_now_is_tried_again_by_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    def down(url: str) -> bytes:
        raise TransientError("503: down")

    monkeypatch.setattr(storage, "read_bytes", down)
    with pytest.raises(CatalogIndexerError, match=r"n.yaml could not be read for now: 503: down$") as down_now:
        read_nightly("gs://b/n.yaml")
    assert down_now.value.exit_code == 1


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("embed/encoder", "nosuch", "embed: --encoder nosuch is unknown; expected one of color-histogram"),
        ("embed/encoder", "color-histogram:lab", "embed: --encoder color-histogram:lab is unknown"),
        (
            "embed/encoder",
            "savedmodel:m",
            "embed: --encoder savedmodel:{}/m: there is no saved_model.pb in that folder",
        ),
        ("embed/encoder", "savedmodel:", "embed: --encoder savedmodel:{}: there is no saved_model.pb"),
        ("embed/encoder", "tfhub:x/y?size=big", "embed: --encoder tfhub:x/y: size=big is no size"),
        ("embed/encoder", "keras:ResNet50@w.h5", "embed: --encoder keras:ResNet50@{}/w.h5: there is no weights file"),
        ("embed/precision", "bfloat16", "embed: --precision bfloat16 is for savedmodel: and tfhub: encoders"),
        ("embed/worker_memory", "lots", "embed: --worker-memory lots is no size; expected one such as 16GB"),
        ("index/worker_memory", "lots", "index: --worker-memory lots is no size; expected one such as 16GB"),
        ("beam", ["--runner=Nope"], "beam: --runner=Nope is no runner of Beam"),
        ("beam", ["--runnr=x"], "beam: Beam does not know these flags: --runnr=x"),
        ("engine", "spark", "engine: --engine spark needs --spark_master_url, spark://HOST:7077 or local[4]"),
        ("beam", ["--runner=FlinkRunner"], "engine: --engine flink needs --flink_master, HOST:8081 or [local]"),
        ("beam", ["--spark_master_url=local"], "engine: --spark_master_url is for --engine spark, and this job would"),
        ("beam", ["--direct_num_workers=many"], "beam: Beam does not take these flags: --direct_num_workers=many"),
    ],
)
def test_what_a_job_would_find_wrong_is_found_before_the_night_begins(
    tmp_path: Path, path: str, value: Any, said: str
) -> None:
    assert refusal(tmp_path, path, value).startswith(f"{tmp_path}/nightly.yaml, {said.format(tmp_path)}")


def test_a_night_that_is_wrong_leaves_neither_a_lock_nor_a_report(tmp_path: Path, cli: Any) -> None:
    value = {**changed("embed/encoder", "nosuch"), "artifacts": "a", "embeddings": "e", "reports": "r"}
    with pytest.raises(UsageError):
        read(tmp_path, value)
    wrong: Finished = cli("nightly", "--config", tmp_path / "nightly.yaml")
    assert wrong.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["nightly.yaml"]
