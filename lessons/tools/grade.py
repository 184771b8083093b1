"""Mark one exercise for nbgrader: in modules that nobody has touched, on random numbers that nobody has seen.

A marked cell runs this file by its path, so that the name `check`, and lib's modules, may be anything by then.
"""

import contextlib
import inspect
import sys
import threading
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class NotYet(AssertionError):
    """No points; the message is what the check says. A notebook shows it without a traceback."""

    def _render_traceback_(self):
        return str(self).split("\n")


def grade(id, answer, points, seed):
    """Print that an answer earns its points, or raise NotYet, which says why it earns none.

    id: "04.2". answer: the learner's own. seed: of the cases' random numbers, known to the instructor alone.
    """
    with fresh_lib(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbgrader takes a line on stderr for a failed test
        from lessons.checker.check import verdict_on
        from lessons.checker.verdict import GOING_ON
        from lessons.tools.all_exercises import find

        exercise = find(id, seed)
        exercise.limit *= 3  # whoever marks thirty notebooks at a time has a busy machine
        verdict, watch = verdict_on(exercise, answer), Watch(codes(exercise.reference))
        if verdict.right and watch.codes:  # looked at in a run of its own, since watching is slow
            with watch:
                verdict_on(exercise, answer)
    if not verdict.right:
        raise NotYet(f"{id}: 0 of {points} points.\n{verdict.text}".removesuffix(f"\n{GOING_ON}"))
    if watch.seen:
        raise NotYet(f"{id}: 0 of {points} points. It calls the course's own: write it yourself.")
    print(f"{id}: {points} of {points} points.")


@contextlib.contextmanager
def fresh_lib():
    """Within, `lib` and `lessons` are imported anew from this file's course; then the notebook has its own back."""

    def ours():
        return [name for name in sys.modules if name.split(".")[0] in ("lib", "lessons")]

    before = {name: sys.modules.pop(name) for name in ours()}
    sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        sys.path.remove(str(ROOT))
        for name in ours():
            del sys.modules[name]
        sys.modules.update(before)


def codes(reference):
    """Return the code of a function, or of a class's own methods; nothing for a number.

    Without `__init__`: the check builds a reference of its own beside each answer.
    """
    parts = {"": reference} if not inspect.isclass(reference) else vars(reference)
    return {inspect.unwrap(part).__code__ for n, part in parts.items() if inspect.isfunction(part) and n != "__init__"}


class Watch:
    """Sees whether threads that start meanwhile run one of `codes`: answers run in a thread, the reference does not."""

    def __init__(self, codes):
        self.codes, self.seen, self.before = codes, False, None

    def __enter__(self):
        self.before = threading.getprofile()
        threading.setprofile(self.look)
        return self

    def __exit__(self, *error):
        threading.setprofile(self.before)

    def look(self, frame, event, argument):
        """Note a call of the reference. Equal code counts: the notebook's lib was imported another time."""
        if event == "call" and frame.f_code in self.codes:
            self.seen = True
