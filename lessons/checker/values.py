"""Judge an answer that is a number, a word or a list."""

import math

import torch

from lessons.checker.judge import verdict_of
from lessons.checker.verdict import Problem, Verdict, compare, kind, two_numbers


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
