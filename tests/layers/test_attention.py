"""Grouped attention, its cache, and the pass without the matrix, against torch's fused attention."""

import pytest
import torch
import torch.nn.functional as F

from lib.layers.attention import GroupedAttention, attend, attention_weights
from lib.layers.fast import attend_fused
from lib.layers.kv_cache import KVCache
from lib.layers.mask import causal_mask
from lib.layers.online_softmax import add_block, attend_online, start_softmax
from lib.layers.rope import rope_table
from lib.layers.shared import Shared

SHAPES = [(4, 4), (6, 2), (4, 1)]  # MHA, GQA, MQA


def heads(H, G, T, S, N=10, dtype=torch.float64, large=1.0):
    torch.manual_seed(H * S + T)
    return (
        (large * torch.randn(3, H, T, N, dtype=dtype)).requires_grad_(),
        torch.randn(3, G, S, N, dtype=dtype, requires_grad=True),
        torch.randn(3, G, S, N, dtype=dtype, requires_grad=True),
    )


def torchs_own(q, k, v, window=None):
    k, v = (z.repeat_interleave(q.shape[1] // z.shape[1], 1) for z in (k, v))
    T, S = q.shape[2], k.shape[2]
    mask = torch.ones(T, S, dtype=torch.bool).tril(S - T)
    mask = mask if window is None else mask.triu(S - T - window + 1)
    return F.scaled_dot_product_attention(q, k, v, mask)


@pytest.mark.parametrize(("H", "G"), SHAPES)
@pytest.mark.parametrize(("T", "S"), [(7, 7), (1, 9), (4, 11), (1, 1)])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("form", [attend, attend_fused, lambda *a: attend_online(*a[:3], block=4, window=a[3])])
def test_equals_torch_forward_and_backward(H, G, T, S, window, form):
    inputs = heads(H, G, T, S)
    results = []
    for function in (form, torchs_own):
        y = function(*inputs, window)
        results.append((y, *torch.autograd.grad(y.square().sum(), inputs)))
    for ours, theirs in zip(*results, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("block", [1, 5, 16, 100])
def test_online_softmax_with_large_logits(block):
    q, k, v = heads(4, 2, 16, 16, large=300.0)
    y = attend_online(q, k, v, block=block)
    assert torch.isfinite(y).all() and torch.allclose(y, attend(q, k, v), atol=1e-9)


def test_online_softmax_takes_a_block_that_a_query_may_not_see():
    """-inf in a whole block must leave what was added before, and no nan."""
    q, v = torch.randn(2, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    hidden, shown = torch.full((2, 3), -torch.inf, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    for order in ((hidden, shown), (shown, hidden)):
        state = start_softmax(q)
        for scores in order:
            state = add_block(state, scores, v)
        assert torch.allclose(state[2] / state[1], shown.softmax(-1) @ v)


def test_a_block_of_none_is_refused():
    with pytest.raises(ValueError, match="0 keys"):
        attend_online(*heads(2, 2, 3, 3), block=0)


def test_weights_are_shares():
    q, k, _ = heads(6, 2, 5, 8)
    weights = attention_weights(q, k)
    assert torch.allclose(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert (weights[..., ~causal_mask(5, 8)] == 0).all()


def test_a_causal_mask_is_drawn_right():
    assert causal_mask(2, 4).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert causal_mask(2, 4, window=2).int().tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]
    assert causal_mask(3, 5, keys=slice(2, 4)).tolist() == causal_mask(3, 5)[:, 2:4].tolist()


def test_a_cache_grows_and_branches():
    """Appending twice to one cache gives two that do not disturb each other."""
    k = torch.randn(2, 3, 20, 4)
    cache = KVCache(k[:, :, :3], k[:, :, :3])
    for t in range(3, 9):
        cache = cache.append(k[:, :, t : t + 1], -k[:, :, t : t + 1])
    first, second = (cache.append(k[:, :, t : t + 2], k[:, :, t : t + 2]) for t in (9, 15))
    assert torch.equal(cache.keys, k[:, :, :9]) and torch.equal(cache.values[:, :, 3:], -k[:, :, 3:9])
    assert torch.equal(first.keys, k[:, :, :11])
    assert torch.equal(second.keys[:, :, 9:], k[:, :, 15:17])
    with pytest.raises(ValueError, match="holds 2 sequences, the new tokens 1"):
        cache.append(k[:1, :, :1], k[:1, :, :1])


def test_appending_copies_a_linear_number_of_vectors():
    k, cache, buffers = torch.randn(1, 1, 300, 2), None, set()
    for t in range(300):
        new = k[:, :, t : t + 1]
        cache = KVCache(new, new) if cache is None else cache.append(new, new)
        buffers.add(id(cache.buffer))
    assert len(buffers) <= 9  # doubling: 4, 8, 16 ... 512, and none at first


def test_gradients_pass_through_a_cache():
    torch.manual_seed(0)
    mixer = GroupedAttention(24, 6, 2, 4).double()
    x = torch.randn(2, 7, 24, dtype=torch.float64)

    def run(splits):
        mixer.zero_grad()
        state, ys, t = None, [], 0
        for part in x.split(splits, 1):
            cos, sin = rope_table(4, part.shape[1], offset=t, dtype=torch.float64)
            y, state = mixer(part, state, Shared(cos, sin))
            ys.append(y)
            t += part.shape[1]
        torch.cat(ys, 1).square().sum().backward()
        return [weight.grad.clone() for weight in mixer.parameters()]

    for whole, split in zip(run([7]), run([3, 1, 3]), strict=True):
        assert torch.allclose(whole, split, atol=1e-12)


def test_uneven_heads_are_refused():
    with pytest.raises(ValueError, match="6 heads can't share 4"):
        GroupedAttention(24, 6, 4, 4)
