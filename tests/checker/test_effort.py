"""An answer that goes token by token is told so, whatever it returns; one that does not is left alone."""

import pytest
import torch

from lessons.checker.effort import Effort, without_a_loop
from lessons.checker.limits import InWords


def by_tokens(x):
    total, sums = torch.zeros(()), []
    for one in x.unbind():
        total = total + 2 * one
        sums.append(total)
    return torch.stack(sums)


def test_calls_are_counted_and_the_largest_tensor_is_kept():
    with Effort() as effort:
        (torch.ones(3, 5).T @ torch.ones(3, 5)).sum()
    assert effort.calls >= 4 and effort.largest == 25


def test_a_loop_over_tokens_is_refused_and_the_same_without_one_is_returned():
    x = torch.arange(64.0)
    assert torch.equal(without_a_loop(64)(lambda x: (2 * x).cumsum(0), x), by_tokens(x))
    with pytest.raises(InWords, match="token by token"):
        without_a_loop(64)(by_tokens, x)
