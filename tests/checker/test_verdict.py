"""Two values are compared in words, and nothing finite passes for infinity or NaN for a number."""

import math

import pytest

from lessons.checker.check import Exercise, verdict_on
from lessons.checker.verdict import compare


@pytest.mark.parametrize("yours", [3.0, 0.0, -math.inf, math.nan])
def test_nothing_else_is_infinity(yours):
    assert compare(yours, math.inf)[0] is not None
    assert compare(math.inf, math.inf) == (None, 0.0)


def test_infinity_is_no_number():
    assert compare(math.inf, 3.0)[0] is not None
    assert compare(3.0 + 1e-9, 3.0)[0] is None


def test_a_mistake_that_gives_nan_is_not_seen_in_every_wrong_answer():
    made = Exercise("99.9", lambda x: x + 1)
    made.case("numbers", made.randn(4))
    made.mistake("it divides by zero.", lambda x: x / 0 - x / 0)
    made.mistake("it takes away.", lambda x: x - 1)
    assert verdict_on(made, lambda x: x - 1).hint == "it takes away."
    assert verdict_on(made, lambda x: x * math.nan).hint == "it divides by zero."
