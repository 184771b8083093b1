"""A LLaMA that is small enough to train in a test, and batches of a pattern that it can learn."""

import torch

from lib.models.llama import Llama, LlamaConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.text.batches import WindowBatches

CONFIG = LlamaConfig(
    vocab_size=29, n_layers=2, d_model=24, n_heads=4, n_kv_heads=2, d_head=6, d_ff=40, context_length=48
)


RANKS = {4: (), 5: (), 6: (3, 5), 7: (3, 5, 2, 7)}


def tiny_rwkv(generation, seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {"vocab_size": 29, "n_layers": 2, "d_model": 24, "d_ff": 40, "d_head": 8, "ranks": RANKS[generation]}
    return Rwkv(RwkvConfig(generation, **{**sizes, "tied": True, **changes}))


def tiny_llama(seed=0, config=CONFIG):
    torch.manual_seed(seed)
    return Llama(config)


def counting(batch_size=4, length=12, seed=0):
    """0, 1, 2 ... 28, 0, 1, ...: each token tells the next."""
    return WindowBatches(torch.arange(600) % 29, batch_size, length, seed)


def weights(model):
    """Return all parameters of a model as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])
