"""The training loss, computed so that the logits of all tokens are never there at once."""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from lib.layers.precision import product_dtype
from lib.models.skeleton import LanguageModel

# Rows of logits that are there at one time: for a vocabulary of 2,048 they are 4 MB. With fewer rows the small
# operations count: on two cores without AVX-512, 256 rows take up to a tenth longer.
ROWS = 512


class HeadCrossEntropy(torch.autograd.Function):
    """The mean cross-entropy behind a linear head, in nats: `HeadCrossEntropy.apply(hidden, weight, targets)`.

    loss = mean_i(log(sum_v exp(z_iv)) - z_iy),  z = hidden @ weight^T;  dloss/dz_i = (softmax(z_i) - onehot(y_i)) / n.

    hidden: (n, C); weight: (V, C); targets: (n,) of token ids. The gradients of `hidden` and `weight` are made on the
    way forward, chunk by chunk, while a chunk's logits are in the cache: memory is O(ROWS * V), not O(n * V), and
    each logit is exponentiated once. Products are in autocast's dtype, sums in float32.
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets):
        """Return the loss, a scalar of float32 (float64 where `hidden` is)."""
        n, low = len(hidden), product_dtype(hidden)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        x, w = hidden.to(low), weight.to(low)  # (n, C), (V, C)
        loss = torch.zeros((), dtype=wide, device=hidden.device)
        grad_hidden, grad_weight = torch.empty_like(hidden, dtype=wide), torch.zeros_like(weight, dtype=wide)
        with torch.autocast(hidden.device.type, enabled=False):
            for rows in torch.arange(n).split(ROWS):
                part = slice(int(rows[0]), int(rows[-1]) + 1)
                logits, y = (x[part] @ w.T).to(wide), targets[part, None]
                highest = logits.amax(-1, keepdim=True)
                at_y = logits.gather(1, y)
                shares = logits.sub_(highest).exp_()
                total = shares.sum(-1, keepdim=True)
                loss += (total.log() + highest - at_y).sum()
                shares.div_(total).scatter_add_(1, y, -torch.ones_like(at_y))
                # Divided by n only in the wide dtype: in float16 the small numbers would become zero.
                shares = shares.to(low)
                grad_hidden[part] = shares @ w
                grad_weight += shares.T @ x[part]
        ctx.save_for_backward(grad_hidden.div_(n), grad_weight.div_(n))
        ctx.dtypes = hidden.dtype, weight.dtype
        return loss / n

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        """Scale the gradients that are already there."""
        grad_hidden, grad_weight = ctx.saved_tensors
        of_hidden, of_weight = ctx.dtypes
        return (grad_hidden * grad).to(of_hidden), (grad_weight * grad).to(of_weight), None


def next_token_loss(model, x, y):
    """Return the mean of -log p(y) over all tokens, in nats; x, y: (B, T).

    A model of ours is asked for what its head sees. Any other model, and one whose forward is hooked (so do the
    engines that share a model among processes), is asked for its logits.
    """
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in (model, getattr(model, "head", model)))
    if not isinstance(model, LanguageModel) or hooked or not torch.is_grad_enabled():
        logits, _ = model(x)  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())
    hidden, _ = model.hidden(x)  # (B, T, C)
    return HeadCrossEntropy.apply(hidden.flatten(0, 1), model.head.weight, y.flatten())
