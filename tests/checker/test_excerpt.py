"""A wrong answer is shown with its input, with what came and what was expected, in a few short lines."""

import textwrap
from typing import NamedTuple

import pytest
import torch

from lessons.checker.check import verdict_on
from lessons.checker.excerpt import WIDE, excerpt, got_and_expected
from lessons.checker.exercise import Exercise
from lessons.tools.all_exercises import exercises

EXERCISES = [found for found in exercises() if callable(found.reference)]


def lines(reference, answer, *inputs, **options):
    made = Exercise("99.1", reference, dtypes=())
    made.case("one", *inputs, **options)
    return verdict_on(made, answer).text.split("\n")[1:-1]


def test_small_values_are_shown_in_full():
    x = torch.tensor([1.0, 2.0, 3.0])
    assert lines(lambda x, k: x * k, lambda x, k: x + k, x, 3) == [
        "  input: x = [1, 2, 3], k = 3", "  got: [4, 5, 6]", "  expected: [3, 6, 9]",
    ]  # fmt: skip
    assert lines(sorted_words, lambda words: words, ["b", "a"]) == [
        "  input: words = ['b', 'a']", "  got: ['b', 'a']", "  expected: ['a', 'b']",
    ]  # fmt: skip


def sorted_words(words):
    return sorted(words)


def test_large_tensors_are_shown_where_they_first_differ():
    def wrong(x):
        return 2 * x + torch.arange(35.0).view(5, 7).floor_divide(9).clamp(0, 2)

    assert lines(lambda x: 2 * x, wrong, torch.ones(5, 7)) == [
        "  input: x float32 (5, 7)",
        "  got: float32 (5, 7), first different at [1, 2]: 3",
        "  expected: float32 (5, 7), there: 2",
    ]  # fmt: skip


def test_a_long_list_is_shown_around_the_first_place_that_differs():
    got, expected = got_and_expected([*range(50), 7, *range(51, 90)], list(range(90)))
    assert got == "[..., 48, 49, 7, 51, 52, 53, ...]" and expected == "[..., 48, 49, 50, 51, 52, 53, ...]"
    got, expected = got_and_expected("a" * 99 + "b", "a" * 100)
    assert got == f"...'{'a' * 20}b'" and expected == f"...'{'a' * 21}'"
    assert got_and_expected([1, 2], [1, 2, 3]) == ("[1, 2]", "[1, 2, 3]")


def test_tuples_of_other_lengths_that_hold_tensors_are_no_fault_of_ours():
    x = torch.ones(5, 7)
    assert lines(lambda x: (x, x, x), lambda x: (x, x), x) == ["  input: x float32 (5, 7)"]


def test_what_the_head_says_already_is_not_said_again():
    assert lines(lambda n: n + 1, lambda n: n, 4) == ["  input: n = 4"]
    large = ["  input: x float32 (5, 7)"]
    assert lines(lambda x: x[0], lambda x: x, torch.ones(5, 7)) == large  # the shapes
    assert lines(lambda x: x, lambda x: x.double(), torch.ones(5, 7))[:-1] == large  # the types
    assert lines(lambda x: x, lambda x: x + 1, torch.ones(5, 7)) == large  # the largest difference is the first


def test_the_part_that_differs_is_shown():
    words = lines(lambda x: (x, [1, 2]), lambda x: (x, [1, 3]), torch.ones(2))
    assert words[1:] == ["  got: [1, 3]", "  expected: [1, 2]"]


class Node(NamedTuple):
    left: object


class Unspeakable:
    def __repr__(self):
        raise ValueError("no")


VALUES = [
    Node(Node(3)), Unspeakable(), torch.ones(3, 10**4), torch.empty(0), {1: {2: {3: 4}}}, "x" * 999, list(range(999)),
    torch.nn.Linear(2, 3), sorted_words, torch.ones(2, device="meta"), torch.eye(3).to_sparse(), 10**300, None, 1 + 2j,
    torch.tensor(1 + 2j), {n: n for n in range(99)},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_any_value_fits_in_a_line(value):
    assert 0 < len(excerpt(value)) <= WIDE and "\n" not in excerpt(value)
    for other in (torch.ones(2), [1], 3.0, "x", {1: 2}):
        pair = got_and_expected(value, other)
        assert pair is None or max(map(len, pair)) <= WIDE + 12


@pytest.mark.parametrize("found", EXERCISES, ids=lambda found: found.id)
def test_a_verdict_takes_ten_lines_at_most(found):
    """Of 79 characters, as `check` breaks them; most take eight."""
    for _, wrong in found.mistakes[:4]:
        text = verdict_on(found, wrong).text
        shown = [part for line in text.split("\n") for part in textwrap.wrap(line, 79, break_long_words=False)]
        assert len(shown) <= 10, text
        assert "  input: " in text or "it raises" in text or not text.startswith(f"{found.id} not yet: case"), text
