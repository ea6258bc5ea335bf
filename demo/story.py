"""What the demo shows: which queries it asks, and how it says what it found."""

from __future__ import annotations

from pathlib import Path

from demo.contact_sheet import Tile

QUERIES = ("mugs/red-0.jpg", "shirts/blue-0.jpg", "lamps/yellow-0.jpg", "shoes/green-0.jpg", "bags/purple-0.jpg")
NEIGHBOURS = 6


def query_tile(pictures: Path, item_id: str) -> Tile:
    """The picture asked with."""
    return Tile(pictures / item_id, item_id.removesuffix(".jpg"), "query")


def neighbour_tile(pictures: Path, item_id: str, score: float) -> Tile:
    """One picture found."""
    return Tile(pictures / item_id, item_id.removesuffix(".jpg"), f"score {score:.3f}")


def next_steps(program: str, output: str) -> str:
    """What to try next, ready to paste.

    Args:
        program: how this program was called.
        output: the demo's folder.
    """
    return f"""
What to try next:
  {program} search --artifacts {output}/artifacts --name demo --item lamps/teal-3.jpg -k 5
  {program} search --artifacts {output}/artifacts --name demo --image {output}/pictures/bags/red-2.jpg --json
  {program} verify --artifacts {output}/artifacts --name demo
  {program} dedupe rethreshold --report {output}/duplicates-1 --output {output}/stricter --threshold 0.9
  {program} scan YOUR_PICTURES --output catalog.csv
  {program} embed --catalog catalog.csv --output embeddings --encoder savedmodel:YOUR_MODEL
  {program} index --embeddings embeddings --artifacts artifacts --name products"""
