"""Nights for the tests: a small catalog, a configuration beside it, and `nightly` in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import draw_picture, start_cli

# Small, and yet with every stage of a build: a codebook, codes, runs, two parts.
INDEX: dict[str, Any] = {"factory": "IVF4,SQ8,RFlat", "parts": 2, "queries": 20}


def write_catalog(folder: Path, numbers: range) -> Path:
    """A CSV of drawn pictures, which are drawn where they are not there yet."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    lines = ["item_id,image,price"]
    for number in numbers:
        picture = folder / "pictures" / f"{number}.png"
        if not picture.exists():
            draw_picture(number).save(picture)
        lines.append(f"item-{number:04d},pictures/{number}.png,{number}.5")
    catalog = folder / "catalog.csv"
    catalog.write_text("\n".join(lines) + "\n")
    return catalog


def write_config(folder: Path, catalog: str = "catalog.csv", **changes: Any) -> Path:
    """`nightly.yaml` in `folder`, whose stores are below it; `changes` are by section."""
    config: dict[str, Any] = {
        "name": "shop",
        "artifacts": "artifacts",
        "embeddings": "embeddings",
        "reports": "reports",
        "embed": {"catalog": catalog},
        "index": {},
    }
    for section, values in changes.items():
        config[section] = {**config.get(section, {}), **values} if isinstance(values, dict) else values
    path = folder / "nightly.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def start_night(config: Path, *flags: object) -> subprocess.Popen[str]:
    """`catalog-indexer nightly` in a process of its own."""
    return start_cli("nightly", "--config", config, *flags)
