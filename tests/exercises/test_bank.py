"""Every exercise's check against whatever a learner may hand in: refused in words, in time, and by no error of ours."""

import copy
import functools
import inspect
import itertools
import time
from decimal import Decimal

import numpy as np
import pytest
import torch
from torch import nn

from lessons.checker.check import verdict_on
from lessons.checker.judge import all_cases, remembered
from lessons.checker.observe import floating
from lessons.tools.all_exercises import checks_of, exercises, find, numbers
from tests.exercises import bank
from tests.exercises.eight import EIGHT, mostly_at_night
from tests.exercises.rights import rights

FOUND = {found.id: found for found in exercises()}
CODE = [id for id, found in FOUND.items() if callable(found.reference)]
VALUES = [id for id, found in FOUND.items() if id not in CODE and found.kind != "explain"]
IMPLEMENT = [id for id in CODE if FOUND[id].kind in ("implement", "repair")]


def leaves(change):
    """Return a function that changes all tensors in a nested result."""

    def deep(value):
        if isinstance(value, torch.Tensor):
            return change(value)
        if isinstance(value, (list, tuple)):
            return type(value)(map(deep, value))
        return {key: deep(part) for key, part in value.items()} if isinstance(value, dict) else value

    return deep


def spoil(inputs):
    for value in inputs:
        if floating(value):
            value.data.add_(1)  # .data: a gradient can't forbid it
        elif isinstance(value, list):
            value.append(value[-1] if value else 0)


def forever(*inputs, **named):
    for n in itertools.count():
        try:
            n += 1
        except:  # noqa: E722
            pass


def raises(*inputs, **named):
    raise KeyError("a key")


def deeper(x):  # without *a or a default: Python 3.13.0 does not count such calls, and falls out of its memory
    return deeper(x)


STRANGE = {
    "an error": raises,
    "None": lambda *a, **k: None,
    "a word": lambda *a, **k: "a word",
    "a list of lists": lambda *a, **k: [[1, 2], [3]],
    "a number": lambda *a, **k: 1e400,
    "an object": lambda *a, **k: object(),
    "itself": lambda *a, **k: raises,
    "an empty tensor": lambda *a, **k: torch.empty(0),
    "another shape": lambda *a, **k: torch.zeros(1, 1, 1, 1, 1, 1),
    "not enough memory": lambda *a, **k: torch.zeros(10**15),
    "an end": lambda *a, **k: exit(3),
    "too deep": lambda *a, **k: deeper(a),
}


def answer_with(reference, function):
    """Return an answer like the reference, a function or a class, that does what `function` does."""
    if not inspect.isclass(reference):
        return function
    method = "forward" if issubclass(reference, nn.Module) else "__init__"
    if not issubclass(reference, nn.Module):
        return type("Mine", (), {name: lambda self, *a, **k: function(*a, **k) for name in vars(reference)} | {
            "__init__": lambda self, *a, **k: None, "__doc__": None, "__module__": "mine", "__dict__": {}}
        )  # fmt: skip
    return type("Mine", (reference,), {method: lambda self, *a, **k: function(*a, **k)})


def changed(reference, after):
    """Return an answer that gives the reference's result, changed by after(result, inputs)."""
    if not inspect.isclass(reference):
        return functools.wraps(reference)(lambda *a, **k: after(reference(*a, **k), a))
    if not issubclass(reference, nn.Module):
        return None
    return type("Mine", (reference,), {"forward": lambda self, *a, **k: after(reference.forward(self, *a, **k), a)})


def test_the_eight_are_of_all_kinds():
    assert set(EIGHT) <= set(CODE) and {inspect.isclass(FOUND[id].reference) for id in EIGHT} == {True, False}
    assert {bool(FOUND[id].call) for id in EIGHT} == {bool(FOUND[id].time) for id in EIGHT} == {True, False}


@pytest.mark.parametrize("id", mostly_at_night(CODE))
def test_strange_results_are_refused_in_words(id):
    for name, function in STRANGE.items():
        verdict = verdict_on(FOUND[id], answer_with(FOUND[id].reference, function))
        assert verdict.text.startswith(f"{id} not yet: ") and not verdict.right, (name, verdict.text)
        assert len(verdict.text) < 900 and "Traceback" not in verdict.text, (name, verdict.text)


@pytest.mark.parametrize("id", mostly_at_night(CODE))
def test_an_endless_loop_is_stopped(id):
    found = copy.copy(FOUND[id])
    assert found.limit <= 10
    found.limit = 0.2
    for i, case in enumerate(all_cases(found)):
        remembered(found, i, case, found.reference)
    start = time.perf_counter()
    verdict = verdict_on(found, answer_with(found.reference, forever))
    assert time.perf_counter() - start < 5 and "ran for more than 0.2 s and was stopped" in verdict.text


def shown(found):
    """Return what the reference shows in its first case."""
    return remembered(found, 0, all_cases(found)[0], found.reference)


def tensors(value):
    got = []
    leaves(got.append)(value)
    return got


CHANGES = {
    # name: (what is done to each tensor of the result, whether it then must be refused)
    "float64": (lambda t: t.double() if floating(t) else t, lambda t: t.dtype in (torch.float32, torch.bfloat16)),
    "an axis more": (lambda t: t[None], lambda t: True),
    "the first row": (lambda t: t[:1], lambda t: t.ndim > 0 and len(t) > 1),
    "not a number": (lambda t: t * torch.nan if floating(t) else t, lambda t: floating(t) and t.numel() > 0),
}


def plain(found):
    """Say whether the check looks at the result alone, of a function or of a module."""
    return not (found.call or all_cases(found)[0].call) and changed(found.reference, None) is not None


@pytest.mark.parametrize("id", mostly_at_night(id for id in CODE if plain(FOUND[id])))
def test_right_numbers_in_another_form_are_refused(id):
    """What the answer does to its inputs and to the gradients counts, and so does the form of the result."""
    found = FOUND[id]
    first, seen = all_cases(found)[0], shown(found)
    wrong = {
        name: changed(found.reference, lambda result, inputs, change=change: leaves(change)(result))
        for name, (change, matters) in CHANGES.items()
        if any(matters(t) for t in tensors(seen.value))
    }
    if seen.gradients:
        wrong["detached"] = changed(found.reference, lambda result, inputs: leaves(torch.Tensor.detach)(result))
    if any(floating(value) or isinstance(value, list) for value in first.inputs) and not seen.changed:
        wrong["in place"] = changed(found.reference, lambda result, inputs: (leaves(clone)(result), spoil(inputs))[0])
    for name, answer in wrong.items():
        assert verdict_on(found, answer).status == "wrong", name


def clone(t):
    return t.clone()


class Odd:
    """Nothing about it works."""

    __hash__ = None

    def __eq__(self, other):
        raise ValueError("no")

    def __repr__(self):
        raise ValueError("no")

    __float__ = __index__ = __len__ = __iter__ = __bool__ = __str__ = __repr__


ODD_VALUES = {
    "odd": Odd(),
    "a list": [1, [2]],
    "a dict": {"a": 1},
    "a tensor": torch.ones(3),
    "a meta tensor": torch.ones((), device="meta"),
    "an array": np.ones(3),
    "an array of objects": np.array([None, Odd()]),
    "a numpy word": np.str_("x"),
    "complex": 1 + 2j,
    "a complex tensor": torch.tensor(1 + 2j),
    "huge": 10**400,
    "nan": float("nan"),
    "a huge array number": np.float64("inf"),
    "a decimal": Decimal("6.9"),
    "bytes": b"x",
    "a function": raises,
    "a class": Odd,
    "a generator": (i for i in range(3)),
    "true": True,
    "a long list": ["x" * 10000],
}


@pytest.mark.parametrize("name", ODD_VALUES)
@pytest.mark.parametrize("id", [pytest.param(id, marks=[pytest.mark.nightly] * (i > 7)) for i, id in enumerate(VALUES)])
def test_odd_values_are_refused_in_words(id, name, capsys):
    assert checks_of(id[:2]).check(id, ODD_VALUES[name]) is not ODD_VALUES[name]
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"{id} not yet: ") and len(said) < 700, said
    assert "Traceback" not in said and "course's fault" not in said, said


@pytest.mark.parametrize("id", FOUND)
def test_wrong_answers_are_named_and_right_ones_pass(id):
    assert bank.audit(FOUND[id]) == []


def test_a_hint_stands_for_one_mistake_however_it_is_written():
    """A mistake may be written in several ways, which share their hint; a hint of one word helps nobody."""
    for found in FOUND.values():
        hints = [hint for hint, _ in found.mistakes]
        assert max(map(hints.count, hints), default=0) <= 4, found.id
        assert all(len(hint.split()) >= 2 for hint in hints), found.id


def test_an_unknown_lesson_says_which_exist():
    with pytest.raises(ValueError, match=r"lesson 'x' has no exercises; lessons with exercises: .*02"):
        find("x")


# --- the bank ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", IMPLEMENT)
def test_each_implementing_exercise_has_six_wrong_and_three_right_answers(id):
    assert len(FOUND[id].mistakes) >= 6 and len(rights(id)) >= 3


def test_the_table_of_the_bank(capsys):
    assert bank.main(["02"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].split() == ["wrong", "refused", "named", "right", "accepted"]
    n = str(len(FOUND["02.1"].mistakes))
    assert lines[1].split() == ["02.1", n, n, n, "3", "3"]
    assert lines[5].startswith("all") and "100.0%; 4 exercises" in lines[6]
    assert bank.main(["zz"]) == 1 and "no exercises in lesson zz" in capsys.readouterr().err


def test_the_bank_counts_what_gets_through(monkeypatch, capsys):
    found = find("02.1")
    n = len(found.mistakes)
    found.mistake("right, in truth.", rights("02.1")[0])
    found.mistake("a hint that is not told.", found.mistakes[0][1])
    monkeypatch.setattr(bank, "rights", lambda id: [*rights(id), lambda x, weight, eps=1e-5: x])
    row = bank.held(found)
    assert row == ("02.1", n + 2, n + 1, n, 4, 3)
    monkeypatch.setattr(bank, "rows", lambda number: [row])
    assert bank.main(["02"]) == 1


def test_there_are_sixty_exercises_or_nearly():
    """The target of the whole course; the first lessons alone have most of them."""
    assert len(FOUND) >= 47 and len(numbers()) >= 10
