"""Fits find the exponent that was put in, with an error that fits the noise; the clock takes the shortest call."""

import math

import numpy as np
import pytest

from lib.run.measure import best_seconds, fit_power


def test_an_exact_law_is_found_exactly():
    x = [10, 30, 100, 1000]
    for p in (2.0, 1.0, 0.0, -0.5):
        found, error = fit_power(x, [3 * value**p for value in x])
        assert math.isclose(found, p, abs_tol=1e-12) and error < 1e-12


def test_exponent_and_error_are_numpys():
    rng = np.random.default_rng(0)
    x = np.geomspace(10, 1e4, 9)
    y = 2 * x**1.7 * np.exp(rng.normal(0, 0.2, 9))
    (slope, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    assert np.allclose(fit_power(x.tolist(), y.tolist()), (slope, covariance[0, 0] ** 0.5))


def test_the_error_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    x = np.geomspace(10, 1e4, 8)
    inside = 0
    for _ in range(400):
        p, error = fit_power(x.tolist(), (x**1.5 * np.exp(rng.normal(0, 0.1, 8))).tolist())
        inside += abs(p - 1.5) < 2 * error
    assert 0.85 < inside / 400 < 0.97  # Student's t with 6 degrees of freedom: 0.91


def test_what_has_no_logarithm_is_refused():
    for x, y in (([1], [1]), ([1, 2], [1]), ([1, 2], [0, 1]), ([-1, 2], [1, 1])):
        with pytest.raises(ValueError, match="two or more"):
            fit_power(x, y)


def test_the_shortest_of_several_rounds_in_turn():
    order, times = [], iter([0, 5, 10, 11, 20, 22, 30, 37])
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    assert best_seconds(calls, rounds=2, clock=lambda: next(times)) == {"a": 2, "b": 1}
    assert order == list("abab")
