"""Right answers to the exercises of lesson 15, written in other ways: the check must let them through."""

import math
import statistics

import torch

from lessons.exercises.lesson_15 import grouping, large
from lib.models.rwkv_start import learning_groups
from lib.run.train import schedule
from tests.exercises.rights import right


def _mean(x):
    return sum(x) / len(x)


def _error(x):
    return math.sqrt(sum((value - _mean(x)) ** 2 for value in x) / (len(x) - 1) / len(x))


def _gaps(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def _pairs(n):
    return math.sqrt(n * (n - 1))


def _in_tensors(value, z, multiple):
    shares = torch.tensor([schedule(step, z) for step in range(z.steps)], dtype=torch.float64)
    return value * (1 - z.weight_decay * multiple * z.learning_rate * shares).prod().item()


def _by_lerp(d_model, layer, n_layers, low=-5.0, span=8.0):
    share = (torch.arange(d_model) / max(1, d_model - 1)).pow(0.7 + 1.3 * layer / (n_layers - 1 or 1))
    return torch.lerp(torch.tensor(low), torch.tensor(low + span), share)


right("15.1")(lambda C, i, L, low=-5.0, span=8.0: torch.tensor(
    [low + span * (n / max(C - 1, 1)) ** (0.7 + 1.3 * i / max(L - 1, 1)) for n in range(C)]
))  # fmt: skip
right("15.1")(
    lambda C, i, L, low=-5.0, span=8.0: low + span * torch.linspace(0, 1, C) ** (0.7 + 1.3 * (i / max(1, L - 1)))
)
right("15.1")(_by_lerp)
right("15.2")(lambda v, z, multiple=1.0: v * math.prod(
    1 - z.weight_decay * multiple * z.learning_rate * schedule(step, z) for step in range(z.steps)
))  # fmt: skip
right("15.2")(lambda v, z, multiple=1.0: _in_tensors(v, z, multiple))
right("15.2")(lambda v, z, multiple=1.0: v * math.exp(sum(
    math.log1p(-z.weight_decay * multiple * z.learning_rate * schedule(step, z)) for step in range(z.steps)
)))  # fmt: skip
right("15.3")(grouping(large))
right("15.3")(lambda model: [group for group in learning_groups(model) if group["params"]][::-1])
right("15.3")(grouping(lambda name, w: w.ndim == 2 and name.split(".")[-1] == "weight"))
right("15.4")(lambda a, b: (statistics.fmean(d := _gaps(a, b)), statistics.stdev(d) / len(d) ** 0.5))
right("15.4")(lambda a, b: [_mean(a) - _mean(b), _error(_gaps(a, b))])
right("15.4")(
    lambda a, b: ((d := torch.tensor(a) - torch.tensor(b)).mean(), ((d - d.mean()) ** 2).sum().sqrt() / _pairs(len(d)))
)
