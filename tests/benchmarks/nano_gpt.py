"""A model of GPT-2's shape as nanoGPT has it: learned positions, LayerNorm, GELU, one matrix for q, k and v, sdpa.

It is the honest peer of a training step: the smallest good PyTorch that people compare with. It is as wide and deep
as the tiny LLaMA; two matrices of 4 C stand in place of SwiGLU's three.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.qkv, self.output = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.up, self.down = nn.Linear(d_model, 4 * d_model), nn.Linear(4 * d_model, d_model)

    def forward(self, x):
        """(B, T, C) -> (B, T, C)."""
        B, T, C = x.shape
        heads = self.qkv(self.norm_attention(x)).view(B, T, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*heads, is_causal=True)  # (B, H, T, N)
        x = x + self.output(y.transpose(1, 2).reshape(B, T, C))
        return x + self.down(F.gelu(self.up(self.norm_mlp(x)), approximate="tanh"))


class NanoGpt(nn.Module):
    """Embedding and positions, layers, norm, head. `config` is a LlamaConfig."""

    def __init__(self, config):
        super().__init__()
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = nn.Embedding(config.context_length, config.d_model)
        self.layers = nn.ModuleList(Layer(config.d_model, config.n_heads) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)

    def forward(self, tokens):
        """Token ids (B, T) -> logits (B, T, V)."""
        x = self.embed(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))
