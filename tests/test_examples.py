"""The examples are what they say they are: files that this version of the program takes."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from commands.main import _parser
from demo.catalog_folder import draw_catalog
from pipelines.nightly import nightly
from pipelines.nightly_config import read_nightly, schema
from tests.conftest import REPOSITORY

EXAMPLES = REPOSITORY / "examples" / "nightly"


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """The example's folder, with the demo's catalog in it."""
    from catalog.scan import scan

    folder = tmp_path / "nightly"
    folder.mkdir()
    shutil.copy(EXAMPLES / "nightly.yaml", folder)
    draw_catalog(folder / "demo-output" / "pictures")
    scan(str(folder / "demo-output" / "pictures"), str(folder / "demo-output" / "catalog.csv"))
    return folder


def test_the_configuration_runs_on_the_catalog_of_the_demo(night: Path) -> None:
    done = nightly(read_nightly(str(night / "nightly.yaml")))
    assert done.error is None
    assert done.index is not None
    assert done.index.promoted
    assert (night / "nightly-output" / "reports" / "latest.html").exists()


def test_what_is_commented_out_in_the_configuration_can_be_put_in(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.runner._check_dataflow", lambda: None)  # Its packages are in an extra.
    text = (night / "nightly.yaml").read_text()
    for place in ("nightly-output", "demo-output", "photos"):  # Dataflow's workers see no disk of this machine.
        text = text.replace(place, f"gs://shop/{place}")
    (night / "nightly.yaml").write_text(re.sub(r"(?m)^( *)# (?=(?:  )?[a-z_]+: |beam:|  - --)", r"\1", text))
    whole = read_nightly(str(night / "nightly.yaml"))
    assert (whole.embed.runs_on, len(whole.embed.beam_arguments)) == ("dataflow", 4)
    assert whole.index.stratify == "category"
    assert whole.embed.threads == 8
    assert whole.dedupe is not None
    assert whole.dedupe.config.settings.group_column == "category"
    keys = set(re.findall(r"(?m)^ *(?:# )?([a-z_]+):", text))
    assert keys >= set(schema()["properties"]) | set(
        schema()["properties"]["index"]["properties"]["gates"]["properties"]
    )


def cron_line() -> tuple[dict[str, str], str]:
    """The variables of the crontab, and the command of its one entry."""
    lines = [line for line in (EXAMPLES / "crontab").read_text().splitlines() if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]+=", line))
    (entry,) = [line for line in lines if not re.match(r"[A-Z]+=", line)]
    fields = entry.split(maxsplit=5)
    for field, most in zip(fields[:5], (59, 23, 31, 12, 7), strict=True):
        assert field == "*" or all(0 <= int(number) <= most for number in field.split(","))
    assert "%" not in fields[5]  # Which cron would make a new line of.
    return variables, fields[5]


def test_the_command_of_the_crontab_is_one_of_ours() -> None:
    variables, command = cron_line()
    program, *arguments = shlex.split(variables["NIGHTLY"])
    assert Path(program).name == "catalog-indexer"
    args = _parser().parse_args(arguments)
    assert (args.command, args.config) == ("nightly", "/etc/catalog-indexer/nightly.yaml")
    assert command.startswith("$NIGHTLY ")


@pytest.mark.parametrize(("code", "mailed"), [(0, False), (4, False), (1, True), (2, True), (3, True)])
def test_cron_mails_what_is_news(tmp_path: Path, code: int, mailed: bool) -> None:
    variables, command = cron_line()
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho the last line >&2\nexit {code}\n")
    program.chmod(0o755)
    environment = {**os.environ, **variables, "NIGHTLY": str(program), "LOG": str(tmp_path / "log")}
    ran = subprocess.run(
        [variables["SHELL"], "-c", command], env=environment, capture_output=True, text=True, check=False
    )
    assert (f"nightly exited with {code}" in ran.stdout and "the last line" in ran.stdout) is mailed
    assert ran.stderr == ""
    assert (tmp_path / "log").read_text() == "the last line\n"


def test_the_command_of_the_dag_is_one_of_ours() -> None:
    tree = ast.parse((EXAMPLES / "airflow_dag.py").read_text())
    compile(tree, "airflow_dag.py", "exec")
    values = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    command = eval(compile(ast.Expression(values["COMMAND"]), "", "eval"), {"PROGRAM": "p", "CONFIG": "/c.yaml"})
    args = _parser().parse_args(command[1:])
    assert (args.command, args.config, args.json) == ("nightly", "/c.yaml", True)
