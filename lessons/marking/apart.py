"""The process that an answer runs in: it has the answer's text and the inputs, and hands back what came out.

What is right stays in the process that marks. Before the answer is read, everything of the course that it does not need
is taken out of this process, and the rest of the machine is closed to it.
"""

import builtins
import contextlib
import ctypes
import dataclasses
import gc
import inspect
import io
import linecache
import os
import pickle

import numpy as np
import torch

from lessons.checker.judge import all_cases
from lessons.checker.kernel import known_state
from lessons.checker.limits import InWords, Limit, TooLong, error_in_words
from lessons.checker.observe import Seen, input_names, observe, weights_of
from lessons.checker.verdict import kind
from lessons.marking.prune import module_of, part_of, parts_of, prune, shut
from lessons.marking.walls import close
from lessons.tools.all_exercises import find

FILE = "your answer"
NOT_THERE = "{} is not there when your work is marked: use what the lesson imports, and write the rest yourself."
OWN = "It calls the course's own {}: write it yourself."


class Told:
    """What the judge would ask an exercise about, without the exercise: how to call, names, weights."""

    def __init__(self, exercise):
        self.call, self.gradients = exercise.call, exercise.gradients
        self.cases = cases = all_cases(exercise) if callable(exercise.reference) else []
        self.names = {case.name: input_names(exercise, case) for case in cases}
        self.weights = {case.name: weights_of(exercise, case) for case in cases}
        self.reference = None


def serve(connection, order, folder):
    """Run an answer for the process at the other end of `connection`, until that hangs up.

    order: id, seed, text, name, given, course (see answers.Needs), honest (what the lesson's own solution takes from
    the course), imported (what the lesson imports), limit in seconds. folder: an empty one, to stand in.
    """
    os.chdir(folder)
    gc.freeze()  # what was there before holds nothing of the course: only what comes now is looked through
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    with known_state():
        limit = Limit(order["limit"])
        exercise = find(order["id"], order["seed"])
        told = Told(exercise)
        names = prepare(order, exercise, told)
        text, name = order["text"], order["name"]
        order.clear()
        del exercise
        gc.collect()
        close(folder, ctypes.pythonapi.PyThreadState_SetAsyncExc)
        ended = limit.run(lambda: run_text(text, names))
        answer = None if ended.error else names.get(name)
        send(connection, first_words(ended.error, answer))
        while not ended.error and callable(answer):
            try:
                asked = pickle.loads(connection.recv_bytes())  # noqa: S301 (from the process that marks)
            except EOFError:
                return
            send(connection, seen_in_words(*watch(told, answer, limit, *asked)))


def prepare(order, exercise, told):
    """Return the names that the answer's text begins with; nothing of the course that it does not need stays."""
    names = {"__name__": "answer", "__builtins__": builtins}
    given = {name: find(id).reference for name, id in order["given"].items()}
    honest = [*parts_of(order["honest"]), *(find(id).reference for id in order["honest_given"])]
    with contextlib.suppress(ImportError, AttributeError):
        for module, name, here, _ in order["course"]:
            names[here] = taken(module, name, order["imported"])
    calls = [exercise.call, *((case.call, case.inputs, case.keywords, case.build) for case in told.cases)]
    closed = shut(exercise.reference, [*honest, *calls])
    prune([*parts_of(order["course"], order["imported"]), *given.values(), *calls], closed, StandIn)
    names = {here: StandIn(here) if id(value) in closed else value for here, value in names.items()}
    return names | given


def taken(module, name, imported):
    """Return what an import of the answer's gives: the course's part where the lesson imports it, else a stand-in."""
    if (module, name) not in imported:
        return StandIn(f"{module}.{name}" if name else module, NOT_THERE)
    return module_of(module.split(".")[0]) if name is None else part_of(module, name)


class StandIn:
    """What stands where a part of the course was: it says in words why that is not to be had."""

    def __init__(self, name, words=OWN):
        self.__dict__["words"] = words.format(name)

    def __call__(self, *inputs, **keywords):
        """Say it."""
        raise InWords(self.words)

    def __getattr__(self, name):
        """Say it, but for what Python itself asks of any object."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise InWords(self.words)


def run_text(text, names):
    """Run the answer's text in `names`; errors quote its lines."""
    linecache.cache[FILE] = (len(text), None, text.splitlines(True), FILE)
    exec(compile(text, FILE, "exec"), names)  # noqa: S102 (that is what this process is for)


def first_words(error, answer):
    """Return what the other end hears first: what kind of thing the answer is; its value, where it can't be called."""
    if error is not None:
        return {"error": error_parts(error)}
    found = {"kind": kind(answer), "callable": callable(answer), "class": inspect.isclass(answer)}
    return found | ({} if callable(answer) else {"value": encode(answer)})


def watch(told, answer, limit, index, changed, gradients):
    """Return (Seen, what was printed) of the case `index`, with the inputs at some places changed."""
    case = told.cases[index]
    case = case._replace(inputs=tuple(changed.get(i, value) for i, value in enumerate(case.inputs)))
    limit.sink.kept, limit.sink.lines = "", 0
    ended = limit.run(lambda: observe(told, case, answer, gradients))
    if isinstance(ended.error, TooLong):
        return Seen(error=InWords(error_in_words(ended.error))), limit.sink.kept
    return ended.value or Seen(error=ended.error), limit.sink.kept


def seen_in_words(seen, printed):
    """Return a Seen as plain parts."""
    gradients = None if seen.gradients is None else {name: encode(g) for name, g in seen.gradients.items()}
    return {
        "value": encode(seen.value),
        "error": error_parts(seen.error),
        "changed": list(seen.changed),
        "gradients": gradients,
        "backward": error_parts(seen.backward_error),
        "printed": printed[:2000],
    }


def error_parts(error):
    """Return (type's name, message, what to tell of it), or None."""
    if error is None:
        return None
    try:
        message = str(error)[:2000]
    except Exception:  # an error class of the learner's may not even print
        message = ""
    return type(error).__name__, message, error_in_words(error)


def send(connection, parts):
    """Send plain parts: the other end reads nothing but numbers, words, tensors, lists and dicts."""
    file = io.BytesIO()
    torch.save(parts, file)
    connection.send_bytes(file.getvalue())


def encode(value):
    """Return a value as [what it is, plain parts]."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().as_subclass(torch.Tensor)
        usual = plain.layout is torch.strided and plain.device.type == "cpu"
        return ["tensor", plain.clone()] if usual else ["other", type(value).__name__]
    if value is None or type(value) in (bool, int, float, str):
        return ["plain", value]
    if isinstance(value, np.generic) and isinstance(value.item(), bool | int | float):
        return ["numpy", value.item()]
    if isinstance(value, bytes):
        return ["bytes", list(value)]
    if isinstance(value, str | int | float):
        return ["plain", next(base(value) for base in (str, int, float) if isinstance(value, base))]
    if isinstance(value, tuple | list):
        kept = "tuple" if isinstance(value, tuple) else "list"
        plain = all(type(part) in (int, float, str, bool) for part in value)
        return [f"plain {kept}", list(value)] if plain else [kept, [encode(part) for part in value]]
    if isinstance(value, dict):
        return ["dict", [[encode(key), encode(part)] for key, part in value.items()]]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [[field.name, encode(getattr(value, field.name))] for field in dataclasses.fields(value)]
        return ["dataclass", type(value).__name__, parts]
    return ["other", type(value).__name__]
