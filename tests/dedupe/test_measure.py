from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from catalog.errors import IntegrityError
from dedupe.measure import Measure
from dedupe.views import DEFAULT_VIEWS
from tests.dedupe.drawn import pictures


def test_a_picture_is_like_itself_and_its_copy_and_not_like_others() -> None:
    thumbnails, embeddings = pictures(50, 2, 1)
    measure = Measure.fit(thumbnails, embeddings)
    own = measure.describe(thumbnails, embeddings)[:, 0]
    for scores in measure.scores(own, own):
        np.testing.assert_array_equal(scores.diagonal(), 1.0)
        copies = np.arange(100) // 2
        alike = copies[:, None] == copies[None]
        assert scores[alike].min() > 0.8
        assert scores[~alike].max() < 0.7


@pytest.mark.parametrize("count", [0, 1, 2, 10])
def test_a_catalog_of_few_pictures_has_a_measure(count: int) -> None:
    thumbnails, embeddings = pictures(count, 1, 2)
    measure = Measure.fit(thumbnails, embeddings)
    some, vectors = pictures(8, 1, 3)
    described = measure.describe(some, vectors)
    assert described.shape == (8, len(DEFAULT_VIEWS), 96 + 64)
    assert (np.abs(described.astype(int)).max(axis=2) == 127).all()


def test_a_stored_measure_describes_alike_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    thumbnails, embeddings = pictures(20, 1, 1)
    measure = Measure.fit(thumbnails, embeddings)
    url = str(tmp_path / "measure.npz")
    measure.save(url)
    again = Measure.load(url)
    np.testing.assert_array_equal(again.describe(thumbnails, embeddings), measure.describe(thumbnails, embeddings))
    assert again.to_bytes() == measure.to_bytes()
    data = bytearray(measure.to_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(IntegrityError, match=r"the\.npz is damaged"):
        Measure.from_bytes(bytes(data), "the.npz")
