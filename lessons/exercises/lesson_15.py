"""The exercises of lesson 15: where the decays start, what weight decay makes of them, the groups, and the noise."""

import torch

from lessons.checker.check import Checks
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.models.rwkv_start import learning_groups
from lib.run.train import Recipe, schedule

checks = Checks("15")
check = checks.check


def decay_start(d_model, layer, n_layers, low=-5.0, span=8.0):
    """Return low + span (n / (C - 1))^(0.7 + 1.3 l / (L - 1)) for the channels n = 0 .. C - 1, (C,) in float32."""
    return rising(d_model, layer, n_layers, low, span)


def rising(
    d_model, layer, n_layers, low=-5.0, span=8.0, flat=0.7, steep=1.3, over=lambda C: C - 1, last=lambda L: L - 1
):
    """Return the formula with one of its parts changed."""
    channel = torch.arange(d_model, dtype=torch.float64)
    power = flat + steep * layer / max(last(n_layers), 1)
    return (low + span * (channel / max(over(d_model), 1)) ** power).float()


@checks.exercise("15.1", decay_start, points=3, gradients=False)
def starts(e):
    """First, middle and last layers, other ranges, one layer alone."""
    e.case("the first of 4 layers", 8, 0, 4)
    e.case("the last of 4 layers", 8, 3, 4)
    e.case("a middle one, RWKV-5's range", 10, 1, 3, -6.0, 5.0)
    e.case("a model of one layer", 6, 0, 1, hint="with one layer L - 1 is 0: divide by max(1, L - 1).")
    e.case("other ranges", 12, 2, 6, low=-7.0, span=2.5)
    e.case("some layer", e.size(6, 14), e.size(1, 3), 5, low=-e.size(2, 6) / 1.0)
    for hint, change in {
        "the last channel does not reach low + span: divide n by C - 1.": {"over": lambda C: C},
        "the last layer does not reach the power 2: divide l by L - 1.": {"last": lambda L: L},
        "every layer gets the power 0.7: it grows with the layer.": {"steep": 0.0},
        "every layer gets the power 2: 0.7 + 1.3 l / (L - 1).": {"flat": 2.0, "steep": 0.0},
        "0.7 and 1.3 are swapped.": {"flat": 1.3, "steep": 0.7},
        "the power is missing: the channels go up in a straight line.": {"flat": 1.0, "steep": 0.0},
    }.items():
        e.mistake(hint, lambda *z, change=change, **k: rising(*z, **k, **change))
    e.mistake("the layers run backwards: the first has the power 0.7.", _backwards)
    e.mistake("low and span are fixed here: they are arguments.", lambda C, i, L, low=0, span=0: rising(C, i, L))
    e.mistake("span is taken for the upper end: it is added to low.", lambda C, i, L, low=-5.0, span=8.0: (
        rising(C, i, L, low, span - low)
    ))  # fmt: skip
    e.mistake("these are the decays already: return what the model learns, before -exp.", lambda *z, **k: (
        (-rising(*z, **k).exp()).exp()
    ))  # fmt: skip
    e.mistake("the channels run backwards: channel 0 forgets slowest.", lambda *z, **k: rising(*z, **k).flip(0))


def _backwards(d_model, layer, n_layers, low=-5.0, span=8.0):
    return rising(d_model, n_layers - 1 - layer, n_layers, low, span)


def faded(value, recipe, multiple=1.0):
    """Return what weight decay alone leaves of a value: times 1 - rate * weight_decay at each step."""
    for step in range(recipe.steps):
        value = value * (1 - multiple * recipe.learning_rate * schedule(step, recipe) * recipe.weight_decay)
    return value


def fading(share=schedule, every=None, join=None):
    """Return a wrong `faded`: share(step, recipe); every(recipe, multiple); join(value, factor)."""

    def wrong(value, recipe, multiple=1.0):
        start = value
        for step in range(recipe.steps):
            size = every(recipe, multiple) if every else multiple * recipe.learning_rate * recipe.weight_decay
            value = join(value, size * share(step, recipe), start) if join else value * (1 - size * share(step, recipe))
        return value

    return wrong


@checks.exercise("15.2", faded, points=3, kind="predict", gradients=False)
def fades(e):
    """Short and long runs, several recipes, with a multiple and without."""
    e.case("a short run", -6.0, Recipe(steps=30, warmup=5, learning_rate=0.02))
    e.case("at twice the rate", -6.0, Recipe(steps=40, warmup=4, learning_rate=0.01), 2.0)
    e.case(
        "strong decay, three times the rate", 2.5, Recipe(steps=50, warmup=0, learning_rate=0.05, weight_decay=0.4), 3.0
    )
    e.case("no decay", -3.0, Recipe(steps=20, warmup=2, weight_decay=0.0))
    e.case("some steps", -4.0, Recipe(steps=e.size(20, 60), warmup=5, learning_rate=0.03))
    e.case("a long run", -6.0, Recipe(steps=900, warmup=50, final_ratio=0.02, learning_rate=0.01), 2.0)
    e.mistake("the schedule is missing: the rate changes from step to step.", fading(share=lambda step, recipe: 1.0))
    e.mistake("`multiple` is missing.", fading(every=lambda z, multiple: z.learning_rate * z.weight_decay))
    e.mistake(
        "the rate is missing: AdamW takes away rate times weight_decay.", fading(every=lambda z, m: m * z.weight_decay)
    )
    e.mistake("the weight decay is missing.", fading(every=lambda z, multiple: multiple * z.learning_rate))
    e.mistake("each step takes from the first value: it takes a share of what is left.",
              fading(join=lambda value, size, start: value - size * start))  # fmt: skip
    e.mistake("a fixed amount is taken away: it is a share of the value.", fading(join=lambda v, size, start: v - size))
    e.mistake("it grows: 1 minus the share.", fading(join=lambda value, size, start: value * (1 + size)))
    e.mistake("one step only: multiply for every step.", lambda v, z, multiple=1.0: (
        v * (1 - multiple * z.learning_rate * z.weight_decay * schedule(0, z))
    ))  # fmt: skip
    e.mistake("this is the factor: multiply it with the value.", lambda v, z, multiple=1.0: faded(1.0, z, multiple))


RANKS = {4: (), 5: (), 6: (3, 5), 7: (3, 5, 2, 7)}


def small_rwkv(generation):
    """Return a function that makes a tiny RWKV of that generation, tied where it is even."""
    config = RwkvConfig(generation, 31, 2, 16, 24, 8, RANKS[generation], tied=generation % 2 == 0)
    return lambda: Rwkv(config)


def who_learns_how(answer, make):
    """Return {name: how it learns} of an answer's groups, as words; a name in two groups is told."""
    model, told = make(), {}
    names = {id(weight): name for name, weight in model.named_parameters()}
    for group in answer(model):
        for weight in group["params"]:
            words = f"decays: {bool(group['decays'])}, rate x {float(group['rate']):g}"
            name = names[id(weight)]
            told[name] = words if name not in told else "in two groups"
    return dict(sorted(told.items()))


def grouping(decays, rate=None):
    """Return an answer: decays(name, weight) and rate(name, generation); one group for each parameter."""

    def groups(model):
        truth = {name: group["rate"] for group in learning_groups(model) for name in group["names"]}
        return [
            {"params": [w], "decays": decays(name, w), "rate": rate(name, truth[name]) if rate else truth[name]}
            for name, w in model.named_parameters()
        ]

    return groups


def large(name, weight):
    """Say whether it is a large matrix: a `weight` with two axes."""
    return name.endswith(".weight") and weight.ndim == 2


@checks.exercise("15.3", learning_groups, points=4, kind="repair", call=who_learns_how, gradients=False)
def groups(e):
    """All four generations, tied and not."""
    for generation in (5, 7, 4, 6):
        e.case(f"an RWKV-{generation}", small_rwkv(generation))
    for hint, decays in {
        "all with two axes decay: the (H, N) tables and the low-rank matrices must not.": lambda n, w: w.ndim >= 2,
        "all that is called weight decays: the norms have a weight with one axis.": lambda n, w: n.endswith("weight"),
        "everything decays.": lambda n, w: True,
        "nothing decays: the large matrices should.": lambda n, w: False,
        "the low-rank matrices decay, too.": lambda n, w: large(n, w) or n.endswith((".up", ".down")),
        "the embedding decays, too: it is a large matrix.": lambda n, w: large(n, w) and not n.startswith("embed"),
        "the matrices outside of the blocks decay, too.": lambda n, w: large(n, w) and n.startswith("blocks"),
        "these are the ones that must not decay.": lambda n, w: not large(n, w),
    }.items():
        e.mistake(hint, grouping(decays))
    e.mistake("every rate is 1: the decays learn at twice the rate.", grouping(large, lambda name, rate: 1.0))
    e.mistake("everything learns at twice the rate.", grouping(large, lambda name, rate: 2.0))
    e.mistake("the low-rank matrices of the decay learn at rate 1: only its bias at 2.", grouping(
        large, lambda name, rate: 2.0 if ".decay" in name else rate
    ))  # fmt: skip
    e.mistake("some parameters are in no group.", lambda model: learning_groups(model)[:1])


def gap(a, b):
    """Return mean(a) - mean(b), and its standard error: the root of the sum of variance / n, variances over n - 1."""
    return spread_of(a, b, lambda x: x.var() / len(x))


def spread_of(a, b, part, join=lambda x, y: (x + y) ** 0.5):
    """Return the difference of the means, and join(part(a), part(b))."""
    a, b = (torch.as_tensor(z, dtype=torch.float64) for z in (a, b))
    return (a.mean() - b.mean()).item(), float(join(part(a), part(b)))


def two_numbers(answer, a, b):
    """Return what an answer gives as a tensor, so that float32 will do."""
    difference, error = answer(a, b)
    return torch.tensor([float(difference), float(error)])


@checks.exercise("15.4", gap, points=4, kind="measure", call=two_numbers, tolerance=1e-4, gradients=False)
def noise(e):
    """A few seeds each, as many or not."""
    e.case("three seeds each", [2.61, 2.55, 2.64], [2.58, 2.71, 2.66])
    e.case("far apart", [3.0, 3.1, 2.9, 3.05], [1.0, 1.2, 1.1, 0.9])
    e.case("some losses", *([2 + e.size(0, 99) / 100 for _ in range(n)] for n in (4, 6)))
    e.case("five seeds and two", [1.2, 1.3, 1.25, 1.4, 1.1], [1.5, 1.7], hint="each side has its own n.")
    e.case("a noisy side and a quiet one", [1.0, 2.0, 3.0], [2.01, 2.02, 2.03])
    for hint, part in {
        "the variances are divided by n: over a few seeds divide by n - 1.": lambda x: x.var(correction=0) / len(x),
        "this is the spread of single runs: a mean of n runs has variance / n.": lambda x: x.var(),
        "variance / n, not variance / (n - 1): the n - 1 is in the variance already.": lambda x: x.var() / (len(x) - 1),
        "variance / n^2 is too small: n of them add up to n times the variance.": lambda x: x.var() / len(x) ** 2,
        "the spread is added up instead of its square.": lambda x: x.std() / len(x),
    }.items():
        e.mistake(hint, lambda a, b, part=part: spread_of(a, b, part))
    e.mistake("the root is missing.", lambda a, b: spread_of(a, b, lambda x: x.var() / len(x), lambda x, y: x + y))
    e.mistake("the two errors are added: add the squares, then take the root.", lambda a, b: (
        spread_of(a, b, lambda x: x.std() / len(x) ** 0.5, lambda x, y: x + y)
    ))  # fmt: skip
    e.mistake("the difference goes the other way: a minus b.", lambda a, b: (-gap(a, b)[0], gap(a, b)[1]))
    e.mistake("only the first side's noise is there.", lambda a, b: (
        spread_of(a, b, lambda x: x.var() / len(x), lambda x, y: x**0.5)
    ))  # fmt: skip
