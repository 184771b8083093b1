"""Fits find the exponent that was put in, the clock takes the shortest call, memory and written numbers are counted."""

import math
import time

import numpy as np
import pytest
import torch

from lib.run.measure import best_seconds, fit_power, numbers_written, peak_bytes


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


def test_a_clock_of_large_steps_sees_short_calls_too(monkeypatch):
    """The processor's clock of Windows, by steps of 1/64 s; the calls take a millisecond and two."""
    fine = time.process_time
    monkeypatch.setattr(time, "process_time", lambda: math.floor(64 * fine()) / 64)

    def busy(seconds):
        end = fine() + seconds
        while fine() < end:
            pass

    calls = {"one": lambda: busy(0.001), "two": lambda: busy(0.002)}
    found = best_seconds(calls, rounds=2, clock=time.process_time)
    assert 0.0008 < found["one"] < 0.0015 and 0.0016 < found["two"] < 0.003


def test_what_is_alive_at_once_is_counted():
    assert peak_bytes(lambda: torch.zeros(1000)) == 4000
    assert peak_bytes(lambda: torch.zeros(1000) + 1) == 8000
    assert peak_bytes(lambda: [torch.zeros(1000) for _ in range(3)]) == 12000


def test_what_is_freed_counts_no_more():
    def chain():
        x = torch.zeros(1000, dtype=torch.float64)
        for _ in range(20):
            x = x + 1
        return x

    assert peak_bytes(chain) == 16000


def test_views_work_in_place_and_inputs_cost_nothing():
    x = torch.zeros(1000)
    assert peak_bytes(lambda: x.view(10, 100).T[2:5]) == 0
    assert peak_bytes(lambda: x.add_(1)) == 0
    assert peak_bytes(lambda: torch.zeros(1000).add_(1).view(10, 100)) == 4000


def test_the_backward_pass_is_seen():
    x = torch.randn(1000, requires_grad=True)
    forward = peak_bytes(lambda: x.exp().sin().sum())
    assert forward >= 8000  # both are kept for the backward pass
    assert peak_bytes(lambda: x.exp().sin().sum().backward()) > forward


def test_an_error_inside_comes_out_and_counting_stops():
    try:
        peak_bytes(lambda: torch.zeros(2) @ torch.zeros(3))
    except RuntimeError:
        pass
    else:
        raise AssertionError("the error of the function must come out")
    assert peak_bytes(lambda: torch.zeros(10)) == 40


def test_results_count_and_views_do_not():
    x = torch.randn(5, 4)
    assert numbers_written(lambda: x + 1) == 20
    assert numbers_written(lambda: (x + 1) @ x.T) == 20 + 25
    assert numbers_written(lambda: x.T[1:].reshape(3, 5, 1)[0]) == 0
    assert numbers_written(lambda: x.unbind(0)) == 0
    assert numbers_written(lambda: torch.stack(x.unbind(0))) == 20


def test_a_loop_that_indexes_writes_the_square_on_its_way_back():
    def back(take, T):
        x = torch.randn(T, 3, requires_grad=True)
        total = sum(take(x))
        return numbers_written(total.sum().backward)

    for take, low, high in ((lambda x: x.unbind(0), 1.9, 2.1), (lambda x: [x[t] for t in range(len(x))], 3.8, 4.1)):
        assert low < back(take, 200) / back(take, 100) < high
