"""Two values are compared in words, and nothing finite passes for infinity or NaN for a number."""

import math

import pytest
import torch

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


def test_a_dict_is_known_by_its_keys_in_any_order():
    one, two = torch.ones(2), torch.zeros(2)
    assert compare({"b": two, "a": one}, {"a": one, "b": two}) == (None, 0.0)
    assert compare({"b": one, "a": one}, {"a": one, "b": two})[0].words.startswith("result['b']: largest difference")
    assert compare({"x": one}, {"a": one})[0].words == "its keys are others: missing are 'a'; not expected are 'x'"
    many = {i: one for i in range(9)}
    assert compare({}, many)[0].words == "its keys are others: missing are 0, 1, 2, ..."
    assert "a dict of 2" in compare([one, two], {"a": one, "b": two})[0].words


def test_gradients_through_a_dict_do_not_hang_on_its_order():
    made = Exercise("99.8", lambda x: {"a": 2 * x, "b": 3 * x})
    made.case("numbers", made.randn(4))
    assert verdict_on(made, lambda x: {"b": 3 * x, "a": 2 * x}).right
