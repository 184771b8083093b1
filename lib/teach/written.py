"""Count the numbers that a computation writes: a measure of its work that is the same on every machine."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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
