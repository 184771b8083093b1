"""Watch a learner's function or class on an exercise's cases, beside the reference and beside the known mistakes."""

import inspect

import torch

from lessons.checker.diagnose import hint_for
from lessons.checker.excerpt import call_in_words, got_and_expected
from lessons.checker.kernel import known_state
from lessons.checker.limits import Limit, TooLong, error_in_words
from lessons.checker.observe import CONTIGUOUS, differ, floating, input_names, observe, remembered, strided
from lessons.checker.verdict import GOING_ON, Problem, Verdict, kind, not_attempted


def judge(exercise, answer):
    """Return the Verdict on a function or class: the same one whatever is set in the kernel, which stays as it was."""
    wrong_kind = not_callable(exercise, answer)
    if wrong_kind:
        return verdict_of(exercise, None, Problem(wrong_kind), "")
    with known_state():
        return judge_callable(exercise, answer, Limit(exercise.limit), all_cases(exercise))


def judge_callable(exercise, answer, limit, cases):
    """Return the Verdict on what can be called: watch it on all cases, find what is wrong, and what that looks like."""
    expected = [remembered(exercise, i, case, exercise.reference) for i, case in enumerate(cases)]
    for case, reference in zip(cases, expected, strict=True):
        if reference.error:
            raise RuntimeError(f"the reference itself fails in case {case.name}") from reference.error
    seen = []
    with known_state():  # what an answer sets is put back before the mistakes are called
        ended = limit.run(lambda: watch(exercise, cases, answer, expected, seen))
    seen = seen[: len(cases)]
    if seen and unfinished(seen[-1].error):
        return not_attempted(exercise.id)
    found = [differ(mine, theirs, exercise.tolerance) for mine, theirs in zip(seen, expected, strict=False)]
    problems = {i: problem for i, (problem, _) in enumerate(found) if problem}
    if isinstance(ended.error, TooLong) and not problems:
        problem, case = Problem(error_in_words(ended.error), "", "error"), cases[len(seen)]
        return verdict_of(exercise, case, problem, limit.printed, called_with(exercise, case))
    if ended.error and not isinstance(ended.error, TooLong):
        raise ended.error
    if not problems:
        near = "equal up to rounding" if any(difference for _, difference in found) else "all exact"
        return Verdict(exercise.id, "right", f"{exercise.id} right ({len(cases)} cases, {near}).")
    first, problem = next(iter(problems.items()))
    problem = problem._replace(hint=hint_for(exercise, cases, seen, expected, problems, answer, limit))
    lines = shown(exercise, cases[first], seen[first], expected[first], problem)
    return verdict_of(exercise, cases[first], problem, limit.printed, lines)


def watch(exercise, cases, answer, expected, seen):
    """Append what an answer shows in each case to `seen`, as far as the time goes."""
    for case, reference in zip(cases, expected, strict=True):
        seen.append(observe(exercise, case, answer, bool(reference.gradients)))
        if unfinished(seen[-1].error):
            return


def verdict_of(exercise, case, problem, printed, lines=()):
    """Put a wrong answer's problem into the sentences that the learner reads. lines: what more there is to see."""
    where = f'case "{case.name}": ' if case else ""
    said = [f"{exercise.id} not yet: {where}{problem.words}{'' if problem.words[-1] in '.?!' else '.'}", *lines]
    if problem.hint:
        said.append(f"It looks like: {problem.hint}")
    if printed:
        said.append(printed)
    return Verdict(exercise.id, "wrong", "\n".join([*said, GOING_ON]), problem.hint)


def called_with(exercise, case):
    """Return the line that says what a case calls the answer with, in a list; an empty one where that is nothing."""
    words = call_in_words(input_names(exercise, case), case)
    return [f"  input: {words}"] if words else []


def shown(exercise, case, seen, expected, problem):
    """Return lines: the input that failed, what came and what was expected."""
    pair = got_and_expected(seen.value, expected.value, exercise.tolerance) if problem.about == "value" else None
    place = pair[0].partition("first different ")[2].partition(": ")[0] if pair else ""
    if place and f"{place}: yours" in problem.words:  # the first one that differs is the largest, and told already
        pair = None
    return called_with(exercise, case) + ([f"  got: {pair[0]}", f"  expected: {pair[1]}"] if pair else [])


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
            cases.append(first._replace(name=f"in {str(dtype).removeprefix('torch.')}", inputs=inputs, hint=""))
    if any(isinstance(t, torch.Tensor) and t.ndim > 1 for t in first.inputs):
        inputs = tuple(strided(t) for t in first.inputs)
        cases.append(first._replace(name="not contiguous", inputs=inputs, hint=CONTIGUOUS))
    return cases
