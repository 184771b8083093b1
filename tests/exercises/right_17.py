"""Right answers to the exercises of lesson 17, written in other ways: the check must let them through."""

import math

import numpy as np
import torch

from lib.text.tales_split import KINDS
from tests.exercises.rights import right


@right("17.1")
def _by_mask(nats, kinds):
    nats = torch.as_tensor(nats, dtype=torch.float64)
    return {kind: (nats * torch.tensor([k == kind for k in kinds])).sum() / len(nats) for kind in KINDS}


@right("17.1")
def _in_one_pass(nats, kinds):
    parts = dict.fromkeys(("determined", "chosen", "recalled"), 0.0)
    for n, kind in zip(nats, kinds, strict=True):
        parts[kind] += float(n) / len(kinds)
    return parts


@right("17.1")
def _by_numpy(nats, kinds):
    return {k: np.sum(np.asarray(nats)[np.asarray(kinds) == k]) / len(kinds) for k in KINDS}


@right("17.2")
def _by_tensors(part_a, all_a, part_b, all_b):
    p, g = (torch.tensor(b).double() - torch.tensor(a).double() for a, b in ((part_a, part_b), (all_a, all_b)))
    share = p.sum() / g.sum()
    return share, (p - share * g).std() / len(p) ** 0.5 / g.mean().abs()  # the residuals' mean is zero


@right("17.2")
def _expanded(part_a, all_a, part_b, all_b):
    p, g = np.subtract(part_b, part_a), np.subtract(all_b, all_a)
    r, n = p.mean() / g.mean(), len(p)
    squares = (p * p).sum() - 2 * r * (p * g).sum() + r * r * (g * g).sum()
    return [r, math.sqrt(max(squares, 0.0) / (n * (n - 1))) / abs(g.mean())]


@right("17.2")
def _with_sums(part_a, all_a, part_b, all_b):
    rows = list(zip(part_a, all_a, part_b, all_b, strict=True))
    n, gap = len(rows), sum(r[3] - r[1] for r in rows)
    share = sum(r[2] - r[0] for r in rows) / gap
    left = sum((r[2] - r[0] - share * (r[3] - r[1])) ** 2 for r in rows)
    return share, (left * n / (n - 1)) ** 0.5 / abs(gap)


@right("17.3")
def _by_slices(keys, values, order):
    B, P = keys.shape
    x = keys.new_empty(B, 3 * P)
    x[:, 0 : 2 * P : 2], x[:, 1 : 2 * P : 2] = keys, values
    x[:, 2 * P :] = torch.take_along_dim(keys, order, 1)
    return x, torch.take_along_dim(values, order, 1)


@right("17.3")
def _row_by_row(keys, values, order):
    rows, due = [], []
    for k, v, o in zip(keys.tolist(), values.tolist(), order.tolist(), strict=True):
        rows.append([token for pair in zip(k, v, strict=True) for token in pair] + [k[i] for i in o])
        due.append([v[i] for i in o])
    return torch.tensor(rows), torch.tensor(due)


@right("17.3")
def _by_index(keys, values, order):
    rows = torch.arange(len(keys))[:, None]
    pairs = torch.cat([keys[:, :, None], values[:, :, None]], 2).reshape(len(keys), -1)
    return torch.cat([pairs, keys[rows, order]], 1), values[rows, order]


@right("17.5")
def _layer_by_layer(mixers, C, N, G, T):
    total = 0
    for name in mixers:
        total += C
        total += T * G * N * 2 if name == "attention" else C + (C // N) * N * N
    return total


right("17.5")(lambda mixers, C, N, G, T: (
    len(mixers) * C + list(mixers).count("attention") * 2 * G * N * T
    + sum(name != "attention" for name in mixers) * C * (N + 1)
))  # fmt: skip


@right("17.5")
def _from_a_table(mixers, C, N, G, T):
    each = {"attention": C + T * (N * G) * 2}
    return sum(each.get(name, C * (2 + N)) for name in mixers)


right("17.4")(lambda n, v: int(8 * n // math.log2(v)))
right("17.4")(lambda n, v: int(n * 8 * math.log(2) / math.log(v) + 1e-12))


right("17.4")(lambda n, v: int(math.log(2 ** (8 * n), v) + 1e-9))
