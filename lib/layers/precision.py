"""In which dtype something is computed, where half precision would lose what matters."""

import functools

import torch


def in_full_precision(form):
    """Let a function of tensors compute in float32 at least, whatever comes in; its y has the dtype of what came first.

    A sum over a thousand tokens in bfloat16, with its 8 bits, would lose all that is small. The state stays float32.
    """

    @functools.wraps(form)
    def wide(first, *others, **options):
        tensors = [z.float() if _is_half(z) else z for z in (first, *others)]
        with torch.autocast(first.device.type, enabled=False):
            y, state = form(*tensors, **options)
        return y.to(first.dtype), state

    return wide


def _is_half(z):
    return isinstance(z, torch.Tensor) and z.dtype in (torch.bfloat16, torch.float16)


def product_dtype(x):
    """Return the dtype in which a matrix product takes x: autocast's where it is on for x's device, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
