from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import IntegrityError
from dedupe.measure import Measure
from dedupe.views import DEFAULT_VIEWS, TURNED_VIEWS
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


def test_flat_thumbnails_flat_views_and_vectors_without_direction_are_like_nothing() -> None:
    thumbnails, embeddings = pictures(30, 1, 1)
    measure = Measure.fit(thumbnails, embeddings)
    some, vectors = thumbnails[:6].copy(), embeddings[:6].copy()
    some[0] = 255
    some[1] = np.tile(np.array([200, 3, 90], np.uint8), 64) + np.arange(192, dtype=np.uint8) % 7
    some[2] = 255  # White but for its border: no thumbnail of what is inside.
    some[2].reshape(8, 8, 3)[[0, -1]] = 0
    vectors[3], vectors[4, 0], vectors[5, 0] = 0, np.nan, np.inf
    with np.errstate(all="raise"):
        thumbnail, embedding = measure.scoring.parts(measure.describe(some, vectors))
    assert not thumbnail[:2].any()
    assert thumbnail[2, 0].any()
    assert not thumbnail[2, DEFAULT_VIEWS.index("crop30")].any()
    assert thumbnail[3:].any(axis=2).all()
    assert embedding[:3].any(axis=2).all()
    assert not embedding[3:].any()


def test_descriptors_do_not_depend_on_the_rows_beside_them_nor_on_the_type_of_the_vectors() -> None:
    thumbnails, embeddings = pictures(300, 1, 1)
    measure = Measure.fit(thumbnails, embeddings)
    half = embeddings.astype(np.float16)
    whole = measure.describe(thumbnails, half)
    for rows in (slice(0, 1), slice(7, 20), slice(299, None)):
        np.testing.assert_array_equal(measure.describe(thumbnails[rows], half[rows].astype(np.float32)), whole[rows])


def test_a_measure_of_one_part_needs_and_scores_only_that() -> None:
    thumbnails, embeddings = pictures(20, 2, 1)
    only_thumbnails, only_embeddings = Measure.fit(thumbnails, None), Measure.fit(None, embeddings)
    own = only_thumbnails.describe(thumbnails, None)[:, 0]
    np.testing.assert_array_equal(*only_thumbnails.scores(own, own))
    described = only_embeddings.describe(None, embeddings)
    assert described.shape == (40, 1, 64)
    thumbnail, combined = only_embeddings.scores(described[:, 0], described[:, 0])
    assert not thumbnail.any()
    np.fill_diagonal(combined, -1)
    np.testing.assert_array_equal(combined.argmax(axis=1), np.arange(40) ^ 1)
    with pytest.raises(ValueError, match="not given"):
        only_embeddings.describe(thumbnails, None)
    with pytest.raises(ValueError, match="needs thumbnails or embeddings"):
        Measure.fit(None, None)


def test_offsets_are_the_mean_of_the_three_most_alike_of_the_background() -> None:
    thumbnails, embeddings = pictures(40, 1, 1)
    plain = Measure.fit(thumbnails, embeddings)
    own = plain.describe(thumbnails, embeddings)[:, 0]
    np.testing.assert_array_equal(plain.offsets(own), 0)
    for size in (20, 2):
        measure = replace(plain, background=own[:size], beta=0.5)
        expected = 0.5 * np.sort(plain.scores(own, own[:size])[1], axis=1)[:, -3:].mean(axis=1)
        np.testing.assert_allclose(measure.offsets(own), expected, atol=1e-6)
        again = Measure.from_bytes(measure.to_bytes(), "x")
        np.testing.assert_array_equal(again.offsets(own), measure.offsets(own))


def test_a_turned_picture_is_found_by_turned_views_only() -> None:
    thumbnails, embeddings = pictures(40, 1, 1)
    turned = np.rot90(thumbnails.reshape(-1, 8, 8, 3), axes=(1, 2)).reshape(-1, 192)
    for views, found in ((DEFAULT_VIEWS, False), (DEFAULT_VIEWS + TURNED_VIEWS, True)):
        measure = Measure.fit(thumbnails, embeddings, views)
        described = measure.describe(turned, embeddings)
        own = measure.describe(thumbnails, embeddings)[:, 0]
        best = np.array([measure.scores(each, own[row : row + 1])[0].max() for row, each in enumerate(described)])
        assert (best > 0.99).all() if found else np.median(best) < 0.7
