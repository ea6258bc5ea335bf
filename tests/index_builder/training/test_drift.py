from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from index_builder.measures import prepare
from index_builder.planning.factory import parse_factory
from index_builder.training.drift import Fit, measure_fit, reasons_to_retrain
from tests.index_builder.small_index import trained
from tests.index_builder.vectors import clustered, small_plan

THEN = Fit(coarse_distance=0.5, quantization_error=0.2, imbalance=1.4, empty_lists=0.0, held_out=1_000, sampled=3_000)


def test_vectors_like_those_of_the_training_are_no_reason_to_retrain() -> None:
    vectors = prepare(clustered(8_000, 24), "cosine")
    codebook = trained(vectors[:3_000], small_plan("cosine"))
    then = measure_fit(codebook, vectors[6_000:7_000], vectors[:3_000])
    now = measure_fit(codebook, vectors[7_000:], vectors[3_000:6_000])
    assert reasons_to_retrain(then, now, 0.8, 0.79) == []
    others = prepare(clustered(4_000, 24, seed=5), "cosine")
    elsewhere = measure_fit(codebook, others[:1_000], others[1_000:])
    reasons = reasons_to_retrain(then, elsewhere, 0.8, 0.8)
    assert [reason.split(" is ")[0].rsplit(" ", 1)[0] for reason in reasons][:2] == [
        "coarse distance",
        "quantization error",
    ]


def test_a_fit_is_what_a_plain_computation_says() -> None:
    vectors = prepare(clustered(3_000, 24), "l2")
    codebook = trained(vectors, small_plan("l2"))
    fit = measure_fit(codebook, vectors, vectors)
    index = codebook.index
    index.add(vectors)
    rotated = vectors @ codebook.rotation.T
    distance, lists = codebook.inner.quantizer.search(rotated, 1)
    decoded = codebook.inner.reconstruct_n(0, 3_000) if codebook.inner.make_direct_map() is None else None
    sizes = np.bincount(lists[:, 0], minlength=16)
    assert fit.coarse_distance == pytest.approx(distance.mean(), rel=1e-3)
    assert fit.quantization_error == pytest.approx(((rotated - decoded) ** 2).sum(axis=1).mean(), rel=1e-3)
    assert fit.imbalance == pytest.approx(16 * ((sizes / 3_000) ** 2).sum(), rel=1e-4)
    assert (fit.empty_lists, fit.held_out, fit.sampled) == (float((sizes == 0).mean()), 3_000, 3_000)


def test_an_index_of_one_list_is_measured_like_any_other() -> None:
    vectors = prepare(clustered(300, 24), "l2")
    codebook = trained(vectors, parse_factory("IVF1,SQ8", 300, 24, "l2"))
    fit = measure_fit(codebook, vectors, vectors)
    assert fit.coarse_distance == pytest.approx(((vectors - vectors.mean(axis=0)) ** 2).sum(axis=1).mean(), rel=1e-3)
    assert 0 < fit.quantization_error < 1e-3 * fit.coarse_distance
    assert (fit.imbalance, fit.empty_lists) == (1, 0)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"coarse_distance": 0.56}, "coarse distance 0.56 is above 0.55"),
        ({"quantization_error": 0.24}, "quantization error 0.24 is above 0.23"),
        ({"imbalance": 2.2}, "list imbalance 2.2 is above 2.1"),
        ({"empty_lists": 0.11}, "share of empty lists 0.11 is above 0.1"),
    ],
)
def test_each_measure_beyond_its_threshold_is_a_reason_with_its_numbers(changed: dict[str, float], reason: str) -> None:
    assert reasons_to_retrain(THEN, replace(THEN, **changed), None, None) == [reason]


def test_recall_that_fell_since_the_training_is_a_reason() -> None:
    assert reasons_to_retrain(THEN, THEN, 0.9, 0.885) == []
    assert reasons_to_retrain(THEN, THEN, 0.9, 0.875) == ["best recall@10 of the latest version 0.875 is below 0.88"]
