"""One call an exercise: says whether an answer is right, how wrong it is, and which known mistake it looks like.

A lesson writes `name = check("04.2", name)` and goes on with the learner's own where it is right, with lib's where not.
The exercises of lesson 04 stand in `lib/teach/check_04.py`; `check_02.py` shows the pattern.
"""

import importlib
import math
import textwrap
from pathlib import Path

import torch

from lib.teach.judge import judge, verdict_of
from lib.teach.limits import error_in_words
from lib.teach.observe import Case, copies
from lib.teach.verdict import Problem, Verdict, compare, kind, two_numbers

_registered = {}
_rights = {}  # exercise -> right answers that stand in files of their own, right_NN


def check(id, answer):
    """Print what there is to say about an answer, and return it where it is right, else the reference.

    id: "04.2". answer: a function, a class, a number, a text. `...`, None and a stub are "not attempted". No error of
    the answer's comes out of here. Raises ValueError for an id that no lesson has.
    """
    exercise = find(id)
    try:
        verdict = verdict_on(exercise, answer)
    except Exception as error:  # a fault of ours must not stop a learner
        words = f"{id} could not be checked: {error_in_words(error)}. That is the course's fault. Going on with lib's."
        verdict = Verdict(id, "unchecked", words)
    # A notebook breaks long lines in the middle of a word.
    print("\n".join(textwrap.fill(line, 79, break_long_words=False) for line in verdict.text.split("\n")))
    return answer if verdict.right else exercise.reference


def exercise(id, reference, points=1, kind=None, **options):
    """Register an exercise: a decorator for the function that fills in its cases and mistakes.

    reference: what is right, lib's own function or class, a number, a text. kind: "implement", "repair", "predict",
    "measure", "explain"; a function's is "implement", a number's "predict". options: the fields of Exercise.
    """

    def register(fill):
        _registered[id] = (fill, dict(id=id, reference=reference, points=points, kind=kind, **options))
        return fill

    return register


def right(*ids):
    """Register a right answer that is written differently: a decorator, for the files right_NN."""

    def register(answer):
        for id in ids:
            _rights.setdefault(id, []).append(answer)
        return answer

    return register


class Exercise:
    """What is known about one exercise. The decorated function gets it as `e` and adds to it.

    call(answer, *inputs): how a case is run, where it is not answer(*inputs). tolerance: share of the largest number;
    None takes the dtype's. dtypes: in which the first case is run again. gradients: compare them too, where the
    reference has any. time = (input, axis): where tokens lie, for the hint on looking ahead. batch: which inputs have
    rows. limit: seconds for all of the learner's runs. seed: of the cases' random numbers; grading takes a secret one.
    """

    def __init__(self, id, reference, points=1, kind=None, call=None, tolerance=None, dtypes=(torch.float64,),
                 gradients=True, time=None, batch=(), limit=10.0, seed=0):  # fmt: skip
        self.id, self.reference, self.points = id, reference, points
        self.kind = kind or ("implement" if callable(reference) else "predict")
        self.call, self.tolerance, self.dtypes, self.gradients = call, tolerance, dtypes, gradients
        self.time, self.batch, self.limit = time, batch, limit
        self.cases, self.mistakes, self.rights, self.choices, self.range = [], [], [], (), None
        self.memory = {}  # what the reference and the mistakes showed
        self._generator = torch.Generator().manual_seed(seed)

    def randn(self, *shape, dtype=torch.float32):
        """Random normal numbers, the same in every run."""
        return torch.randn(*shape, generator=self._generator, dtype=torch.float64).to(dtype)

    def randint(self, high, *shape):
        """Random whole numbers from 0 to high - 1, the same in every run."""
        return torch.randint(high, shape, generator=self._generator)

    def size(self, low, high):
        """A random whole number from low to high, for cases whose inputs are plain numbers."""
        return int(torch.randint(low, high + 1, (), generator=self._generator))

    def case(self, name, *inputs, build=None, call=None, hint="", **keywords):
        """Add a call to compare. build: the arguments that a class is built with. hint: what failing here means."""
        self.cases.append(Case(name, copies(inputs), keywords, build, call, hint))

    def mistake(self, hint, wrong):
        """Add a wrong answer and the hint for whoever gives the same: a function, a class, or a number."""
        self.mistakes.append((hint, wrong))

    def right(self, other):
        """Add a right answer that is written differently; the tests hold the check to it."""
        self.rights.append(other)

    def between(self, low, high):
        """Accept every measured number from low to high."""
        self.range = (low, high)

    def choose(self, *choices):
        """Accept one of these words only."""
        self.choices = choices


def find(id, seed=0):
    """Return the exercise with this id, filled in. Raises ValueError, which says which exist."""
    number = str(id).partition(".")[0]
    load(number)
    if id not in _registered:
        here = [known for known in _registered if known.startswith(f"{number}.")]
        known = f"lesson {number} has" if here else "lessons with exercises:"
        raise ValueError(f"there is no exercise {id!r}; {known} {', '.join(sorted(here) or numbers())}")
    fill, options = _registered[id]
    found = Exercise(**options, seed=seed)
    fill(found)
    found.rights += _rights.get(id, [])
    return found


def numbers():
    """Return the lessons that have exercises: ["02", ...]."""
    return sorted(path.stem[6:] for path in Path(__file__).parent.glob("check_[0-9][0-9].py"))


def load(number):
    """Import lib.teach.check_NN where there is one, and right_NN; their decorators register what they have."""
    if number in numbers():
        importlib.import_module(f"lib.teach.check_{number}")
        if (Path(__file__).parent / f"right_{number}.py").is_file():  # a copy without solutions lacks it
            importlib.import_module(f"lib.teach.right_{number}")


def exercises(number=None):
    """Return the exercises of a lesson, or of all: objects with .id, .points and .kind."""
    for each in [number] if number else numbers():
        load(each)
    return [find(id) for id in sorted(_registered) if number is None or id.startswith(f"{number}.")]


def audit(id, seed=0):
    """Hold a check to its own wrong and right answers: return [(hint, what it said)], empty when all is well."""
    found = find(id, seed)
    told = [(hint, verdict_on(found, wrong)) for hint, wrong in found.mistakes]
    failed = [(hint, v.text) for hint, v in told if v.right or v.hint != hint]
    return failed + [("right", v.text) for v in (verdict_on(found, other) for other in found.rights) if not v.right]


def verdict_on(exercise, answer):
    """Return the Verdict on any answer."""
    if answer is None or answer is ... or (isinstance(answer, str) and not answer.strip()):
        return Verdict(exercise.id, "not attempted", f"{exercise.id} not attempted: going on with lib's.")
    if answer is exercise.reference and tells_its_origin(answer):
        words = f"{exercise.id} not attempted: this is lib's own. Run your cell above again, then this one."
        return Verdict(exercise.id, "not attempted", words)
    if callable(exercise.reference):
        return judge(exercise, answer)
    if exercise.kind == "explain":
        if isinstance(answer, str):
            return Verdict(exercise.id, "right", f"{exercise.id} noted: compare it with the solution.")
        return verdict_of(exercise, None, Problem(f"a text is expected, in quotes; it is {kind(answer)}"), "")
    return verdict_of_value(exercise, answer)


def tells_its_origin(value):
    """Say whether `is` proves anything: Python keeps one object only of a small number or a short word."""
    return not isinstance(value, (bool, str)) and not (isinstance(value, int) and abs(value) < 300)


def verdict_of_value(exercise, answer):
    """Return the Verdict on a number, a word, or a list. The right number is not told to whoever gives a wrong one."""
    expected = exercise.reference
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        problem = number_problem(exercise, answer)
    elif isinstance(expected, str):
        problem = word_problem(exercise, answer)
    else:
        problem = compare(answer, expected, exercise.tolerance)[0]
    if problem is None:
        return Verdict(exercise.id, "right", f"{exercise.id} right.")
    for hint, wrong in exercise.mistakes:
        if plain(answer) == plain(wrong) or compare(answer, wrong, exercise.tolerance)[0] is None:
            problem = problem._replace(hint=hint)
            break
    return verdict_of(exercise, None, problem, "")


def as_number(answer):
    """Return the one number in a tensor or an array as Python's own; anything else as it is."""
    try:
        return answer.item() if isinstance(answer, torch.Tensor) or type(answer).__module__ == "numpy" else answer
    except Exception:  # many numbers, or none that can be read
        return answer


def number_problem(exercise, answer):
    """Return the Problem of a number, or None."""
    answer = as_number(answer)
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        return Problem(
            f"a number is expected, it is {kind(answer)}" + (": without quotes" if isinstance(answer, str) else "")
        )
    if abs(answer) > 1e300 or math.isnan(answer):
        size = "far too large" if isinstance(answer, int) else answer
        return Problem(f"a number is expected, it is {size}")
    if exercise.range:
        low, high = exercise.range
        return (
            None
            if low <= answer <= high
            else Problem(f"{answer:.4g} is outside of what is plausible, {low:.4g} to {high:.4g}")
        )
    tolerance = exercise.tolerance
    if tolerance is None and isinstance(exercise.reference, float):
        tolerance = 1e-3
    if compare(answer, exercise.reference, tolerance)[0] is None:
        return None
    size = "too large" if answer > exercise.reference else "too small"
    return Problem(f"{two_numbers(answer, exercise.reference)[0]} is {size}")


def word_problem(exercise, answer):
    """Return the Problem of a word, or None. Capitals and spaces around it don't matter."""
    if not isinstance(answer, str):
        return Problem(f"a text is expected, in quotes; it is {kind(answer)}")
    if plain(answer) == plain(exercise.reference):
        return None
    if exercise.choices and plain(answer) not in map(plain, exercise.choices):
        return Problem(f'"{answer}" is not among the choices: {", ".join(map(str, exercise.choices))}')
    return Problem(f'"{answer}" is not it')


def plain(word):
    """Return a word without capitals and outer spaces; for anything else NaN, which equals nothing."""
    return word.strip().lower() if isinstance(word, str) else float("nan")
