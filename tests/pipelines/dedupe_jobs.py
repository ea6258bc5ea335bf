"""Dedupe jobs without Beam, and what they leave."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from catalog import storage
from dedupe.job import Layout
from dedupe.settings import Settings
from dedupe.stages.finishing import finish
from dedupe.stages.showing import Pictures
from pipelines.dedupe import DedupeConfig, plan
from pipelines.dedupe_steps import plan_stages


@dataclass(frozen=True)
class Report:
    """The files of a report, each as rows."""

    summary: dict[str, Any]
    keep: list[dict[str, Any]]
    drop: list[dict[str, Any]]
    splits: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    placeholders: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]
    unreadable: list[dict[str, Any]]


def planned(stores: Mapping[str, str], output: Path | str, settings: Settings, **more: Any) -> Layout:
    """The job, before anything of it is done."""
    return plan(DedupeConfig(stores, str(output), settings, **more))


def run_stages(layout: Layout, backwards: bool = False) -> None:
    """Every unit of every stage in its turn, or the last one first; then the report."""
    for _, stage, units in plan_stages(layout):
        stage.setup()
        for unit in reversed(units) if backwards else units:
            list(stage.process(unit))
    finish(layout, Pictures(0, lambda uris: {}))
    storage.delete_tree(storage.join(layout.job.output, "work"))


def deduped(stores: Mapping[str, str], output: Path, settings: Settings, **more: Any) -> Report:
    """Runs a job and reads its report."""
    run_stages(planned(stores, output, settings, **more))
    return read_report(output)


def read_report(output: Path) -> Report:
    """The report, read as anybody would."""
    tables = {name: pq.read_table(output / f"{name}.parquet").to_pylist() for name in
              ("groups", "pairs", "placeholders", "conflicts")}  # fmt: skip
    texts = {name: _csv(output / f"{name}.csv") for name in ("keep", "drop", "splits", "unreadable")}
    return Report(json.loads((output / "summary.json").read_bytes()), **tables, **texts)


def _csv(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    options = pa_csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    return pa_csv.read_csv(path, convert_options=options).to_pylist()


def report_files(output: Path) -> dict[str, Any]:
    """The files of a report whose bytes may not depend on how the work was cut, and the summary without what says how
    it was."""
    summary = json.loads((output / "summary.json").read_bytes())
    del summary["identity"]
    found: dict[str, Any] = {
        path.name: path.read_bytes()
        for path in sorted(output.iterdir())
        # The page of pairs to review names the report by its identity.
        if path.suffix in (".csv", ".npz", ".html") and path.name != "uncertain.html"
    }
    for path in output.glob("*.parquet"):
        found[path.name] = pq.read_table(path).to_pylist()  # Row groups are those of the parts.
    found["summary"] = summary
    return found
