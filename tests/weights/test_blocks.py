"""Blocks of few bits: equal to the package gguf to the bit, and never further off than half a step."""

import pytest
import torch

from lib.weights import blocks
from lib.weights.blocks import BYTES, round_trip

KINDS = ("Q8_0", "Q4_0", "Q4_1")


def examples():
    torch.manual_seed(0)
    x = torch.randn(50, 32)
    x[0], x[1], x[2, :] = 0, torch.arange(32) - 16.0, 3.0
    x[3] *= 1e-3
    x[4, 7] = 100.0
    x[5], x[6] = -x[5].abs(), (torch.arange(32) % 5) / 2
    return x


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_package_to_the_bit(kind):
    gguf = pytest.importorskip("gguf", reason="the package gguf is not installed: pip install --no-deps gguf")
    type, x, name = getattr(gguf.GGMLQuantizationType, kind), examples(), kind.lower()
    there = torch.from_numpy(gguf.quantize(x.numpy(), type))
    raw = getattr(blocks, f"quantise_{name}")(x)
    assert raw.shape == (50, BYTES[kind]) and torch.equal(raw, there)
    back = torch.from_numpy(gguf.dequantize(there.numpy(), type))
    assert torch.equal(getattr(blocks, f"dequantise_{name}")(there), back)
    assert torch.equal(round_trip(x, kind), back)
    assert gguf.GGML_QUANT_SIZES[type] == (32, BYTES[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_step_is_the_largest_error(kind):
    x = examples()
    largest, spread = x.abs().amax(-1), x.amax(-1) - x.amin(-1)
    step = {"Q8_0": largest / 127, "Q4_0": largest / 8, "Q4_1": spread / 15}[kind]
    room = 1.0 if kind == "Q4_0" else 0.5  # the end opposite to the largest number is a whole step short
    error = (round_trip(x, kind) - x).abs().amax(-1)
    assert (error <= room * step + 2e-3 * largest).all()  # the rest: the scale itself has 11 bits
    assert error[0] == 0 and error[10:].min() > 0


def test_known_bytes():
    """By hand: d = 2 (float16 0x4000, low byte first), then the numbers."""
    q8 = torch.tensor([[0x00, 0x40, *range(16), *(256 - i for i in range(1, 17))]], dtype=torch.uint8)
    assert blocks.dequantise_q8_0(q8).tolist() == [[2.0 * i for i in range(16)] + [-2.0 * i for i in range(1, 17)]]
    q4 = torch.tensor([[0x00, 0x40, *(16 * (15 - i) + i for i in range(16))]], dtype=torch.uint8)
    assert blocks.dequantise_q4_0(q4).tolist() == [
        [2.0 * (i - 8) for i in range(16)] + [2.0 * (7 - i) for i in range(16)]
    ]
    q41 = torch.cat([q4[:, :2], q4[:, :2], q4[:, 2:]], dim=1)
    assert blocks.dequantise_q4_1(q41).tolist() == [
        [2.0 * i + 2 for i in range(16)] + [32.0 - 2 * i for i in range(16)]
    ]


def test_wide_formats_pass_through():
    x = examples().view(5, 10, 32)
    assert torch.equal(round_trip(x, "F32"), x) and torch.equal(round_trip(x, "F16"), x.half().float())
    assert all(round_trip(x, kind).shape == x.shape for kind in BYTES)
