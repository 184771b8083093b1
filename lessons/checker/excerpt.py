"""Show a value in one short line: small ones in full, large ones by their size and the first place that differs."""

import dataclasses
import inspect
import reprlib

import torch

from lessons.checker.verdict import TOLERANCE, compare_leaf, flatten, kind, nested, position

WIDE = 66  # characters of a line that is left for a value
FULL = 12  # numbers of a tensor that is shown in full
USUAL = (torch.float32, torch.int64, torch.bool)  # types that go without saying


class Short(reprlib.Repr):
    """A repr that cuts long values, and shows a tensor that is too large for `room` by its type and shape."""

    def __init__(self, room):
        super().__init__()
        self.room, self.maxlist, self.maxtuple = room, 16, 16
        self.maxstring = self.maxother = WIDE

    def repr1(self, x, level):
        """Return the text of x, which is nested `level` deep at most."""
        if isinstance(x, torch.Tensor):
            return of_tensor(x, self.room)
        if isinstance(x, torch.nn.Module) or inspect.isroutine(x) or inspect.isclass(x):
            return getattr(x, "__name__", type(x).__name__).replace("<lambda>", "a function")
        if dataclasses.is_dataclass(x):
            fields = [(each.name, getattr(x, each.name)) for each in dataclasses.fields(x)]
            return f"{type(x).__name__}({', '.join(f'{name}={self.repr1(value, 0)}' for name, value in fields)})"
        return f"{x:.6g}" if type(x) is float else super().repr1(x, level)

    def repr_dict(self, x, level):
        """Return a dict's first parts in their order; `reprlib` would sort them."""
        if level <= 0:
            return "{...}"
        parts = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in list(x)[: self.maxdict]]
        return "{" + ", ".join(parts + ["..."] * (len(x) > self.maxdict)) + "}"


def excerpt(value, room=WIDE):
    """Return a value in at most `room` characters, whatever it is."""
    try:
        return cut(" ".join(Short(room).repr(value).split()), room)
    except Exception:  # what a learner returns may not even have a repr
        return kind(value)


def cut(text, room):
    """Return text in at most `room` characters."""
    return text if len(text) <= room else text[: room - 3] + "..."


def of_tensor(t, room=WIDE):
    """Return a tensor's numbers where they fit, else its type and shape."""
    name = str(t.dtype).removeprefix("torch.")
    large = f"{name} {tuple(t.shape)}"
    if not (0 < t.numel() <= FULL) or t.is_meta or t.layout is not torch.strided:
        return large
    text = numbers(t.detach().tolist()) + ("" if t.dtype in USUAL else f" ({name})")
    return text if len(text) <= room else large


def numbers(nested):
    """Return nested lists of numbers as text, with four digits each."""
    if isinstance(nested, list):
        return f"[{', '.join(map(numbers, nested))}]"
    return f"{nested:.4g}" if isinstance(nested, float) else str(nested)


def got_and_expected(yours, expected, tolerance=None):
    """Return (what came, what was expected) as two short texts, of the first part that differs; None for plain numbers.

    Large tensors of one shape are shown at the first place that differs: where a mistake begins says more than where it
    is largest. Also None where the learner's value can't even be looked at.
    """
    try:
        return of_parts(*first_part(yours, expected, tolerance), tolerance)
    except Exception:  # its parts may raise when they are compared
        return None


def of_parts(mine, theirs, tolerance):
    """Return two short texts of two parts, or None."""
    if isinstance(mine, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return of_tensors(mine.detach(), theirs.detach(), tolerance)
    if type(mine) is type(theirs) and type(mine) in (list, tuple, str, bytes):
        if any(nested(part) for part in (*mine, *theirs)):
            return None  # tuples of other lengths: tensors in them have no plain !=, and the lengths are told already
        i = next((i for i, pair in enumerate(zip(mine, theirs, strict=False)) if pair[0] != pair[1]), None)
        i = min(len(mine), len(theirs)) if i is None else i
        return around(mine, i), around(theirs, i)
    if isinstance(mine, (int, float)) and isinstance(theirs, (int, float)):
        return None
    return excerpt(mine), excerpt(theirs)


def first_part(yours, expected, tolerance):
    """Return the first two parts of nested values that differ, or the values themselves where their forms do."""
    mine, theirs = flatten(yours), flatten(expected)
    if [name for name, _ in mine] == [name for name, _ in theirs]:
        for (_, one), (_, other) in zip(mine, theirs, strict=True):
            if compare_leaf(one, other, tolerance)[0]:
                return one, other
    return yours, expected


def of_tensors(mine, theirs, tolerance):
    """Return two texts on two tensors: all numbers of small ones, the first that differs of large ones."""
    texts = of_tensor(mine), of_tensor(theirs)
    if all("[" in text for text in texts):
        return texts
    if mine.shape != theirs.shape or mine.is_meta or mine.layout != theirs.layout:
        return None  # the shapes are told already
    i = first_difference(mine.flatten(), theirs.flatten(), tolerance)
    if i is None:  # the type alone differs, or a number that NaN was expected for
        return None
    names = [f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in (mine, theirs)]
    one, other = (numbers(t.flatten()[i].tolist()) for t in (mine, theirs))
    return f"{names[0]}, first different at {position(theirs, i)}: {one}", f"{names[1]}, there: {other}"


def first_difference(mine, theirs, tolerance):
    """Return the index of the first of two rows' numbers that differ by more than they may, or None."""
    allowed = max(TOLERANCE.get(t.dtype, 0.0) for t in (mine, theirs)) if tolerance is None else tolerance
    mine, theirs = (t if t.is_complex() else t.double() for t in (mine, theirs))
    finite = theirs[torch.isfinite(theirs)].abs()
    apart = ~((mine == theirs) | ((mine - theirs).abs() <= allowed * (finite.max() if finite.numel() else 1.0)))
    apart &= ~torch.isnan(theirs)
    return int(apart.int().argmax()) if apart.any() else None


def around(row, i):
    """Return a list or a text in one line, cut around place i where it is long."""
    if len(repr(row[: 2 * WIDE])) <= WIDE:
        return excerpt(row)
    text, before, count = isinstance(row, (str, bytes)), *((20, 50) if isinstance(row, (str, bytes)) else (2, 6))
    start = max(0, i - before)
    part = row[start : start + count]
    left, right = ("...", "...") if text else ("..., ", ", ...")
    left, right = left if start else "", right if start + count < len(row) else ""
    if text:
        return f"{left}{part!r}{right}"
    opened, closed = "()" if isinstance(row, tuple) else "[]"
    return f"{opened}{left}{', '.join(excerpt(each, 30) for each in part)}{right}{closed}"


def call_in_words(names, case):
    """Return what a case calls the answer with: `x float32 (2, 5, 8), eps = 1e-05`; a class with what it is built."""
    given = list(zip(names, case.inputs, strict=False))
    while given and given[-1][1] is None:
        given.pop()
    if isinstance(case.build, dict):
        given = [*case.build.items(), *given]
    elif case.build:
        given = [("built with", case.build), *given]
    words = []
    for name, value in [*given, *case.keywords.items()]:
        text = excerpt(value, 44)
        by_size = isinstance(value, torch.Tensor) and "[" not in text
        words.append(f"{name} {text}" if by_size or name == "built with" else f"{name} = {text}")
    return cut(", ".join(words), 2 * WIDE)
