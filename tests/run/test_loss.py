"""The loss in chunks equals torch's cross-entropy, forward and backward, and never holds all logits."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from lib.models.llama import Llama
from lib.run import loss
from lib.run.loss import HeadCrossEntropy, next_token_loss
from tests.run.tiny import CONFIG


def random_head(n, dtype=torch.float64, C=24, V=97):
    """Return hidden vectors, the head's weight, and targets."""
    generator = torch.Generator().manual_seed(n)
    hidden = torch.randn(n, C, dtype=dtype, generator=generator).requires_grad_()
    weight = torch.randn(V, C, dtype=dtype, generator=generator).requires_grad_()
    return hidden, weight, torch.randint(V, (n,), generator=generator)


@pytest.mark.parametrize("n", [1, loss.ROWS - 1, loss.ROWS, 2 * loss.ROWS + 7])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_cross_entropy(n, dtype, tolerance):
    """The loss, and both gradients, also when the loss is multiplied before the way back."""
    hidden, weight, targets = random_head(n, dtype)
    ours = HeadCrossEntropy.apply(hidden, weight, targets)
    theirs = F.cross_entropy(hidden @ weight.T, targets)
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for a, b in zip(*(torch.autograd.grad(3 * z, (hidden, weight)) for z in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_large_logits():
    """Logits of several thousand overflow no exponential, and a share of zero gives a finite loss."""
    hidden, weight, targets = random_head(50)
    ours = HeadCrossEntropy.apply(1000 * hidden, weight, targets)
    torch.testing.assert_close(ours, F.cross_entropy(1000 * hidden @ weight.T, targets))
    assert all(z.isfinite().all() for z in torch.autograd.grad(ours, (hidden, weight)))


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_only_the_products(low):
    """Under autocast it is no further from the truth than torch's own."""
    hidden, weight, targets = random_head(600, torch.float32)
    true = torch.autograd.grad(F.cross_entropy(hidden @ weight.T, targets), (hidden, weight))
    with torch.autocast("cpu", low):
        ours = torch.autograd.grad(HeadCrossEntropy.apply(hidden, weight, targets), (hidden, weight))
        logits = F.linear(hidden, weight).float()
        theirs = torch.autograd.grad(F.cross_entropy(logits, targets), (hidden, weight))
    for a, b, t in zip(ours, theirs, true, strict=True):
        assert a.dtype == torch.float32
        assert (a - t).norm() < 1.5 * (b - t).norm() + 1e-6


class Largest(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation gives."""

    elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_never_holds_all_logits():
    """The largest tensor has ROWS rows, not n."""
    hidden, weight, targets = random_head(8 * loss.ROWS, V=1009)
    with Largest() as largest:
        HeadCrossEntropy.apply(hidden, weight, targets).backward()
    assert largest.elements == loss.ROWS * len(weight)


def test_model_and_hooked_model_agree():
    """A hooked model is asked for its logits (its hook runs), and the loss and the gradients are the same."""
    torch.manual_seed(0)
    model = Llama(CONFIG)
    tokens = torch.randint(CONFIG.vocab_size, (3, 11))
    x, y = tokens[:, :-1], tokens[:, 1:]
    direct = next_token_loss(model, x, y)
    gradients = torch.autograd.grad(direct, list(model.parameters()))
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    hooked = next_token_loss(model, x, y)
    assert calls == [1]
    torch.testing.assert_close(hooked, direct)
    for a, b in zip(torch.autograd.grad(hooked, list(model.parameters())), gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
