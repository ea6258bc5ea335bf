from __future__ import annotations

import numpy as np
import pytest

from dedupe.list_join import JoinOptions, join_list
from dedupe.measure import Measure
from tests.dedupe.drawn import brute_pairs, entries_of, pictures


@pytest.fixture(scope="module")
def drawn() -> tuple[Measure, np.ndarray]:
    thumbnails, embeddings = pictures(20, 3, 1)
    measure = Measure.fit(thumbnails, embeddings)
    return measure, measure.describe(thumbnails, embeddings)


@pytest.mark.parametrize(("thumbnail_threshold", "threshold"), [(0.8, 0.73), (0.3, 0.2), (2.0, 0.5), (0.6, 2.0)])
def test_the_pairs_of_a_list_are_those_of_comparing_everything(
    drawn: tuple[Measure, np.ndarray], thumbnail_threshold: float, threshold: float
) -> None:
    measure, described = drawn
    options = JoinOptions(measure.scoring, tile=7)
    pairs = join_list(entries_of(described), thumbnail_threshold, threshold, options)
    expected = brute_pairs(measure, described, thumbnail_threshold, threshold)
    assert expected.num_rows >= 50
    assert pairs.equals(expected)
