"""Mark an answer: it runs in a process of its own, and what comes out is compared here, where it can't reach."""

import builtins
import contextlib
import functools
import io
import multiprocessing
import pickle
import sys
import tempfile
import types
from typing import NamedTuple

import numpy as np
import torch

from lessons.checker.check import verdict_on
from lessons.checker.judge import all_cases, judge_callable, not_callable, verdict_of
from lessons.checker.kernel import known_state
from lessons.checker.limits import InWords, Limit
from lessons.checker.observe import Elsewhere, Seen
from lessons.checker.verdict import GOING_ON, Problem
from lessons.marking.answers import candidates, literal, needs
from lessons.tools.all_exercises import find

SECONDS = 20.0  # of processor time for all that an answer does
PATIENCE = 120.0  # seconds on the clock in which a process must say something
TRIES = 3  # so many definitions of an answer's name are tried, the likeliest first
RENAMED = "`{name}` is not defined; `{other}`, which stands in its cell, was marked."
ASKS = "{id} needs a person: its number is computed, and could not be computed apart from the notebook."
LOST = "nothing in the notebook is called `{name}`: its points are lost."
MOVED = "The answer was found in another cell than its own."
PARTED = "the process that ran it ended, or said nothing for 120 s: does it call `exit`, or wait for something?"


class Mark(NamedTuple):
    """What an exercise earned: all its points or none. text: for the learner; notes: for the instructor, too.

    person: it could not be computed here, so a person looks at it.
    """

    id: str
    right: bool
    text: str
    notes: tuple = ()
    person: bool = False


class Work(NamedTuple):
    """A notebook, read. steps, broken: of `steps_of`; own: {exercise: the numbers of its own cells}."""

    steps: list
    broken: dict
    own: dict


def context():
    """Return multiprocessing's way to start clean processes: with torch imported already, where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["torch", "einops", "lessons.marking.apart"])
    return found


@contextlib.contextmanager
def nobodys_main():
    """Within, a process that starts does not import this one's main program: it needs nothing of it."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


class Apart(Elsewhere):
    """An answer in its own process, at the other end of a pipe. Use it in a `with`."""

    def __init__(self, order):
        from lessons.marking.apart import serve

        self.cases, self.printed, ways = {}, "", context()
        self.folder = tempfile.TemporaryDirectory(prefix="mark", ignore_cleanup_errors=True)
        self.pipe, theirs = ways.Pipe()
        self.process = ways.Process(target=serve, args=(theirs, order, self.folder.name), daemon=True)
        with nobodys_main():
            self.process.start()
        theirs.close()
        self.first = self.hear()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.pipe.close()
        self.process.join(0.2)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.folder.cleanup()

    def __call__(self, *inputs):
        """Refuse: it is callable for the judge's sake."""
        raise RuntimeError("an answer in another process is only observed")

    def hear(self):
        """Return what the other end says next, plain parts; None where it says nothing any more."""
        try:
            if self.pipe.poll(PATIENCE):
                return torch.load(io.BytesIO(self.pipe.recv_bytes()), weights_only=True)
        except Exception:  # it ended, or sent what is no answer: whatever an answer sends, marking goes on
            self.process.kill()
            return None
        self.process.kill()
        return None

    def observed(self, exercise, case, gradients):
        """Return what one call of the answer shows, errors among it: Seen."""
        index, base = self.cases[case.name]
        changed = {i: value for i, value in enumerate(case.inputs) if value is not base.inputs[i]}
        try:
            self.pipe.send_bytes(pickle.dumps((index, changed, gradients)))
            parts = self.hear()
            seen = parts and Seen(
                decode(parts["value"]),
                error_of(parts["error"]),
                tuple(map(str, parts["changed"])),
                parts["gradients"] and {str(name): decode(value) for name, value in parts["gradients"].items()},
                error_of(parts["backward"]),
            )
        except Exception:
            seen = None
        if seen:
            print(str(parts["printed"]), end="")
        return seen or Seen(error=InWords(PARTED))


def error_of(parts):
    """Return an error as the other process had it, of the same type where Python knows it."""
    if not parts:
        return None
    name, message, told = map(str, parts)
    if name == "InWords":
        return InWords(told)
    known = getattr(builtins, name, None)
    usual = isinstance(known, type) and issubclass(known, Exception)
    try:
        error = known(message) if usual else type(name, (Exception,), {})(message)
    except TypeError:  # UnicodeDecodeError and its like want more than a message
        error = type(name, (Exception,), {})(message)
    error.told = told
    return error


def decode(parts):
    """Return a value from its plain parts."""
    what, value = parts[0], parts[1]
    if what in ("tensor", "plain", "plain list"):
        return value
    if what == "plain tuple":
        return tuple(value)
    if what == "numpy":
        return np.asarray(value)[()]
    if what == "bytes":
        return bytes(value)
    if what in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[what](map(decode, value))
    if what == "dict":
        return {decode(key): decode(part) for key, part in value}
    if what == "dataclass":
        return {name: decode(part) for name, part in parts[2]}
    return type(str(value), (), {})()


@functools.cache
def exercise_of(id, seed):
    """Return an exercise on a seed's random numbers; what is computed for it once is kept for all learners."""
    exercise = find(id, seed)
    exercise.limit = 6 * SECONDS  # here nothing of the learner's runs: the other process counts its own time
    return exercise


def mark(work, id, name, seed, lesson, verdicts):
    """Return the Mark of an exercise.

    name: what the answer is called. seed: of the cases' random numbers. verdicts: {exercise: is the learner's own
    right}, of those before it.
    """
    own = work.own.get(id, ())
    found = candidates(work.steps, name, own)
    notes = [f"A cell of {id} can't be read: {work.broken[cell]}" for cell in own if cell in work.broken]
    if not found:
        said = notes[0] if notes else LOST.format(name=name)
        return Mark(id, False, f"{id} not attempted: {said}", tuple(notes or [f"{id}: {said}"]))
    tried = [(step, mark_step(work, step, id, name, seed, lesson, verdicts)) for step in found[:1]]
    for step in found[1:TRIES]:
        if not tried[0][1].right and not step.is_open(name):
            tried.append((step, mark_step(work, step, id, name, seed, lesson, verdicts)))
    step, verdict = next(((step, verdict) for step, verdict in tried if verdict.right), tried[0])
    if name not in step.binds:
        notes.append(RENAMED.format(name=name, other=step.node.name))
    elif step.place[0] not in own and not step.is_open(name):
        notes.append(MOVED)
    if person := verdict.status == "unchecked":
        notes.append(ASKS.format(id=id))
    return Mark(id, verdict.right, verdict.text.removesuffix(f"\n{GOING_ON}"), tuple(notes), person)


def mark_step(work, step, id, name, seed, lesson, verdicts):
    """Return the Verdict on one definition of an answer."""
    exercise = exercise_of(id, seed)
    called = name if name in step.binds else step.node.name
    if step.is_open(called):
        return verdict_on(exercise, None)
    plain, value = literal(step)
    if plain and not callable(exercise.reference):
        return verdict_on(exercise, value)
    wanted = needs(lesson.steps + work.steps, step, verdicts)
    honest = lesson.honest[id]
    order = dict(id=id, seed=seed, name=called, limit=SECONDS, imported=lesson.imported, **wanted._asdict())
    order |= {"honest": honest.course, "honest_given": list(honest.given.values())}
    with Apart(order) as answer:
        return verdict_apart(exercise, answer)


def verdict_apart(exercise, answer):
    """Return the Verdict on an answer that runs in another process."""
    first = answer.first
    if not first or "error" in first:
        words = str(first["error"][2]) if first else PARTED
        verdict = verdict_of(exercise, None, Problem(words, "", "error"), "")
        return verdict if callable(exercise.reference) else verdict._replace(status="unchecked")
    if "value" in first:
        return verdict_on(exercise, decode(first["value"]))
    if not callable(exercise.reference):
        return verdict_on(exercise, lambda: None)
    if first["class"] != isinstance(exercise.reference, type):
        wrong = not_callable(exercise, type("Answer", (), {}) if first["class"] else lambda: None)
        return verdict_of(exercise, None, Problem(wrong), "")
    with known_state():
        cases = all_cases_of(exercise)
        answer.cases = {case.name: (i, case) for i, case in enumerate(cases)}
        return judge_callable(exercise, answer, Limit(exercise.limit), cases)


def all_cases_of(exercise):
    """Return the cases of an exercise, made once: what they are remembered by is their place."""
    if "cases" not in exercise.memory:
        exercise.memory["cases"] = all_cases(exercise)
    return exercise.memory["cases"]
