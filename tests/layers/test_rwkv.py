"""The chunked form of each generation is its recurrence: values, states and every gradient, also where it is hard."""

import importlib

import pytest
import torch
import torch.nn.functional as F

B, H, N = 2, 3, 8
STRENGTHS = ["ordinary", "strong decay", "strong and weak decay", "no decay"]


def form(generation, name):
    return getattr(importlib.import_module(f"lib.layers.rwkv{generation}"), name)


def log_decay(shape, strength, rand):
    """e^-0.6 to e^-0.001 a token; or down to e^-200; or e^-200 here and nearly none there."""
    if strength == "strong decay":
        return -(10 ** (rand(shape) * 3.3 - 1))
    if strength == "strong and weak decay":
        return torch.where(rand(shape) < 0.2, -200.0, -0.001 * rand(shape))
    return -0.6 * rand(shape) if strength == "ordinary" else torch.zeros(shape, dtype=torch.float64)


def inputs(generation, T, strength="ordinary", spread=1.0, state=True, seed=0):
    """Return what the forms of a generation take, in float64."""
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def rand(shape):
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    if generation == 4:
        memory = (randn(B, N), 0.5 + rand((B, N)), spread * randn(B, N)) if state else None
        return [spread * randn(B, T, N), randn(B, T, N), log_decay((N,), strength, rand), randn(N), memory]
    r, k, v, a = (randn(B, H, T, N) for _ in range(4))
    log_w = log_decay((H, 1, N) if generation == 5 else (B, H, T, N), strength, rand)
    memory = randn(B, H, N, N) if state else None
    if generation < 7:
        return [r, k, v, log_w, randn(H, N), memory]
    a = F.normalize(a, dim=-1)
    return [r, k, v, log_w, -a, a * rand(a.shape), memory]


def flat(values):
    """Lay the tensors of nested tuples in a list."""
    if isinstance(values, tuple | list):
        return [z for value in values for z in flat(value)]
    return [] if values is None else [values]


def results(function, tensors, dtype, **options):
    """Return y, the state, and the gradient of every input, for random gradients of y and the state."""

    def leaf(value):
        if isinstance(value, tuple):
            return tuple(map(leaf, value))
        return None if value is None else value.to(dtype).requires_grad_()

    tensors = [leaf(value) for value in tensors]
    y, state = function(*tensors, **options)
    # A memory of generation 4 is two sums relative to e^top, and any top will do: compare what they are worth.
    worth = state if isinstance(state, torch.Tensor) else torch.stack([state[0] / state[1], state[1].log() + state[2]])
    outputs, generator = [y, worth], torch.Generator().manual_seed(9)
    heads = [torch.randn(z.shape, generator=generator, dtype=torch.float64).to(z.dtype) for z in outputs]
    grads = torch.autograd.grad(outputs, flat(tensors), heads, allow_unused=True)
    return [z.detach().double() for z in [*outputs, *(g for g in grads if g is not None)]]


def agree(found, truth, tolerance):
    assert len(found) == len(truth)
    for i, (ours, theirs) in enumerate(zip(found, truth, strict=True)):
        assert ours.isfinite().all(), f"result {i} is not finite"
        scale = max(1.0, theirs.abs().max().item())
        assert (ours - theirs).abs().max() <= tolerance * scale, f"result {i}: {(ours - theirs).abs().max():.2e}"


GENERATIONS = pytest.mark.parametrize("generation", [4, 5, 6, 7])


@GENERATIONS
@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("T", [1, 7, 64, 83])
def test_chunked_is_the_recurrence(generation, strength, T):
    tensors = inputs(generation, T, strength, state=T != 64)
    truth = results(form(generation, "wkv"), tensors, torch.float64)
    agree(results(form(generation, "wkv_chunked"), tensors, torch.float64), truth, 1e-10)
    agree(results(form(generation, "wkv_chunked"), tensors, torch.float32), truth, 1e-4)


@GENERATIONS
@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
def test_any_length_of_chunk_gives_the_same(generation, chunk):
    tensors = inputs(generation, 37)
    truth = results(form(generation, "wkv"), tensors, torch.float64)
    agree(results(form(generation, "wkv_chunked"), tensors, torch.float64, chunk=chunk), truth, 1e-10)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("spread", [10, 100, 300])
def test_rwkv4_with_keys_that_differ_by_hundreds(spread, strength):
    tensors = inputs(4, 83, strength, spread)
    assert spread < 300 or tensors[0].amax() - tensors[0].amin() > 600
    truth = results(form(4, "wkv"), tensors, torch.float64)
    agree(results(form(4, "wkv_chunked"), tensors, torch.float64), truth, 1e-10)
    agree(results(form(4, "wkv_chunked"), tensors, torch.float32), truth, 1e-4)


@GENERATIONS
@pytest.mark.parametrize("name", ["wkv", "wkv_chunked"])
def test_bfloat16_goes_in_and_comes_out_and_is_summed_in_float32(generation, name):
    tensors = [z.bfloat16() if isinstance(z, torch.Tensor) else z for z in inputs(generation, 40, state=False)]
    y, state = form(generation, name)(*tensors)
    truth, _ = form(generation, name)(*(z.float() if isinstance(z, torch.Tensor) else z for z in tensors))
    assert y.dtype == torch.bfloat16 and all(z.dtype == torch.float32 for z in flat(state))
    assert torch.equal(y, truth.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        again, _ = form(generation, name)(*tensors)
    assert torch.equal(y, again)


@GENERATIONS
@pytest.mark.parametrize("name", ["wkv", "wkv_chunked"])
def test_the_state_carries_all_that_the_rest_needs(generation, name):
    *tensors, memory = inputs(generation, 50, seed=3)
    function, timed = form(generation, name), [50 in z.shape for z in tensors]
    whole, end = function(*tensors, memory)
    for part in (slice(0, 19), slice(19, 50)):
        some = [z[..., part, :] if yes else z for z, yes in zip(tensors, timed, strict=True)]
        y, memory = function(*some, memory)
        assert torch.allclose(y, whole[..., part, :], atol=1e-10)
    if generation == 4:  # two sums relative to e^top, and any top will do
        memory, end = ((above / below, below.log() + top) for above, below, top in (memory, end))
    agree(flat(memory), flat(end), 1e-10)


def test_rwkv4_is_the_mean_that_the_paper_writes():
    k, v, log_w, u, _ = inputs(4, 9, state=False)
    y, _ = form(4, "wkv")(k, v, log_w, u)
    for t in range(9):
        weights = [((t - 1 - i) * log_w + k[:, i]).exp() for i in range(t)] + [(u + k[:, t]).exp()]
        mean = sum(w * v[:, i] for i, w in enumerate(weights)) / sum(weights)
        assert torch.allclose(y[:, t], mean, atol=1e-12)


@pytest.mark.parametrize("generation", [5, 6])
def test_rwkv5_and_6_are_the_sum_over_pairs(generation):
    r, k, v, log_w, u, _ = inputs(generation, 9, state=False)
    y, _ = form(generation, "wkv")(r, k, v, log_w, u)
    w = log_w.exp().expand_as(k)
    for t in range(9):
        terms = [(r[:, :, t] * w[:, :, i + 1 : t].prod(2) * k[:, :, i]).sum(-1) for i in range(t)]
        terms.append((r[:, :, t] * u * k[:, :, t]).sum(-1))
        assert torch.allclose(y[:, :, t], sum(p[..., None] * v[:, :, i] for i, p in enumerate(terms)), atol=1e-12)


def test_rwkv7_with_full_rate_and_no_decay_overwrites():
    """The delta rule: after a value is written under a key, that key gives that value, whatever stood there before."""
    r, k, v, log_w, *_ = inputs(7, 9, "no decay", state=False)
    k = F.normalize(k, dim=-1)
    y, S = form(7, "wkv")(k, k, v, log_w, -k, k)
    assert torch.allclose(y, v, atol=1e-12)
    assert torch.allclose((S @ k[:, :, -1, :, None]).squeeze(-1), v[:, :, -1], atol=1e-12)


def test_a_chunk_that_is_too_long_for_its_decay_is_seen_to_overflow():
    """So the choice of the chunk is needed: this is what it prevents."""
    *tensors, _ = (z.float() for z in inputs(6, 64, "strong and weak decay"))
    y, _ = form(6, "wkv_chunked")(*tensors, chunk=64)
    assert not y.isfinite().all()
    y, _ = form(6, "wkv_chunked")(*tensors)
    assert y.isfinite().all()
