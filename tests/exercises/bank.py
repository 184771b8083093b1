"""`python3 -m lib check-bank`: hold the checks to all wrong and right answers that they know, and print the table."""

import argparse
import sys
from typing import NamedTuple

from lessons.checker.check import verdict_on
from lessons.tools.all_exercises import exercises, numbers
from tests.exercises.rights import rights

NAMED = 0.95  # of the wrong answers at least, by the hint that was written for them


class Row(NamedTuple):
    """One exercise: how many wrong answers, how many refused, how many by the right hint; right ones, accepted."""

    id: str
    wrong: int
    refused: int
    named: int
    right: int
    accepted: int


def held(exercise):
    """Return the Row of an exercise that is filled in."""
    told = [(hint, verdict_on(exercise, wrong)) for hint, wrong in exercise.mistakes]
    known = rights(exercise.id)
    good = sum(verdict_on(exercise, other).right for other in known)
    refused = [(hint, verdict) for hint, verdict in told if not verdict.right]
    named = sum(verdict.hint == hint for hint, verdict in refused)
    return Row(exercise.id, len(told), len(refused), named, len(known), good)


def rows(number=None):
    """Yield the Row of each exercise whose answer is code: a function or a class. number: of one lesson, "04"."""
    for exercise in exercises(number):
        if callable(exercise.reference):
            yield held(exercise)


def audit(exercise):
    """Hold a check to its own wrong and right answers: return [(hint, what it said)], empty when all is well."""
    told = [(hint, verdict_on(exercise, wrong)) for hint, wrong in exercise.mistakes]
    failed = [(hint, v.text) for hint, v in told if v.right or v.hint != hint]
    return failed + [("right", v.text) for v in (verdict_on(exercise, r) for r in rights(exercise.id)) if not v.right]


def total(some):
    """Return the sums of some rows, as a Row."""
    return Row("all", *(sum(column) for column in list(zip(*some, strict=True))[1:]))


def line(row):
    """Return a row of the table as text."""
    return f"{row.id:8}{row.wrong:6}{row.refused:9}{row.named:7}{row.right:8}{row.accepted:10}"


def main(argv=None):
    """Print a line an exercise, and the sums. Returns 0, or 1 where an answer is judged as it should not be."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib check-bank",
        description="Try the known wrong and right answers on each exercise's check.",
    )
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers, such as 04; none means all")
    chosen = parser.parse_args(argv).lessons
    if unknown := [number for number in chosen if number not in numbers()]:
        print(f"no exercises in lesson {', '.join(unknown)}: there are {', '.join(numbers())}", file=sys.stderr)
        return 1
    print(f"{'':8}{'wrong':>6}{'refused':>9}{'named':>7}{'right':>8}{'accepted':>10}")
    found = []
    for number in chosen or numbers():
        for row in rows(number):
            print(line(row), flush=True)
            found.append(row)
    if not found:
        return 0
    every = total(found)
    print(line(every))
    share = every.named / max(1, every.wrong)
    print(f"named by the hint that was written for it: {share:.1%}; {len(found)} exercises")
    return 0 if every.refused == every.wrong and every.accepted == every.right and share >= NAMED else 1
