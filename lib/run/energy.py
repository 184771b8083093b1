"""How much energy a token takes, estimated: joules for each FLOP and each byte moved, with a lower and an upper bound.

Nothing is measured here. The bounds are far apart, since a datasheet and a circuit diagram are not a wattmeter; what
they can decide is whether one model needs more than another, and which part of the work takes the energy.
"""

from typing import NamedTuple

from lib.run.cost import bytes_per_token, decode_flops


class Joules(NamedTuple):
    """Joules for one of something, at least and at most, and where the two numbers are from."""

    low: float
    high: float
    source: str


# 16-bit arithmetic in data-centre GPUs of the years 2020 to 2023.
PER_FLOP = Joules(
    0.71e-12,
    2.6e-12,
    "low: an H100 SXM at its peak, 700 W for 989e12 FLOP/s (NVIDIA's datasheet); 1.5 pJ a multiply-add in 45 nm says"
    " the same (Horowitz 2014, ISSCC). High: an A100, 400 W, at half of its 312e12 FLOP/s",
)
PER_BYTE = Joules(
    31e-12,
    209e-12,
    "low: the access to HBM2 alone, 3.92 pJ a bit (O'Connor et al. 2017, MICRO). High: an H100 SXM that draws all of"
    " its 700 W while it only reads, 3.35e12 bytes a second (NVIDIA's datasheet)",
)


def energy(flops, n_bytes):
    """Return the joules (at least, at most) for so many FLOPs and so many bytes moved.

    Both upper bounds charge the whole card, so their sum counts it twice: it is a bound and no guess.
    """
    return tuple(
        flops * per_flop + n_bytes * per_byte for per_flop, per_byte in zip(PER_FLOP[:2], PER_BYTE[:2], strict=True)
    )


def token_energy(config, context, batch=1, dtype="float16", memory_dtype="float32"):
    """Return the joules (at least, at most) of one token written after `context` others, `batch` texts at a time."""
    moved = bytes_per_token(config, context, batch, dtype, memory_dtype)
    return energy(decode_flops(config, context).total, moved)
