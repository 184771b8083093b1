"""Token shift gives each token its predecessor, also across calls; the two conventions of mixing are mirror images."""

import torch

from lib.layers.low_rank import LowRank
from lib.layers.shift import lean, mix, shift


def test_the_token_before_and_zero_at_the_start():
    x = torch.arange(1.0, 25).view(2, 4, 3)
    before, last = shift(x)
    assert torch.equal(before[:, 1:], x[:, :-1]) and (before[:, 0] == 0).all()
    assert torch.equal(last, x[:, -1])


def test_parts_are_the_whole():
    x = torch.randn(2, 7, 3)
    whole, end = shift(x)
    first, last = shift(x[:, :3])
    second, last = shift(x[:, 3:], last)
    assert torch.equal(torch.cat([first, second], 1), whole) and torch.equal(last, end)


def test_what_is_carried_does_not_keep_the_text():
    _, last = shift(torch.randn(2, 100, 3))
    assert last.untyped_storage().nbytes() == 2 * 3 * 4


def test_mix_and_lean_are_what_the_papers_write():
    x, before, share = torch.randn(2, 5, 3), torch.randn(2, 5, 3), torch.rand(3)
    (mixed,) = mix(x, before, share)
    (leaning,) = lean(x, before, share)
    assert torch.allclose(mixed, x * share + before * (1 - share), atol=1e-6)
    assert torch.allclose(leaning, x + (before - x) * share, atol=1e-6)
    assert torch.allclose(mixed, lean(x, before, 1 - share)[0], atol=1e-6)
    ends = mix(x, before, torch.ones(3), torch.zeros(3))
    assert torch.allclose(ends[0], x, atol=1e-6) and torch.equal(ends[1], before)


def test_a_low_rank_product_starts_as_its_bias():
    layer = LowRank(5, 2, torch.nn.Tanh())
    torch.nn.init.normal_(layer.up), torch.nn.init.normal_(layer.bias)
    x = torch.randn(3, 4, 5)
    assert torch.equal(layer(x), layer.bias.expand(3, 4, 5))
    torch.nn.init.normal_(layer.down)
    assert torch.allclose(layer(x), layer.bias + torch.tanh(x @ layer.down) @ layer.up)
    assert LowRank(5, 2, bias=False).bias is None
