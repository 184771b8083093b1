"""What one layer of a model costs, for `lib.run.cost`: weights, work on the past, and what is kept of it.

Letters: C width, H heads, G key/value heads, N head size, F inner width, L tokens of a chunk, R rank.
"""

from dataclasses import replace
from typing import NamedTuple

from lib.models.hybrid import rwkv_like

# Operations on one score between raw product and share: scale, less the maximum, exp, sum, divide, and the maximum.
PER_SCORE = 6
# The chunks that lib.layers chooses, where decays are not extreme.
CHUNK = {4: 32, 5: 64, 6: 64, 7: 32}


class Attention(NamedTuple):
    """A layer of grouped attention and SwiGLU."""

    C: int
    H: int
    G: int
    N: int
    F: int
    window: int | None
    qk_norm: bool

    @property
    def time_matrices(self):
        """Weights of query, output, key and value."""
        return 2 * self.C * self.N * (self.H + self.G)

    @property
    def time_vectors(self):
        """OpenELM norms queries and keys."""
        return 2 * self.N if self.qk_norm else 0

    @property
    def channel_matrices(self):
        """Weights of gate, up and down."""
        return 3 * self.C * self.F

    channel_vectors = 0

    @property
    def norms(self):
        """Two RMSNorms."""
        return 2 * self.C

    def read(self, T, masked):
        """Return the FLOPs (in products, elementwise) of T tokens with each other."""
        W = min(T, self.window or T)  # the first W tokens see 1, 2, ... W, all others W
        return self._of(T * T if masked else W * (W + 1) // 2 + (T - W) * W)

    def step(self, context):
        """Return the FLOPs of one token with `context` earlier ones and itself."""
        return self._of(min(context + 1, self.window or context + 1))

    def _of(self, pairs):
        return 4 * self.H * self.N * pairs, PER_SCORE * self.H * pairs

    def kept(self, context, rolling):
        """Return how many numbers are kept (in the model's dtype, in a wider one)."""
        tokens = min(context, self.window) if self.window and rolling else context
        return 2 * self.G * self.N * tokens, 0


class Recurrence(NamedTuple):
    """A layer of RWKV. `ranks`: those of this layer's low-rank products, as (rank, how many matrices of C x rank)."""

    generation: int
    C: int
    N: int
    F: int
    ranks: tuple
    lerps: int  # shares of the token shift in the time mixer
    vectors: int  # other vectors of C there

    @property
    def time_matrices(self):
        """Weights of the large products (4, with gate 5) and of the low-rank ones."""
        large = 5 if self.generation in (5, 6) else 4
        return large * self.C**2 + sum(self.C * rank * count for rank, count in self.ranks)

    @property
    def time_vectors(self):
        """Shares of the shift, decay, bonus and the like, and the norm by heads."""
        return (self.lerps + self.vectors) * self.C

    @property
    def channel_matrices(self):
        """Weights of key and value; up to generation 6 also of the receptance."""
        return 2 * self.C * self.F + (self.C**2 if self.generation < 7 else 0)

    @property
    def channel_vectors(self):
        """Shares of the shift."""
        return self.C * (2 if self.generation < 7 else 1)

    @property
    def norms(self):
        """Two LayerNorms with bias."""
        return 4 * self.C

    def step(self, context):
        """Return the FLOPs (in products, elementwise) of one token by the recurrence; context is nothing."""
        C, N = self.C, self.N
        if self.generation == 4:
            return 0, 25 * C
        # S is C N numbers: read once (by 7 twice), and decayed, added to, and so on, five operations each.
        return (4 if self.generation == 7 else 2) * C * N, 5 * C * N + C

    def read(self, T, masked):
        """Return the FLOPs of T tokens in chunks; the last one is filled up. One token is a step."""
        if T == 1:
            return self.step(0)
        C, N, L = self.C, self.N, min(CHUNK[self.generation], T)
        tokens = -(-T // L) * L
        if self.generation == 4:
            return 0, 34 * C * tokens
        if self.generation < 7:  # two products within the chunk, two with the state
            return tokens * C * (4 * L + 4 * N), round(tokens * C * (15 + 2 * L / N + 3 * N / L))
        # Eight within, four with the state, one of state by state; and a triangular solve, which is no product.
        products = tokens * C * (16 * L + 8 * N) + tokens // L * 2 * C * N**2
        return products, round(tokens * C * (22 + 5 * L / N + 8 * N / L + 2 * L))

    def kept(self, context, rolling):
        """Return how many numbers are kept (in the model's dtype, in a wider one): the same for any context."""
        return 2 * self.C, self.C * (3 if self.generation == 4 else self.N)


class Mixed:
    """A layer of a hybrid: any time mixer in a block of RWKV-5. Weights and work are those of its two parts."""

    def __init__(self, time, block):
        self.time_matrices, self.time_vectors, self.read, self.step = (
            getattr(time, name) for name in ("time_matrices", "time_vectors", "read", "step")
        )
        self.channel_matrices, self.channel_vectors, self.norms = (
            getattr(block, name) for name in ("channel_matrices", "channel_vectors", "norms")
        )
        self.time, self.last_token = time, 0 if isinstance(time, Recurrence) else block.C

    def kept(self, context, rolling):
        """Return how many numbers are kept: what the time mixer keeps, and the channel mixer's last token."""
        small, wide = self.time.kept(context, rolling)
        return small + self.last_token, wide


class Linear(NamedTuple):
    """Linear attention as a time mixer: four matrices, a state of C N numbers, a norm by heads."""

    C: int
    N: int

    @property
    def time_matrices(self):
        """Weights of query, key, value and output."""
        return 4 * self.C**2

    @property
    def time_vectors(self):
        """Shares of the shift, and the norm by heads."""
        return 5 * self.C

    def step(self, context):
        """Return the FLOPs of one token: S is read in a product, and added to."""
        return 2 * self.C * self.N, 2 * self.C * self.N

    def read(self, T, masked):
        """Return the FLOPs of T tokens in chunks of 64: two products within a chunk, two with the state."""
        if T == 1:
            return self.step(0)
        C, N, L = self.C, self.N, min(64, T)
        tokens = -(-T // L) * L
        return tokens * C * (4 * L + 4 * N), round(tokens * C * (1 + L / N + 2 * N / L))

    def kept(self, context, rolling):
        """Return how many numbers are kept: the last token, and S."""
        return self.C, self.C * self.N


def layers_of(config):
    """Return the layers of a model, from its config."""
    if hasattr(config, "mixers"):
        return [_mixed(config, i) for i in range(config.n_layers)]
    if hasattr(config, "generation"):
        return [_recurrence(config, i) for i in range(config.n_layers)]
    each = [value if isinstance(value, (tuple, list)) else [value] * config.n_layers
            for value in (config.n_heads, config.n_kv_heads, config.d_ff)]  # fmt: skip
    window = getattr(config, "window", None)
    # Sizes by layer are OpenELM's mark, and so is the norm of queries and keys.
    qk_norm = getattr(config, "qk_norm", isinstance(config.n_heads, (tuple, list)))
    return [Attention(config.d_model, H, G, config.d_head, F, window, qk_norm) for H, G, F in zip(*each, strict=True)]


def _mixed(config, i):
    C, N, mixer, like = config.d_model, config.d_head, config.mixers[i], rwkv_like(config, config.mixers[i])
    block = _recurrence(replace(like, generation=5, ranks=()), 0)
    if mixer == "attention":
        return Mixed(Attention(C, C // N, config.n_kv_heads, N, config.d_ff, None, False), block)
    if mixer == "linear":
        return Mixed(Linear(C, N), block)
    return Mixed(_recurrence(like, 0), block)  # as first layers do, none of RWKV-7's reads another one's values


def _recurrence(config, i):
    generation, ranks = config.generation, config.ranks
    # Vectors: 4 decay, bonus. 5 and 6 decay, bonus, norm (2). 7 the same, removal, boost, bias of rate and of residual.
    lerps, vectors = {4: (3, 2), 5: (4, 4), 6: (6, 4), 7: (6, 7 if i == 0 else 8)}[generation]
    if generation == 6:  # the shift's product has five outputs
        ranks = ((ranks[0], 10), (ranks[1], 2))
    elif generation == 7:  # decay, rate, residual (not in the first layer), gate
        ranks = tuple((rank, 2) for k, rank in enumerate(ranks) if i or k != 2)
    return Recurrence(generation, config.d_model, config.d_head, config.d_ff, ranks, lerps, vectors)
