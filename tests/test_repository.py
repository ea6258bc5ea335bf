"""The documents and the packaging say what the code does."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from catalog.rejects import Reason
from commands.main import COMMANDS
from tests.conftest import REPOSITORY


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_that_names_all_of_its_flags(command: str) -> None:
    page = read(f"docs/commands/{command}.md")
    parser = argparse.ArgumentParser(add_help=False)
    importlib.import_module(f"commands.{command.replace('-', '_')}").add_arguments(parser)
    for action in parser._actions:
        for flag in action.option_strings:
            assert f"`{flag}`" in page or f"{flag} " in page or f"[{flag}]" in page, f"{command} {flag}"
    assert f"[{command}](docs/commands/{command}.md)" in read("README.md")


def test_every_reject_reason_is_documented_and_no_other() -> None:
    section = read("docs/formats.md").split("### Rejects")[1].split("###")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {reason.value for reason in Reason}


def test_links_between_documents_lead_somewhere() -> None:
    folders = [REPOSITORY / "docs", REPOSITORY / "examples"]
    for page in [*REPOSITORY.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]:
        for target in re.findall(r"\]\(\s*(?!https:)([^)#:]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_lock_holds_hashes_and_no_address() -> None:
    lock = read("requirements.lock")
    packages = re.findall(r"^[a-z0-9][\w.-]*==", lock, re.MULTILINE)
    assert len(packages) > 50
    assert lock.count("--hash=sha256:") >= len(packages)
    assert "://" not in lock


def test_no_file_is_too_long_to_be_one_idea() -> None:
    for room in ("catalog", "encoders", "index_builder", "dedupe", "pipelines", "commands", "demo", "benchmarks"):
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 320, path


def test_every_schema_is_part_of_the_package() -> None:
    assert '"catalog": ["schemas/*.json"]' in read("setup.py")
    assert sorted(path.stem for path in (REPOSITORY / "catalog" / "schemas").glob("*.json")) == [
        "channel.v1",
        "channel.v2",
        "collection.v1",
        "collection.v2",
        "log.v1",
        "manifest.v1",
        "manifest.v2",
        "pins.v1",
    ]


def test_every_room_is_installed() -> None:
    rooms = {path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - {"tests", "benchmarks"}
    listed = re.search(r"ROOMS = \[(.*?)\]", read("setup.py"))
    assert listed is not None
    assert set(re.findall(r'"(\w+)"', listed.group(1))) == rooms
    table = Path(REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert all(f"`{room}/`" in table for room in rooms)
