"""Find what a wrong answer looks like: a mistake that the exercise lists, or a cause that none needs to list."""

import re

import torch

from lessons.checker.observe import IN_PLACE, differ, observe, remembered, tensors_in
from lessons.checker.verdict import compare

ALONE = "right for one sequence alone, wrong for several at once: do the rows of the batch mix, or share a state?"
LEAK = "it looks ahead: an output changes when only a later token changes."
FLOAT32 = "float64 comes in, but something inside is float32: `.float()`, or a new tensor without `dtype=x.dtype`."
SMALL = "too much for rounding in float64: is a part of it float32, or is a small number added that doesn't belong?"
CLOSER = 0.25  # a mistake explains a difference where it leaves this share of it at most


def hint_for(exercise, cases, seen, expected, problems, answer, limit):
    """Return what an answer looks like, or ''. problems: {case: Problem} of the failed ones, the first one first."""
    first, problem = next(iter(problems.items()))
    hint = known_mistake(exercise, cases, seen, expected, problems) or problem.hint
    hint = hint or cause_seen(seen[first], expected[first], problem)
    own = [i for i in problems if i < len(exercise.cases)]  # without the first one's repetitions in other forms
    if not hint and first in own and problem.about in ("value", "error"):
        leak = same_shapes(seen[first].value, expected[first].value)
        hint = limit.run(lambda: cause_tried(exercise, cases[first], answer, leak)).value
    return hint or (cases[first].hint if len(own or problems) == 1 else "")


def known_mistake(exercise, cases, seen, expected, problems):
    """Return the hint of the listed mistake that explains what an answer showed; or ''.

    It shows the same in the first case that failed, and is right wherever the answer is right. Two mistakes at once are
    common, so it need not explain all that failed, but the one that explains more is named, and of two that explain as
    much the one that goes wrong in fewer of the others.
    """
    first = next(iter(problems))
    best, hint = (), ""
    for words, wrong in exercise.mistakes:
        shown = [None] * len(seen)

        def explained(i, shown=shown, wrong=wrong):
            shown[i] = remembered(exercise, i, cases[i], wrong, bool(expected[i].gradients))
            return explains(shown[i], seen[i], expected[i], problems.get(i), exercise.tolerance)

        if not explained(first) or any(not explained(i) for i in range(len(seen)) if i not in problems):
            continue
        same = sum(map(explained, problems))
        if same < len(problems) * least_share(seen[first]):
            continue
        score = same, -sum(bool(differ(shown[i], expected[i], exercise.tolerance)[0]) for i in problems)
        if not best or score > best:
            best, hint = score, words
    return hint


def least_share(seen):
    """Return the share of the failed cases that a mistake must explain: equal errors and equal words say little."""
    if seen.error:
        return 1.0
    return 0.0 if tensors_in(seen.value) else 0.5


def explains(mistake, seen, expected, problem, tolerance):
    """Say whether a mistake shows what an answer shows, and leaves little of its problem, if it has one, to explain."""
    if not alike(seen, mistake, tolerance):
        return False
    if problem is None or problem.about not in ("value", "rounding", "gradient"):
        return True
    parts = [
        tensors_in(each.gradients if problem.about == "gradient" else each.value) for each in (mistake, seen, expected)
    ]
    return all(closer(*three, tolerance) for three in zip(*parts, strict=False))


def alike(one, other, tolerance):
    """Say whether two answers showed the same: the same error, or the same numbers, gradients and changed inputs."""
    if one.error or other.error:
        return same_error(one.error, other.error)
    if one.backward_error or other.backward_error:
        return same_error(one.backward_error, other.backward_error)
    same_gradients = bool(one.gradients) == bool(other.gradients)
    # Both ways: a NaN that is expected forgives any number in its place.
    near = not differ(one, other, tolerance)[0] and not differ(other, one, tolerance)[0]
    return same_gradients and one.changed == other.changed and near


def same_error(one, other):
    """Say whether two errors are of one type and say the same; names and tensors that they quote may differ."""
    if type(one) is not type(other) or missing(one) != missing(other):
        return False
    try:
        said = [re.sub(r"(?s)'[^']*'|0x[0-9a-f]+|: \[torch\..*", "", str(error)) for error in (one, other)]
    except Exception:  # an error class of the learner's may not even print
        return False
    return said[0] == said[1]


def missing(error):
    """Return what an AttributeError did not find, and on what kind of thing; None for any other error."""
    if not isinstance(error, AttributeError):
        return None
    return error.name, "module" if isinstance(error.obj, torch.nn.Module) else type(error.obj).__name__


def closer(mistake, mine, right, tolerance):
    """Say whether a mistake's tensor is far closer to an answer's than the right one is, where that is not right.

    Near what is allowed all three may lie together: then nothing is known.
    """
    if not mistake.shape == mine.shape == right.shape or not compare(mine, right, tolerance)[0]:
        return True
    left, whole = ((mine.double() - other.double()).abs().max() for other in (mistake, right))
    return not torch.isfinite(whole) or bool(left <= CLOSER * whole)


def cause_seen(seen, expected, problem):
    """Return a cause that shows in what was seen already: a changed input, a coarser type; or ''."""
    if problem.about == "value" and set(seen.changed) - set(expected.changed):
        return IN_PLACE
    tensors = tensors_in(seen.value) if problem.about == "rounding" else []
    if not any(t.dtype == torch.float64 for t in tensors):
        return ""
    return FLOAT32 if all(torch.equal(t.detach(), t.detach().float().to(t.dtype)) for t in tensors) else SMALL


def same_shapes(yours, expected):
    """Say whether the float tensors of two values have the same shapes: in others the axis of the tokens is unknown."""
    return [t.shape for t in tensors_in(yours)] == [t.shape for t in tensors_in(expected)]


def cause_tried(exercise, case, answer, leak):
    """Return a cause that more calls of the answer show: a batch that mixes (it looks like a leak, too), a leak."""
    if exercise.batch and alone_right(exercise, case, answer):
        return ALONE
    return LEAK if leak and exercise.time and leaks(exercise, case, answer) else ""


def leaks(exercise, case, answer):
    """Say whether the first outputs change when the last tokens do."""
    position, dim = exercise.time
    x = case.inputs[position]
    t = x.shape[dim] // 2
    other = torch.cat([x.narrow(dim, 0, t), x.flip(dim).narrow(dim, t, x.shape[dim] - t)], dim)
    inputs = tuple(other if i == position else value for i, value in enumerate(case.inputs))
    before, after = (observe(exercise, one, answer, False) for one in (case, case._replace(inputs=inputs)))
    if before.error or after.error or not tensors_in(before.value):
        return False
    early, late = (tensors_in(seen.value)[0].narrow(dim, 0, t) for seen in (before, after))
    problem = compare(early, late)[0]
    return problem is not None and "largest difference" in problem.words


def alone_right(exercise, case, answer):
    """Say whether each row of the batch is right when it comes alone."""
    for row in range(case.inputs[exercise.batch[0]].shape[0]):
        inputs = tuple(t[row : row + 1] if i in exercise.batch else t for i, t in enumerate(case.inputs))
        one = case._replace(inputs=inputs)
        mine, theirs = (observe(exercise, one, each, False) for each in (answer, exercise.reference))
        if mine.error or compare(mine.value, theirs.value, exercise.tolerance)[0]:
            return False
    return True
