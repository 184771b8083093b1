"""RoPE against complex multiplication and against transformers; both pairings and the permutation between them."""

import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from lib.layers.rope import rope_table, rotate_half_split, rotate_interleaved, to_half_split, to_interleaved


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(2, 3, 5, 8, dtype=torch.float64)


def test_interleaved_is_complex_multiplication(x):
    cos, sin = rope_table(8, 5, offset=7, dtype=torch.float64)
    turned = torch.view_as_complex(x.reshape(2, 3, 5, 4, 2)) * torch.complex(cos, sin)
    assert torch.allclose(rotate_interleaved(x, cos, sin), torch.view_as_real(turned).flatten(-2), atol=1e-14)


def test_half_split_is_that_of_transformers(x):
    cos, sin = rope_table(8, 5, dtype=torch.float64)
    wide = [torch.cat([table, table], -1)[None] for table in (cos, sin)]
    q, k = apply_rotary_pos_emb(x, x[:, :1], *wide)
    assert torch.allclose(rotate_half_split(x, cos, sin), q, atol=1e-14)
    assert torch.allclose(rotate_half_split(x[:, :1], cos, sin), k, atol=1e-14)


@pytest.mark.parametrize("rotate", [rotate_half_split, rotate_interleaved])
def test_only_the_distance_counts(rotate):
    """The product of a query at m and a key at n depends on m - n alone; lengths stay."""
    torch.manual_seed(1)
    q, k = torch.randn(2, 1, 16, dtype=torch.float64)
    products = []
    for m, n in ((3, 1), (103, 101), (12, 10)):
        at = [rope_table(16, 1, offset=position, dtype=torch.float64) for position in (m, n)]
        products.append((rotate(q, *at[0]) * rotate(k, *at[1])).sum())
    assert torch.allclose(products[0], products[1]) and torch.allclose(products[0], products[2])
    assert torch.allclose(rotate(q, *at[0]).norm(), q.norm())


def test_the_table_with_an_offset_is_a_part_of_the_whole():
    whole, part = rope_table(8, 20), rope_table(8, 6, offset=9)
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[9:15], b) and b.dtype == torch.float32


def test_the_order_of_the_permutation_and_its_round_trip():
    rows = torch.arange(8.0)[:, None]
    assert to_half_split(rows, 1).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    weight = torch.randn(24, 5)
    assert torch.equal(to_interleaved(to_half_split(weight, 3), 3), weight)


def test_permuted_weights_give_the_same_products(x):
    """Half-split rotation of permuted rows has the same products as interleaved rotation of the rows as they are."""
    torch.manual_seed(2)
    wq, wk = torch.randn(2, 16, 6, dtype=torch.float64)
    tokens = torch.randn(5, 6, dtype=torch.float64)
    cos, sin = rope_table(8, 5, dtype=torch.float64)

    def products(rotate, wq, wk):
        q, k = (rotate((tokens @ w.T).view(5, 2, 8).transpose(0, 1), cos, sin) for w in (wq, wk))
        return q @ k.transpose(-1, -2)

    apart = products(rotate_interleaved, wq, wk)
    assert torch.allclose(products(rotate_half_split, to_half_split(wq, 2), to_half_split(wk, 2)), apart, atol=1e-12)
    assert (products(rotate_half_split, wq, wk) - apart).abs().max() > 0.1


def test_bad_sizes_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="d_head is 7"):
        rope_table(7, 3)
    with pytest.raises(ValueError, match="24 rows are not 5 heads"):
        to_half_split(torch.zeros(24, 3), 5)
