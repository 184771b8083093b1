"""Measure how long something takes, and how it grows: the shortest of several calls, and an exponent with its error."""

import math
import time


def best_seconds(calls, rounds=3, clock=time.perf_counter):
    """Return {name: seconds}, the shortest of some rounds, for calls {name: function}.

    Whatever else a machine does only adds time, so the shortest is nearest to the truth. The calls take turns, so that
    a slow minute hits all of them.
    """
    best = dict.fromkeys(calls, math.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            began = clock()
            call()
            best[name] = min(best[name], clock() - began)
    return best


def fit_power(x, y):
    """Return the exponent p of the power law y = c x^p that fits best, and its standard error.

    Least squares on logarithms, log y = log c + p log x: p = sum dx dy / sum dx^2, dx and dy measured from their means;
    error = sqrt(sum r^2 / (n - 2) / sum dx^2), r what is left over. Two points give an error of 0: they always fit.
    Raises ValueError for fewer, or for numbers that have no logarithm.
    """
    if len(x) != len(y) or len(x) < 2 or min(*x, *y) <= 0:
        raise ValueError(f"{len(x)} and {len(y)} points: give two or more of each, all above zero")
    log_x, log_y = [math.log(value) for value in x], [math.log(value) for value in y]
    n = len(x)
    dx, dy = ([value - sum(logs) / n for value in logs] for logs in (log_x, log_y))
    spread = sum(a * a for a in dx)
    p = sum(a * b for a, b in zip(dx, dy, strict=True)) / spread
    left = sum((b - p * a) ** 2 for a, b in zip(dx, dy, strict=True))
    return p, math.sqrt(left / max(1, n - 2) / spread)
