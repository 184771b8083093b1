"""One call an exercise: says whether an answer is right, how wrong it is, and which known mistake it looks like.

The file `lessons/exercises/lesson_04.py` begins with `checks = Checks("04")` and `check = checks.check`, and describes
each exercise in a function below `@checks.exercise("04.1", reference)`. The lesson writes `name = check("04.1", name)`,
and goes on with the learner's own where it is right, with the reference where not.
"""

import textwrap

from lessons.checker.exercise import Exercise
from lessons.checker.judge import judge, verdict_of
from lessons.checker.kernel import known_state
from lessons.checker.limits import error_in_words
from lessons.checker.values import tells_its_origin, verdict_of_value
from lessons.checker.verdict import GOING_ON, Problem, Verdict, kind, not_attempted
from lib.show.cards import show_verdict


class Checks:
    """The exercises of one lesson. lesson: its number, "04"."""

    def __init__(self, lesson):
        self.lesson, self._known = lesson, {}

    def exercise(self, id, reference, points=1, kind=None, **options):
        """Describe an exercise: a decorator for the function that fills in its cases and mistakes.

        reference: what is right, lib's own function or class, a number, a text. kind: "implement", "repair", "predict",
        "measure", "explain"; a function's is "implement", a number's "predict". options: the fields of Exercise.
        """

        def describe(fill):
            self._known[id] = (fill, dict(id=id, reference=reference, points=points, kind=kind, **options))
            return fill

        return describe

    @property
    def ids(self):
        """The exercises' numbers, in order: ["04.1", ...]."""
        return sorted(self._known)

    def find(self, id, seed=0):
        """Return the exercise with this id, filled in. Raises ValueError, which says which exist."""
        if id not in self._known:
            raise ValueError(f"there is no exercise {id!r}; lesson {self.lesson} has {', '.join(self.ids) or 'none'}")
        fill, options = self._known[id]
        with known_state():  # the cases are the same, whatever default dtype a learner has set
            found = Exercise(**options, seed=seed)
            fill(found)
        return found

    def check(self, id, answer):
        """Show what there is to say about an answer, and return it where it is right, else the reference.

        id: "04.2". answer: a function, a class, a number, a text. `...`, None and a stub are "not attempted". No error
        of the answer's comes out of here. Raises ValueError for an id that the lesson does not have.
        """
        exercise = self.find(id)
        try:
            verdict = verdict_on(exercise, answer)
        except Exception as error:  # a fault of ours must not stop a learner
            words = f"{id} could not be checked: {error_in_words(error)}. That is the course's fault. {GOING_ON}"
            verdict = Verdict(id, "unchecked", words)
        # A notebook breaks long lines in the middle of a word.
        lines = [textwrap.fill(line, 79, break_long_words=False) for line in verdict.text.split("\n")]
        show_verdict(verdict.text, "\n".join(lines))
        return answer if verdict.right else exercise.reference


def verdict_on(exercise, answer):
    """Return the Verdict on any answer."""
    if answer is None or answer is ... or (isinstance(answer, str) and not answer.strip()):
        return not_attempted(exercise.id)
    if answer is exercise.reference and tells_its_origin(answer):
        words = f"{exercise.id} not attempted: this is the course's own. Run your cell above again, then this one."
        return Verdict(exercise.id, "not attempted", words)
    if callable(exercise.reference):
        return judge(exercise, answer)
    if exercise.kind == "explain":
        if isinstance(answer, str):
            return Verdict(exercise.id, "right", f"{exercise.id} noted: compare it with the solution.")
        return verdict_of(exercise, None, Problem(f"a text is expected, in quotes; it is {kind(answer)}"), "")
    return verdict_of_value(exercise, answer)
