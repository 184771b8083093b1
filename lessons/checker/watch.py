"""How checks watch an answer: what it returns, what it writes into, and what it builds."""

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lessons.checker.limits import InWords
from lib.models.skeleton import State


def pair_of(result):
    """Return what a block gave, x and the pair of states, or say what is missing."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise InWords("forward must return two things, x and the pair of the new states: return x, (time, channel)")
    if not isinstance(result[1], (tuple, list)) or len(result[1]) != 2:
        raise InWords(
            "the second thing that forward returns must be a pair, the time mixer's state and the channel mixer's"
        )
    return result


class Remembering(nn.Module):
    """A channel mixer that keeps a state, the last token it has read, and adds it at the next call."""

    def __init__(self, mixer):
        super().__init__()
        self.mixer = mixer

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the new state (B, 1, C)."""
        y, _ = self.mixer(x)
        return y if state is None else y + state, x[:, -1:]


class NothingBuilt(TorchDispatchMode):
    """While active, refuse tensors of over a million numbers, unless they are on the meta device, which holds none."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Call a tensor function, and look at what it made."""
        result = function(*args, **(kwargs or {}))
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor) and not t.is_meta and t.numel() > 10**6:
                raise InWords(
                    f"it builds a tensor of {t.numel():,} numbers: count with the numbers of the config alone"
                )
        return result


def said(result):
    """Return what a model gave, the logits and the new state, or say what is missing."""
    if not isinstance(result, tuple) or len(result) != 2:
        raise InWords("forward must return two things: return logits, State(position, layers)")
    if not isinstance(result[1], State):
        raise InWords("the second thing that forward returns must be the new state: State(position, layers)")
    return result


def going_on(forward, tokens, state):
    """Return forward(tokens, state), and say so where it writes into the list of the state that came in."""
    before = list(state.layers) if state else []
    result = said(forward(tokens, state))
    if state and any(now is not then for now, then in zip(state.layers, before, strict=False)):
        raise InWords(
            "it writes into the state that came in, and whoever kept it can't go on from there: collect a new list"
        )
    return result


def run_model(model, tokens, split=None):
    """Return the logits of tokens (B, T), in one call, or in two with the state between them."""
    if split is None:
        return said(model(tokens))[0]
    first, state = said(model(tokens[:, :split]))
    second, state = going_on(model, tokens[:, split:], state)
    return torch.cat([first, second], 1), state.position


def counted(answer, config):
    """Call a count that must not build anything, and refuse a float."""
    with NothingBuilt():
        number = answer(config)
    if isinstance(number, float):
        raise InWords(f"it is a float, {number}: parameters are whole, so use `//`, or no division at all")
    return number
