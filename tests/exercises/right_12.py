"""Right answers to the exercises of lesson 12, written in other ways: the check must let them through."""

import torch
import torch.nn.functional as F

from lessons.exercises.lesson_12 import joined
from lessons.exercises.lesson_12_wrong import by, channel_mix, read_by, time_mix, write_by
from lib.layers.rwkv4 import empty_memory, wkv_chunked
from lib.layers.shift import shift
from tests.exercises.rights import right


def by_logarithms(first, second, n, log_w):
    """The second memory's share of the sum is a sigmoid."""
    a, b = first[2] + n * log_w + first[1].log(), second[2] + second[1].log()
    mean = first[0] / first[1] + (second[0] / second[1] - first[0] / first[1]) * (b - a).sigmoid()
    return mean, torch.ones_like(mean), torch.logaddexp(a, b)


def with_sigmoid(k, v, log_w, u, state=None):
    """Keep the mean and the logarithm of the sum: then both steps are a weighted mean of two things."""
    mean, log_sum = (torch.zeros_like(k[:, 0]), empty_memory(k)[2]) if state is None else state
    ys = []
    for k_t, v_t in zip(k.unbind(1), v.unbind(1), strict=True):
        ys.append(mean + (v_t - mean) * (u + k_t - log_sum).sigmoid())
        faded = log_sum + log_w
        mean, log_sum = mean + (v_t - mean) * (k_t - faded).sigmoid(), torch.logaddexp(faded, k_t)
    return torch.stack(ys, 1), (mean, log_sum)


def by_rows(x, last=None):
    """Token by token."""
    rows = [torch.zeros_like(x[:, 0]) if last is None else last, *x.unbind(1)]
    return torch.stack(rows[:-1], dim=1), rows[-1]


def by_roll(x, last=None):
    """Roll, then replace the first."""
    before = x.roll(1, dims=1)
    before[:, 0] = 0 if last is None else last
    return before, x[:, -1].clone()


right("12.1")(lambda x, last=None: (F.pad(x, (0, 0, 1, -1)), x[:, -1]) if last is None else shift(x, last))
right("12.1")(by_roll)
right("12.1")(by_rows)
right("12.2")(lambda k, v, log_w, u, state=None: wkv_chunked(k, v, log_w, u, state, chunk=4))
right("12.2")(by(read_by(lambda top, own: torch.where(top > own, top, own))))
right("12.2")(with_sigmoid)
right("12.2")(by(writing=write_by(largest=lambda top, new: torch.stack([top, new]).amax(0))))
right("12.3")(time_mix(gate=lambda r: 1 / (1 + (-r).exp())))
right("12.3")(time_mix(decay=lambda d: d.exp().neg()))
right("12.3")(time_mix(out=lambda layer, r, y: (y * r) @ layer.output.weight.T))
right("12.4")(channel_mix(inner=lambda z: F.relu(z) ** 2))
right("12.4")(channel_mix(inner=lambda z: z * z.relu()))
right("12.4")(channel_mix(inner=lambda z: z.clamp(min=0).pow(2), gate=lambda r: 1 / (1 + (-r).exp())))
right("12.5")(joined(top=lambda a, b: torch.stack([a, b]).amax(0)))
right("12.5")(lambda one, two, n, w: by_logarithms(one, two, n, w))
right("12.5")(joined(fade=lambda top, n, w: n * w + top))
