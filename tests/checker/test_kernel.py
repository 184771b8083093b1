"""Whatever is set in the kernel, an answer gets the same verdict, and afterwards the kernel is as it was."""

import contextlib
import io
import random
import sys
import warnings

import numpy as np
import pytest
import torch

from lessons.checker.check import verdict_on
from lessons.checker.kernel import SETTINGS, known_state, put_modules_back
from lessons.tools.all_exercises import find
from lib.layers.norm import rms_norm
from tests.exercises.rights import rights

FOUND = {id: find(id) for id in ("02.1", "11.1", "12.2")}  # filled in before anything is set


def mine(x, weight, eps=1e-5):
    return x / (x * x).mean(-1, keepdim=True).add(eps).sqrt() * weight


def detached(x, weight, eps=1e-5):
    return rms_norm(x, weight, eps).detach()


@contextlib.contextmanager
def setting(read, write, value):
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


OTHERS = (torch.float64, 2, "medium", True, True, 2, 3000)  # in the order of SETTINGS
STATES = {
    "gradients off": lambda: torch.no_grad(),
    "inference": lambda: torch.inference_mode(),
    "another device": lambda: torch.device("meta"),
    "warnings are errors": warnings.catch_warnings,
} | {f"setting {i}": (lambda i=i: setting(*SETTINGS[i][:2], OTHERS[i])) for i in range(len(SETTINGS))}


@pytest.mark.parametrize("state", STATES)
def test_the_verdict_is_the_same_whatever_is_set(state):
    answers = [("02.1", mine), ("02.1", detached), *((id, rights(id)[0]) for id in FOUND)]
    wanted = [verdict_on(FOUND[id], answer) for id, answer in answers]
    assert [verdict.right for verdict in wanted] == [False, False, True, True, True]
    assert "float16" in wanted[0].text and "no gradient" in wanted[1].text
    for found in FOUND.values():
        found.memory.clear()
    with STATES[state]():
        if state == "warnings are errors":
            warnings.simplefilter("error")
        told = [verdict_on(FOUND[id], answer) for id, answer in answers]
    assert told == wanted
    for found in FOUND.values():
        found.memory.clear()


@pytest.mark.parametrize("i", range(len(SETTINGS)))
def test_what_an_answer_sets_is_put_back(i):
    read, write, _ = SETTINGS[i]
    before = read()

    def answer(x, weight, eps=1e-5):
        y = rms_norm(x, weight, eps)
        write(OTHERS[i])
        return y

    verdict_on(FOUND["02.1"], answer)
    assert read() == before


def test_streams_random_numbers_and_printing_are_put_back():
    def answer(x, weight, eps=1e-5):
        sys.stdout = sys.stderr = io.StringIO()
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        np.set_printoptions(precision=1), torch.set_printoptions(precision=1), np.seterr(all="raise")
        warnings.simplefilter("error")
        sys.modules["json"] = None
        return rms_norm(x, weight, eps)

    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    drawn = random.random(), np.random.rand(), float(torch.rand(()))
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    before = state_now()
    assert verdict_on(FOUND["02.1"], answer).right
    assert state_now() == before
    assert (random.random(), np.random.rand(), float(torch.rand(()))) == drawn


def state_now():
    printing = repr(torch.tensor(1 / 3)), repr(np.array(1 / 3)), str(np.geterr())
    return sys.stdout, sys.stderr, *printing, list(warnings.filters), sys.modules["json"]


def test_gradients_flow_inside_and_are_off_again_after():
    with torch.no_grad():
        with known_state():
            assert torch.is_grad_enabled()
        assert not torch.is_grad_enabled()


def test_state_is_put_back_after_an_error():
    with pytest.raises(KeyError), known_state():
        torch.set_default_dtype(torch.float64)
        raise KeyError
    assert torch.get_default_dtype() == torch.float32


def test_modules_are_put_back_and_those_of_a_cut_import_go(monkeypatch):
    before = sys.modules.copy()
    new = {name: type(sys)(name) for name in ("cut_one", "cut_one.part", "whole_one")}
    sys.modules.update(new)
    monkeypatch.setitem(sys.modules, "json", None)
    put_modules_back(before, {"cut_one"})
    assert set(new) & set(sys.modules) == {"whole_one"} and sys.modules["json"] is before["json"]
    del sys.modules["whole_one"]


def test_a_part_of_a_package_that_stays_is_no_longer_its_attribute():
    import concurrent.futures

    before = sys.modules.copy()
    part = sys.modules["concurrent.futures.new_part"] = type(sys)("concurrent.futures.new_part")
    concurrent.futures.new_part = part
    put_modules_back(before, {"concurrent"})
    assert not hasattr(concurrent.futures, "new_part") and "concurrent.futures.new_part" not in sys.modules
