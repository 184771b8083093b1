"""Right answers to the exercises of lesson 22, written in other ways: the check must let them through."""

import math
import statistics

import numpy as np
import torch

from lib.run.paired import t_interval, t_value
from tests.exercises.rights import right


@right("22.1")
def _by_arrays(nats, truths, errors):
    d = np.array(nats) - np.array(truths)
    return d.mean() + errors * d.std(ddof=1) / len(d) ** 0.5 < 0


@right("22.1")
def _by_sums(nats, truths, errors):
    n = len(nats)
    total = sum(nats) - sum(truths)
    squares = sum((a - b - total / n) ** 2 for a, b in zip(nats, truths, strict=True))
    return total / n < -errors * math.sqrt(squares / (n - 1) / n)


@right("22.1")
def _by_tensors(nats, truths, errors):
    d = torch.tensor(truths, dtype=torch.float64) - torch.tensor(nats, dtype=torch.float64)
    return (d.mean() / (d.std() / len(d) ** 0.5)).item() > errors


@right("22.2")
def _step_by_step(L, C, F, V, H, T, rows):
    forward = 0
    for t in range(T):
        forward += L * (2 * (4 * C * C + 3 * C * F) + (t + 1) * (4 * C + 6 * H)) + 2 * V * C
    return 3 * rows * forward


@right("22.2")
def _matrix_by_matrix(L, C, F, V, H, T, rows):
    block = [(C, C)] * 4 + [(C, F), (C, F), (F, C)]
    products = sum(2 * T * a * b for a, b in block * L + [(C, V)])
    return 3 * rows * (products + L * (T * T + T) / 2 * (4 * C + 6 * H))


@right("22.2")
def _by_the_library(L, C, F, V, H, T, rows):
    from lib.models.llama import LlamaConfig
    from lib.run.cost import training_flops

    return training_flops(LlamaConfig(V, L, C, H, H, C // H, F, 512), T, rows).total


@right("22.3")
def _one_after_the_other(record):
    found = set()
    if record["tokens"] != record["steps"] * record["batch_size"] * record["length"]:
        found.add("tokens")
    if record["flops"] != record["row_flops"] * (record["tokens"] // record["length"]):
        found.add("flops")
    if record["curve"][-1][0] != record["steps"]:
        found.add("curve")
    if not 0.75 <= record["curve"][-1][1] / record["validation_nats_per_token"] <= 1.25:
        found.add("loss")
    return found


@right("22.3")
def _as_a_list(record):
    end, loss = record["curve"][len(record["curve"]) - 1]
    rows = record["tokens"] // record["length"]
    wrong = {
        "tokens": record["tokens"] / record["batch_size"] / record["length"] != record["steps"],
        "flops": rows * record["row_flops"] != record["flops"],
        "curve": end != record["steps"],
        "loss": abs(loss - record["validation_nats_per_token"]) > record["validation_nats_per_token"] / 4,
    }
    return [name for name in wrong if wrong[name]]


@right("22.3")
def _by_products(record):
    step = record["batch_size"] * record["length"]
    ratio = record["curve"][-1][1] / record["validation_nats_per_token"]
    names = np.array(["tokens", "flops", "curve", "loss"])
    bad = [
        record["tokens"] - record["steps"] * step != 0,
        record["flops"] - record["tokens"] // record["length"] * record["row_flops"] != 0,
        max(n for n, _ in record["curve"]) != record["steps"],
        ratio < 0.75 or ratio > 1.25,
    ]
    return set(names[bad].tolist())


@right("22.4")
def _with_numpy(base, idea, t):
    d = np.subtract(idea, base)
    return d.mean(), t * d.std(ddof=1) / np.sqrt(d.size)


@right("22.4")
def _with_torch(base, idea, t):
    d = torch.tensor(idea, dtype=torch.float64) - torch.tensor(base, dtype=torch.float64)
    return [d.mean(), t * d.std() * len(d) ** -0.5]


@right("22.4")
def _with_the_library(base, idea, t):
    d = [b - a for a, b in zip(base, idea, strict=True)]
    return statistics.fmean(d), t_interval(d).half / t_value(len(d) - 1) * t


@right("22.5")
def _while(effect, spread, most=1000):
    n = 2
    while n <= most and t_value(n - 1) * spread >= effect * math.sqrt(n):
        n += 1
    return n if n <= most else None


@right("22.5")
def _next(effect, spread, most=1000):
    return next((n for n in range(2, most + 1) if t_value(n - 1) / n**0.5 < effect / spread), None)


@right("22.5")
def _by_halving(effect, spread, most=1000):
    low, high = 1, most
    if t_value(most - 1) * spread / most**0.5 >= effect:
        return None
    while high - low > 1:  # the half-width falls with every seed
        n = (low + high) // 2
        low, high = (low, n) if t_value(n - 1) * spread / n**0.5 < effect else (n, high)
    return high


right("22.6")(1.8675)
right("22.6")(1.85)
right("22.6")(1.87)
