"""The fast forms of `rms_norm`, `rotate_half_split` and `attend`: the same results by other steps.

The plain forms stand in norm.py, rope.py and attention.py, and are what the lessons build. The models call these. A
test holds both equal, results and gradients.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from lib.layers.mask import causal_mask
from lib.layers.precision import product_dtype


def rms_norm(x, weight, eps=1e-5):
    """Return `lib.layers.norm.rms_norm`, by the gradient written out where there is one to compute."""
    wide = x.dtype == weight.dtype and x.dtype.itemsize >= 4
    by_hand = wide and torch.is_grad_enabled() and not x.is_meta  # before torch 2.12, meta knows no autocast
    if by_hand:
        return RMSNormByHand.apply(x, weight, eps)
    wide = x if x.dtype == torch.float64 else x.float()
    # The same as wide.pow(2).mean(-1), in one pass over x and a shorter way back: a third less time on a CPU.
    square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square() / x.shape[-1]  # (..., 1)
    scale = torch.rsqrt(square + eps)  # (..., 1)
    return (wide * scale).to(x.dtype) * weight


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
        return grad_x, agreement.reshape(-1, len(weight)).sum(0), None


def whole_table(cos, sin):
    """Return (cos, cos) and (-sin, sin), each (T, N): the table for `rotate_whole`, made once for all layers."""
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate_whole(x, cos, sin):
    """Return `lib.layers.rope.rotate_half_split`, whole heads at a time: (a, b) (cos, cos) + (b, a) (-sin, sin).

    x: (..., T, N); cos, sin: (T, N) each, from `whole_table`. Returns x's shape and dtype.
    """
    ab = x.to(torch.promote_types(x.dtype, cos.dtype))  # (..., T, N)
    ba = ab.roll(ab.shape[-1] // 2, -1)  # (..., T, N)
    return (ab * cos).add_(ba.mul_(sin)).type_as(x)  # (..., T, N)


def attend_fused(q, k, v, window=None):
    """Return `lib.layers.attention.attend`, by torch's fused kernel, which never holds the T * S matrix."""
    if q.device.type == "cpu" and q.requires_grad and q.dtype.itemsize == 2:
        # On a CPU the kernel's way back takes twice as long in bfloat16 as in float32 (measured: T 192, N 32).
        with torch.autocast("cpu", enabled=False):
            return attend_fused(q.float(), k.float(), v.float(), window).type_as(q)  # (B, H, T, N)
    T, S = q.shape[2], k.shape[2]
    # All keys are visible to a single new token; a whole sequence has a flag of its own; the rest needs a mask.
    plain = window is None or S <= window
    mask = None if plain and (T == 1 or T == S) else causal_mask(T, S, window, q.device)
    whole = mask is None and T > 1
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=whole, enable_gqa=q.shape[1] != k.shape[1])
