"""The checks are held to wrong answers: each is refused with its hint, and nothing gets through or hangs."""

import threading
import time

import pytest
import torch
from torch import nn

from lessons.checker import check as module
from lessons.checker import limits
from lessons.checker.check import Checks, verdict_on
from lessons.checker.exercise import Exercise
from lessons.checker.verdict import GOING_ON
from lessons.exercises.lesson_02 import check, checks
from lib.layers.norm import RMSNorm, rms_norm

find = checks.find


def test_right_returns_the_learners_own(capsys):
    def mine(x, weight, eps=1e-5):
        return rms_norm(x, weight, eps)

    assert check("02.1", mine) is mine
    assert capsys.readouterr().out == "02.1 right (11 cases, all exact).\n"


def test_wrong_goes_on_with_libs_and_says_where(capsys):
    assert check("02.1", lambda x, weight, eps=1e-5: 1.5 * rms_norm(x, weight, eps)) is rms_norm
    lines = capsys.readouterr().out.split("\n")
    assert max(len(line) for line in lines) < 80 and lines[-2:] == [GOING_ON, ""]
    words = " ".join(lines)
    assert words.startswith('02.1 not yet: case "random numbers": largest difference ') and " at [" in words
    assert "yours" in words and "looks like" not in words


def stub(x, weight, eps=1e-5):
    raise NotImplementedError("02.1: your turn")


@pytest.mark.parametrize("answer", [..., None, stub, rms_norm], ids=["...", "None", "stub", "lib's own"])
def test_not_attempted(answer, capsys):
    assert check("02.1", answer) is rms_norm
    assert capsys.readouterr().out.startswith("02.1 not attempted: ")


class Odd:
    """Nothing about it works."""

    __hash__ = None

    def __eq__(self, other):
        raise ValueError("no")

    def __repr__(self):
        raise ValueError("no")


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no")


def raises(error):
    def answer(x, weight, eps=1e-5):
        raise error

    return answer


def prints(x, weight, eps=1e-5):
    for _ in range(2000):
        print("a line " * 20)
    return x


def returns(value):
    return lambda x, weight, eps=1e-5: value(x) if callable(value) else value


def deeper(x):  # without a default to fill in: Python 3.13.0 does not count such calls, and falls out of its memory
    return deeper(x)


STRANGE = {
    "a result": (torch.ones(3), "a function is expected"),
    "a text": ("rms_norm", "a function is expected"),
    "a class": (RMSNorm, "a function is expected, it is the class RMSNorm"),
    "an odd object": (Odd(), "a function is expected"),
    "no arguments": (lambda: 1, "takes ()"),
    "too few": (lambda x, weight: x, "takes (x, weight)"),
    "pass": (returns(None), "returns None"),
    "a number": (returns(3.0), "of type float, expected is a tensor of shape (2, 5, 8)"),
    "a list": (returns(lambda x: x.tolist()), "list"),
    "an array": (returns(lambda x: x.numpy()), "ndarray"),
    "a pair": (returns(lambda x: (x, x)), "a tuple of 2"),
    "odd result": (returns(Odd()), "of type Odd"),
    "a shape that broadcasts": (returns(lambda x: x[:1]), "shape is (1, 5, 8), expected is (2, 5, 8)"),
    "swapped": (returns(lambda x: x.transpose(0, 1)), "two axes are swapped"),
    "empty": (returns(lambda x: x[:0]), "the shape is (0, 5, 8)"),
    "meta": (returns(lambda x: x.to("meta")), "lies on meta"),
    "sparse": (returns(lambda x: x.to_sparse()), "torch.sparse_coo"),
    "complex": (returns(lambda x: x.to(torch.complex64)), "largest difference"),
    "nan": (returns(lambda x: x / 0 * 0), "are NaN, the first at [0, 0, 0]"),
    "inf": (returns(lambda x: x / 0), "inf"),
    "an error": (raises(KeyError("weight")), "it raises KeyError: 'weight' (line"),
    "exit": (raises(SystemExit(3)), "it raises SystemExit"),
    "interrupt": (raises(KeyboardInterrupt()), "it raises KeyboardInterrupt"),
    "unspeakable": (raises(Unspeakable()), "it raises Unspeakable"),
    "recursion": (lambda x, w, eps=0: deeper(x), "RecursionError"),
    "prints": (prints, "more lines"),
    "huge": (lambda x, w, eps=0: torch.zeros(10**15), "it raises RuntimeError"),
    "bool": (True, "a function is expected"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_answers_are_answered_in_words(name, capsys):
    answer, words = STRANGE[name]
    assert check("02.1", answer) is rms_norm
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("02.1 not yet: ") and words in said, said
    assert len(said) < 700 and "Traceback" not in said and "course's fault" not in said


def forever(x, weight, eps=1e-5):
    while True:
        try:
            x = x + 1
        except:  # noqa: E722
            pass


def asleep(x, weight, eps=1e-5):
    time.sleep(60)


@pytest.mark.parametrize(
    ("answer", "words"), [(forever, "ran for more than 0.3 s and was stopped"), (asleep, "or is the machine busy?")]
)
def test_an_endless_loop_is_stopped(answer, words, monkeypatch):
    if answer is asleep:  # a loop works all the time, and is stopped by that, however busy the machine
        monkeypatch.setattr(limits, "PATIENCE", 1.0)
    found = find("02.1")
    found.limit = 0.3
    before, start = threading.active_count(), time.perf_counter()
    verdict = verdict_on(found, answer)
    assert time.perf_counter() - start < 60 and not verdict.right
    assert words in verdict.text
    assert answer is asleep or threading.active_count() == before


def test_the_default_limit_is_ten_seconds():
    assert find("02.1").limit == 10


def test_checking_leaves_the_lessons_random_numbers_alone():
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    verdict_on(find("02.1"), lambda x, weight, eps=1e-5: torch.randn_like(x))
    assert torch.equal(state, torch.random.get_rng_state())


def test_the_learners_line_is_named():
    def slip(x, weight, eps=1e-5):
        y = x @ x  # their line
        return y

    text = verdict_on(find("02.1"), slip).text
    assert f"line {slip.__code__.co_firstlineno + 1}: y = x @ x" in text


def test_of_two_mistakes_one_is_named():
    """eps is forgotten, and half precision is squared as it is: two mistakes of the list in one answer."""
    verdict = verdict_on(find("02.1"), lambda x, weight, eps=1e-5: x / x.pow(2).mean(-1, keepdim=True).sqrt() * weight)
    assert verdict.hint == "eps is forgotten."


def test_an_unknown_id_says_which_exist():
    with pytest.raises(ValueError, match=r"no exercise '02.9'; lesson 02 has 02.1, 02.2"):
        check("02.9", 1)
    with pytest.raises(ValueError, match=r"no exercise '02.1'; lesson 98 has none"):
        Checks("98").check("02.1", 1)


def test_a_fault_of_the_check_is_not_the_learners(capsys, monkeypatch):
    def broken(exercise, answer):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(module, "verdict_on", broken)
    assert check("02.1", stub) is rms_norm
    assert "could not be checked" in capsys.readouterr().out


def test_exercises_are_listed():
    assert [(e.id, e.points, e.kind) for e in map(find, checks.ids)][:3] == [
        ("02.1", 4, "implement"), ("02.2", 3, "repair"), ("02.3", 1, "predict"),
    ]  # fmt: skip


# --- properties, on exercises made here -------------------------------------------------------------------------------


def running_mean(x):
    """(B, T) -> (B, T): the mean so far."""
    return x.cumsum(1) / torch.arange(1, x.shape[1] + 1, dtype=x.dtype)


def mean_exercise(**options):
    made = Exercise("99.1", running_mean, time=(0, 1), batch=(0,), **options)
    made.case("some rows", made.randn(3, 7))
    return made


def shared_between_rows(x):
    total, out = 0.0, torch.empty_like(x)
    for row in range(x.shape[0]):
        for t in range(x.shape[1]):
            total = total + x[row, t]
            out[row, t] = total / (t + 1)
    return out


def spoils(x):
    y = running_mean(x)
    x += 1
    return y


PROPERTIES = {
    "in place": (spoils, "works in place"),
    "no gradient": (lambda x: running_mean(x).detach(), "cut it off"),
    "wrong gradient": (lambda x: running_mean(x.detach()) + 0 * x, "the gradient of x: largest difference"),
    "float32 always": (lambda x: running_mean(x).float(), "of type torch.float32, expected is torch.float64"),
    "contiguous only": (lambda x: running_mean(x.view(-1).view(x.shape)), "use `.reshape`"),
    "looks ahead": (lambda x: x.mean(1, keepdim=True).expand_as(x), "looks ahead"),
    "rows share a state": (shared_between_rows, "one sequence alone"),
    "batch of one only": (lambda x: running_mean(x[:1]).expand_as(x), "one sequence alone"),
    "nearly": (lambda x: running_mean(x) + 1e-4, "nearly, but not to the last digits"),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_have_hints_of_their_own(name):
    answer, words = PROPERTIES[name]
    verdict = verdict_on(mean_exercise(), answer)
    assert not verdict.right and words in verdict.text, verdict.text


def test_right_by_loops():
    def loops(x):
        return torch.stack([x[:, : t + 1].mean(1) for t in range(x.shape[1])], 1)

    assert verdict_on(mean_exercise(), loops).text == "99.1 right (3 cases, equal up to rounding)."


def class_exercise():
    made = Exercise("99.2", norm_class())  # not lib's, whose gradient by hand is off by a rounding
    made.case("eight channels", made.randn(2, 3, 8), build=(8,))
    made.case("named", 0.01 * made.randn(2, 3, 6), build={"d_model": 6, "eps": 0.1})
    made.mistake("eps is lost on the way: keep it in __init__.", norm_class(keeps_eps=False))
    return made


def norm_class(name="weight", keeps_eps=True, extra=0, width=0, scale=1.0):
    class Norm(nn.Module):
        def __init__(self, d_model, eps=1e-5):
            super().__init__()
            setattr(self, name, nn.Parameter(torch.ones(d_model + width)))
            self.eps = eps if keeps_eps else 1e-5
            if extra:
                self.bias = nn.Parameter(torch.zeros(d_model))

        def forward(self, x):
            return scale * rms_norm(x, getattr(self, name), self.eps)

    return Norm


class NoForward(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))


class StubForward(NoForward):
    def forward(self, x):
        raise NotImplementedError("99.2: your turn")


class NoSuper(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        self.weight = nn.Parameter(torch.ones(d_model))


class DetachedWeight(NoForward):
    def forward(self, x):
        return rms_norm(x, self.weight.detach(), 1e-5)


CLASSES = {
    "right": (norm_class(), "right (4 cases, all exact)"),
    "stub": (StubForward, "not attempted"),
    "no forward": (NoForward, 'is missing the required "forward" function'),
    "no super": (NoSuper, "it raises AttributeError: cannot assign"),
    "another name": (norm_class("gain"), "no weight named 'weight', it has gain"),
    "a bias": (norm_class(extra=1), "a weight too many, 'bias'"),
    "too wide": (norm_class(width=1), "the weight 'weight' has shape (9,), expected is (8,)"),
    "wrong": (norm_class(scale=2.0), "largest difference"),
    "known": (norm_class(keeps_eps=False), "eps is lost"),
    "a function": (rms_norm, "a class is expected, it is a function"),
    "an object": (RMSNorm(8), "a class is expected"),
    "not a module": (dict, "it raises TypeError"),
    "weight detached": (DetachedWeight, "the gradient of weight"),
}


@pytest.mark.parametrize("name", CLASSES)
def test_classes(name):
    answer, words = CLASSES[name]
    assert words in verdict_on(class_exercise(), answer).text


def value_exercise(reference, **options):
    return Exercise("99.3", reference, **options)


NUMBERS = {
    "right": (11008, int("11008"), True, "right."),
    "as a float": (11008, 11008.0, True, "right."),
    "as a tensor": (11008, torch.tensor(11008), True, "right."),
    "too small": (11008, 11007, False, "11,007 is too small"),
    "in quotes": (11008, "11008", False, "without quotes"),
    "nan": (2.5, float("nan"), False, "it is nan"),
    "true": (1, True, False, "a number is expected"),
    "near": (2.5, 2.501, True, "right."),
    "not near": (2.5, 2.51, False, "2.51 is too large"),
    "a stub": (2.5, ..., False, "not attempted"),
    "the reference itself": (2.5, "itself", False, "the course's own"),
    "a list": ([1, 2, 3], [1, 2, 4], False, "differs at [2]: yours 4, expected 3"),
    "a shorter list": ([1, 2, 3], [1, 2], False, "the list's length is 2, expected is 3"),
    "a right list": ([1, 2, 3], (1, 2, 3), True, "right."),
    "a word": ("T^2", " t^2 ", True, "right."),
    "another word": ("T^2", "T", False, '"T" is not it'),
    "no word": ("T^2", 2, False, "a text is expected"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_values(name):
    reference, answer, right, words = NUMBERS[name]
    verdict = verdict_on(value_exercise(reference), reference if answer == "itself" else answer)
    assert verdict.right == right and words in verdict.text


def test_a_known_wrong_number_is_named_and_the_right_one_not_told():
    verdict = verdict_on(find("02.3"), 64 * 4096)
    assert "the norm before the head is forgotten" in verdict.text and "266" not in verdict.text


def test_choices_and_measured_ranges_and_free_text():
    made = value_exercise("grows")
    made.choose("grows", "stays")
    assert "not among the choices: grows, stays" in verdict_on(made, "shrinks").text
    assert '"stays" is not it' in verdict_on(made, "stays").text
    made = value_exercise(2.0, kind="measure")
    made.between(1.5, 2.5)
    assert verdict_on(made, 2.4).right and "1.5 to 2.5" in verdict_on(made, 3.1).text
    made = value_exercise("Because the mean ...", kind="explain")
    assert verdict_on(made, "since it is").text == "99.3 noted: compare it with the solution."
    assert verdict_on(made, "  ").status == "not attempted" and "a text" in verdict_on(made, 4).text


def test_nested_results_are_compared_leaf_by_leaf():
    def pair(x):
        return {"sum": x.sum(-1), "parts": (x, [1, 2])}

    made = Exercise("99.4", pair)
    made.case("two", made.randn(2, 3))
    assert verdict_on(made, lambda x: {"sum": x.sum(-1), "parts": [x, [1, 2]]}).right
    assert "result['parts'][1]: differs" in verdict_on(made, lambda x: {"sum": x.sum(-1), "parts": (x, [1, 3])}).text
    assert "its keys are others: missing are 'parts'" in verdict_on(made, lambda x: {"sum": x.sum(-1)}).text
