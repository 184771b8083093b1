"""OpenELM: LLaMA whose layers are not all of one size. The early ones are narrow, the late ones wide.

Source: Mehta et al. 2024, arXiv 2404.14619, section 2.1. The rounding, which the paper leaves out, is that of
apple/corenet: corenet/modeling/models/language_modeling/general_gpt.py and corenet/utils/math_utils.py.
"""

from dataclasses import dataclass, replace

from lib.models.llama import Llama, llama_block
from lib.models.sizes import check_flag, check_heads, check_list, check_positive, check_rope, check_whole


def make_divisible(value, divisor):
    """Round to the nearest multiple of the divisor, halves up; at least one, and never below 0.9 of the value."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def multipliers(first, last, n_layers):
    """Return n_layers numbers from first to last in equal steps, rounded to two decimals: alpha or beta of each layer.

    a_i = first + (last - first) i / (n_layers - 1).  The rounding is corenet's, and moves some widths by a step.
    """
    return [round(first + (last - first) * i / max(1, n_layers - 1), 2) for i in range(n_layers)]


@dataclass(frozen=True)
class OpenElmConfig:
    """The numbers that make one OpenELM: `n_heads`, `n_kv_heads` and `d_ff` have one number for each layer."""

    vocab_size: int
    d_model: int
    d_head: int
    n_heads: tuple[int, ...]
    n_kv_heads: tuple[int, ...]
    d_ff: tuple[int, ...]
    context_length: int
    norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    tied: bool = True

    def __post_init__(self):
        for name in ("n_heads", "n_kv_heads", "d_ff"):
            # a list where it comes from a file
            object.__setattr__(self, name, check_list(name, getattr(self, name)))
        counts = [len(self.n_heads), len(self.n_kv_heads), len(self.d_ff)]
        if len(set(counts)) > 1 or not counts[0]:
            raise ValueError(f"n_heads, n_kv_heads, d_ff name {counts} layers: give each a number for every layer")
        for name in ("vocab_size", "d_model", "d_head", "context_length"):
            check_whole(name, getattr(self, name))
        for name in ("n_heads", "n_kv_heads", "d_ff"):
            for i, value in enumerate(getattr(self, name)):
                check_whole(f"layer {i}: {name}", value)
        for name in ("norm_eps", "rope_theta"):
            check_positive(name, getattr(self, name))
        check_flag("tied", self.tied)
        for i, (heads, shared) in enumerate(zip(self.n_heads, self.n_kv_heads, strict=True)):
            check_heads(heads, shared, f"layer {i}: ")
        check_rope(self.d_head)

    @property
    def n_layers(self):
        """As many as the lists are long."""
        return len(self.n_heads)


def openelm_config(vocab_size, n_layers, d_model, d_head, context_length=2048, alpha=(0.5, 1.0), beta=(0.5, 4.0),
                   group=4, multiple_of=256, **more):  # fmt: skip
    """Return the config that Apple's rule gives: widths that grow in a straight line from the first layer to the last.

    Layer i has alpha_i d_model / d_head query heads, rounded to a multiple of `group`, which share one key/value head
    in each group; its inner width is beta_i d_model, rounded to a multiple. Corenet calls `group` num_gqa_groups.
    """
    heads = [make_divisible(d_model * a, d_head * group) // d_head for a in multipliers(*alpha, n_layers)]
    d_ff = [make_divisible(d_model * b, multiple_of) for b in multipliers(*beta, n_layers)]
    return OpenElmConfig(
        vocab_size, d_model, d_head, heads, [count // group for count in heads], d_ff, context_length, **more
    )


def block_parameters(config, i):
    """Return the number of parameters of block i: (2H + 2G) N C of attention, 3 C F of SwiGLU, and the norms."""
    C, N, H, G, F = config.d_model, config.d_head, config.n_heads[i], config.n_kv_heads[i], config.d_ff[i]
    return (2 * H + 2 * G) * N * C + 3 * C * F + 2 * C + 2 * N


def uniform_like(config):
    """Return the config of as many blocks that are all alike and have, together, as many parameters as these.

    The heads are the mean, rounded to a multiple of a group (halves to the even); the inner width makes up for what is
    left, to within half a channel a layer: 3/2 L C parameters at most.
    """
    L, group = config.n_layers, config.n_heads[0] // config.n_kv_heads[0]
    heads = group * max(1, round(sum(config.n_heads) / L / group))
    thin = replace(config, n_heads=[heads] * L, n_kv_heads=[heads // group] * L, d_ff=[1] * L)
    missing = sum(block_parameters(config, i) - block_parameters(thin, i) for i in range(L))
    return replace(thin, d_ff=[1 + round(missing / (3 * config.d_model * L))] * L)


def reversed_layers(config):
    """Return the config with its layers in the opposite order: the same parameters, the widest layer first."""
    lists = {name: getattr(config, name)[::-1] for name in ("n_heads", "n_kv_heads", "d_ff")}
    return replace(config, **lists)


class OpenElm(Llama):
    """A LLaMA in which each block has sizes of its own, and norms queries and keys; its state is one KV cache a layer.

    Deviation: the random weights are drawn as for our LLaMA; corenet draws them by each matrix's own width.

    >>> model = OpenElm(openelm_config(300, n_layers=3, d_model=64, d_head=8, multiple_of=16))
    >>> model.config.n_heads, model.config.d_ff
    ((4, 8, 8), (32, 144, 256))
    """

    @staticmethod
    def make_block(config, i):
        """Return block i."""
        sizes = config.n_heads[i], config.n_kv_heads[i], config.d_ff[i]
        return llama_block(config, *sizes, qk_norm_eps=config.norm_eps)
