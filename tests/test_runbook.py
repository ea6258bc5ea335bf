"""The commands that the documents for operators show are commands that there are."""

from __future__ import annotations

import inspect
import re
import shlex

import pytest

from commands.main import COMMANDS, _parser
from pipelines import embed_steps
from pipelines.runner import pipeline_options
from tests.conftest import REPOSITORY

PAGES = ("dataflow", "monitoring", "operations", "runbook", "sizing")


def page(name: str) -> str:
    return (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8")


def commands_of(name: str) -> list[str]:
    """Every `catalog-indexer …` of a page's blocks of shell, in one line each."""
    blocks = re.findall(r"```sh\n(.*?)```", page(name), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("catalog-indexer ")]


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_the_documents_parse(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Its packages are in an extra; what is asked here is whether Beam knows the flags.
    monkeypatch.setattr("pipelines.runner._check_dataflow", lambda: None)
    for line in commands_of(name):
        arguments = shlex.split(line, comments=True)[1:]
        beam: list[str] = []
        if "--" in arguments:
            cut = arguments.index("--")
            arguments, beam = arguments[:cut], arguments[cut + 1 :]
        assert arguments[0] in COMMANDS
        _parser().parse_args(arguments)
        pipeline_options(beam)


def test_the_runbook_shows_commands_and_dataflow_does() -> None:
    assert len(commands_of("runbook")) > 10
    assert any("--runner=DataflowRunner" in line for line in commands_of("dataflow"))


def test_modules_that_the_documents_name_as_commands_are_there() -> None:
    for name in PAGES:
        for room, module in re.findall(r"python -m (benchmarks|pipelines)\.(\w+)", page(name)):
            assert (REPOSITORY / room / f"{module}.py").exists(), f"{name}: {room}.{module}"


def test_the_metrics_that_are_counted_are_those_that_are_documented() -> None:
    text = page("monitoring")
    source = inspect.getsource(embed_steps.count)
    names = re.search(r"for name in \(([^)]*)\)", source)
    assert names is not None
    for counter in re.findall(r'"(\w+)"', names.group(1)):
        assert f"`{counter}`" in text
    from encoders.meter import Meter

    for name in Meter().totals():
        if name.endswith("_seconds"):
            assert f"`{name.removesuffix('seconds')}milliseconds`" in text
        else:
            assert f"`{name}`" in text
            assert f"`{name}_a_partition`" in text
