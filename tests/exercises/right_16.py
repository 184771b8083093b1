"""Right answers to the exercises of lesson 16, written in other ways: the check must let them through."""

import math
import statistics

import numpy as np

from lessons.exercises.lesson_16_wrong import changed
from lib.run import cost
from tests.exercises.rights import right


def by_statistics(x, y):
    """Return the right fit, by the standard library."""
    x, y = [math.log(value) for value in x], [math.log(value) for value in y]
    p, height = statistics.linear_regression(x, y)
    left = sum((b - height - p * a) ** 2 for a, b in zip(x, y, strict=True))
    return p, math.sqrt(left / (len(x) - 2)) / statistics.pstdev(x) / math.sqrt(len(x))


def by_numpy(x, y):
    """Return the right fit, by numpy."""
    (slope, _), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    return float(slope), float(covariance[0, 0] ** 0.5)


def _by_cases(config, room, batch=1):
    left = room - 2 * cost.n_parameters(config)
    if hasattr(config, "generation"):
        return None if batch * cost.state_bytes(config, 1) <= left else 0
    tokens = max(0, int(left // (batch * 4 * config.n_layers * config.n_kv_heads * config.d_head)))
    return None if config.window and tokens >= config.window else tokens


def _by_search(config, room, batch=1):
    fits = lambda n: sum(cost.memory_bytes(config, n, batch).values()) <= room  # noqa: E731
    if fits(10**12):
        return None
    low, high = 0, 10**12
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _fair_by_batch(other, ours, context, batch):
    flops, moved = (
        [batch * cost.decode_flops(c, context).total for c in (other, ours)],
        [sum(cost.decode_bytes(c, context, batch).values()) for c in (other, ours)],
    )
    return [flops[0] / flops[1], moved[0] / moved[1]]


def _by_parts(config, context, batch=1):
    parts = cost.parameters(config)
    if not config.tied:
        del parts["embedding"]
    past = cost.state_bytes(config, context, batch)
    fresh = cost.state_bytes(config, 1, batch)  # RWKV's state is as large after one token
    return (2 * sum(parts.values()) + past + fresh) / batch


@right("16.2")
def weights_then_memory(config, context, batch=1):
    """The weights are shared by the batch, the memory is each text's own."""
    table = config.vocab_size * config.d_model
    read_once = 2 * (cost.n_parameters(config) - table * (not config.tied))
    return (read_once + batch * (cost.state_bytes(config, context) + cost.state_bytes(config, 1))) / batch


@right("16.3")
def one_function_for_both(other, ours, context, batch):
    """Both needs of each model, then both quotients."""
    needs = [
        (cost.decode_flops(config, context).total, cost.bytes_per_token(config, context, batch))
        for config in (other, ours)
    ]
    return tuple(theirs / mine for theirs, mine in zip(*needs, strict=True))


@right("16.3")
def for_the_whole_batch(other, ours, context, batch):
    """The factor of the batch stands above and below."""
    flops = batch * cost.decode_flops(other, context).total / (batch * cost.decode_flops(ours, context).total)
    moved = [batch * cost.bytes_per_token(config, context, batch) for config in (other, ours)]
    return flops, moved[0] / moved[1]


@right("16.4")
def by_doubling(config, room, batch=1):
    """Twice as long until it does not fit, then bit by bit from the highest."""
    left, tokens = room - cost.weight_bytes(config), 0
    if cost.state_bytes(config, 2**45, batch) <= left:
        return None
    for bit in reversed(range(45)):
        if cost.state_bytes(config, tokens + 2**bit, batch) <= left:
            tokens += 2**bit
    return tokens


right("16.1")(by_numpy)
right("16.1")(by_statistics)
right("16.1")(changed(log_x=math.log10, log_y=math.log10))
right("16.2")(_by_parts)
right("16.2")(lambda c, n, b=1: cost.bytes_per_token(c, n, b) - (0 if c.tied else 2 * c.d_model))
right("16.3")(_fair_by_batch)
right("16.4")(_by_search)
right("16.4")(_by_cases)
