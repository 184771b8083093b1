"""Fits of a power law with one thing changed, for exercise 16.1."""

import math

from lib.run.measure import fit_power


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


WRONG_FITS = {
    "no logarithms: a power law is a straight line only on logarithmic axes.": changed(log_x=same, log_y=same),
    "only the costs have their logarithm taken.": changed(log_x=same),
    "only the lengths have their logarithm taken.": changed(log_y=same),
    "x and y have changed places: that is the inverse's fit.": lambda x, y: fit_power(y, x),
    "the line is forced through the origin: measure both from their means first.": through_zero,
    "first and last point alone: all of them count.": lambda x, y: (
        math.log(y[-1] / y[0]) / math.log(x[-1] / x[0]),
        fit_power(x, y)[1],
    ),
    "the error divides by n: two numbers, height and slope, were taken from the data, so n - 2.": changed(
        error=lambda n, xx, left: math.sqrt(left / n / xx)
    ),
    "the error divides by n - 1: height and slope were both fitted, so n - 2.": changed(
        error=lambda n, xx, left: math.sqrt(left / (n - 1) / xx)
    ),
    "that is the error's square: take the root.": changed(error=lambda n, xx, left: left / (n - 2) / xx),
    "that is how far the points lie off the line; the slope's error is that, divided by the root of sum dx^2.": (
        changed(error=lambda n, xx, left: math.sqrt(left / (n - 2)))
    ),
    "the error divides by the sum of dx^2, not by its root: it belongs inside the root.": changed(
        error=lambda n, xx, left: math.sqrt(left / (n - 2)) / xx
    ),
    "the slope is divided by sum dy^2: divide by sum dx^2.": changed(slope=lambda n, xx, xy, yy: xy / yy),
    "the slope is divided by sum dy^2, and its error is right: divide by sum dx^2.": lambda x, y: (
        fit(x, y, slope=lambda n, xx, xy, yy: xy / yy)[0],
        fit_power(x, y)[1],
    ),
    "the slope is divided by sum dy^2, and so is the error: divide by sum dx^2.": lambda x, y: fit(
        x,
        y,
        slope=lambda n, xx, xy, yy: xy / yy,
        error=lambda n, xx, left: math.sqrt(left / (n - 2) / sums(x, y)[3]),
    ),
    "first and last point alone, without an error: all of them count.": lambda x, y: (
        math.log(y[-1] / y[0]) / math.log(x[-1] / x[0]),
        0.0,
    ),
    "the correlation comes back, not the slope: divide by sum dx^2.": changed(
        slope=lambda n, xx, xy, yy: xy / math.sqrt(xx * yy)
    ),
    "the logarithms have two bases: take the same for both.": changed(log_x=math.log2),
    "sum dx^2 belongs below the line: the error is the root of what is left over (n - 2) sum dx^2.": changed(
        error=lambda n, xx, left: math.sqrt(left / (n - 2) * xx)
    ),
    "the root is over the numerator alone: it is over all.": changed(
        error=lambda n, xx, left: math.sqrt(left) / (n - 2) / xx
    ),
    "n - 2 is multiplied by sum dx^2, not added.": changed(error=lambda n, xx, left: math.sqrt(left / (n - 2 + xx))),
    "log y / log x is the exponent only where c = 1: measure both from their means.": lambda x, y: (
        sum(math.log(b) / math.log(a) for a, b in zip(x, y, strict=True)) / len(x),
        fit_power(x, y)[1],
    ),
    "this is the mean of the slopes between neighbours: least squares weighs long steps more.": lambda x, y: (
        sum(math.log(d / c) / math.log(b / a) for a, b, c, d in zip(x, x[1:], y, y[1:], strict=False)) / (len(x) - 1),
        fit_power(x, y)[1],
    ),
    "error first: return the exponent, then its error.": lambda x, y: fit_power(x, y)[::-1],
    "the exponent alone comes back: return the pair (exponent, error).": lambda x, y: fit_power(x, y)[0],
}
