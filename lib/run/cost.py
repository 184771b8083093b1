"""What a model costs, from its config alone: parameters, FLOPs, bytes, and an estimate of joules. No model is built.

A FLOP is one multiplication or one addition. They are counted in three heaps, since they grow differently:

    weights      2 a token for each weight of a matrix: it multiplies, and the product is added up
    memory       products with the past: with all keys and values, or with a state of one size
    elementwise  work on the past that is no matrix product: softmax, decay, the update of a state

`weights` and `memory` are matrix products, and equal what torch.utils.flop_counter counts. It does not see the third
heap. Left out everywhere: what is done once for each channel of a token outside of the memory (norms, RoPE, shifts,
gates, activations), some tens of operations a channel beside thousands of products.
Configs: LlamaConfig, OpenElmConfig, RwkvConfig; any config of attention with the same names will do.
"""

import math
from typing import NamedTuple

from lib.run.cost_layers import layers_of

# Bytes of a number. The last two are GGUF's: 32 numbers share a scale of 16 bits.
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}
PARTS = ("embedding", "time mixers", "channel mixers", "norms", "head")


class Flops(NamedTuple):
    """FLOPs in three heaps; see above."""

    weights: int
    memory: int
    elementwise: int

    @property
    def products(self):
        """Those in matrix products."""
        return self.weights + self.memory

    @property
    def total(self):
        """All of them."""
        return sum(self)

    def times(self, factor):
        """Return so many times these."""
        return Flops(*(factor * heap for heap in self))


def parameters(config):
    """Return {part: count}, the parts as in PARTS. A head that shares its matrix with the embedding counts 0."""
    layers, table = layers_of(config), config.vocab_size * config.d_model
    final = layers[0].norms // 2  # one more norm of the same kind; RWKV and hybrids norm after the embedding, too
    twice = hasattr(config, "generation") or hasattr(config, "mixers")
    counts = (
        table,
        sum(layer.time_matrices + layer.time_vectors for layer in layers),
        sum(layer.channel_matrices + layer.channel_vectors for layer in layers),
        sum(layer.norms for layer in layers) + final * (2 if twice else 1),
        0 if config.tied else table,
    )
    return dict(zip(PARTS, counts, strict=True))


def n_parameters(config):
    """Count all parameters, shared ones once."""
    return sum(parameters(config).values())


def prefill_flops(config, T, all_logits=True, masked=False):
    """Return the Flops to read T tokens at once, in one sequence, from nothing.

    all_logits: the head works for every token, as in training; else for the last alone, as before generation. masked:
    count query-key pairs that the mask throws away, as a kernel computes that does not skip them; else only those
    that are needed, about half. RWKV reads in its chunked form.
    """
    layers = layers_of(config)
    matrices = sum(layer.time_matrices + layer.channel_matrices for layer in layers)
    head = config.vocab_size * config.d_model * (T if all_logits else 1)
    memory, elementwise = map(sum, zip(*(layer.read(T, masked) for layer in layers), strict=True))
    return Flops(2 * (matrices * T + head), memory, elementwise)


def decode_flops(config, context):
    """Return the Flops of one more token after `context` others, with the KV cache or the state at hand."""
    layers = layers_of(config)
    matrices = sum(layer.time_matrices + layer.channel_matrices for layer in layers)
    memory, elementwise = map(sum, zip(*(layer.step(context) for layer in layers), strict=True))
    return Flops(2 * (matrices + config.vocab_size * config.d_model), memory, elementwise)


def training_flops(config, T, batch=1, masked=False):
    """Return the Flops of one training step on `batch` sequences of T tokens: three times the forward pass.

    Each product y = a b of the forward pass asks for two of its size in the backward pass, one for the gradient of a
    and one for that of b. Nothing is computed twice to save memory. Source: Kaplan et al. 2020, arXiv 2001.08361,
    section 2.1. The optimizer, some ten operations a parameter and step, is left out.
    """
    return prefill_flops(config, T, masked=masked).times(3 * batch)


def size_of(dtype):
    """Return the bytes of one number of a dtype, by name. Raises ValueError for one that BYTES does not have."""
    if dtype not in BYTES:
        raise ValueError(f"no size known for {dtype!r}: there is {', '.join(BYTES)}")
    return BYTES[dtype]


def weight_bytes(config, dtype="float16"):
    """Return the bytes of all weights. A quantised file keeps a few vectors wider; that is under 1 %."""
    return math.ceil(n_parameters(config) * size_of(dtype))


def state_bytes(config, context, batch=1, dtype="float16", memory_dtype="float32", rolling=True):
    """Return the bytes that `batch` texts of `context` tokens leave behind: the KV cache, or the state.

    KV cache: 2 G N numbers a layer and token, of `dtype`. With a window W a `rolling` cache drops what nobody may see
    any more and keeps W tokens; ours keeps all. RWKV: two last tokens of `dtype`, and the memory in `memory_dtype`,
    since sums over a whole text need the digits; whatever the context, and of full size from the first token on.
    """
    small, wide = map(sum, zip(*(layer.kept(context, rolling) for layer in layers_of(config)), strict=True))
    return math.ceil(batch * (small * size_of(dtype) + wide * size_of(memory_dtype)))


def memory_bytes(config, context, batch=1, dtype="float16", memory_dtype="float32"):
    """Return {"weights", "state"}: what must fit into a device to write; activations, some MB a text, left out."""
    state_dtype = dtype if dtype in ("float32", "bfloat16", "float16") else "float16"
    return {
        "weights": weight_bytes(config, dtype),
        "state": state_bytes(config, context, batch, state_dtype, memory_dtype),
    }


def decode_bytes(config, context, batch=1, dtype="float16", memory_dtype="float32"):
    """Return {"weights", "read", "written"}: the bytes that move in a step that writes one token a text.

    Every matrix is read once for all texts, of the embedding only the rows that are needed. Of the past, attention
    reads all that is kept and writes one token's keys and values; RWKV reads its state and writes all of it anew.
    Divide by `batch` for a token's share. Activations stay in fast memory and are left out.
    """
    state_dtype = dtype if dtype in ("float32", "bfloat16", "float16") else "float16"
    matrices = n_parameters(config)
    if not config.tied:  # a tied table is read whole, by the head
        matrices += (batch - config.vocab_size) * config.d_model
    read = state_bytes(config, context, batch, state_dtype, memory_dtype)
    new = state_bytes(config, 1, batch, state_dtype, memory_dtype)  # a state has its full size from the first token on
    return {"weights": math.ceil(matrices * size_of(dtype)), "read": read, "written": new}


def bytes_per_token(config, context, batch=1, dtype="float16", memory_dtype="float32"):
    """Return the bytes that move for each token written, a number: `decode_bytes`, summed, divided by the batch."""
    return sum(decode_bytes(config, context, batch, dtype, memory_dtype).values()) / batch


def training_bytes(config, bytes_per_parameter=16):
    """Return the bytes that training keeps for the parameters alone, activations left out.

    16 a parameter: weight, gradient and AdamW's two running means, each in float32; or, in mixed precision, a
    16-bit weight and gradient, and float32 weight and means (Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1).
    """
    return n_parameters(config) * bytes_per_parameter


# Of energy nothing is measured here. The bounds are far apart, since a datasheet and a circuit diagram are no watt-
# meter; what they can decide is whether one model needs more than another, and which part of the work takes energy.
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
