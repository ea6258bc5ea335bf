from __future__ import annotations

import threading

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_info

from index_builder import threads as module
from index_builder.threads import in_threads, single_threaded_math


def blas_threads() -> set[int]:
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


def test_answers_come_in_order_and_an_error_ends_the_work() -> None:
    assert list(in_threads(lambda n: n * n, range(1_000))) == [n * n for n in range(1_000)]
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda n: 1 // (n - 50), range(1_000)))


def test_pieces_are_taken_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 2)
    taken: list[int] = []
    answers = in_threads(lambda n: n, (taken.append(n) or n for n in range(1_000)))
    next(answers)
    assert len(taken) < 10


def test_blas_and_faiss_compute_with_one_thread_inside_and_as_before_outside() -> None:
    faiss.omp_set_num_threads(3)
    np.ones((2, 2)) @ np.ones((2, 2))
    before = blas_threads()
    inside = list(in_threads(lambda _: (faiss.omp_get_max_threads(), blas_threads()), range(4)))
    assert inside == [(1, {1})] * 4
    assert faiss.omp_get_max_threads() == 3
    assert blas_threads() == before


def test_the_limit_stays_until_the_last_of_several_has_left() -> None:
    before, entered, leave = blas_threads(), threading.Event(), threading.Event()

    def other() -> None:
        with single_threaded_math:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with single_threaded_math:
        thread.start()
        entered.wait(10)
        assert blas_threads() == {1}
    (np.ones((64, 64)) @ np.ones((64, 64))).sum()
    assert 1 in blas_threads()  # numpy's, which the other still needs.
    leave.set()
    thread.join()
    assert blas_threads() == before
