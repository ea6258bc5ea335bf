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


def next_steps(output: str) -> str:
    """What to try next, ready to paste."""
    return f"""
What to try next:
  catalog-indexer search --artifacts {output}/artifacts --name demo --item lamps/teal-3.jpg -k 5
  catalog-indexer search --artifacts {output}/artifacts --name demo --image {output}/pictures/bags/red-2.jpg --json
  catalog-indexer verify --artifacts {output}/artifacts --name demo
  catalog-indexer scan YOUR_PICTURES --output catalog.csv
  catalog-indexer embed --catalog catalog.csv --output embeddings --encoder savedmodel:YOUR_MODEL
  catalog-indexer index --embeddings embeddings --artifacts artifacts --name products"""
