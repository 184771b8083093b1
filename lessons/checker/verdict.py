"""Say how wrong: exact, approximate, or the largest difference and where it is. Numbers, not a no."""

import dataclasses
import math
import sys
from typing import NamedTuple

import torch

# How far two right answers may lie apart, as a share of the largest expected number.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
# Below this share of the largest number a difference may come from rounding.
NEARLY = 1e-3
# Below this size numbers count as zero: rounding makes 1e-10 of an exact cancellation.
SMALLEST = 1e-4
# What is told last wherever the learner's own is not taken; `python3 -m lib progress` reads what is told first.
GOING_ON = "The lesson goes on with the course's version."


class Problem(NamedTuple):
    """What is wrong, in words, and what that mostly means.

    about: "value"; "rounding", where the numbers are nearly right; "error"; "input", which was changed; "gradient".
    """

    words: str
    hint: str = ""
    about: str = "value"


class Verdict(NamedTuple):
    """What a check found. status: "right", "wrong" or "not attempted"; text: what the learner reads."""

    id: str
    status: str
    text: str
    hint: str = ""

    @property
    def right(self):
        """True for a right answer."""
        return self.status == "right"


def not_attempted(id):
    """Return the Verdict on a stub."""
    return Verdict(id, "not attempted", f"{id} not attempted: {GOING_ON[0].lower()}{GOING_ON[1:]}")


def flatten(value, name="it"):
    """Return [(name, leaf)] of a value that may be nested in tuples, lists, dicts and dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return [leaf for key in value for leaf in flatten(value[key], f"{name}[{key!r}]")]
    # A long list of plain numbers or words is one leaf: tokens, merges.
    if isinstance(value, (list, tuple)) and any(nested(part) for part in value):
        return [leaf for i, part in enumerate(value) for leaf in flatten(part, f"{name}[{i}]")]
    return [(name, value)]


def nested(value):
    """Say whether a part of a list has parts of its own."""
    return isinstance(value, (list, tuple, dict, torch.Tensor)) or dataclasses.is_dataclass(value)


def kind(value):
    """Return a value's type in words."""
    if value is None:
        return "None"
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, (tuple, list, dict)):
        return f"a {type(value).__name__} of {len(value)}"
    return {"function": "a function"}.get(type(value).__name__, f"of type {type(value).__name__}")


def compare(yours, expected, tolerance=None):
    """Return (Problem or None, largest difference) of two values, nested or not. Raises nothing, whatever they are."""
    try:
        return compare_nested(yours, expected, tolerance)
    except Exception as error:  # what a learner returns may not even support ==
        return Problem(f"it can't be compared ({type(error).__name__}): it is {kind(yours)}"), math.inf


def compare_nested(yours, expected, tolerance=None):
    """Return (Problem or None, largest difference): the same names, then leaf by leaf."""
    if yours is None and expected is not None:
        hint = "a way through the function ends without a `return`, or returns a name that is still None."
        return Problem("it returns None", hint), math.inf
    mine, theirs = in_order(flatten(yours), flatten(expected)), flatten(expected)
    if [name for name, _ in mine] != [name for name, _ in theirs]:
        if isinstance(yours, dict) and isinstance(expected, dict) and yours.keys() != expected.keys():
            return Problem(other_keys(yours, expected)), math.inf
        return Problem(f"it returns {kind(yours)}, expected is {kind(expected)}"), math.inf
    largest = 0.0
    for (name, mine_leaf), (_, their_leaf) in zip(mine, theirs, strict=True):
        problem, difference = compare_leaf(mine_leaf, their_leaf, tolerance)
        if problem:
            where = "" if name == "it" else f"{name.replace('it', 'result', 1)}: "
            return problem._replace(words=where + problem.words), difference
        largest = max(largest, difference)
    return None, largest


def in_order(mine, theirs):
    """Return the leaves in the order of `theirs` where the names are the same: a dict's order says nothing."""
    place = {name: i for i, (name, _) in enumerate(theirs)}
    if {name for name, _ in mine} != place.keys():
        return mine
    return sorted(mine, key=lambda leaf: place[leaf[0]])


def other_keys(yours, expected):
    """Say which keys of a dict are missing and which are not expected; three of each are enough."""
    groups = {"missing are": [key for key in expected if key not in yours]}
    groups |= {"not expected are": [key for key in yours if key not in expected]}
    told = [
        f"{words} {', '.join(map(short, some[:3]))}{', ...' * (len(some) > 3)}"
        for words, some in groups.items()
        if some
    ]
    return f"its keys are others: {'; '.join(told)}"


def compare_leaf(yours, expected, tolerance=None):
    """Return (Problem or None, difference) of two tensors, numbers, words or lists of them."""
    if isinstance(expected, torch.Tensor):
        if not isinstance(yours, torch.Tensor):
            return Problem(f"it is {kind(yours)}, expected is {kind(expected)}"), math.inf
        return compare_tensors(yours.detach(), expected.detach(), tolerance)
    if isinstance(expected, bool) or not isinstance(expected, (int, float)):
        return compare_plain(yours, expected)
    if isinstance(yours, torch.Tensor) and yours.numel() == 1:
        yours = yours.item()
    if isinstance(yours, bool) or not isinstance(yours, (int, float)):
        return Problem(f"it is {kind(yours)}, expected is a number"), math.inf
    exact = isinstance(expected, int)
    allowed = (0 if exact else 1e-6) if tolerance is None else tolerance
    difference = 0.0 if yours == expected else abs(yours - expected)
    # Nothing finite is near infinity, and inf > inf is false.
    if not difference <= min(allowed * max(abs(expected), SMALLEST), sys.float_info.max):
        return Problem("yours {}, expected {}".format(*two_numbers(yours, expected))), difference
    return None, difference


def compare_plain(yours, expected):
    """Return (Problem or None, 0 or inf) for words, lists of numbers, and all that is simply equal or not."""
    alike = (list, tuple) if isinstance(expected, (list, tuple)) else type(expected)
    if not isinstance(yours, alike):
        return Problem(f"it is {kind(yours)}, expected is {kind(expected)}"), math.inf
    if isinstance(expected, (list, tuple, str, bytes)):
        if len(yours) != len(expected) and isinstance(expected, (list, tuple)):
            return Problem(
                f"the {type(yours).__name__}'s length is {len(yours)}, expected is {len(expected)}"
            ), math.inf
        for i, (mine, theirs) in enumerate(zip(yours, expected, strict=False)):
            if mine != theirs:
                near = slice(max(0, i - 10), i + 10)
                shown = (yours[near], expected[near]) if isinstance(expected, (str, bytes)) else (mine, theirs)
                return Problem("differs at [{}]: yours {!r}, expected {!r}".format(i, *shown)), math.inf
        same = len(yours) == len(expected)
    else:
        same = yours == expected
    return (None, 0.0) if same else (Problem(f"yours {short(yours)}, expected {short(expected)}"), math.inf)


def short(value):
    """Return a value's repr in at most 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def compare_tensors(yours, expected, tolerance=None):
    """Return (Problem or None, largest difference): shape first, then place, NaN, numbers, and the dtype last."""
    if yours.shape != expected.shape:
        words = f"the shape is {tuple(yours.shape)}, expected is {tuple(expected.shape)}"
        return Problem(words, shape_hint(yours.shape, expected.shape)), math.inf
    if yours.device != expected.device or yours.layout != expected.layout:
        return Problem(f"it lies on {yours.device} ({yours.layout}), expected is {expected.device}"), math.inf
    difference = largest_difference(yours, expected, tolerance)
    if isinstance(difference, Problem):
        return difference, math.inf
    if yours.dtype != expected.dtype:
        words = f"the numbers are right, but of type {yours.dtype}, expected is {expected.dtype}"
        return Problem(words, "the result should keep the type of the input: end with `.to(x.dtype)`."), math.inf
    return None, difference


def largest_difference(yours, expected, tolerance=None):
    """Return the largest difference, a float, where it is allowed, else a Problem that says where it is."""
    if yours.dtype == expected.dtype and torch.equal(yours, expected):
        return 0.0
    if yours.is_complex() or expected.is_complex():
        yours, expected = (torch.view_as_real(t.to(torch.complex128)) for t in (yours, expected))
    mine, theirs = yours.double(), expected.double()
    lost = torch.isnan(mine) & ~torch.isnan(theirs)
    if lost.any():
        words = f"{int(lost.sum())} of its {lost.numel()} numbers are NaN, the first at {position(lost, 0)}"
        hint = "0/0, inf - inf, or the root or logarithm of a negative number makes NaN."
        if lost.ndim and lost.shape[-1] > 1 and lost.all(-1).any():
            hint += " So does the softmax of a row that is -inf everywhere."
        return Problem(words, hint)
    # Equal infinities (of a mask) differ by nothing; inf - inf would be NaN.
    gap = torch.where((mine == theirs) | torch.isnan(theirs), 0.0, (mine - theirs).abs())
    if not gap.numel():
        return 0.0
    worst = float(gap.max())
    finite = theirs[torch.isfinite(theirs)]
    scale = max(float(finite.abs().max()) if finite.numel() else 0.0, SMALLEST)
    coarsest = max(TOLERANCE.get(yours.dtype, 0.0), TOLERANCE.get(expected.dtype, 0.0))
    if worst <= (coarsest if tolerance is None else tolerance) * scale:
        return worst
    i = int(gap.argmax())
    numbers = two_numbers(mine.flatten()[i].item(), theirs.flatten()[i].item())
    words = "largest difference {:.2g} at {}: yours {}, expected {}".format(worst, position(gap, i), *numbers)
    if not worst < NEARLY * scale:
        return Problem(words)
    allowed = (
        f"{worst / scale:.0e} of the largest number, {coarsest if tolerance is None else tolerance:.0e} is allowed"
    )
    return Problem(f"nearly, but not to the last digits: {words} ({allowed})", "", "rounding")


def shape_hint(yours, expected):
    """Say what a wrong shape may come from."""
    if len(yours) == len(expected) and sorted(yours) == sorted(expected):
        return "two axes are swapped."
    try:
        fits = torch.broadcast_shapes(yours, expected) == expected
    except RuntimeError:
        fits = False
    return "the two shapes broadcast, but are not the same: is an axis or a `keepdim` missing?" if fits else ""


def position(tensor, i):
    """Return the index of the first True (i = 0, a mask) or of the flat index i, as a list."""
    if tensor.dtype == torch.bool:
        i = int(tensor.flatten().int().argmax())
    index = []
    for size in reversed(tensor.shape):
        index.insert(0, i % size)
        i //= size
    return index


def two_numbers(yours, expected):
    """Return both as text, with as many digits as it takes to tell them apart."""
    if isinstance(yours, int) and isinstance(expected, int):
        return f"{yours:,}", f"{expected:,}"
    for digits in (3, 5, 8, 12):
        pair = f"{yours:.{digits}g}", f"{expected:.{digits}g}"
        if pair[0] != pair[1]:
            break
    return pair
