from __future__ import annotations

import numpy as np
import pytest

from index_builder.training.rotation import balanced_rotation, deal_eigenvalues
from tests.index_builder.vectors import clustered


def test_the_rotation_is_orthonormal_and_keeps_the_most_variance() -> None:
    vectors = clustered(2_000, 24)
    rotation = balanced_rotation(vectors, 12, 4)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-5)
    variances = np.sort(np.linalg.eigvalsh(np.cov(vectors.T)))[::-1]
    kept = np.var(vectors @ rotation.T, axis=0).sum()
    np.testing.assert_allclose(kept, variances[:12].sum(), rtol=1e-2)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_products_of_the_groups_balance_far_better_than_in_order(scale: float) -> None:
    variances = scale * np.geomspace(100, 0.01, 32)
    groups = deal_eigenvalues(variances, 8)
    assert sorted(np.concatenate(groups).tolist()) == list(range(32))
    assert {len(group) for group in groups} == {4}
    dealt = [np.log(variances[group]).sum() for group in groups]
    in_order = [np.log(variances[start : start + 4]).sum() for start in range(0, 32, 4)]
    assert np.ptp(dealt) < 0.2 * np.ptp(in_order)


def test_constant_dimensions_are_no_trouble() -> None:
    vectors = np.zeros((100, 8), np.float32)
    vectors[:, 0] = np.arange(100)
    assert np.isfinite(balanced_rotation(vectors, 8, 2)).all()
