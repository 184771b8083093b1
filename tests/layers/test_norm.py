"""RMSNorm against torch's own, in float64, float32 and half precision, forward and backward."""

import pytest
import torch
import torch.nn.functional as F

from lib.layers.norm import RMSNorm, rms_norm


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_equals_torch_forward_and_backward(dtype, tolerance, scale):
    torch.manual_seed(0)
    x = (scale * torch.randn(2, 5, 24, dtype=dtype)).requires_grad_()
    weight = torch.randn(24, dtype=dtype, requires_grad=True)
    results = []
    for norm in (lambda: rms_norm(x, weight, 1e-5), lambda: F.rms_norm(x, (24,), weight, 1e-5)):
        y = norm()
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, weight))))
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max() <= tolerance * max(1, theirs.abs().max())


def test_half_precision_does_not_overflow():
    x = torch.full((1, 8), 300.0, dtype=torch.float16)  # 300^2 is above float16's largest number, 65,504
    y = rms_norm(x, torch.ones(8, dtype=torch.float16))
    assert y.dtype == torch.float16 and torch.allclose(y, torch.ones_like(y))


def test_zero_stays_zero_and_a_scale_is_dropped():
    x = torch.randn(3, 16, dtype=torch.float64)
    norm = RMSNorm(16, eps=1e-12).double()
    assert norm(torch.zeros(1, 16, dtype=torch.float64)).abs().max() == 0
    assert torch.allclose(norm(x), norm(1000 * x))


def test_a_wrong_width_names_both():
    with pytest.raises(ValueError, match="15 channels.* 16"):
        RMSNorm(16)(torch.zeros(2, 15))
