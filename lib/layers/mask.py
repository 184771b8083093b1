"""Who may look at whom: a token sees itself and what came before it."""

import torch


def causal_mask(T, S, window=None, device=None, keys=slice(None)):
    """Say which of S keys each of the last T queries may see: (T, S), True where it may; `keys` picks some columns.

    Query t stands at position S - T + t. It sees itself and what came before; with a window W, the last W of those.
    """
    query = torch.arange(S - T, S, device=device)[:, None]  # (T, 1)
    key = torch.arange(*keys.indices(S), device=device)
    seen = key <= query
    return seen if window is None else seen & (key > query - window)
