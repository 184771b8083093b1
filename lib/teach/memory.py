"""Measure how much memory a computation needs at once."""

import weakref

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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
