"""Measure what a computation costs: seconds, the memory it holds at once, the numbers it writes, and how these grow."""

import math
import time
import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

STEPS = 10  # of a clock, at least, in what it measures: then it is off by a tenth at most


def best_seconds(calls, rounds=3, clock=time.perf_counter):
    """Return {name: seconds}, the shortest of some rounds, for calls {name: function}.

    Whatever else a machine does only adds time, so the shortest is nearest to the truth. The calls take turns, so that
    a slow minute hits all of them. Where the processor's clock moves in large steps, a call that it can't see is made
    often enough in a row.
    """
    least = STEPS * step_of(clock) if clock is time.process_time else 0.0
    best, often = dict.fromkeys(calls, math.inf), dict.fromkeys(calls, 1)
    for _ in range(rounds):
        for name, call in calls.items():
            while (seconds := _seconds(call, often[name], clock)) < least:
                often[name] *= 2
            best[name] = min(best[name], seconds / often[name])
    return best


def step_of(clock):
    """Return by how much a clock moves when it does: the processor's on Windows by 1/64 s, else by a microsecond."""
    began = clock()
    while (now := clock()) == began:
        pass
    return now - began


def _seconds(call, often, clock):
    began = clock()
    for _ in range(often):
        call()
    return clock() - began


def fit_power(x, y):
    """Return the exponent p of the power law y = c x^p that fits best, and its standard error.

    Least squares on logarithms, log y = log c + p log x: p = sum dx dy / sum dx^2, dx and dy measured from their means;
    error = sqrt(sum r^2 / (n - 2) / sum dx^2), r what is left over. Two points give an error of 0: they always fit.
    Raises ValueError for fewer, or for numbers that have no logarithm.
    """
    if len(x) != len(y) or len(x) < 2 or min(*x, *y) <= 0:
        raise ValueError(f"{len(x)} and {len(y)} points: give two or more of each, all above zero")
    log_x, log_y = [math.log(value) for value in x], [math.log(value) for value in y]
    n = len(x)
    dx, dy = ([value - sum(logs) / n for value in logs] for logs in (log_x, log_y))
    spread = sum(a * a for a in dx)
    p = sum(a * b for a, b in zip(dx, dy, strict=True)) / spread
    left = sum((b - p * a) ** 2 for a, b in zip(dx, dy, strict=True))
    return p, math.sqrt(left / max(1, n - 2) / spread)


class Peak(TorchDispatchMode):
    """While active, add up the bytes of the tensors that are made and still alive; `.most` is the largest sum.

    A view shares its tensor's memory and counts nothing. What a kernel uses inside and frees again is not seen.
    """

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Call a tensor function, and count what it made."""
        for tensor in tree_leaves((args, kwargs or {})):
            if isinstance(tensor, torch.Tensor):
                self._meet(tensor.untyped_storage(), 0)  # was there before, or is counted already
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._meet(tensor.untyped_storage(), tensor.untyped_storage().nbytes())
        return result

    def _meet(self, storage, size):
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._free, storage._cdata, size)

    def _free(self, address, size):
        self.known.discard(address)
        self.now -= size


def peak_bytes(function):
    """Call function() and return the most bytes that the tensors which it made held at one time.

    Tensors that were there before do not count, so the inputs are free. The result counts.
    """
    with Peak() as peak:
        result = function()
    del result
    return peak.most


class Written(TorchDispatchMode):
    """While active, add up the sizes of what all operations return. Views write nothing and count nothing."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Call a tensor function, and count the numbers in its results."""
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.count += sum(t.numel() for t in tree_leaves(result) if isinstance(t, torch.Tensor))
        return result


def numbers_written(function):
    """Call function() and return how many numbers all of its operations wrote, one after the other."""
    with Written() as written:
        function()
    return written.count
