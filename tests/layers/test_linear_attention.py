"""The matrix, the recurrence and the chunked form of linear attention are one function; its average is a true mean."""

import pytest
import torch

from lib.layers.attention import attend
from lib.layers.chunks import fit_chunk
from lib.layers.linear_attention import (
    averaged,
    feature,
    linear_attention,
    linear_chunked,
    linear_recurrent,
)

FORMS = {
    "matrix": linear_attention,
    "recurrent": linear_recurrent,
    "chunked": lambda q, k, v: linear_chunked(q, k, v, chunk=5),
}


def random(T=23, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, T, 6, generator=generator, dtype=torch.float64).to(dtype) for _ in range(3)]


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_the_sum_that_the_paper_writes(form):
    q, k, v = random()
    y = FORMS[form](q, k, v)
    y = y[0] if isinstance(y, tuple) else y
    for t in range(23):
        terms = [(q[:, :, t] * k[:, :, s]).sum(-1, keepdim=True) * v[:, :, s] for s in range(t + 1)]
        assert torch.allclose(y[:, :, t], sum(terms), atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("chunk", [1, 5, 23, 64])
def test_chunked_is_recurrent_with_a_state_and_its_gradients(dtype, tolerance, chunk):
    found = []
    for form, options in ((linear_recurrent, {}), (linear_chunked, {"chunk": chunk})):
        tensors = [z.requires_grad_() for z in random(dtype=dtype)]
        state = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
        y, end = form(*tensors, state, **options)
        grads = torch.autograd.grad((y.square().sum() + end.sin().sum()), [*tensors, state])
        found.append([y, end, *grads])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() < tolerance * theirs.abs().max()


@pytest.mark.parametrize("form", FORMS)
def test_the_average_lies_between_the_values(form):
    q, k, v = random()
    y = averaged(FORMS[form], feature(q), feature(k), v)
    assert torch.allclose(y[:, :, 0], v[:, :, 0])
    assert (y <= v.cummax(2).values + 1e-12).all() and (y >= v.cummin(2).values - 1e-12).all()


def test_without_products_it_is_attention_without_a_preference():
    """Queries of zero weigh all values alike, in both kinds of attention."""
    _, k, v = random()
    same = averaged(linear_attention, torch.ones_like(k), torch.ones_like(k), v)
    assert torch.allclose(same, attend(torch.zeros_like(k), k, v))


def test_the_chunk_is_as_long_as_the_decay_allows():
    def length(strongest, T=100, dtype=torch.float32, **options):
        log_w = torch.tensor([-0.1, -strongest], dtype=dtype).expand(1, 2)
        return fit_chunk(log_w, T, **options)

    assert [length(s)[0] for s in (0.5, 2.0, 3.0, 5.0, 15.0, 200.0)] == [64, 64, 32, 16, 8, 8]
    assert length(0.5, T=9)[0] == 9 and length(200.0, chunk=32)[0] == 32
    assert [length(s)[2] > 0 for s in (0.5, 1.0, 1.1, 200.0)] == [False, False, True, True]
    assert length(200.0)[1].min() == pytest.approx(-16.6, abs=0.1) and length(200.0, chunk=32)[1].min() == -200
    assert length(100.0, dtype=torch.float64)[1].min() == -100
