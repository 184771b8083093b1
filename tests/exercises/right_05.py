"""Right answers to the exercises of lesson 05, written in other ways: the check must let them through."""

import torch
import torch.nn.functional as F
from torch import nn

from lessons.exercises.lesson_05 import below, of_scores
from lessons.exercises.lesson_05_wrong import turned
from lib.layers import fast
from lib.layers.attention import attention_weights
from lib.layers.kv_cache import KVCache
from lib.layers.rope import rotate_half_split
from tests.exercises.rights import right


@right("05.1")
def by_groups(q, k):
    """Five axes instead of repeated keys, and positions that are compared."""
    B, H, T, N = q.shape
    G, S = k.shape[1:3]
    scores = torch.einsum("bgrtn,bgsn->bgrts", q.reshape(B, G, H // G, T, N), k * N**-0.5).reshape(B, H, T, S)
    later = torch.arange(S) > torch.arange(S - T, S)[:, None]
    return torch.where(later, torch.tensor(-torch.inf, dtype=scores.dtype), scores).softmax(-1)


@right("05.2")
class ByLists(nn.Module):
    """Heads one by one, and the cache joined by hand."""

    def __init__(self, d_model, n_heads, n_kv_heads, d_head):
        super().__init__()
        sizes = {"query": n_heads, "key": n_kv_heads, "value": n_kv_heads}
        for name, heads in sizes.items():
            setattr(self, name, nn.Linear(d_model, heads * d_head, bias=False))
        self.output = nn.Linear(n_heads * d_head, d_model, bias=False)
        self.n_heads, self.n_kv_heads, self.d_head = n_heads, n_kv_heads, d_head

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), and the cache with the new tokens in it."""
        q, k, v = (m(x).unflatten(-1, (-1, self.d_head)).movedim(2, 1) for m in (self.query, self.key, self.value))
        q, k = rotate_half_split(q, shared.cos, shared.sin), rotate_half_split(k, shared.cos, shared.sin)
        if state is not None:
            k, v = torch.cat([state.keys, k], dim=2), torch.cat([state.values, v], dim=2)
        T, S = q.shape[2], k.shape[2]
        hidden = torch.full((T, S), -torch.inf).triu(S - T + 1)
        heads = []
        for h in range(self.n_heads):
            g = h * self.n_kv_heads // self.n_heads
            scores = q[:, h] @ k[:, g].mT * self.d_head**-0.5 + hidden
            heads.append(scores.softmax(-1) @ v[:, g])
        return self.output(torch.cat(heads, -1)), KVCache(k, v)


@right("05.4")
def by_narrow(old, new, window):
    """Say from where on."""
    everything = torch.cat([part for part in (old, new) if part is not None], 2)
    kept = min(everything.shape[2], window - 1 + new.shape[2])
    return everything.narrow(2, everything.shape[2] - kept, kept)


@right("05.4")
def by_tokens(old, new, window):
    """Take the tokens apart, and put the last ones together."""
    tokens = [*(old.unbind(2) if old is not None else ()), *new.unbind(2)]
    while len(tokens) > window - 1 + new.shape[2]:
        tokens.pop(0)
    return torch.stack(tokens, 2)


@right("05.5")
def layer_by_layer(config, length, bytes_per_number=2):
    """Add up the layers."""
    if config.window is not None and length > config.window:
        length = config.window
    key = value = config.n_kv_heads * config.d_head * bytes_per_number
    return sum((key + value) * length for _ in range(config.n_layers))


@right("05.5")
def by_sorting(config, length, bytes_per_number=2):
    """The smaller of two lengths stands first."""
    kept = sorted([length, config.window or length])[0]
    return bytes_per_number * kept * config.d_head * config.n_kv_heads * config.n_layers * 2


@right("05.5")
def by_an_empty_cache(config, length, bytes_per_number=2):
    """Ask tensors without memory how many numbers they hold."""
    kept = min(length, config.window or length)
    shape = (2, config.n_layers, config.n_kv_heads, kept, config.d_head)
    return torch.empty(shape, device="meta").numel() * bytes_per_number


right("05.1")(of_scores(lambda a: (a + torch.zeros_like(a).masked_fill(~below(a), -torch.inf)).softmax(-1)))
right("05.1")(
    of_scores(
        lambda a: F.softmax(a.masked_fill(torch.ones_like(a).triu(a.shape[-1] - a.shape[-2] + 1) == 1, -1e30), -1)
    )
)
right("05.2")(turned(rotate_half_split, rotate_half_split, None, fast.attend_fused))
right("05.2")(
    turned(
        rotate_half_split,
        rotate_half_split,
        None,
        lambda q, k, v: attention_weights(q, k) @ v.repeat_interleave(q.shape[1] // v.shape[1], 1),
    )
)
right("05.3")(lambda k, H: k[:, torch.arange(H) * k.shape[1] // H])
right("05.3")(lambda k, H: k[:, :, None].expand(-1, -1, H // k.shape[1], -1, -1).reshape(len(k), H, *k.shape[2:]))
right("05.3")(lambda k, H: torch.stack([k[:, h // (H // k.shape[1])] for h in range(H)], 1))
right("05.4")(
    lambda old, new, W: new if old is None else torch.cat([old[:, :, max(0, old.shape[2] - W + 1) :], new], 2)
)
