"""How far a mean over a few runs can be trusted: Student's t, without a package for it."""

import math
import statistics
from typing import NamedTuple

LARGEST = 2000.0  # of |t|: beyond every quantile that is asked for here


class Interval(NamedTuple):
    """A mean, and how far its interval reaches to each side."""

    mean: float
    half: float

    @property
    def clear(self):
        """Say whether zero lies outside."""
        return abs(self.mean) > self.half


def t_interval(values, share=0.95):
    """Return the `Interval` that holds the true mean in `share` of all experiments like this one.

    mean +- t s / sqrt(n): s is the standard deviation with n - 1 below the root, t the quantile of Student's
    distribution with n - 1 degrees of freedom. Of paired runs give the differences. The values are taken as independent
    and roughly normal. ValueError for fewer than two.
    """
    values = [float(value) for value in values]
    if len(values) < 2:
        raise ValueError(f"{len(values)} numbers have no spread: give two or more")
    error = statistics.stdev(values) / math.sqrt(len(values))
    return Interval(statistics.fmean(values), t_value(len(values) - 1, share) * error)


def t_value(df, share=0.95):
    """Return the t with P(|T| <= t) = share, for `df` degrees of freedom, by halving an interval."""
    if not 0 < share <= 0.99:
        raise ValueError(f"a share of {share}: above 0 and at most 0.99")
    low, high = 0.0, LARGEST
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, df) < share else (low, middle)
    return (low + high) / 2


def p_value(values):
    """Return the chance of a mean at least as far from zero, if the true mean were zero: the paired t test, two-sided.

    The values are the differences, not all equal.
    """
    values = [float(value) for value in values]
    error = statistics.stdev(values) / math.sqrt(len(values))
    return 1 - within(abs(statistics.fmean(values)) / error, len(values) - 1)


def within(t, df):
    """Return P(|T| <= t) for whole degrees of freedom, in closed form (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    if not (isinstance(df, int) and df >= 1):
        raise ValueError(f"{df!r} degrees of freedom: a whole number of 1 or more")
    angle = math.atan(t / math.sqrt(df))
    square, term, total = math.cos(angle) ** 2, 1.0, 1.0
    if df % 2 == 0:
        for k in range(1, df // 2):
            term *= square * (2 * k - 1) / (2 * k)
            total += term
        return math.sin(angle) * total
    for k in range(1, (df - 1) // 2):
        term *= square * 2 * k / (2 * k + 1)
        total += term
    rest = math.sin(angle) * math.cos(angle) * total if df > 1 else 0.0
    return 2 / math.pi * (angle + rest)
