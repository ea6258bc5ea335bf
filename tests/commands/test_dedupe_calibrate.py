from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dedupe.calibration import read_calibration
from dedupe.edits import EDITS, TURNS
from tests.conftest import REPOSITORY, Catalog, Finished

Cli = Callable[..., Finished]


@pytest.fixture
def store(make_catalog: Callable[..., Catalog], tmp_path: Path, cli: Cli) -> Path:
    catalog = make_catalog(40)
    assert cli("embed", "--catalog", catalog.csv, "--output", tmp_path / "e").code == 0
    return tmp_path / "e"


def test_a_calibration_is_said_to_people_and_to_machines(store: Path, tmp_path: Path, cli: Cli) -> None:
    asked = ("dedupe", "calibrate", "--embeddings", store, "--output", tmp_path / "c", "--pictures", 12)
    for_people = cli(*asked, "--edits", "jpeg30,crop20", "--precision", 0.9)
    assert for_people.code == 0
    lines = for_people.out.splitlines()
    assert lines[0].startswith("12 pictures in 2 edits; 40 pictures with each other, ")
    first_words = [line.split()[0] for line in lines[1:] if line]
    assert first_words == ["point", "P90", "P95", "P99", "chosen", "edit", "jpeg30", "crop20"]
    for_machines = cli(*asked, "--edits", "jpeg30,crop20", "--precision", 0.9, "--json")
    calibration = read_calibration(str(tmp_path / "c"))
    assert calibration.chosen is not None
    assert for_machines.json["chosen"]["threshold"] == calibration.chosen.threshold
    assert for_machines.json["edits"] == calibration.recall_by_edit()
    page = (REPOSITORY / "docs/commands/dedupe-calibrate.md").read_text(encoding="utf-8")
    assert all(f"`{field}`" in page for field in [*for_machines.json, *for_machines.json["chosen"]])


def test_a_precision_that_nothing_reaches_is_an_error_with_something_to_look_at(
    store: Path, tmp_path: Path, cli: Cli
) -> None:
    refused = cli(
        *("dedupe", "calibrate", "--embeddings", store, "--output", tmp_path / "c", "--pictures", 12),
        *("--edits", "overlay", "--copies", 1e-9, "--json"),
    )
    assert refused.code == 1
    assert refused.json["chosen"] is None
    assert "no threshold has a precision of 0.99 in this catalog; the highest is 0.000." in refused.err
    assert f"Look at the pairs in {tmp_path}/c/closest.csv, give verdicts and run again with --reviewed" in refused.err
    assert (tmp_path / "c" / "closest.csv").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--precision", "1.5"), "argument --precision: 1.5 is not from 0 to 1"),
        (("--copies", "0"), "argument --copies: 0 is not above 0"),
        (("--pictures", "0"), "argument --pictures: 0 is less than 1"),
        (("--edits", "crop11"), "catalog-indexer dedupe calibrate: --edits crop11 is unknown"),
    ],
)
def test_wrong_usage_is_one_sentence(flags: tuple[str, ...], message: str, tmp_path: Path, cli: Cli) -> None:
    refused = cli("dedupe", "calibrate", "--embeddings", tmp_path / "e", "--output", tmp_path / "c", *flags)
    assert refused.code == 2
    assert message in refused.err
    assert not (tmp_path / "c").exists()


def test_the_page_says_what_every_edit_is() -> None:
    page = (REPOSITORY / "docs/commands/dedupe-calibrate.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (*EDITS, *TURNS))
