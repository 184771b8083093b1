"""Linear attention as a time mixer: RWKV-5 without what makes it forget, prefer the token itself, and shut its gate."""

import torch
from torch import nn

from lib.layers.heads import HeadNorm, to_heads
from lib.layers.linear_attention import linear_chunked, linear_recurrent
from lib.layers.shift import mix, shift


class TimeMix(nn.Module):
    """Shift, project, add up key times value in a matrix a head, read it with the query, norm by head, project back.

    S <- S + k_t^T v_t, y_t = q_t S. x: (B, T, C), C = H N; state: (the last token (B, C), S (B, H, N, N)) or None.
    `shared` is not needed. The norm by head stands in for the sum of the weights that softmax divides by.
    Source: Katharopoulos et al. 2020, arXiv 2006.16236; the norm in its place: Sun et al. 2023, arXiv 2307.08621.
    """

    def __init__(self, d_model, d_head, head_eps=64e-5):
        super().__init__()
        self.n_heads = d_model // d_head
        self.mix_query, self.mix_key, self.mix_value = (nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(3))
        self.query, self.key, self.value, self.output = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        self.norm = HeadNorm(self.n_heads, d_model, head_eps)

    def forward(self, x, state, shared=None):
        """(B, T, C) -> (B, T, C), and the pair (last token, S)."""
        B, T, C = x.shape
        last, S = state or (None, None)
        before, last = shift(x, last)
        x_q, x_k, x_v = mix(x, before, self.mix_query, self.mix_key, self.mix_value)
        q, k, v = self.query(x_q), self.key(x_k), self.value(x_v)
        q, k, v = (to_heads(z, self.n_heads) for z in (q, k, v))  # (B, H, T, N)
        y, S = (linear_recurrent if T == 1 else linear_chunked)(q, k, v, S)
        return self.output(self.norm(y)), (last, S)  # (B, T, C), ...
