"""Fits of a power law with one thing changed, for exercise 16.1."""

import math


def sums(x, y, log_x=math.log, log_y=math.log):
    """Return n and the three sums of squares and products around the means of the logarithms: dx^2, dx dy, dy^2."""
    x, y = [log_x(value) for value in x], [log_y(value) for value in y]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    dx, dy = [value - mean_x for value in x], [value - mean_y for value in y]
    pairs = ((dx, dx), (dx, dy), (dy, dy))
    return len(x), *(sum(a * b for a, b in zip(one, other, strict=True)) for one, other in pairs)


def fit(x, y, slope=None, error=None, **logs):
    """Return a fit with one thing changed: functions of n and the three sums, the error's also of the slope."""
    n, xx, xy, yy = sums(x, y, **logs)
    p = slope(n, xx, xy, yy) if slope else xy / xx
    left = yy - 2 * p * xy + p * p * xx
    return p, error(n, xx, left) if error else math.sqrt(max(0.0, left) / (n - 2) / xx)


def changed(**change):
    """Make a wrong fit."""
    return lambda x, y: fit(x, y, **change)


def same(value):
    """Return it: no logarithm."""
    return value


def through_zero(x, y):
    """Return the fit of a line through the origin of the logarithms."""
    x, y = [math.log(value) for value in x], [math.log(value) for value in y]
    xx = sum(a * a for a in x)
    p = sum(a * b for a, b in zip(x, y, strict=True)) / xx
    return p, math.sqrt(sum((b - p * a) ** 2 for a, b in zip(x, y, strict=True)) / (len(x) - 2) / xx)
