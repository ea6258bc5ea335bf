"""The examples are what they say they are: files that this version of the program takes."""

from __future__ import annotations

import ast
import json
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
from pipelines.nightly_template import main as launch_template
from pipelines.runner import pipeline_options
from tests.conftest import REPOSITORY
from tests.pipelines.nights import write_catalog, write_config

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
    (night / "nightly.yaml").write_text(re.sub(r"(?m)^( *)# (?=(?:beam|[a-z_]+): |  - --)", r"\1", text))
    whole = read_nightly(str(night / "nightly.yaml"))
    assert (whole.embed.runs_on, len(whole.embed.beam_arguments)) == ("dataflow", 4)
    assert whole.index.stratify == "category"
    assert whole.embed.threads == 8
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


def test_the_parameters_of_the_flex_template_are_the_flags_of_its_program() -> None:
    import argparse

    from pipelines.nightly_flags import add_nightly_flags

    parser = argparse.ArgumentParser(add_help=False)
    add_nightly_flags(parser)
    metadata = json.loads((EXAMPLES / "flex-template" / "metadata.json").read_text())
    found = {each["name"]: each for each in metadata["parameters"]}
    assert set(found) == {action.dest for action in parser._actions}
    for action in parser._actions:
        assert found[action.dest]["isOptional"] is not action.required
    (pattern,) = found["config"]["regexes"]
    given = json.loads((EXAMPLES / "flex-template" / "launch.json").read_text())["launchParameter"]["parameters"]
    assert re.fullmatch(pattern, given.pop("config"))
    pipeline_options([f"--{name}={value}" for name, value in given.items()])  # Which refuses what Beam does not know.


def test_the_image_of_the_flex_template_starts_what_is_there() -> None:
    dockerfile = (EXAMPLES / "flex-template" / "Dockerfile").read_text()
    (source,) = re.findall(r"^COPY (examples\S+) /template/main.py$", dockerfile, re.MULTILINE)
    assert (REPOSITORY / source).exists()
    assert "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py" in dockerfile
    script = EXAMPLES / "flex-template" / "deploy.sh"
    assert subprocess.run(["bash", "-n", script], capture_output=True, check=False).returncode == 0
    assert os.access(script, os.X_OK)


def test_what_deploys_the_flex_template_asks_for_a_configuration_before_anything_else(tmp_path: Path) -> None:
    """With `docker` and `gcloud` that only write down what they are asked."""
    script, asked = EXAMPLES / "flex-template" / "deploy.sh", tmp_path / "asked"
    for name in ("docker", "gcloud"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho {name} "$@" >> {asked}\n')
        tool.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    places = {**path, "PROJECT": "p", "REGION": "r", "BUCKET": "b"}
    config = tmp_path / "mine.yaml"
    for settings, said in (
        (places, "CONFIG: the path of your configuration"),
        ({**places, "CONFIG": str(config)}, f"CONFIG is {config}: no such file"),
        ({**path, "CONFIG": str(config)}, "PROJECT: "),
    ):
        refused = subprocess.run(
            [script], cwd=REPOSITORY, env=settings, capture_output=True, text=True, timeout=30, check=False
        )
        assert refused.returncode != 0
        assert said in refused.stderr
        assert not asked.exists()
    config.touch()
    subprocess.run([script], cwd=REPOSITORY, env={**places, "CONFIG": str(config)}, timeout=30, check=True)
    assert f"gcloud storage cp {config} gs://b/config/nightly.yaml" in asked.read_text().splitlines()


def test_the_job_of_the_flex_template_is_a_night(tmp_path: Path) -> None:
    write_catalog(tmp_path, range(20))
    config = write_config(tmp_path)
    assert launch_template([f"--config={config}"]) == 0
    report = json.loads((tmp_path / "reports" / "latest.json").read_bytes())
    assert (report["outcome"], report["counts"]["indexed"]) == ("done", 20)
    assert launch_template([f"--config={tmp_path}/none.yaml"]) == 2
    assert launch_template([f"--config={config}", "--no_flag_of_beam=1"]) == 2
