"""See how an answer gets its result: in how many calls of torch, and by how large a tensor."""

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lessons.checker.limits import InWords


class Effort(TorchDispatchMode):
    """While active, count the calls of torch and keep the size of the largest tensor that was written."""

    def __init__(self):
        super().__init__()
        self.calls = self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Call a tensor function, and look at what it wrote."""
        result = function(*args, **(kwargs or {}))
        self.calls += 1
        self.largest = max([self.largest, *(t.numel() for t in tree_leaves(result) if isinstance(t, Tensor))])
        return result


def without_a_loop(tokens):
    """Return a way to call an answer on so many tokens, which refuses one that takes two calls of torch for each.

    tokens: some hundred, so that the twenty or thirty calls of an answer without a loop stay far below.
    """

    def call(answer, *inputs):
        with Effort() as effort:
            result = answer(*inputs)
        if effort.calls > 2 * tokens:
            raise InWords("right, but token by token: write it without a loop over time")
        return result

    return call
