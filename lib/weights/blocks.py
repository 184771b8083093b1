"""Numbers in few bits, as .gguf files keep them: 32 weights share one scale, each has 4 or 8 bits of its own.

A block is a row of bytes; all functions take and return many at once. Source: ggml, ggml-quants.c (the reference forms
of Q8_0, Q4_0 and Q4_1); the package gguf gives the same to the bit.
"""

import torch

BLOCK = 32
BYTES = {"F32": 128, "F16": 64, "Q8_0": 34, "Q4_1": 20, "Q4_0": 18}  # a block of 32 weights


def dequantise_q8_0(raw):
    """(n, 34) bytes -> (n, 32) float32: a scale d in float16, then 32 signed bytes q. w = d q."""
    scale, q = raw[:, :2], raw[:, 2:]
    return as_float(scale) * q.contiguous().view(torch.int8).float()  # (n, 32)


def dequantise_q4_0(raw):
    """(n, 18) bytes -> (n, 32) float32: a scale d in float16, then 32 numbers q of 4 bits. w = d (q - 8)."""
    scale, packed = raw[:, :2], raw[:, 2:]
    return as_float(scale) * (nibbles(packed).float() - 8)  # (n, 32)


def dequantise_q4_1(raw):
    """(n, 20) bytes -> (n, 32) float32: a scale d and a least m in float16, then 32 q of 4 bits. w = d q + m."""
    scale, least, packed = raw[:, :2], raw[:, 2:4], raw[:, 4:]
    return as_float(scale) * nibbles(packed).float() + as_float(least)  # (n, 32)


def quantise_q8_0(x):
    """(n, 32) float32 -> (n, 34) bytes: the largest size in a block becomes 127."""
    scale = x.abs().amax(-1, keepdim=True) / 127  # (n, 1)
    steps = x * _inverse(scale)  # (n, 32)
    q = steps.sign() * (steps.abs() + 0.5).floor()  # half goes away from zero
    return torch.cat([as_bytes(scale), q.to(torch.int8).view(torch.uint8)], dim=-1)


def quantise_q4_0(x):
    """(n, 32) float32 -> (n, 18) bytes: the number of largest size, with its sign, becomes q = 0."""
    largest = x.gather(-1, x.abs().argmax(-1, keepdim=True))  # (n, 1)
    scale = largest / -8
    q = (x * _inverse(scale) + 8.5).trunc().clamp(0, 15)
    return torch.cat([as_bytes(scale), packed(q)], dim=-1)


def quantise_q4_1(x):
    """(n, 32) float32 -> (n, 20) bytes: the least becomes q = 0, the greatest 15."""
    least, greatest = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)  # (n, 1)
    scale = (greatest - least) / 15
    q = ((x - least) * _inverse(scale) + 0.5).trunc().clamp(0, 15)
    return torch.cat([as_bytes(scale), as_bytes(least), packed(q)], dim=-1)


def round_trip(x, kind):
    """Return x, any shape of a multiple of 32 numbers, as it is after it was kept in this kind of numbers."""
    if kind == "F32":
        return x.clone()
    if kind == "F16":
        return x.half().float()
    there = {"Q8_0": quantise_q8_0, "Q4_1": quantise_q4_1, "Q4_0": quantise_q4_0}[kind]
    back = {"Q8_0": dequantise_q8_0, "Q4_1": dequantise_q4_1, "Q4_0": dequantise_q4_0}[kind]
    return back(there(x.reshape(-1, BLOCK))).reshape(x.shape)


def nibbles(packed):
    """(n, 16) bytes -> (n, 32) numbers from 0 to 15: first the low halves of all bytes, then the high halves."""
    return torch.cat([packed & 15, packed >> 4], dim=-1)


def packed(q):
    """(n, 32) numbers from 0 to 15 -> (n, 16) bytes: number i low and number i + 16 high in byte i."""
    low, high = q.to(torch.uint8).chunk(2, dim=-1)
    return low | high << 4


def as_float(raw):
    """(n, 2) bytes -> (n, 1) float32: the number that they are in float16."""
    return raw.contiguous().view(torch.float16).float()


def as_bytes(x):
    """(n, 1) float32 -> (n, 2) bytes of its float16."""
    return x.half().contiguous().view(torch.uint8)


def _inverse(scale):
    return torch.where(scale == 0, 0.0, 1 / scale)
