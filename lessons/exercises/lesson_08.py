"""The exercises of lesson 08: the schedule, clipping, what decays, bits per byte, and gradients in parts."""

import math
from dataclasses import replace

import torch
from torch import nn

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.checker.verdict import kind
from lessons.exercises.lesson_08_wrong import (
    SMALL,
    WRONG_BITS,
    WRONG_CLIPS,
    WRONG_PARTS,
    added,
    bits_per_byte,
    call_accumulate,
    clip,
)
from lib.models.llama import Llama
from lib.run.train import Recipe, schedule

checks = Checks("08")
check = checks.check


def over_a_run(answer, recipe):
    """Return an answer's shares for all steps of a run."""
    return [float(answer(step, recipe)) for step in range(recipe.steps)]


def shares(answer, recipe):
    """Return them as a tensor."""
    return torch.tensor(over_a_run(answer, recipe))


def wrong_schedule(first=1, begin=0, end=None, r=None, angle=math.pi, climb=None, share=None, last=0, from_start=False):
    """Make a schedule with one thing changed.

    begin: steps that p starts late; end, r: functions of the recipe; share(r, c): of final_ratio and the cosine; last:
    by how many steps the climb is too long; from_start: p is counted from step 0.
    """

    def wrong(step, recipe):
        if step < recipe.warmup + last:
            return climb(step, recipe) if climb else (step + first) / recipe.warmup
        start = 0 if from_start else recipe.warmup + begin
        progress = (step - start) / max(1, end(recipe) if end else recipe.steps - recipe.warmup)
        low = r(recipe) if r else recipe.final_ratio
        cosine = math.cos(angle * progress)
        return share(low, cosine) if share else low + (1 - low) * (1 + cosine) / 2

    return wrong


def _from_the_start(step, recipe):
    return wrong_schedule(begin=-recipe.warmup)(step, recipe)


def _no_brackets(step, recipe):
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = step - recipe.warmup / max(1, recipe.steps - recipe.warmup)
    return recipe.final_ratio + (1 - recipe.final_ratio) * (1 + math.cos(math.pi * progress)) / 2


def _straight(step, recipe):
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 1 - (1 - recipe.final_ratio) * progress


def _sine(step, recipe):
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.final_ratio + (1 - recipe.final_ratio) * (1 + math.sin(math.pi * progress)) / 2


def _product(step, recipe):
    return min(1.0, (step + 1) / max(1, recipe.warmup)) * wrong_schedule(last=-recipe.warmup)(step, recipe)


WRONG_SCHEDULES = {
    "p is the share of the whole run: it begins at step W, and counts the steps after the climb.": wrong_schedule(
        end=lambda z: z.steps, from_start=True
    ),
    "the cosine alone falls from 1 to -1: (1 + cos) / 2 falls from 1 to 0.": wrong_schedule(
        share=lambda r, c: r + (1 - r) * c
    ),
    "it rises after the climb: 1 + cos, not 1 - cos.": wrong_schedule(share=lambda r, c: r + (1 - r) * (1 - c) / 2),
    "a quarter of a cosine falls ever faster: half a cosine, (1 + cos(pi p)) / 2, ends gently.": wrong_schedule(
        angle=math.pi / 2, share=lambda r, c: r + (1 - r) * c
    ),
    "the climb is multiplied by the cosine: before step W the climb alone counts.": _product,
    "the first step has rate 0: (step + 1) / warmup.": wrong_schedule(first=0),
    "`//` cuts the share down to a whole number: `/`.": wrong_schedule(climb=lambda step, z: (step + 1) // z.warmup),
    "the climb is one step too long, and goes above 1: `step < warmup`, not `<=`.": wrong_schedule(last=1),
    "the cosine begins at step 0: count p from the end of the warm-up.": _from_the_start,
    "p is 0 at step W: step - W, without + 1.": wrong_schedule(begin=-1),
    "p is divided by all steps: only those after the warm-up count.": wrong_schedule(end=lambda z: z.steps),
    "p is divided by one step too few: steps - W.": wrong_schedule(end=lambda z: z.steps - 1 - z.warmup),
    "brackets are missing: the whole of step - W is divided.": _no_brackets,
    "the end is at 0, not at final_ratio.": wrong_schedule(r=lambda z: 0.0),
    "final_ratio is always 0.1 here: it is recipe.final_ratio.": wrong_schedule(r=lambda z: 0.1),
    "(1 - r) is missing before the cosine: it begins at 1 + r.": wrong_schedule(share=lambda r, c: r + (1 + c) / 2),
    "the cosine goes to 0 and is cut off at r: it should end at r.": wrong_schedule(
        share=lambda r, c: max(r, (1 + c) / 2)
    ),
    "this is a whole cosine, down and up again: pi p, not 2 pi p.": wrong_schedule(angle=2 * math.pi),
    "a quarter of a circle is not half a cosine: pi p, not pi p / 2.": wrong_schedule(angle=math.pi / 2),
    "pi is missing in the cosine: cos(pi p).": wrong_schedule(angle=1.0),
    "it is the cosine, not the sine.": _sine,
    "1 + cos is divided by 2, so that it begins at 1.": wrong_schedule(share=lambda r, c: r + (1 - r) * (1 + c)),
    "the warm-up is missing.": lambda step, z: schedule(step, replace(z, warmup=0)),
    "this is the rate itself: return the share of it.": lambda step, z: z.learning_rate * schedule(step, z),
    "the climb follows the cosine, too: it is a straight line.": wrong_schedule(
        climb=lambda step, z: (1 - math.cos(math.pi * (step + 1) / z.warmup)) / 2
    ),
    "the descent is a straight line: it is half a cosine.": _straight,
    "nothing comes back: is a `return` missing?": lambda step, z: None,
}


@checks.exercise("08.1", schedule, points=3, call=shares)
def rates(e):
    """Whole runs of several recipes."""
    e.case("LLaMA's shape", Recipe(steps=50, warmup=10))
    e.case("down to zero", Recipe(steps=30, warmup=7, final_ratio=0.0))
    e.case("no warm-up", Recipe(steps=20, warmup=0), hint="without warm-up the first step has the full rate.")
    e.case("constant after the climb", Recipe(steps=20, warmup=5, final_ratio=1.0))
    e.case("nothing but warm-up", Recipe(steps=6, warmup=6))
    e.case("stopped within the warm-up", Recipe(steps=6, warmup=9))
    e.case("some run", Recipe(steps=e.size(20, 60), warmup=e.size(2, 15), final_ratio=e.size(2, 9) / 20))
    for hint, wrong in WRONG_SCHEDULES.items():
        e.mistake(hint, wrong)


def call_clip(answer, first, second, max_norm):
    """Clip two tensors, and return all as tensors."""
    result = answer([first, second], max_norm)
    if not isinstance(result, tuple | list) or len(result) != 2 or isinstance(result[0], torch.Tensor):
        raise InWords("it must return two things: first the list of the clipped gradients, then the norm")
    return list(result[0]), torch.as_tensor(result[1], dtype=first.dtype)


@checks.exercise("08.2", clip, points=3, call=call_clip, gradients=False)
def clipping(e):
    """Two tensors of different shapes, longer and shorter than the limit."""
    e.case("too long", 3 * e.randn(4, 5), e.randn(7), 1.0)
    e.case("another limit", e.randn(3, 2), 9 * e.randn(2, 2, 5), 0.25)
    e.case("short enough", 0.01 * e.randn(4, 5), 0.02 * e.randn(7), 1.0, hint="short gradients stay as they are.")
    e.case("together too long", torch.tensor([0.8]), torch.tensor([0.9]), 1.0, hint="one norm for all together.")
    e.case("all zero", torch.zeros(2, 3), torch.zeros(4), 1.0, hint="the norm is 0: don't divide by it.")
    for hint, wrong in WRONG_CLIPS:
        e.mistake(hint, wrong)


class Other(nn.Module):
    """A model that no name helps with: biases, a convolution, norms called otherwise."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.mix = nn.Conv1d(4, 6, 3)
        self.scale = nn.LayerNorm(6)
        self.weight_norm_head = nn.Linear(6, 5)
        self.register_buffer("seen", torch.zeros(3, 4))  # two axes, but not learned


def decaying(model):
    """Return the names of the parameters with two axes or more."""
    return [name for name, weight in model.named_parameters() if weight.ndim >= 2]


def names_of(answer, make):
    """Return the sorted names that an answer gives for a model, as one text."""
    names = answer(make())
    if not isinstance(names, list | tuple | set):
        raise InWords(f"a list of names is expected; it is {kind(names)}")
    if others := [name for name in names if not isinstance(name, str)]:
        raise InWords(f"the list must hold names alone; it holds {kind(others[0])}")
    return " ".join(sorted(names))


def choosing(keep):
    """Make a wrong choice: keep(name, weight)."""
    return lambda model: [name for name, weight in model.named_parameters() if keep(name, weight)]


@checks.exercise("08.3", decaying, points=2, call=names_of, gradients=False)
def decays(e):
    """A LLaMA, one with tied tables, and a model with other names."""
    e.case("a LLaMA", lambda: Llama(SMALL))
    e.case("a model with biases and a convolution", Other, hint="ask for the number of axes, not for names.")
    for hint, keep in {
        "the norms decay too: they have one axis.": lambda name, w: True,
        "these are the ones that do not decay.": lambda name, w: w.ndim < 2,
        "a norm may have another name: ask for `.ndim`.": lambda name, w: "norm" not in name,
        "biases have one axis, they don't decay.": lambda name, w: "bias" in name or w.ndim >= 2,
        "a convolution has three axes: two or more decay.": lambda name, w: w.ndim == 2,
        "two axes are enough: `>= 2`, not `> 2`.": lambda name, w: w.ndim > 2,
        "the embedding decays, too: it is a matrix.": lambda name, w: w.ndim >= 2 and "embed" not in name,
        "the embedding decays: it is a matrix.": lambda name, w: w.ndim >= 2 and name[:5] not in ("embed", "table"),
        "the head decays, too: it is a matrix.": lambda name, w: w.ndim >= 2 and "head" not in name,
        "norms have a weight, too: ask for `.ndim`.": lambda name, w: name.endswith("weight"),
    }.items():
        e.mistake(hint, choosing(keep))
    e.mistake(
        "a buffer is not learned, so it does not decay: `named_parameters()`, not `state_dict()`.",
        lambda model: [name for name, weight in model.state_dict().items() if weight.ndim >= 2],
    )
    e.mistake(
        "`parameters()` gives tensors alone: `named_parameters()` gives pairs of a name and a tensor.",
        lambda model: [name for name, weight in model.parameters() if weight.ndim >= 2],
    )


@checks.exercise("08.4", bits_per_byte, points=2, gradients=False)
def bits(e):
    """English, other alphabets, an empty text among others."""
    e.case("plain English", 30.0, ["The snail slept.", "So did Mina, for a very long time."])
    e.case("letters of two bytes and more", 12.5, ["Größe", "한국어", "naïve"], hint="bytes, not characters.")
    e.case("an empty text among them", 3.25, ["", "a b"])
    e.case("some nats", e.size(10, 900) / 7, ["One day", "Größe"[: e.size(3, 5)]])
    for hint, wrong in WRONG_BITS.items():
        e.mistake(hint, wrong)


def accumulate(model, x, y, rows):
    """Leave the gradients of the batch's mean loss in .grad, `rows` rows at a time; return the loss."""
    return added(model, x, y, rows)


@checks.exercise("08.5", accumulate, points=5, kind="repair", call=call_accumulate, gradients=False)
def in_parts(e):
    """Batches with all tokens counted, with some, and a last part that is smaller."""
    x, y = e.randint(31, 4, 6), e.randint(31, 4, 6)
    some = y.clone()
    some[0, :5] = -100
    some[2, 1:3] = -100
    y[1, 0] = some[1, 0] = 0  # token 0 is a token like any other
    e.case("all tokens count", x, y, 2)
    e.case("some tokens do not count", x, some, 1, hint="divide by the number of counted tokens of the whole batch.")
    e.case("the last part is smaller", x, y, 3, hint="a smaller part must count less.")
    e.case("a part without a counted token", x, torch.cat([torch.full((1, 6), -100), y[1:]]), 1)
    for hint, wrong in WRONG_PARTS.items():
        e.mistake(hint, wrong)
