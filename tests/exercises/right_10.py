"""Right answers to the exercises of lesson 10, written in other ways: the check must let them through."""

import math
from types import SimpleNamespace

import numpy as np

from lessons.exercises.lesson_10_wrong import block, by_seed, error_of_mean, measured, sizes_by, total
from lib.models.openelm import block_parameters, make_divisible
from tests.exercises.rights import right


def by_sums(c):
    """Add up the lists first."""
    heads = 2 * sum(c.n_heads) + 2 * sum(c.n_kv_heads)
    inside = c.d_head * heads + 3 * sum(c.d_ff) + c.vocab_size + 2 * len(c.d_ff) + 1
    return c.d_model * inside + 2 * c.d_head * len(c.d_ff)


def linspace(first, last, n):
    """Return equal steps by numpy, rounded."""
    return [round(float(share), 2) for share in np.linspace(first, last, n)]


def by_remainder(value, divisor):
    """Round with divmod."""
    times, rest = divmod(value, divisor)
    times = int(times) + (2 * rest >= divisor)
    times += times > 0 and times * divisor < 0.9 * value
    return max(1, times) * divisor


def by_table(runs):
    """Sort both by seed into arrays."""
    table = [np.array(sorted((s, loss) for name, s, loss in runs if name == asked)) for asked in ("scaled", "uniform")]
    gap = table[0][:, 1] - table[1][:, 1]
    return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap)))


def by_difference(config, H, G):
    """Add what the heads save to the sum of the widths."""
    saved = sum(h + g - H - G for h, g in zip(config.n_heads, config.n_kv_heads, strict=True)) * 2 * config.d_head / 3
    return round((sum(config.d_ff) + saved) / config.n_layers)


def by_search(config, H, G):
    """Try all widths."""
    aim = sum(block_parameters(config, i) for i in range(config.n_layers))
    like = dict(d_model=config.d_model, d_head=config.d_head, n_heads=[H], n_kv_heads=[G])
    size = lambda F: config.n_layers * block_parameters(SimpleNamespace(d_ff=[F], **like), 0)  # noqa: E731
    return min(range(1, max(config.d_ff) + 1), key=lambda F: abs(size(F) - aim))


right("10.1")(by_remainder)
right("10.1")(
    lambda v, m: next(k for k in (max(m, math.floor(v / m + 0.5) * m) + np.array([0, m])) if k >= 0.9 * v).item()
)
right("10.1")(
    lambda v, m: min((k for k in range(m, int(2 * v) + 2 * m, m) if k >= 0.9 * v), key=lambda k: (abs(k - v), -k))
)
right("10.2")(sizes_by(linspace))
right("10.2")(sizes_by(lambda a, b, n: [round(a + i * ((b - a) / (n - 1)), 2) for i in range(n)]))
right("10.2")(sizes_by(heads=lambda d, a, N: 4 * (make_divisible(a * d, N * 4) // (N * 4)), kv=lambda h: int(h / 4)))
right("10.3")(total(block))
right("10.3")(total(lambda C, N, H, G, F: C * N * (H + 2 * G) + N * H * C + C * 2 * F + F * C + 2 * C + 2 * N))
right("10.3")(by_sums)
right("10.4")(by_search)
right("10.4")(by_difference)
right("10.4")(
    lambda c, H, G: math.floor(
        np.mean(c.d_ff) + 2 * c.d_head * (np.mean(np.add(c.n_heads, c.n_kv_heads)) - H - G) / 3 + 0.5
    )
)
right("10.5")(lambda runs: measured(by_seed, error_of_mean)(sorted(runs)))
right("10.5")(by_table)
right("10.5")(
    lambda runs: measured(
        by_seed, lambda d: (sum((x - sum(d) / len(d)) ** 2 for x in d) / (len(d) - 1) / len(d)) ** 0.5
    )(runs)
)
