"""The worker image, as far as it can be known without building it: its stages, what they copy, and its versions."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

KINDS = ("cpu", "gpu")


@dataclass
class Stage:
    """A stage of the Dockerfile: what it is made from, and its instructions, each with its text."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def stages() -> dict[str, Stage]:
    """By name, in order."""
    text = re.sub(r"^#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    for line in filter(None, text.splitlines()):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = found[name] = Stage(base)
        elif found:
            stage.steps.append((word, rest))
    return found


def steps_of(name: str) -> list[tuple[str, str]]:
    """The instructions of a stage, after those of the stages that it is made from."""
    stage = stages()[name]
    before = steps_of(stage.base) if stage.base in stages() else []
    return before + stage.steps


def pins(name: str) -> dict[str, set[str]]:
    """The versions of every package of a lock; several where they depend on the platform."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([a-z0-9][\w.-]*)==([^ ;\\]+)", (REPOSITORY / name).read_text(), re.MULTILINE
    ):
        found.setdefault(package, set()).add(version)
    return found


def test_what_is_copied_from_a_stage_comes_from_one_that_is_there() -> None:
    names: list[str] = []
    for name, stage in stages().items():
        for word, rest in stage.steps:
            for source in re.findall(r"--from=(\S+)", rest) if word == "COPY" else []:
                assert source in names, f"{name}: {source}"
        names.append(name)
    assert set(KINDS) < set(names)
    assert names[-1] == "cpu"  # What `docker build .` makes.


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_runs_boot_as_an_ordinary_user(kind: str) -> None:
    steps = steps_of(kind)
    assert [rest for word, rest in steps if word == "USER"] == ["${RUN_AS}"]
    (user,) = re.findall(r"^ARG RUN_AS=(\d+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert int(user) >= 1000
    assert ("ENTRYPOINT", '["/opt/apache/beam/boot"]') in steps
    assert ("COPY", "--from=beam /opt/apache/beam /opt/apache/beam") in steps
    assert any(word == "RUN" and f"--uid {user} worker" in rest for word, rest in steps)
    # Boot fails where it cannot make its virtual environment, and the launcher where it cannot write its log.
    (owned,) = [rest for word, rest in steps if word == "RUN" and "chown" in rest]
    assert re.search(r"mkdir -p /opt/apache/beam-venv /var/log/dataflow/template_launcher\s", owned)
    assert re.search(r"chown -R worker /opt/apache/beam-venv /var/log/dataflow\s", owned)
    # Nothing is installed as root after the user is chosen.
    after = [word for word, _ in steps[[word for word, _ in steps].index("USER") :]]
    assert after == ["USER", "ENTRYPOINT"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_has_the_packages_of_its_lock_and_the_launcher_and_its_program(kind: str) -> None:
    steps = steps_of(kind)
    assert ("COPY", f"--from={kind}-packages /install /usr/local") in steps
    (installed,) = [rest for word, rest in stages()[f"{kind}-packages"].steps if word == "RUN"]
    assert installed.split()[-1] == f"/tmp/requirements-{kind}.lock"
    assert "--require-hashes" in installed
    launcher = "/opt/google/dataflow/python_template_launcher"
    assert ("COPY", f"--from=launcher {launcher} {launcher}") in steps
    assert ("ENV", "FLEX_TEMPLATE_PYTHON_PY_FILE=/template/main.py") in steps
    assert ("COPY", "--from=project /template /template") in steps
    assert ("COPY", "examples/dataflow/main.py /template/main.py") in stages()["project"].steps


def test_the_driver_of_a_gpu_is_looked_for_in_the_gpu_image_alone() -> None:
    for kind in KINDS:
        settings = " ".join(rest for word, rest in steps_of(kind) if word == "ENV")
        assert ("NVIDIA_DRIVER_CAPABILITIES" in settings) is (kind == "gpu")


def test_python_and_beam_are_those_of_the_lock() -> None:
    (beam,) = pins("requirements.lock")["apache-beam"]
    assert stages()["beam"].base == f"apache/beam_python3.11_sdk:{beam}"
    assert stages()["base"].base.startswith("python:3.11-slim")
    assert 'python_requires=">=3.11"' in (REPOSITORY / "setup.py").read_text()
    (launcher,) = re.findall(r"^ARG LAUNCHER=(\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert "/python311-template-launcher-base:" in launcher
    assert stages()["launcher"].base == "${LAUNCHER}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_lock_of_an_image_has_the_versions_of_the_lock(kind: str) -> None:
    locked, image = pins("requirements.lock"), pins(f"requirements-{kind}.lock")
    assert all(len(versions) == 1 for versions in image.values())
    differ = {name for name in set(locked) & set(image) if not image[name] <= locked[name]}
    assert not differ
    other = {"cpu": "gpu", "gpu": "cpu"}[kind]
    assert f"faiss-{kind}" in image
    assert f"faiss-{other}" not in image
    assert ("nvidia-cublas-cu12" in image) is (kind == "gpu")
    assert {"apache-beam", "tensorflow", "openvino", "google-cloud-dataflow-client", "setuptools"} <= set(image)
    assert not {"pytest", "ruff", "uv"} & set(image)


def test_both_images_search_with_the_same_faiss() -> None:
    assert pins("requirements-gpu.lock")["faiss-gpu"] == pins("requirements-cpu.lock")["faiss-cpu"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_lock_of_an_image_holds_hashes_and_no_address(kind: str) -> None:
    text = (REPOSITORY / f"requirements-{kind}.lock").read_text()
    for entry in re.split(r"\n(?=[a-z0-9])", text.strip()):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]
    assert "://" not in text


def context_files(rest: str) -> list[str]:
    return [] if "--from=" in rest else rest.split()[:-1]


def test_only_what_is_copied_is_sent_to_the_builder() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*"
    admitted = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        name
        for stage in stages().values()
        for word, rest in stage.steps
        if word == "COPY"
        for name in context_files(rest)
    }
    assert admitted == copied
    assert all((REPOSITORY / name).exists() for name in copied)
    assert not any(fnmatch.fnmatch(name, pattern) for name in copied for pattern in (".*", "tests*"))


def test_what_the_image_copies_is_all_that_the_project_needs(tmp_path: Path) -> None:
    """The instructions of the stage `project`, carried out here."""
    source, target = tmp_path / "source", tmp_path / "install"
    source.mkdir()
    ran = []
    for word, rest in stages()["project"].steps:
        if word == "COPY" and "/template/" not in rest:
            *names, to = rest.split()
            for name in names:
                place = source / (Path(name).name if to == "./" else to)
                copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
                copy(REPOSITORY / name, place)
        elif word == "RUN":
            ran.append(rest.replace("/install", str(target)).split())
    (command,) = ran
    assert command[0] == "pip"
    assert "--ignore-installed" in command  # Or pip takes what is installed here away.
    subprocess.run(
        [sys.executable, "-m", *command], cwd=source, capture_output=True, text=True, check=True, timeout=120
    )
    (site,) = target.glob("lib/python3.*/site-packages")
    for room in ("catalog", "encoders", "index_builder", "dedupe", "pipelines", "demo", "commands"):
        here = {
            path.relative_to(REPOSITORY) for path in (REPOSITORY / room).rglob("*") if "__pycache__" not in path.parts
        }
        there = {path.relative_to(site) for path in (site / room).rglob("*") if "__pycache__" not in path.parts}
        assert here == there
    assert (target / "bin" / "catalog-indexer").exists()


def test_setuptools_is_cut_out_of_the_lock_as_the_image_does() -> None:
    (step,) = [rest for word, rest in stages()["build"].steps if word == "RUN"]
    (script,) = re.findall(r"sed --quiet ('[^']+')", step)
    cut = subprocess.run(
        f"sed --quiet {script} requirements-cpu.lock",
        shell=True,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = cut.stdout.splitlines()
    assert lines[0].startswith("setuptools==")
    assert len(lines) > 1
    assert all(line.strip().startswith("--hash=sha256:") for line in lines[1:])
    assert not lines[-1].endswith("\\")
