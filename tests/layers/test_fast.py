"""The fast forms give what the plain ones give: results, and gradients of every input."""

import pytest
import torch

from lib.layers import fast
from lib.layers.attention import GroupedAttention, attend
from lib.layers.kv_cache import KVCache
from lib.layers.norm import RMSNorm, rms_norm
from lib.layers.rope import rope_table, rotate_half_split
from lib.layers.shared import Shared

DTYPES = [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.05)]
each_dtype = pytest.mark.parametrize(("dtype", "tolerance"), DTYPES, ids=["float64", "float32", "bfloat16"])


def agree(plain, quick, leaves, tolerance, gradients=True):
    """Assert that both give the same, and for random gradients of it the same gradients of the leaves."""
    sides = []
    for form in (plain, quick):
        y = form()
        torch.manual_seed(9)  # and no randn_like: it fills in the order of the memory, which differs
        weigh = torch.randn(y.shape, dtype=y.dtype)
        sides.append([y, *(torch.autograd.grad(y, leaves, weigh) if gradients else ())])
    assert sides[0][0].abs().max() > 0.1
    for ours, theirs in zip(*sides, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= tolerance * max(1, theirs.abs().max())


def leaf(*shape, dtype, scale=1.0):
    return (scale * torch.randn(*shape, dtype=torch.float64)).to(dtype).requires_grad_()


@each_dtype
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("shape", [(24,), (7, 24), (2, 5, 24)])
def test_the_norm(dtype, tolerance, scale, shape):
    torch.manual_seed(0)
    x, weight = leaf(*shape, dtype=dtype, scale=scale), leaf(24, dtype=dtype)

    def quick():
        return fast.rms_norm(x, weight, 1e-4)

    agree(lambda: rms_norm(x, weight, 1e-4), quick, (x, weight), tolerance)
    with torch.no_grad():  # it has another way where no gradient is asked for
        agree(lambda: rms_norm(x, weight, 1e-4), quick, (), tolerance, gradients=False)


def test_the_norms_module_is_the_plain_function():
    torch.manual_seed(1)
    norm, x = RMSNorm(24, eps=0.01).double(), leaf(2, 5, 24, dtype=torch.float64)
    torch.nn.init.normal_(norm.weight)
    agree(lambda: rms_norm(x, norm.weight, 0.01), lambda: norm(x), (x, norm.weight), 1e-12)


@each_dtype
def test_the_rotation(dtype, tolerance):
    torch.manual_seed(2)
    x = leaf(2, 7, 3, 8, dtype=dtype).transpose(1, 2)  # not contiguous, as a projection leaves it
    cos, sin = rope_table(8, 7, offset=5, dtype=torch.promote_types(dtype, torch.float32))
    whole = fast.whole_table(cos, sin)
    agree(lambda: rotate_half_split(x, cos, sin), lambda: fast.rotate_whole(x, *whole), (x,), tolerance)


@each_dtype
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize(("T", "S"), [(7, 7), (1, 9), (4, 11)])
def test_attention(dtype, tolerance, window, T, S):
    torch.manual_seed(3)
    q, k, v = (leaf(2, heads, length, 8, dtype=dtype) for heads, length in ((6, T), (2, S), (2, S)))
    agree(lambda: attend(q, k, v, window), lambda: fast.attend_fused(q, k, v, window), (q, k, v), tolerance)


@pytest.mark.parametrize(("window", "eps"), [(None, None), (4, None), (None, 0.01)])
def test_the_time_mixer_is_the_lessons_lines(window, eps):
    """GroupedAttention, written with the plain forms alone: in two calls, so that a cache is in it."""
    torch.manual_seed(4)
    mixer = GroupedAttention(24, 6, 2, 8, window=window, qk_norm_eps=eps).double()
    for weight in mixer.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    x = leaf(2, 9, 24, dtype=torch.float64)
    tables = [Shared(*rope_table(8, T, offset=at, dtype=torch.float64)) for T, at in ((6, 0), (3, 6))]

    def plain(x, state, shared):
        q, k, v = (part(x).view(*x.shape[:2], -1, 8).transpose(1, 2) for part in (mixer.query, mixer.key, mixer.value))
        if eps is not None:
            q, k = rms_norm(q, mixer.norm_query.weight, eps), rms_norm(k, mixer.norm_key.weight, eps)
        q, k = (rotate_half_split(z, shared.cos, shared.sin) for z in (q, k))
        if state is not None:
            k, v = torch.cat([state.keys, k], 2), torch.cat([state.values, v], 2)
        return mixer.output(attend(q, k, v, window).transpose(1, 2).flatten(2)), KVCache(k, v)

    def two_calls(form):
        first, state = form(x[:, :6], None, tables[0])
        return torch.cat([first, form(x[:, 6:], state, tables[1])[0]], 1)

    agree(lambda: two_calls(plain), lambda: two_calls(mixer), (x, *mixer.parameters()), 1e-10)


def test_a_table_that_the_model_made_is_the_one_that_attention_makes():
    torch.manual_seed(5)
    mixer, x = GroupedAttention(24, 6, 2, 8), torch.randn(2, 5, 24)
    cos, sin = rope_table(8, 5, offset=3)
    alone, _ = mixer(x, None, Shared(cos, sin))
    given, _ = mixer(x, None, Shared(cos, sin, fast.whole_table(cos, sin)))
    assert torch.equal(alone, given)
