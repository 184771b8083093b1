"""The exercises of the lesson that stands for all in the test of the nbgrader course."""

from lessons.checker.check import Checks

checks = Checks("99")
check = checks.check


def softmax(z):
    """Return e^z / sum of e^z over the last axis."""
    return z.softmax(-1)


def countdown(n):
    """Return the whole numbers from n down to 1."""
    return list(range(n, 0, -1))


@checks.exercise("99.1", softmax, points=4)
def chances(e):
    """Rows of random numbers."""
    e.case("rows", e.randn(2, 5))
    e.case("one row", e.randn(7))


@checks.exercise("99.2", countdown, points=3, kind="repair")
def down(e):
    """Plain numbers: two that everybody sees, and one that the seed draws."""
    e.case("from 3", 3)
    e.case("from 5", 5)
    e.case("from another number", e.size(6, 40))


@checks.exercise("99.3", 7503, points=1)
def counted(e):
    """A number."""


@checks.exercise("99.4", "A reason.", points=2, kind="explain")
def explained(e):
    """A text."""
