"""The exercises of lesson 22: a leak, a budget, an edited record, a paired difference, the number of seeds."""

import math
import statistics

from lessons.checker.check import Checks
from lessons.exercises import lesson_22_wrong
from lib.run.paired import t_value

checks = Checks("22")
check = checks.check


def is_leak(nats, truths, errors):
    """Say whether a model's nats for some stories lie below the truths by more than so many standard errors.

    The mean of the differences, one a story, is held against s / sqrt(n), s with n - 1 below the root.
    """
    return _leak(nats, truths, errors)


def _leak(nats, truths, errors, apart=lambda a, b: a - b, middle=statistics.fmean, spread=statistics.stdev,
          root=math.sqrt, below=lambda mean, error, errors: mean < -errors * error):  # fmt: skip
    differences = [apart(a, b) for a, b in zip(nats, truths, strict=True)]
    return bool(below(middle(differences), spread(differences) / root(len(differences)), errors))


@checks.exercise("22.1", is_leak, points=4, gradients=False, call=lambda answer, *given: int(bool(answer(*given))))
def leak(e):
    """Scores above the floor, a little below it, far below it; hard and easy stories."""
    truths = [60.0, 95.0, 140.0, 75.0, 110.0, 82.0, 133.0, 68.0]
    for name, moves, errors, hint in (
        ("above the floor", (2, 4, 1, 5, 3, 2, 6, 1), 3, "a score above the floor is none."),
        ("far below it", (-9, -12, -8, -11, -10, -9, -13, -8), 3, ""),
        ("below it by less than its error", (-9, 8, -7, 9, -6, 3, -5, 2), 3, ""),
        ("below it by two errors", (-4, 0.5, -3, 1, -2, 0.5, -3, 0), 3, "by more than `errors` of them."),
        ("the same, and two are enough", (-4, 0.5, -3, 1, -2, 0.5, -3, 0), 2, ""),
        ("a little below it, story by story", (-1, -1.2, -0.8, -1.1, -0.9, -1, -1.1, -0.9), 3,
         "some stories are harder than others: that cancels, story by story."),
        ("far above it, story by story", (9, 12, 8, 11, 10, 9, 13, 8), 3, ""),
        ("one story above the floor", (-9, -9, -9, -9, -9, -9, -9, 0.5), 2, "the mean decides, not one story."),
        ("below it, and the stories scatter", (-5.5, -0.5) * 4, 3, "a mean of n numbers has the error s / sqrt(n)."),
        ("about at the floor", (2, -1, 3, -2, 1, 0, 2, -1), 3, ""),
        ("between the two errors", (-4, 1, -4, 1, -4, 1, -4, 1), 1.65, "n - 1 stands below the root."),
    ):  # fmt: skip
        e.case(name, [t + m for t, m in zip(truths, moves, strict=True)], truths, errors, hint=hint)
    e.case("two stories", [50.0, 69.0], [60.0, 80.0], 3)
    e.case("two stories, and luck", [55.0, 79.0], [60.0, 80.0], 3)
    for hint, change in {
        "turned round: below the floor means that the model needs less than the truth.": dict(apart=lambda a, b: b - a),
        "any score below the floor is taken for a leak: luck takes it there, too. Ask for more than its error.": dict(
            below=lambda mean, error, errors: mean < 0
        ),
        "the spread of single stories is taken: the error of a mean is s / sqrt(n).": dict(root=lambda n: 1.0),
        "s / n is too small: divide by the square root of n.": dict(root=float),
        "the number of errors is left out.": dict(below=lambda mean, error, errors: mean < -error),
        "far above the floor counts as a leak, too: that is a bad model.": dict(
            below=lambda mean, error, errors: abs(mean) > errors * error
        ),
        "n stands below the root where n - 1 belongs: `statistics.stdev` has it, `pstdev` not.": dict(
            spread=statistics.pstdev
        ),
        "this says when it is no leak.": dict(below=lambda mean, error, errors: not mean < -errors * error),
        "the worst story decides here: take the mean.": dict(middle=max),
        "the error is added on the wrong side: even with its error the score must lie below zero.": dict(
            below=lambda mean, error, errors: mean < errors * error
        ),
    }.items():
        e.mistake(hint, lambda *given, change=change: _leak(*given, **change))
    e.mistake(
        "the spread of the stories is in it: subtract story by story first, then take mean and error.",
        lambda nats, truths, errors: (
            statistics.fmean(nats) - statistics.fmean(truths) < -errors * statistics.stdev(nats) / math.sqrt(len(nats))
        ),
    )


def training_cost(L, C, F, V, H, T, rows):
    """Return the FLOPs of training a LLaMA on `rows` rows of T tokens: three times the forward pass.

    A row forward: 2 T (L (4 C^2 + 3 C F) + V C) for the weights, and L pairs (4 C + 6 H) for attention, where each
    token looks at itself and those before it: pairs = T (T + 1) / 2.
    """
    return _cost(L, C, F, V, H, T, rows)


def _cost(L, C, F, V, H, T, rows, times=3, two=2, squares=4, inner=3, head=1, pairs=lambda T: T * (T + 1) // 2,
          products=4, scores=6, layers=None, read=None):  # fmt: skip
    weights = L * (squares * C * C + inner * C * F) + head * V * C
    attention = (L if layers is None else layers) * pairs(T) * (products * C + scores * H)
    return times * (rows if read is None else read) * (two * T * weights + attention)


@checks.exercise("22.2", training_cost, points=4, gradients=False, call=lambda answer, *given: float(answer(*given)),
                 tolerance=1e-9)  # fmt: skip
def cost(e):
    """The tiny LLaMA, and others in which every size differs."""
    e.case("the tiny LLaMA, one row", 4, 128, 352, 2048, 4, 192, 1)
    e.case("the tiny LLaMA, 278 steps of 8 rows", 4, 128, 352, 2048, 4, 192, 2224)
    e.case("small", 2, 64, 176, 2048, 4, 96, 10)
    e.case("one layer", 1, 32, 80, 300, 2, 7, 3)
    e.case("other sizes", e.size(2, 6), 16 * e.size(1, 9), e.size(30, 300), e.size(200, 900), 8, e.size(5, 99), 11)
    for hint, change in lesson_22_wrong.costs().items():
        e.mistake(hint, lambda *given, change=change: _cost(*given, **change))


def adds_up(record):
    """Return which figures of a record don't add up, a set of names among "tokens", "flops", "curve", "loss".

    tokens = steps batch_size length; flops = row_flops tokens / length; the curve ends at the last step; its last loss
    is within a quarter of the validation loss.
    """
    return _wrong(record)


def _wrong(r, step=lambda r: r["steps"] * r["batch_size"] * r["length"], rows=lambda r: r["tokens"] // r["length"],
           last=lambda r: r["curve"][-1], near=lambda a, b: abs(a / b - 1) <= 0.25, names=None):  # fmt: skip
    tests = {
        "tokens": r["tokens"] == step(r),
        "flops": r["flops"] == r["row_flops"] * rows(r),
        "curve": last(r)[0] == r["steps"],
        "loss": near(last(r)[1], r["validation_nats_per_token"]),
    }
    return {name for name, holds in tests.items() if not holds and name in (names or tests)}


def _names(answer, record):
    found = answer(record)
    return {name: int(name in found) for name in ("tokens", "flops", "curve", "loss")}


def _record(steps=100, batch_size=8, length=192, row_flops=1_346_371_584, last=0.9, validation=0.95, **changes):
    tokens = steps * batch_size * length
    honest = {
        "steps": steps, "batch_size": batch_size, "length": length, "tokens": tokens, "row_flops": row_flops,
        "flops": row_flops * (tokens // length), "curve": [[1, 7.6], [10, 4.5], [steps, last]],
        "validation_nats_per_token": validation,
    }  # fmt: skip
    return honest | changes


@checks.exercise("22.3", adds_up, points=4, gradients=False, call=_names)
def edited(e):
    """An honest record, and such as were edited in one place, or in two that had to go together."""
    e.case("honest", _record(), hint="an honest record was accused.")
    e.case("honest, other batches", _record(steps=60, batch_size=4, length=96))
    e.case("honest, one row a step", _record(steps=70, batch_size=1, length=96))
    e.case("honest, early", _record(last=3.0, validation=2.6))
    e.case("a curve that ends too low", _record(last=0.6))
    e.case("fewer steps", _record() | {"steps": 50})
    e.case("fewer steps and tokens", _record() | {"steps": 50, "tokens": 50 * 8 * 192})
    e.case("fewer FLOPs", _record(flops=10**11))
    e.case("a better loss", _record(validation=0.6))
    e.case("a curve that ends too high", _record(last=1.4))
    e.case("a curve that was cut", _record(curve=[[1, 7.6], [10, 0.9]]))
    e.case("longer rows", _record() | {"length": 384})
    e.case("all at once", _record(validation=0.3) | {"tokens": 7, "curve": [[9, 0.9]]})
    e.case("by a quarter, just", _record(last=1.0, validation=0.81))
    e.case("by more than a quarter of the validation's", _record(last=1.0, validation=0.78))
    e.case("the last loss, not the lowest", _record(curve=[[1, 7.6], [50, 0.9], [100, 2.4]]))
    for hint, change in lesson_22_wrong.records().items():
        e.mistake(hint, lambda record, change=change: _wrong(record, **change))
    e.mistake("these are the figures that do add up.", lambda r: {"tokens", "flops", "curve", "loss"} - _wrong(r))


def paired_difference(base, idea, t):
    """Return (mean, half) of idea - base, seed by seed: half = t s / sqrt(n), s with n - 1 below the root."""
    return _paired(base, idea, t)


def _paired(base, idea, t, apart=lambda a, b: b - a, spread=statistics.stdev, root=math.sqrt, times=lambda t: t,
            order=lambda row: row):  # fmt: skip
    differences = [apart(a, b) for a, b in zip(order(base), order(idea), strict=True)]
    return statistics.fmean(differences), times(t) * spread(differences) / root(len(differences))


def _two(answer, *given):
    mean, half = answer(*given)
    return {"mean": float(mean), "half": float(half)}


@checks.exercise("22.4", paired_difference, points=4, gradients=False, call=_two, tolerance=1e-6)
def difference(e):
    """Three, five and eight seeds; a spread between seeds that is wider than the difference."""
    e.case("three seeds", [0.50, 0.62, 0.55], [0.47, 0.60, 0.54], 4.303)
    e.case("worse, five seeds", [0.3, 0.36, 0.28, 0.4, 0.33], [0.34, 0.37, 0.35, 0.45, 0.4], 2.776)
    e.case("no difference", [1.0, 2.0, 4.0], [1.1, 1.8, 4.1], 4.303)
    base = [float(x) for x in e.randn(8).double()]
    e.case("eight seeds", base, [x + 0.01 * float(y) for x, y in zip(base, e.randn(8), strict=True)], 2.365)
    for hint, change in {
        "turned round: idea minus base, so that below zero means nearer to the floor.": dict(apart=lambda a, b: a - b),
        "s is not divided by the square root of n.": dict(root=lambda n: 1.0),
        "divided by n: it is the square root of n.": dict(root=float),
        "t is missing: that is one standard error.": dict(times=lambda t: 1.0),
        "1.96 is for many seeds: with a few, take the t that is given.": dict(times=lambda t: 1.96),
        "n stands below the root where n - 1 belongs.": dict(spread=statistics.pstdev),
        "this is the variance: s is its root.": dict(spread=statistics.variance),
        "both were sorted first: then seeds are paired that do not belong together.": dict(order=sorted),
        "the sign of each difference is lost.": dict(apart=lambda a, b: abs(b - a)),
        "these are ratios: differences were asked for.": dict(apart=lambda a, b: b / a - 1),
        "half is the whole width: it reaches so far to each side.": dict(times=lambda t: 2 * t),
    }.items():
        e.mistake(hint, lambda *given, change=change: _paired(*given, **change))
    e.mistake(
        "the two groups are compared as if unpaired: the luck of a seed, which both have, stays in it.",
        lambda base, idea, t: (
            statistics.fmean(idea) - statistics.fmean(base),
            t * math.sqrt((statistics.variance(base) + statistics.variance(idea)) / len(base)),
        ),
    )


def seeds_needed(effect, spread, most=1000):
    """Return the least n >= 2 with t(n - 1) spread / sqrt(n) < effect: the interval then leaves zero out.

    effect: the difference that you expect, above 0; spread: the standard deviation of paired differences. None where
    `most` are not enough.
    """
    return _needed(effect, spread, most)


def _needed(effect, spread, most, t=lambda n: t_value(n - 1), root=math.sqrt, first=2, done=lambda half, e: half < e,
            more=0):  # fmt: skip
    for n in range(first, most + 1):
        if done(t(n) * spread / root(n), effect):
            return n + more
    return None


def _count(answer, *given):
    found = answer(*given)
    return -1 if found is None else int(found)


@checks.exercise("22.5", seeds_needed, points=4, gradients=False, call=_count)
def seeds(e):
    """Effects far larger than the spread, about as large, far smaller, and one that is out of reach."""
    for effect, spread, most in (
        (1.0, 0.01, 1000),
        (0.02, 0.02, 1000),
        (0.03, 0.02, 1000),
        (0.01, 0.03, 1000),
        (0.01, 0.01, 1000),
        (0.5, 0.1, 1000),
        (0.001, 0.02, 50),
        (0.02, 0.008, 1000),
        (0.04, 0.07, 1000),
        (0.02, 0.02, seeds_needed(0.02, 0.02)),
    ):
        e.case(f"an effect of {effect}, a spread of {spread}", effect, spread, most)
    for hint, change in {
        "1.96 is for many seeds: with few, t is larger. It depends on n.": dict(t=lambda n: 1.96),
        "n seeds have n - 1 degrees of freedom.": dict(t=lambda n: t_value(n)),
        "t is missing: one standard error is too little.": dict(t=lambda n: 1.0),
        "s / n shrinks too fast: it is s / sqrt(n).": dict(root=float),
        "s does shrink with n: divide by sqrt(n).": dict(root=lambda n: 1.0),
        "two seeds are the least, and may be enough.": dict(first=3),
        "one more than needed.": dict(more=1),
        "one less than needed.": dict(more=-1),
        "this is the first n whose interval still holds zero.": dict(done=lambda half, effect: half >= effect),
        "the whole width is held against the effect: half of it has to be smaller.": dict(
            done=lambda half, effect: 2 * half < effect
        ),
    }.items():
        e.mistake(hint, lambda effect, spread, most, change=change: _needed(effect, spread, most, **change))
    e.mistake("`most` itself is never tried: it may be enough.", lambda effect, spread, most: (
        _needed(effect, spread, most - 1)
    ))  # fmt: skip
    e.mistake("where no n up to `most` is enough, return None.", lambda effect, spread, most: (
        _needed(effect, spread, most) or most
    ))  # fmt: skip
    e.mistake("t stays that of two seeds here: each n has its own.", lambda effect, spread, most: _needed(
        effect, spread, most, t=lambda n: t_value(1)
    ))  # fmt: skip


BEST_OF, BETTER = 20, 1.8675  # the mean of the largest of twenty standard normal numbers


@checks.exercise("22.6", BETTER, points=2, kind="predict")
def best(e):
    """How many errors the best of twenty equal tries seems better by, by tables of order statistics."""
    e.between(1.8, 1.94)
    e.mistake("one error is what a single try is off by: the best of twenty is luckier.", 1.0)
    e.mistake("on the mean the tries are right, and the best of them is not.", 0.0)
    e.mistake("that is the limit that one try in twenty passes on both sides: 1.96, chosen for another question.", 1.96)
    e.mistake("this is the best of ten.", 1.5388)
    e.mistake("this is the best of a hundred.", 2.5076)
    e.mistake("the sign is turned: how much better it seems, above zero.", -BETTER)
    e.mistake("this is the limit that one try in twenty passes on one side: the best of twenty is further out.", 1.645)
