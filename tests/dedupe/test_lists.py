from __future__ import annotations

import numpy as np

from dedupe.lists import NO_LIST, Lists
from dedupe.measure import Measure
from tests.dedupe.drawn import pictures


def test_alike_pictures_share_a_list_and_one_row_or_equal_rows_have_one() -> None:
    thumbnails, embeddings = pictures(200, 3, 1)
    measure = Measure.fit(thumbnails, embeddings)
    own = measure.describe(thumbnails, embeddings)[:, 0]
    lists = Lists.train(own, 20, measure.scoring, 1)
    assigned = lists.assign(own, 3)
    assert assigned.dtype == np.int32
    assert len(np.unique(assigned)) == 20
    together = [(set(assigned[at]) & set(assigned[at + 1])) != set() for at in range(0, 600, 3)]
    assert np.mean(together) == 1.0
    for few in (own[:1], own[:1].repeat(50, axis=0)):
        one = Lists.train(few, 20, measure.scoring, 1)
        np.testing.assert_array_equal(one.assign(own, 2), [[0, NO_LIST]] * 600)
    np.testing.assert_array_equal(lists.assign(np.zeros((2, own.shape[1]), np.int8), 3), [[NO_LIST] * 3] * 2)
    np.testing.assert_array_equal(Lists.from_bytes(lists.to_bytes(), "x").assign(own, 3), assigned)
