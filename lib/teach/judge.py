"""Watch a learner's function or class on an exercise's cases, beside the reference and beside the known mistakes."""

import inspect
import math

import torch

from lib.teach.limits import Limit, TooLong, error_in_words
from lib.teach.observe import floating, observe, strided, tensors_in
from lib.teach.verdict import TOLERANCE, Problem, Verdict, compare, kind

IN_PLACE = "something works in place (`+=`, `x[...] = ...`, a method that ends in `_`): make a new tensor."
NO_GRADIENT = "something cut it off: `.detach()`, `.data`, `.item()`, `torch.no_grad()`, or a new `torch.tensor(...)`."
CONTIGUOUS = "right only for tensors whose memory is in order. After a transpose `.view` fails: use `.reshape`."
ALONE = "right for one sequence alone, wrong for several at once: do the rows of the batch mix, or share a state?"
LEAK = "it looks ahead: an output changes when only a later token changes."


def judge(exercise, answer):
    """Return the Verdict on a function or class. Leaves torch's random numbers as they were."""
    wrong_kind = not_callable(exercise, answer)
    if wrong_kind:
        return verdict_of(exercise, None, Problem(wrong_kind), "")
    with torch.random.fork_rng(devices=[]):
        return judge_callable(exercise, answer, Limit(exercise.limit), all_cases(exercise))


def judge_callable(exercise, answer, limit, cases):
    """Return the Verdict on what can be called: watch it on all cases, find what is wrong, and what that looks like."""
    expected = [remembered(exercise, i, case, exercise.reference) for i, case in enumerate(cases)]
    for case, reference in zip(cases, expected, strict=True):
        if reference.error:
            raise RuntimeError(f"the reference itself fails in case {case.name}") from reference.error
    seen = []
    ended = limit.run(lambda: watch(exercise, cases, answer, expected, seen))
    seen = seen[: len(cases)]
    if seen and unfinished(seen[-1].error):
        return Verdict(exercise.id, "not attempted", f"{exercise.id} not attempted: going on with lib's.")
    problems = [differ(mine, theirs, exercise.tolerance) for mine, theirs in zip(seen, expected, strict=False)]
    failed = {i: problem for i, (problem, _) in enumerate(problems) if problem}
    if isinstance(ended.error, TooLong) and not failed:
        return verdict_of(exercise, cases[len(seen)], Problem(error_in_words(ended.error)), limit.printed)
    if ended.error and not isinstance(ended.error, TooLong):
        raise ended.error
    if not failed:
        largest = max(difference for _, difference in problems)
        exact = "all exact" if largest == 0 else f"largest difference {largest:.0e}"
        return Verdict(exercise.id, "right", f"{exercise.id} right ({len(cases)} cases, {exact}).")
    first = next(iter(failed))
    hint = known_mistake(exercise, cases, seen, failed) or failed[first].hint
    hint = hint or limit.run(lambda: common_cause(exercise, cases[first], answer)).value or cases[first].hint
    return verdict_of(exercise, cases[first], failed[first]._replace(hint=hint), limit.printed)


def remembered(exercise, i, case, ours, gradients=True):
    """Return what an answer of ours shows in case i; it is called once only."""
    key = (i, id(ours), gradients)
    if key not in exercise.memory:
        exercise.memory[key] = observe(exercise, case, ours, gradients)
    return exercise.memory[key]


def watch(exercise, cases, answer, expected, seen):
    """Append what an answer shows in each case to `seen`, as far as the time goes."""
    for case, reference in zip(cases, expected, strict=True):
        seen.append(observe(exercise, case, answer, bool(reference.gradients)))
        if unfinished(seen[-1].error):
            return


def verdict_of(exercise, case, problem, printed):
    """Put a wrong answer's problem into the sentences that the learner reads."""
    where = f'case "{case.name}": ' if case else ""
    lines = [f"{exercise.id} not yet: {where}{problem.words}{'' if problem.words[-1] in '.?!' else '.'}"]
    if problem.hint:
        lines.append(f"It looks like: {problem.hint}")
    if printed:
        lines.append(printed)
    lines.append("Going on with lib's.")
    return Verdict(exercise.id, "wrong", "\n".join(lines), problem.hint)


def not_callable(exercise, answer):
    """Say in words why an answer is not the kind of thing that was asked for, or return None."""
    if inspect.isclass(exercise.reference):
        return None if inspect.isclass(answer) else f"a class is expected, it is {kind(answer)}"
    if inspect.isclass(answer) and not isinstance(exercise.reference, type):
        return f"a function is expected, it is {kind(answer)}"
    return None if callable(answer) else f"a function is expected, not its result; it is {kind(answer)}"


def unfinished(error):
    """Say whether an error means that the stub still stands: torch raises the same class, for reasons of its own."""
    torchs = ("Module [", "Could not run", "not implemented for")
    return isinstance(error, NotImplementedError) and not any(words in str(error) for words in torchs)


def all_cases(exercise):
    """Return the author's cases, and the first one again in other dtypes and with tensors that are not contiguous."""
    cases = list(exercise.cases)
    first = cases[0]
    for dtype in exercise.dtypes:
        inputs = tuple(t.to(dtype) if floating(t) else t for t in first.inputs)
        if any(floating(t) for t in inputs):
            cases.append(first._replace(name=f"in {str(dtype).removeprefix('torch.')}", inputs=inputs))
    if any(isinstance(t, torch.Tensor) and t.ndim > 1 for t in first.inputs):
        inputs = tuple(strided(t) for t in first.inputs)
        cases.append(first._replace(name="not contiguous", inputs=inputs, hint=CONTIGUOUS))
    return cases


def differ(seen, expected, tolerance):
    """Return (Problem or None, largest difference) between what an answer and what the reference showed."""
    if seen.error:
        words = error_in_words(seen.error)
        return Problem(words, CONTIGUOUS if "view size is not compatible" in words else ""), math.inf
    problem, largest = compare(seen.value, expected.value, tolerance)
    if problem:
        return problem, largest
    if set(seen.changed) - set(expected.changed):
        return Problem(f"it changed its input {seen.changed[0]!r}", IN_PLACE), math.inf
    if seen.backward_error:
        return Problem(f"the numbers are right, but backward {error_in_words(seen.backward_error)}"), math.inf
    if expected.gradients and not seen.gradients:
        return Problem("the numbers are right, but no gradient flows back", NO_GRADIENT), math.inf
    for name, gradient in (expected.gradients or {}).items():
        # Ten times what the numbers may differ by: a gradient goes through twice as many sums, in another order.
        allowed = 10 * (tolerance or TOLERANCE.get(gradient.dtype, 0.0))
        problem, difference = compare(seen.gradients[name], gradient, allowed)
        if problem:
            cut = not seen.gradients[name].any()
            return Problem(f"{name}: {problem.words}", NO_GRADIENT if cut else ""), difference
        largest = max(largest, difference)
    return None, largest


def known_mistake(exercise, cases, seen, failed):
    """Return the hint of the mistake that shows the same as the answer; or ''.

    Best is one that explains every failed case, and most of the others. Two mistakes at once are common: else the one
    that gives the same wrong numbers in the first failed case, and in most of the failed ones, is named first.
    """

    def same(wrong, i):
        gradients = bool(seen[i].error or seen[i].backward_error) or seen[i].gradients is not None
        return alike(seen[i], remembered(exercise, i, cases[i], wrong, gradients), exercise.tolerance)

    first = next(iter(failed))
    best, hint = (), ""
    for words, wrong in exercise.mistakes:
        if not same(wrong, first):
            continue
        explained = sum(same(wrong, i) for i in failed)
        if explained < len(failed) and seen[first].error:
            continue  # an error of the same type alone says little
        score = explained, sum(same(wrong, i) for i in range(len(seen)) if i not in failed)
        if score > best:
            best, hint = score, words
    return hint


def alike(one, other, tolerance):
    """Say whether two answers showed the same: the same error, or the same numbers, gradients and changed inputs."""
    if one.error or other.error:
        return type(one.error) is type(other.error)
    if one.backward_error or other.backward_error:
        return type(one.backward_error) is type(other.backward_error)
    same_gradients = bool(one.gradients) == bool(other.gradients)
    # Both ways: a NaN that is expected forgives any number in its place.
    near = not differ(one, other, tolerance)[0] and not differ(other, one, tolerance)[0]
    return same_gradients and one.changed == other.changed and near


def common_cause(exercise, case, answer):
    """Look for causes that no exercise needs to list: a batch that mixes (it looks like a leak, too), a leak; or ''."""
    if exercise.batch and alone_right(exercise, case, answer):
        return ALONE
    return LEAK if exercise.time and leaks(exercise, case, answer) else ""


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
