"""Call an answer once and write down all that it shows: the result, the error, what it changed, the gradients."""

import copy
import inspect
import math
import re
from typing import NamedTuple

import torch

from lessons.checker.limits import InWords, error_in_words, outcome_of
from lessons.checker.verdict import TOLERANCE, Problem, compare

IN_PLACE = "something works in place (`+=`, `x[...] = ...`, a method that ends in `_`): make a new tensor."
NO_GRADIENT = "something cut it off: `.detach()`, `.data`, `.item()`, `torch.no_grad()`, or a new `torch.tensor(...)`."
UNUSED = f"{NO_GRADIENT[:-1]}; or it is not used at all."
CONTIGUOUS = "right only for tensors whose memory is in order. After a transpose `.view` fails: use `.reshape`."


class Case(NamedTuple):
    """One call: inputs by position, how to build the class, how to call, and what a failure here alone means."""

    name: str
    inputs: tuple
    keywords: dict
    build: tuple | dict | None
    call: object
    hint: str


class Seen(NamedTuple):
    """All that one call showed."""

    value: object = None
    error: BaseException | None = None
    changed: tuple = ()
    gradients: dict | None = None  # None: not looked at; {}: the result carries none
    backward_error: BaseException | None = None


class Elsewhere:
    """An answer that runs in another process: `.observed(exercise, case, gradients)` returns what it showed, a Seen."""


def floating(value):
    """Say whether a value is a tensor of floats."""
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def strided(value):
    """Return a matrix with the same numbers, but its memory in another order."""
    if not isinstance(value, torch.Tensor) or value.ndim < 2:
        return value
    return value.transpose(-1, -2).contiguous().transpose(-1, -2)


def arguments(case):
    """Return what a case's class is built with: by position, by name."""
    return ((), case.build) if isinstance(case.build, dict) else (case.build, {})


def reference_model(exercise, case):
    """Return the right module for a case, with random weights, the same in every run."""
    given, named = arguments(case)
    model = exercise.reference(*given, **named)
    generator = torch.Generator().manual_seed(1)
    for weight in model.parameters():
        size = weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0
        weight.data = torch.randn(weight.shape, generator=generator) * size
    return model


def weights_of(exercise, case):
    """Return the weights that a case's module gets: {name: tensor}, or None for a function."""
    return None if case.build is None else reference_model(exercise, case).state_dict()


def build(exercise, case, answer):
    """Return what is called: the function itself, or a module built for the case, with random weights."""
    if case.build is None:
        return answer
    given, named = arguments(case)
    dtype = next((t.dtype for t in case.inputs if floating(t)), torch.float32)
    if answer is exercise.reference:
        return reference_model(exercise, case).to(dtype)
    module = answer(*given, **named)
    if not isinstance(module, torch.nn.Module):
        raise InWords(f"the class {answer.__name__} is no torch.nn.Module")
    known = getattr(exercise, "weights", None)
    theirs, mine = known[case.name] if known else weights_of(exercise, case), module.state_dict()
    for name in theirs:
        if name not in mine:
            raise InWords(f"it has no weight named {name!r}, it has {', '.join(mine) or 'none'}")
        if mine[name].shape != theirs[name].shape:
            raise InWords(
                f"the weight {name!r} has shape {tuple(mine[name].shape)}, expected is {tuple(theirs[name].shape)}"
            )
    surplus = [name for name, _ in module.named_parameters() if name not in theirs]
    if surplus:
        raise InWords(f"it has a weight too many, {surplus[0]!r}; expected are {', '.join(theirs)}")
    module.load_state_dict(theirs, strict=False)
    return module.to(dtype)


def copies(inputs):
    """Return inputs that a call may spoil; tensors keep their strides."""
    return tuple(t.clone() if isinstance(t, torch.Tensor) else copy.deepcopy(t) for t in inputs)


def invoke(exercise, case, answer, inputs):
    """Call an answer on inputs as the case or the exercise says. Returns (result, what was called)."""
    target = build(exercise, case, answer)
    call = case.call or exercise.call
    if call:
        return call(target, *inputs, **case.keywords), target
    if not isinstance(target, torch.nn.Module):
        fits(target, inputs, case.keywords)
    return target(*inputs, **case.keywords), target


def fits(function, inputs, keywords):
    """Raise InWords where a function can't be called with these arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*inputs, **keywords)
    except TypeError as error:
        count = len(inputs) + len(keywords)
        raise InWords(f"it takes {signature}, but is called with {count} arguments: {error}") from None


def observe(exercise, case, answer, gradients=True):
    """Return what one call of an answer shows: Seen. Errors of the answer are part of it."""
    if isinstance(answer, Elsewhere):
        return answer.observed(exercise, case, gradients)
    inputs = copies(case.inputs)
    outcome = outcome_of(lambda: invoke(exercise, case, answer, inputs)[0])
    if outcome.error:
        return Seen(error=outcome.error)
    names = input_names(exercise, case)
    pairs = zip(names, inputs, case.inputs, strict=False)
    changed = tuple(name for name, now, before in pairs if compare(now, before, 0)[0])
    if not (gradients and exercise.gradients):
        return Seen(outcome.value, None, changed)
    backward = outcome_of(lambda: gradients_of(exercise, case, answer, names))
    return Seen(outcome.value, None, changed, backward.value, backward.error)


def input_names(exercise, case):
    """Return names for the case's inputs: those of the reference's own parameters where they fit."""
    if known := getattr(exercise, "names", None):
        return known[case.name]
    function = exercise.reference.forward if case.build is not None else exercise.reference
    if case.call or exercise.call:
        function = case.call or exercise.call
    parameters = inspect.signature(function).parameters.values()
    names = [each.name for each in parameters if each.name != "self" and each.kind is not each.VAR_POSITIONAL]
    names = names[1:] if case.call or exercise.call else names
    return [*names, *(f"input {i + 1}" for i in range(len(names), len(case.inputs)))]


def gradients_of(exercise, case, answer, names):
    """Return {name: gradient} of a fixed random sum of all outputs, for the inputs and weights that are floats."""
    leaves = [t.clone().requires_grad_() if floating(t) else copy.deepcopy(t) for t in case.inputs]
    # Clones are passed: writing into a leaf would raise, and that is another mistake than a wrong gradient.
    value, target = invoke(exercise, case, answer, [t.clone() if floating(t) else t for t in leaves])
    wanted = {f"the gradient of {name}": t for name, t in zip(names, leaves, strict=False) if floating(t)}
    if isinstance(target, torch.nn.Module):
        wanted |= {f"the gradient of {name}": weight for name, weight in target.named_parameters()}
    generator, total = torch.Generator().manual_seed(2), 0.0
    for t in tensors_in(value):
        share = torch.randn(t.shape, generator=generator)
        total = total + (t.double() * share).sum() if t.requires_grad else total
    if not isinstance(total, torch.Tensor):
        return {}
    found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return {name: torch.zeros_like(t) if g is None else g for (name, t), g in zip(wanted.items(), found, strict=True)}


def tensors_in(value):
    """Return the float tensors of a nested value, in order; a dict's own order says nothing."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value, key=repr)]
    if isinstance(value, (tuple, list)):
        return [t for part in value for t in tensors_in(part)]
    return [value] if floating(value) else []


def remembered(exercise, i, case, ours, gradients=True):
    """Return what an answer of ours shows in case i; it is called once only."""
    key = (i, id(ours), gradients)
    if key not in exercise.memory:
        exercise.memory[key] = observe(exercise, case, ours, gradients)
    return exercise.memory[key]


def differ(seen, expected, tolerance):
    """Return (Problem or None, largest difference) between what an answer and what the reference showed."""
    if seen.error:
        words = error_in_words(seen.error)
        return Problem(words, CONTIGUOUS if "view size is not compatible" in words else "", "error"), math.inf
    problem, largest = compare(seen.value, expected.value, tolerance)
    if problem:
        return problem, largest
    if set(seen.changed) - set(expected.changed):
        return Problem(f"it changed its input {seen.changed[0]!r}", IN_PLACE, "input"), math.inf
    if seen.backward_error:
        words = error_in_words(seen.backward_error)
        hint = IN_PLACE if re.search("in-?place", words) else ""
        return Problem(f"the numbers are right, but in backward {words}", hint, "gradient"), math.inf
    if expected.gradients and not seen.gradients:
        return Problem("the numbers are right, but no gradient flows back", NO_GRADIENT, "gradient"), math.inf
    whole = max((float(g.abs().max()) for g in (expected.gradients or {}).values() if g.numel()), default=0.0)
    for name, gradient in (expected.gradients or {}).items():
        # Ten times what the numbers may differ by: a gradient goes through twice as many sums, in another order.
        allowed = 10 * (tolerance or TOLERANCE.get(gradient.dtype, 0.0))
        problem, difference = compare(seen.gradients[name], gradient, allowed)
        if problem and not is_noise(seen.gradients[name], gradient, 0.01 * allowed * whole):
            cut = not seen.gradients[name].any()
            return Problem(f"{name}: {problem.words}", UNUSED if cut else "", "gradient"), difference
        largest = max(largest, 0.0 if problem else difference)
    return None, largest


def is_noise(gradient, expected, allowed):
    """Say whether two gradients differ by what rounding leaves where the truth is zero: a share of the largest one."""
    return gradient.shape == expected.shape and bool((gradient - expected).abs().max() <= allowed)
