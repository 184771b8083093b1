# %% [markdown]
# # 13. A memory that is a matrix can be asked
#
# RWKV-4 keeps one mean for each channel, and a question can only turn these numbers down. Eagle, which is RWKV-5, keeps
# a matrix in each head. A question then says **what** to look up.
#
# **You build** `wkv`, the chunked form that makes it fast, and Eagle's `TimeMix`, and hold them to the published package.
# Then you count Eagle 7B to the last parameter.
#
# **You need** lessons 11 (linear attention) and 12 (RWKV-4). **Time:** 105 minutes.

# %% tags=["setup"]
start("13")

# %%
import contextlib
import importlib.util
import io
import math
import os
import tempfile

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from tqdm.auto import tqdm

from lib.layers import rwkv4
from lib.layers.linear_attention import linear_attention
from lib.layers.shift import mix, shift
from lib.models.presets import PRESETS, RWKV_PRESETS
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.models.rwkv_start import vectors
from lessons.figures import lesson_13 as figures
from lib.run.measure import best_seconds
from lib.show import plots, widgets
from lessons.exercises.lesson_13 import check
from lib.teach.claims import claim
from lib.show.predict import predict

# %% [markdown]
# ## The need
#
# Twelve people, twelve things, and a reader who is asked afterwards: what has Greta? Each word has a random
# vector of 64 numbers. There are 100 such texts, so that luck does not decide.

# %%
NAMES = "mina tom greta otto lena max ida paul nora emil rosa hugo".split()
THINGS = "ball kite drum book coat lamp bell spoon boat hat key ring".split()
print(" ".join(f"{name} has the {thing} ." for name, thing in zip(NAMES, THINGS)))
names, things = torch.randn(2, 100, 12, 64)  # 100 such texts, each with words of its own


def asked(answers):
    """How many of the answers (100, 12, N), one for each name, point at that name's thing, on average."""
    found = (answers @ things.mT).argmax(-1) == torch.arange(12)  # (100, 12)
    return round(found.double().sum(-1).mean().item(), 1)


# %% [markdown]
# First, RWKV-4's memory (lesson 12). In each channel it is a mean of the values $v$ with weights $e^k$, and the
# receptance, a number between 0 and 1, turns it down. The key is the name, the value the thing, and whoever asks shows
# the name again. Nothing fades. Training would decide how sharp the keys are; here you try six.

# %%
guess = predict(
    "13.a",
    "64 channels, the best of six sharpnesses. How many of the twelve does RWKV-4's memory get right?",
    ["0 to 4", "5 to 9", "10 to 12"],
)

# %% tags=["nbval-check-output"]
right = {}
for sharpness in (0, 0.5, 1, 2, 4, 8):
    k = sharpness * names
    memory = (k.exp() * things).sum(1, keepdim=True) / k.exp().sum(1, keepdim=True)  # (100, 1, 64)
    right[sharpness] = asked(k.sigmoid() * memory)
print("right of twelve, by sharpness:", right)
best = max(right.values())
guess.reveal("0 to 4" if best <= 4 else "5 to 9" if best <= 9 else "10 to 12", "Guessing gets one.")

# %% [markdown]
# There is **one** vector in memory, the same for all who ask. A gate can turn channels of it up or down. With large keys a
# name takes a few of the 64 channels for itself, and only in those does the gate find its thing.
#
# ## By hand
#
# Now a memory with rows and columns. For each pair, write the value into every row, times the key's number for that
# row. To ask, add up the rows, times the question's numbers.

# %% tags=["nbval-check-output"]
pairs = {"mina": ([1, 0], [2, 7, 0]), "tom": ([0, 1], [0, 5, 3])}  # key of 2 numbers, value of 3
S = [[0, 0, 0], [0, 0, 0]]
for name, (key, value) in pairs.items():
    for i in range(2):
        for j in range(3):
            S[i][j] += key[i] * value[j]
    print(f"after {name:4}: S = {S}")


def ask(r):
    """The rows of S, added up by the numbers in r."""
    return [sum(r[i] * S[i][j] for i in range(2)) for j in range(3)]


print("mina asks:", ask([1, 0]), "  tom asks:", ask([0, 1]), "  half of each:", ask([0.5, 0.5]))
memory = names.mT @ things  # the same for all twelve pairs: (100, 64, 64)
print("right of twelve, with a matrix:", asked(names @ memory))
assert asked(names @ memory) > 11.5

# %% [markdown]
# $S = \sum_s k_s^\top v_s$ is the state of linear attention (lesson 11), a [matrix-valued state](../lessons/GLOSSARY.md#matrix-valued-state). If the keys are at right angles, each value
# comes back exactly. Random keys of 64 numbers are nearly at right angles, and what the other pairs add is noise.
#
# Was the comparison fair? The matrix has 4,096 numbers and the vector 64. But **the same 64 channels** of key and value
# fill both. A wider vector could give each pair channels of its own. Later in this lesson you measure how wide it must be.
#
# ## The formula
#
# The matrix of lesson 11 never forgets, or forgets at one speed a head. The vector of lesson 12 forgets channel by channel.
# Eagle puts the two together:
#
# $$y_t = r_t \big(S_{t-1} + \mathrm{diag}(u)\, k_t^\top v_t\big) \qquad S_t = \mathrm{diag}(w)\, S_{t-1} + k_t^\top v_t
# \qquad w = e^{-e^{d}}$$
#
# $r_t, k_t, v_t$ are rows of $N$ numbers. $S$ is $N \times N$ and zero at the start. It is **keys by values**: a row for
# each channel of the key, a column for each channel of the value.
#
# - $r$, the **receptance**, is the question. It has no sigmoid, so it may be negative.
# - $w$ is the **decay**: for each row the share that is kept, between 0 and 1, made of a learned $d$. A key that uses slow
#   rows is written to stay, one that uses fast rows is a note for the next few words.
# - $u$ is the **bonus** of lesson 12, a number for each row: the token itself counts $u$, whatever $w$ is.
# - **Heads**: the 4,096 channels of Eagle 7B are cut into 64 heads of $N = 64$, each with an $S$ of its own. Why?

# %% tags=["nbval-check-output"]
C, N = 4096, 64
print(f"numbers a layer: RWKV-4 {2 * C:,}, Eagle {C // N} x {N} x {N} = {C * N:,}, one head {C * C:,}")
print("a row is down to a half after ... tokens, before training:")
for layer in (0, 15, 31):
    log_w = -vectors(RWKV_PRESETS["eagle-7b"].config, layer)["mix_time.decay"].exp()  # (C,)
    half = (math.log(0.5) / log_w).tolist()
    print(f"  layer {layer:2}: first: {half[0]:.0f}, middle: {half[2048]:.0f}, last: {half[-1]:.1f}")

# %% [markdown]
# One head for all channels would need 64 times the memory, and all of it would be read for every token. With heads, a layer
# holds many small memories of different speeds. Training moves the speeds; this is where it starts (RWKV-LM,
# `RWKV-v5/src/model.py`).
#
# ## Try it: why forget?
#
# **What does forgetting buy?** A memory of 16 x 16 gets pairs of random words, one after another. Then it is asked for
# each. Change the decay, and see which answers are still right: the last pairs or the first ones?


# %%
def draw_recall(pairs, half_life):
    """The share of right answers by age, with a decay and without, over 200 texts."""
    draw = torch.Generator().manual_seed(0)
    keys, words = (torch.randn(*size, 16, generator=draw) for size in ((200, pairs), (32,)))
    told = torch.randint(32, (200, pairs), generator=draw)
    age = torch.arange(pairs)  # the newest comes first here
    curves = {}
    for name, half in (("never forgets", math.inf), ("with this decay", half_life)):
        S = (keys * 0.5 ** (age / half)[:, None]).transpose(1, 2) @ words[told]  # (200, 16, 16)
        curves[name] = ((keys @ S @ words.T).argmax(-1) == told).double().mean(0)
    totals = [f"{shares.sum():.1f}" for shares in curves.values()]
    title = f"right of {pairs}: {totals[1]}; without decay {totals[0]}"
    colors = {"with this decay": "RWKV", "never forgets": "#6B6B6B"}
    look = {"xlabel": "how many pairs ago it was told", "ylabel": "share of right answers", "ylim": (0, 1.02)}
    return plots.draw_curves(curves, **look, title=title, colors=colors)


widgets.explore(
    draw_recall,
    "What does forgetting buy?",
    pairs=([16, 32, 64], 64, "pairs told"),
    half_life=([1, 2, 4, 8, 16, 64], 8, "half-life in pairs"),
)

# %% [markdown]
# The memory without decay treats all pairs alike, and with 64 of them none is heard well. Forgetting makes the latest clear
# and loses the rest. Compare the totals in the title as you move the sliders: forgetting pays where the latest is asked for
# most, as it is in text.
#
# ## Build the recurrence
#
# **Exercise 13.1** · implement · ●●○ · 10 min · 4 points · teaches Eagle's recurrence · needs the formula
#
# Write `wkv` for heads: `r`, `k`, `v` are (B, H, T, N); `log_w` is $\log w = -e^d$, (H, 1, N), or (B, H, T, N) where
# each token has its own; `u` is (H, N); `state` is $S$, (B, H, N, N). Return all $y$, (B, H, T, N), and the last $S$.
#
# <details><summary>Hint 1: keys by values</summary>
#
# `k_t[..., :, None] * v_t[..., None, :]` is (B, H, N, N): a row for each number of the key. $w$ and $u$ belong to rows,
# too: `u[..., None]`.
#
# </details>
# <details><summary>Hint 2: the loop</summary>
#
# `for r_t, k_t, v_t, w_t in zip(r.unbind(2), k.unbind(2), v.unbind(2), w.unbind(2)):` Use `unbind` and not `k[:, :,
# t]`: the gradient of each such slice is a whole tensor of zeros, so the backward pass would cost $T^2$.
#
# </details>
# <details><summary>Hint 3: the order</summary>
#
# First read $S$ as the token before left it, with the bonus for the token itself. Then fade, then write. `(r_t[...,
# None, :] @ M).squeeze(-2)` asks a matrix M. At the end `torch.stack(ys, dim=2)`.
#
# </details>


# %% tags=["exercise:13.1", "builds:lib.layers.rwkv5.wkv"]
def wkv(r, k, v, log_w, u, state=None):
    """(B, H, T, N) three times, decays, bonus -> y (B, H, T, N) and the memory S (B, H, N, N)."""
    S = k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state
    w, ys = log_w.exp().expand_as(k), []  # a decay for each token and row
    ### BEGIN SOLUTION
    for r_t, k_t, v_t, w_t in zip(r.unbind(2), k.unbind(2), v.unbind(2), w.unbind(2)):
        written = k_t[..., :, None] * v_t[..., None, :]  # (B, H, N, N)
        ys.append((r_t[..., None, :] @ (S + u[..., None] * written)).squeeze(-2))
        S = w_t[..., None] * S + written
    return torch.stack(ys, dim=2), S
    ### END SOLUTION


# %% tags=["check:13.1"]
wkv = check("13.1", wkv)

r, k, v = torch.randn(3, 2, 3, 20, 8, dtype=torch.float64)  # (B, H, T, N) each
never, as_all = torch.zeros(3, 1, 8).double(), torch.ones(3, 8).double()
same = torch.allclose(wkv(r, k, v, never, as_all)[0], linear_attention(r, k, v))
print("without decay and with u = 1 it is lesson 11's linear attention:", same)

# %% [markdown] tags=["solution:13.1"]

# %% [markdown]
# ## The same without a loop
#
# The loop is right, and slow: T small steps, each of which waits for the one before. Unroll it. What token $s$ wrote
# fades once for each token between $s$ and $t$, because $t$ reads **before** its own decay:
#
# $$y_t = \sum_{s<t} \Big(\sum_i r_{t,i}\, w_i^{\,t-1-s}\, k_{s,i}\Big) v_s + \Big(\sum_i r_{t,i}\, u_i\, k_{t,i}\Big) v_t$$
#
# Without $w$ the inner sums are all pairs of questions and keys, one product of matrices. The power of $w$ depends on
# both tokens, so it stands in the way. But it can be split. Let $\ell_t$ be the sum of $\log w$ over the tokens up to $t$,
# $t$ included (`left` in code, for what is left). Then
#
# $$w^{t-1-s} = e^{\ell_{t-1} - \ell_s} = \underbrace{e^{\ell_{t-1}}}_{\text{goes to } r_t} \cdot \underbrace{e^{-\ell_s}}_{\text{goes to } k_s}$$
#
# One row with $w = 0.5$, four tokens, who asks down and who wrote across:

# %% tags=["nbval-check-output"]
log_w, left = math.log(0.5), [(t + 1) * math.log(0.5) for t in range(4)]
print("asker's factor: ", [round(math.exp(left[t] - log_w), 3) for t in range(4)])
print("writer's factor:", [round(math.exp(-left[s]), 3) for s in range(4)])
for t in range(4):
    print(f"token {t} asks:", [round(math.exp(left[t] - log_w) * math.exp(-left[s]), 3) for s in range(t)])

# %% [markdown]
# The askers' factors shrink and the writers' grow, and in the products the growth cancels. For a whole text that would
# be $T \times T$ pairs again. So cut the text into **chunks** of $L$ tokens. Within a chunk all pairs meet at once.
# What came before is in $S$, and every token of the chunk asks it: $(r_t \odot e^{\ell_{t-1}})\, S$. At the chunk's end
#
# $$S \leftarrow \mathrm{diag}(e^{\ell_L}) \big(S + \textstyle\sum_s (k_s \odot e^{-\ell_s})^\top v_s\big)$$
#
# where $\odot$ multiplies number by number, and $\ell_L$ is the sum over the whole chunk.

# %%
figures.chunks(n_tokens=16, chunk=4)

# %% [markdown]
# Look at the right side: 24 pairs are reached within chunks, all others through the memory, which is now updated 4 times
# instead of 16. A processor takes the small triangles of all heads in one product.
#
# **Exercise 13.2** · implement · ●●● · 20 min · 5 points · teaches the chunked form · needs the derivation
#
# Write `one_chunk`, which returns $y$ and the new $S$ for one chunk, without a loop. Shapes are those of `wkv`; `S` is
# always given. `left`, which is there already, holds $\ell_t$ for each token and row.
#
# <details><summary>Hint 1: the two factors</summary>
#
# `asks = r * (left - log_w).exp()`, because $\ell_{t-1} = \ell_t - \log w_t$. `leaves = k * (-left).exp()`. Both are
# (B, H, L, N).
#
# </details>
# <details><summary>Hint 2: pairs, and the token itself</summary>
#
# `(asks @ leaves.mT).tril(-1)` is (B, H, L, L), the pairs with s < t. The token itself stands on the diagonal:
# `(r * u[:, None] * k).sum(-1).diag_embed()`.
#
# </details>
# <details><summary>Hint 3: the memory</summary>
#
# $y$ gets `asks @ S` as well. `left[..., -1, :, None].exp()` is $e^{\ell_L}$ with an axis for the columns, (B, H, N, 1).
#
# </details>


# %% tags=["exercise:13.2"]
def one_chunk(r, k, v, log_w, u, S):
    """What `wkv` returns for one chunk of L tokens, by products of matrices."""
    left = log_w.expand_as(k).cumsum(dim=-2)  # (B, H, L, N)
    ### BEGIN SOLUTION
    asks, leaves = r * (left - log_w).exp(), k * (-left).exp()  # (B, H, L, N)
    pairs = (asks @ leaves.mT).tril(-1)  # (B, H, L, L)
    own = (r * u[:, None] * k).sum(dim=-1)  # (B, H, L)
    y = (pairs + own.diag_embed()) @ v + asks @ S  # (B, H, L, N)
    return y, left[..., -1, :, None].exp() * (S + leaves.mT @ v)
    ### END SOLUTION


# %% tags=["check:13.2"]
one_chunk = check("13.2", one_chunk)

# %% [markdown] tags=["solution:13.2"]

# %% [markdown]
# Chunk after chunk gives the whole text. The last one may be shorter. Does it equal the loop, in every number and in every
# **gradient**? Training needs both.


# %%
def in_chunks(r, k, v, log_w, u, state=None, L=16):
    """What `wkv` returns, L tokens at a time."""
    S = k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state
    ys = []
    for parts in zip(*(z.split(L, dim=2) for z in (r, k, v, log_w.expand_as(k))), strict=True):
        y, S = one_chunk(*parts, u, S)
        ys.append(y)
    return torch.cat(ys, dim=2), S


def against_the_loop(form, inputs, dtype=torch.float64):
    """The largest differences from the loop in float64, of y, S and all gradients, as shares."""
    found = []
    for way, kind in ((form, dtype), (wkv, torch.float64)):
        leaves = [z.to(kind).requires_grad_() for z in inputs]
        y, S = way(*leaves)
        weigh = torch.linspace(-1, 1, y.numel()).view_as(y).to(kind)
        found.append([y, S, *torch.autograd.grad((weigh * y).sum() + S.sin().sum(), leaves)])
    return [((mine - true).abs().max() / true.abs().max().clamp(min=1)).item() for mine, true in zip(*found)]


# %% tags=["nbval-check-output"]
r, k, v = torch.randn(3, 2, 3, 50, 8)
u, S, gentle = torch.randn(3, 8), torch.randn(2, 3, 8, 8), -torch.rand(3, 1, 8)
differences = against_the_loop(in_chunks, (r, k, v, gentle, u, S))
print("y, S, and gradients of", "r k v log_w u S".split(), "agree to 12 digits:", max(differences) < 1e-12)
assert max(differences) < 1e-12

# %% [markdown]
# ## What can go wrong
#
# The decays above kept at least 0.37 of a row. Let one row keep a tenth: $\log w = -2.3$. The chunk has 64 tokens.

# %%
guess = predict(
    "13.b",
    "One row of 8 keeps 0.1 per token, float32, one chunk of 64. What is y at the last token?",
    ["right", "a little off: that row is rounded to zero", "not a number"],
)

# %%
r, k, v = torch.randn(3, 1, 1, 64, 8)
strong, u = torch.full((1, 1, 8), -0.1), torch.randn(1, 8)
strong[..., 0] = math.log(0.1)
exact, broken = wkv(r, k, v, strong, u)[0], in_chunks(r, k, v, strong, u, L=64)[0]
print(f"last token, loop: {exact[0, 0, -1, 0]:.3f}, chunk: {broken[0, 0, -1, 0]:.3f}")
infinite, nan = (int(found.any(-1).flatten().int().argmax()) for found in (broken.isinf(), broken.isnan()))
print(f"the first token with an infinite y: {infinite}, with a NaN: {nan}")
close = torch.allclose(exact[0, 0, -1], broken[0, 0, -1], atol=1e-4)
answer = "not a number" if broken[0, 0, -1].isnan().any() else "right" if close else guess.choices[1]
guess.reveal(answer, "The writer's factor is infinite, the asker's is zero, and their product is not a number.")
t = torch.arange(64, dtype=torch.float64)
plots.curves(
    {"writer": (t, 10.0 ** (t + 1)), "product, neighbours": (t, t * 0 + 1), "asker": (t, 10.0**-t)},
    floors={"largest float32": torch.finfo(torch.float32).max},
    xlabel="token in the chunk",
    ylabel="factor",
    ylog=True,
    colors={"writer": "RWKV", "asker": "#6A3D9A", "product, neighbours": "#5B6770"},
    alt="Three lines over the tokens of a chunk, on a logarithmic axis. The writer's factor rises above the"
    " largest float32 number at token 38. The asker's falls as far. Their product for neighbours stays at 1.",
)

# %% [markdown]
# Look where the rising line crosses the dashed one: there the writer's factor becomes infinite. The next token reads it, so
# its $y$ is infinite. The token after that adds up two infinite parts, and infinity minus infinity is not a number. Later the
# asker's factor is rounded to zero, and zero times infinity is no number either. The product, which is all we want, is an
# ordinary number. Its factors are not. And one such row spoils every result, because $y$ adds up the rows.
#
# The cure is two lines. **Choose the chunk by the strongest decay**, so that $L \cdot \max|\log w|$ is at most 66, well
# under the 88 where float32 ends. And hold $\log w$ above $-16.5$: $e^{-16.5}$ is $7 \cdot 10^{-8}$, too little for float32
# to notice beside a 1. So four tokens always fit.


# %% tags=["builds:lib.layers.rwkv5.wkv_chunked", "nbval-check-output"]
def wkv_chunked(r, k, v, log_w, u, state=None, chunk=None):
    """What `wkv` returns, in chunks that no decay can make overflow."""
    log_w = log_w.clamp(min=-16.5)
    strongest = -log_w.detach().min().item()
    fitting = next(L for L in (64, 32, 16, 8, 4) if L * strongest <= 66)
    return in_chunks(r, k, v, log_w, u, state, chunk or fitting)


r, k, v = torch.randn(3, 2, 3, 83, 8)
u, S = torch.randn(3, 8), torch.randn(2, 3, 8, 8)
for weakest, hardest in ((-0.001, -0.1), (-0.1, -3.0), (-1.0, -15.0), (-0.001, -200.0)):
    log_w = torch.linspace(weakest, hardest, 24).view(3, 1, 8)
    differences = against_the_loop(wkv_chunked, (r, k, v, log_w, u, S), torch.float32)
    same = max(differences) < 1e-4
    print(f"log w from {weakest:6} to {hardest:6}: float32 chunks are the float64 loop to 4 digits: {same}")
    assert same

# %% [markdown]
# The test is hard: 83 tokens are no multiple of any chunk, a memory is given and returned, and the gradients are compared,
# too. The published code has a CUDA kernel for this work. How much time do the chunks save here?


# %%
def both_passes(form, inputs):
    """Compute y and all gradients."""
    leaves = [z.clone().requires_grad_() for z in inputs]
    form(*leaves)[0].square().sum().backward()


inputs = *torch.randn(3, 4, 4, 512, 64).unbind(0), -torch.rand(4, 1, 64), torch.randn(4, 64)
threads = torch.get_num_threads()
torch.set_num_threads(1)  # on a busy machine a second core comes and goes
took = best_seconds(
    {name: lambda form=form: both_passes(form, inputs) for name, form in (("loop", wkv), ("chunks", wkv_chunked))}
)
torch.set_num_threads(threads)
print(f"512 tokens, 4 texts, one core: loop {took['loop']:.2f} s, chunks {took['chunks']:.3f} s", end=": ")
print(f"the loop takes {took['loop'] / took['chunks']:.1f} times as long")

# %% [markdown]
# This factor differs from machine to machine, and from size to size. Against a loop with `k[:, :, t]` it would be larger, for the reason in
# hint 2. So when you read of a large factor, ask what the slow side was.
#
# ## A sum without a divisor
#
# RWKV-4 divides by the sum of its weights. Here $r \cdot k$ may be negative and the weights may add up to zero, so Eagle does
# not divide. The price: $y$ can have any size. It grows as more is remembered, and a head with small keys whispers. So
# each head's $y$ is **normalised by itself**: mean 0 and deviation 1 over its $N$ channels, then a weight and a bias
# for each channel. That is [GroupNorm](../lessons/GLOSSARY.md#groupnorm) with the heads as groups, and it has an $\varepsilon$ ("epsilon") under the root:
# $(y - \text{mean}) / \sqrt{\text{variance} + \varepsilon}$. RWKV-5.2 takes $\varepsilon = 64 \cdot 10^{-5}$.

# %%
guess = predict(
    "13.c",
    "A quiet head: y has deviation 0.01. After the norm with 64e-5 its deviation is ...",
    ["1.00", "0.37", "0.01"],
)

# %% tags=["nbval-check-output"]
y = torch.randn(1, 1, 1, 64)
y = (y - y.mean()) / y.std(correction=0)  # deviation 1
print("deviation of y      0.001   0.01    0.1      1     10")
for eps in (64e-5, 1e-5):
    rows = [size * y[0, 0] for size in (1e-3, 0.01, 0.1, 1, 10)]
    after = [F.group_norm(row, 1, eps=eps).std(correction=0).item() for row in rows]
    print(f"after, eps {eps:.5f} ", "".join(f"{deviation:7.3f}" for deviation in after))
    answer = f"{after[1]:.2f}" if eps == 64e-5 else answer
divided, plain = F.group_norm(y[0, 0] / 800, 1, eps=1e-5), F.group_norm(y[0, 0] / 100, 1, eps=64e-5)
print("y / 8 with 1e-5 is y with 64e-5:", torch.allclose(divided, plain))
guess.reveal(answer, "The root of 64e-5 is 0.025, and a head that is quieter stays quiet.")

# %% [markdown]
# The last line shows where 64 comes from: RWKV's code divides $y$ by 8 and then normalises with the usual $10^{-5}$.
# If you forget the division and load published weights, you get **no error**. Loud heads are right, quiet ones come
# out up to eight times too loud. You will see it in the logits, below.
#
# **Exercise 13.3** · repair · ●●○ · 10 min · 3 points · teaches what a norm may see · needs the paragraph above
#
# A model with this norm by heads trains too well. Run the cell: the last token is changed, and the first output changes
# with it. Repair the norm.
#
# <details><summary>Hint 1</summary>
#
# `F.group_norm` takes (rows, channels, ...) and averages, for each row and group, over **everything else**. What is a
# row here?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Make each token a row of its own: (B, H, T, N) to (B, T, H, N) to (B * T, C). Then `F.group_norm`, and back to (B, T,
# C).
#
# </details>


# %%
def broken_norm(y, weight, bias, eps=64e-5):
    """(B, H, T, N) -> (B, T, C)."""
    B, H, T, N = y.shape
    channels = rearrange(y, "b h t n -> b (h n) t")  # (B, C, T), as for a convolution
    return F.group_norm(channels, H, weight, bias, eps).transpose(1, 2)


y, changed = torch.randn(2, 1, 3, 5, 4)
changed[:, :, :-1] = y[:, :, :-1]
before, after = (broken_norm(z, torch.ones(12), torch.zeros(12)) for z in (y, changed))
print(f"the last of 5 tokens changed; the first output moved by {(before - after)[:, 0].abs().max():.2f}")


# %% tags=["exercise:13.3"]
def head_norm(y, weight, bias, eps=64e-5):
    """(B, H, T, N) -> (B, T, C): each head of each token by its own mean and spread."""
    B, H, T, N = y.shape
    ### BEGIN SOLUTION
    rows = rearrange(y, "b h t n -> (b t) (h n)")  # (B*T, C)
    return rearrange(F.group_norm(rows, H, weight, bias, eps), "(b t) c -> b t c", b=B)  # (B, T, C)
    ### END SOLUTION


# %% tags=["check:13.3"]
head_norm = check("13.3", head_norm)

# %% [markdown] tags=["solution:13.3"]
# Mean and spread were taken over all tokens of the text, so each token knew how loud the later ones would be.

# %% [markdown]
# ## Build the layer
#
# In RWKV-4 the receptance was the gate. Now it asks, so Eagle has a **gate** of its own, with SiLU as in SwiGLU (lesson
# 03): $\text{output}(\text{norm}(y) \odot \text{silu}(g))$. It costs one more matrix, $C^2$ parameters a layer. The
# channel mix of lesson 12 pays for it. It keeps its form, but its inner width falls from $4\,C$ to $3.5\,C$: two matrices,
# each smaller by half a $C^2$.
#
# **Exercise 13.4** · implement · ●●○ · 15 min · 5 points · teaches Eagle's time mixer · needs 13.1 to 13.3
#
# Write the rest of `TimeMix.forward`. The token shift is there, four mixed inputs are ready. Project `x_r`, `x_k`,
# `x_v`, cut them into heads, run `wkv_chunked` with $\log w = -e^d$ (`decay` holds $d$), the bonus and `S`. Norm, gate
# with `x_g`, project back. Return the result and the state, the pair `(last, S)`.
#
# <details><summary>Hint 1: heads</summary>
#
# `rearrange(z, "b t (h n) -> b h t n", h=self.n_heads)` makes (B, H, T, N) of (B, T, C).
#
# </details>
# <details><summary>Hint 2: the decay</summary>
#
# `self.decay` is (H, N), and `wkv_chunked` wants (H, 1, N): `-self.decay.exp()[:, None]`. `self.bonus` fits as it is.
#
# </details>
# <details><summary>Hint 3: the norm</summary>
#
# `head_norm(y, self.norm.weight, self.norm.bias, self.norm.eps)` is (B, T, C). Then times `F.silu(self.gate(x_g))`,
# then `self.output`.
#
# </details>


# %% tags=["exercise:13.4", "builds:lib.layers.rwkv5.TimeMix"]
class TimeMix(nn.Module):
    def __init__(self, d_model, d_head, head_eps=64e-5):
        super().__init__()
        self.n_heads = d_model // d_head
        for name in ("mix_receptance", "mix_key", "mix_value", "mix_gate"):
            setattr(self, name, nn.Parameter(torch.full((d_model,), 0.5)))
        for name in ("receptance", "key", "value", "gate", "output"):
            setattr(self, name, nn.Linear(d_model, d_model, bias=False))
        self.decay, self.bonus = (nn.Parameter(torch.zeros(self.n_heads, d_head)) for _ in range(2))
        self.norm = nn.GroupNorm(self.n_heads, d_model, head_eps)

    def forward(self, x, state, shared=None):
        """(B, T, C), (last token, S) or None -> (B, T, C), (last token, S)."""
        last, S = state or (None, None)
        before, last = shift(x, last)
        x_r, x_k, x_v, x_g = mix(x, before, self.mix_receptance, self.mix_key, self.mix_value, self.mix_gate)
        ### BEGIN SOLUTION
        r, k, v = self.receptance(x_r), self.key(x_k), self.value(x_v)
        r, k, v = (rearrange(z, "b t (h n) -> b h t n", h=self.n_heads) for z in (r, k, v))  # (B, H, T, N)
        y, S = wkv_chunked(r, k, v, -self.decay.exp()[:, None], self.bonus, S)
        y = head_norm(y, self.norm.weight, self.norm.bias, self.norm.eps)  # (B, T, C)
        return self.output(y * F.silu(self.gate(x_g))), (last, S)
        ### END SOLUTION


# %% tags=["check:13.4"]
TimeMix = check("13.4", TimeMix)

mixer, x = TimeMix(24, 8).double(), torch.randn(2, 12, 24, dtype=torch.float64)
whole, _ = mixer(x, None)
for sizes in ([1] * 12, [5, 7], [3, 1, 8]):
    state, parts = None, []
    for piece in x.split(sizes, dim=1):
        y, state = mixer(piece, state)
        parts.append(y)
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-12)
print("12 at once = 12 single steps = 5 + 7 = 3 + 1 + 8, to 12 digits")

# %% [markdown] tags=["solution:13.4"]

# %% [markdown]
# ## Does it learn to look up?
#
# By hand you chose keys and values. Now let training find them. A text is "name thing name thing ...". Everybody owns
# one thing, names come again and again, and the model guesses the next thing. It has one layer. The token shift can put
# a name and its thing together.


# %%
class Reader(nn.Module):
    """Words 0..7 are names, 8..15 things. (B, T) -> which thing comes next (B, T, 8), and the state."""

    def __init__(self, mixer, d_model):
        super().__init__()
        self.embed, self.norm = nn.Embedding(16, d_model), nn.LayerNorm(d_model)
        self.mixer, self.head = mixer, nn.Linear(d_model, 8, bias=False)

    def forward(self, words, state=None):
        y, state = self.mixer(self.norm(self.embed(words)), state)
        return self.head(y), state


def texts(count):
    """Random texts (count, 24), and whether each of their 12 names has come before, (count, 12)."""
    owned = 8 + torch.rand(count, 8).argsort(1)
    names = torch.randint(8, (count, 12))
    again = (names[:, :, None] == names[:, None]).tril(-1).any(-1)
    return torch.stack([names, owned.gather(1, names)], dim=2).flatten(1), again


# %%
def trained(make, d_model, steps=400):
    """Train a reader, and say how often it is right where a name has come before."""
    torch.manual_seed(0)
    reader = Reader(make(d_model), d_model)
    nn.init.constant_(reader.mixer.decay, -4.0)  # half-life 38 tokens
    optimizer = torch.optim.AdamW(reader.parameters(), lr=0.02)
    for step in tqdm(range(steps), desc=f"{d_model} channels", leave=False):
        optimizer.param_groups[0]["lr"] = 0.02 * (1 - step / steps)
        words, _ = texts(64)
        loss = F.cross_entropy(reader(words)[0][:, ::2].flatten(0, 1), words[:, 1::2].flatten() - 8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words, again = texts(1000)
    with torch.no_grad():
        right = reader(words)[0][:, ::2].argmax(-1) == words[:, 1::2] - 8
    count = sum(weight.numel() for weight in reader.mixer.parameters())
    print(f"{d_model} channels, {count:6,} parameters: {right[again].double().mean():.0%} right")
    return reader


print("Eagle, one head, then RWKV-4 in two widths:")
reader = trained(lambda C: TimeMix(C, C), 24)
for width in (24, 72):
    trained(rwkv4.TimeMix, width)

# %% [markdown]
# The task and the steps are the same for all three. A vector **can** do it, if it is wide enough: with enough channels,
# training can give each name some of its own. But the parameters grow with the square of the width, and a
# matrix gets $N$ times the memory out of the same width.
#
# **What is in the memory after each word?** Move the slider. On the left are the numbers of $S$, which nobody can read. So
# ask: for each name, the right side shows what this model would answer if that name came now.

# %%
STORY = "mina ball tom kite greta drum otto book lena coat tom kite mina lamp max bell".split()
WORDS = NAMES[:8] + THINGS[:8]


def read(words):
    """The state after some words, and what each of the eight names would get, (8, 8)."""
    with torch.no_grad():
        _, (last, S) = reader(torch.tensor([[WORDS.index(word) for word in words]]))
        logits, _ = reader(torch.arange(8)[:, None], (last.expand(8, -1), S.expand(8, -1, -1, -1)))
    return S[0, 0], logits[:, 0].softmax(-1)


def draw_reading(n_words):
    """The memory after n words of the story, and the answers in it."""
    return figures.draw_state(*read(STORY[:n_words]), STORY[:n_words], NAMES[:8], THINGS[:8])


question = "What is in the memory after each word?"
widgets.explore(draw_reading, question, n_words=(1, 16, 1, 10, "words read"))
share = read(STORY)[1][0]
print(f"at the end mina would get: ball {share[0]:.2f}, lamp {share[THINGS.index('lamp')]:.2f}")

# %% [markdown]
# Follow one name on the right: its row changes when its thing comes. Then go to word 14, where Mina gets a lamp. In the
# training texts nobody ever changed a thing, so read little into how she shares herself between ball and lamp at the end.
# But the formula says why a change is hard: Eagle **adds**. It can let a row of $S$ fade, but it can't erase what stood under
# one key. Lesson 14 can.
#
# ## A trained memory while it reads
#
# That was a toy. Here is a whole model, an RWKV-5 of four layers that has learned to tell the course's tales. It reads a
# sentence, and you look into the heads of its third layer. A head's memory after each word is enough to tell the rest: what
# a word wrote is the memory now, minus what the decay left of the memory before.
#
# **Which heads still hold the drum when she stumbles, and which one has let it go?** Each bar is a word: its outline is the
# size of what it wrote, its filled part what is left of that. Move the first slider to the end, then try each head.

# %%
from lib.run.checkpoint import load_bundle
from lib.text import corpora

storyteller, tokenizer = load_bundle(corpora.DATA / "checkpoints" / "rwkv-5-tales")
spoken = tokenizer.encode("Grandma had lent her a golden drum. Beside a green gate, she stumbled")
memories, state, LAYER = [torch.zeros(4, 32, 32)], None, 2  # S of each head, (H, N, N), from the empty one on
with torch.no_grad():
    for token in spoken:
        _, state = storyteller(torch.tensor([[token]]), state)
        (_, S), _ = state.layers[LAYER]  # the time mixer's last token and S, the channel mixer's last token
        memories.append(S[0])
    w = (-storyteller.blocks[LAYER].mix_time.decay.exp()).exp()[..., None]  # (H, N, 1), the share that each row keeps
writings = [now - w * before for before, now in zip(memories, memories[1:])]


# %%
def draw_trained(n_words, head):
    """One head's memory after n tokens, and how much of each one's writing is left in it."""
    left = [(w ** (n_words - 1 - t) * new)[head] for t, new in enumerate(writings[:n_words])]
    sizes = [(new[head].norm().item(), rest.norm().item()) for new, rest in zip(writings, left)]
    words = [tokenizer.decode([token]).strip() for token in spoken[:n_words]]
    half = (math.log(0.5) / w[head].log()).median().item()
    return figures.draw_trained(memories[n_words][head], words, sizes, half)


question = "Which heads still hold the drum when she stumbles, and which one has let it go?"
controls = {"n_words": (1, len(spoken), 1, 8, "pieces of words read"), "head": ([0, 1, 2, 3], 3, "head")}
widgets.explore(draw_trained, question, **controls)
drum = [tokenizer.decode([token]).strip() for token in spoken].index("drum")
left = ((w ** (len(spoken) - 1 - drum) * writings[drum]).norm(dim=(1, 2)) / writings[drum].norm(dim=(1, 2))).tolist()
assert min(left[:2]) > 0.8 > left[2] > 0.5 > 0.25 > left[3]  # as the next lines say

# %% [markdown]
# When she stumbles, heads 0 and 1 still hold nearly all of the drum and head 2 over half of it. Head 3 has let most of it go.
# So the heads have shared out the work: 3 forgets within a few words, 2 holds a phrase, 1 a sentence or two, and 0 hardly
# lets anything go. Nobody told them to: it is the start above (lesson 15 says why it is chosen), and training.
#
# ## Exercise: two readers
#
# **Exercise 13.5** · implement · ●●○ · 10 min · 3 points · teaches that memories can be joined · needs the derivation
#
# Two machines read the two halves of a text at the same time, each from an empty memory. Make the memory of the whole
# text from `first` and `second`, both (B, H, N, N). Every token of the second half has its own decay: `log_w` is (B, H, T,
# N), as it will be in lesson 14.
#
# <details><summary>Hint 1</summary>
#
# What does reading the second half do to a memory that is not empty? It fades it, and it writes. Which of the two does
# `second` hold already?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A row fades by the product of its decays over the T tokens: the exp of the sum of their logs, (B, H, N). It needs an
# axis for the columns.
#
# </details>


# %% tags=["exercise:13.5"]
def join(first, second, log_w):
    """(B, H, N, N) twice and the second half's log decays (B, H, T, N) -> the memory of the whole text."""
    ### BEGIN SOLUTION
    return log_w.sum(dim=2).exp()[..., None] * first + second
    ### END SOLUTION


# %% tags=["check:13.5"]
join = check("13.5", join)

r, k, v = torch.randn(3, 2, 3, 40, 8)
log_w, u = -torch.rand(2, 3, 40, 8), torch.zeros(3, 8)
halves = [wkv(*(z[:, :, part] for z in (r, k, v, log_w)), u)[1] for part in (slice(0, 25), slice(25, 40))]
whole = wkv(r, k, v, log_w, u)[1]
print("joined halves are the whole:", torch.allclose(join(*halves, log_w[:, :, 25:]), whole, atol=1e-5))

# %% [markdown] tags=["solution:13.5"]
# So many machines can read one long text at once, and the memories are joined in pairs, in any grouping: that is a
# *parallel scan*. It works for one layer whose `k`, `v` and `w` are known. In a whole model it is harder: the second
# reader's first token lacks the token before it (the shift), and from the second layer on, its inputs depend on what the
# first reader found.

# %% [markdown]
# ## Eagle 7B, to the last parameter
#
# 32 layers, $C$ = 4,096, a vocabulary of 65,536. A layer has five $C \times C$ matrices in its time mix; in its channel
# mix two of $3.5\,C \times C$ and one of $C \times C$; and 14 vectors of $C$ numbers: six shares of the token shift,
# decay, bonus, and six for three norms. Around the layers: embedding, head, two norms.

# %% tags=["nbval-check-output"]
from lib.models.skeleton import count_on_meta

C, layers, V = 4096, 32, 65536
time_mix, channel_mix, of_vectors = 5 * C * C, 2 * (7 * C // 2) * C + C * C, 14 * C
by_hand = layers * (time_mix + channel_mix + of_vectors) + 2 * V * C + 2 * 2 * C
built = count_on_meta(lambda: Rwkv(RWKV_PRESETS["eagle-7b"].config))
print(f"by hand {by_hand:,}, built {built:,}, embedding and head {2 * V * C:,}: {2 * V * C / by_hand:.1%}")
assert by_hand == built == RWKV_PRESETS["eagle-7b"].n_params == 7_518_044_160
claim("eagle-size", "holds" if round(built / 1e9, 2) == 7.52 else "does not hold here", f"{built:,} parameters")

# %% [markdown]
# "Eagle 7B is a 7.52B parameter model" ([announcement](https://blog.rwkv.com/p/eagle-7b-soaring-past-transformers)). The
# last line above is a row of the course's table of claims: this one holds.
#
# Now the state. LLaMA-7B has the same 32 layers of the same width, and keeps a key and a value for every token (lesson
# 05).

# %%
guess = predict(
    "13.d",
    "Eagle 7B's state, all layers. LLaMA-7B's cache has as many numbers after ... tokens",
    ["33", "2,080", "33,000"],
)

# %% tags=["nbval-check-output"]
state = layers * (C // 64 * 64 * 64 + 2 * C)  # S of all heads, and the last token for either token shift
c = PRESETS["llama-7b"].config
per_token = c.n_layers * 2 * c.n_kv_heads * c.d_head
print(f"Eagle 7B: {state:,} numbers, {4 * state / 2**20:.0f} MiB in float32, after any number of tokens")
for tokens in (state // per_token, 2048, 32768):
    numbers = tokens * per_token
    print(f"LLaMA-7B: {numbers:13,} numbers after {tokens:6,} tokens, {numbers / state:6.0f} times Eagle's")
guess.reveal(f"{state // per_token}", "A cache is exact and grows; a state is small and blurs.")

# %% [markdown]
# That is the trade: Eagle carries any text in the room of 33 tokens, and it can't hold more than that room holds.
#
# ## A hundred languages?
#
# "Trained on 1.1 Trillion Tokens across 100+ languages (70% English, 15% multi lang, 15% code)" ([model
# card](https://huggingface.co/RWKV/v5-Eagle-7B-pth)). What can you check of this from here? The data is not listed by
# language, so you can't check that. You can check the vocabulary and the arithmetic. Each token costs a row in the
# embedding and one in the head: 8,192 parameters in Eagle 7B. So what does an alphabet cost, and which alphabets are there?

# %% tags=["nbval-check-output"]
import unicodedata
from collections import Counter

from lib.text.languages import language_name, name_lists, paragraphs
from lib.text.published import load_tokenizer

tokenizers = {"LLaMA type": load_tokenizer("llama"), "RWKV World": load_tokenizer("world")}


def script(token):
    """The script of a token's letters, or None: the first word of their names in Unicode (lesson 01)."""
    found = {unicodedata.name(c, "?").split()[0] for c in token.decode("utf-8", "ignore") if c.isalpha()}
    return found.pop() if len(found) == 1 else None


samples, places, written = paragraphs(500), {}, {}
for name, each in tokenizers.items():
    places[name], pieces = Counter(map(script, each.vocab)), set(each.vocab)
    letters = [{c.encode() for c in text if c.isalpha()} for text in samples.values()]
    written[name] = sum(alphabet <= pieces for alphabet in letters)
print("script     in the LLaMA type")
for kind in ("LATIN", "CJK", "CYRILLIC", "HANGUL", "ARABIC", "THAI", "DEVANAGARI", "ETHIOPIC"):
    few, many = (places[name][kind] for name in tokenizers)
    print(f"{kind.lower():11}{few:6,} tokens, in World {many:6,}: {many * 8192 / 1e6:6.1f} M parameters")
print(f"of {len(samples)} written languages, every letter has a token:", written)

# %% [markdown]
# An alphabet is cheap: forty tokens are 0.3 million parameters, next to nothing in 7.5 billion. And World did not buy
# alphabets. Compare the last line: how many languages each vocabulary writes without falling back to bytes. Most of its
# places went to longer Latin pieces. What did it get for them?

# %% tags=["nbval-check-output"]
lists = name_lists()  # the same names in each language
llama, world = ({key: len(each.encode(text)) for key, text in lists.items()} for each in tokenizers.values())
fewer = sum(world[code] < llama[code] for code in lists)
print(f"World needs fewer tokens than the LLaMA type in {fewer} of {len(lists)} languages")
for code in ("en", "zh_Hans", "ko", "ja", "th", "hi", "am"):
    print(f"  {language_name(code):21}{world[code] / llama[code]:5.0%} of the LLaMA type's tokens")
english, others = 0.70 * 1.1e12, 0.15 * 1.1e12
print(f"English {english / 1e9:.0f} G tokens, all other languages {others / 1e9:.0f} G:", end=" ")
print(f"one of a hundred {others / 1e11:.2f} G, {100 * english / others:.0f} times less than English")
small = RWKV_PRESETS["rwkv-5-0.1b"]
share = 2 * V * small.config.d_model / small.n_params
number = f"the data is not listed; World needs fewer tokens than the LLaMA type in {fewer} of {len(lists)} languages"
print(f"and in the smallest World model, rwkv-5-0.1b, embedding and head are {share:.0%} of all parameters")
claim("eagle-languages", "can't be checked", number)

# %% [markdown]
# **The honest reading.** Every language can be written, by bytes if need be, as with any byte vocabulary. Most became
# cheaper than in the LLaMA type's, English as well as Chinese, and some did not: look at Amharic. If the 15 % were spread
# evenly, a language would have got one word where English got hundreds, and an average says nothing of the small ones.
# The announcement reports tests in 23 languages. "100+" says what was fed in. It does not say what was learned, and nothing
# here can check it, so that is the verdict in the table of claims. The large vocabulary is a small part of a 7B model, and a
# large part of a 0.1B one.
#
# ## In the wild
#
# The package `rwkv` is the published code for running these models. It calls our `decay` `time_decay`, our `bonus`
# `time_faaaa`, our `norm` `ln_x`, our mixers `att` and `ffn`. Put your `TimeMix` into a small model with random weights,
# save it under RWKV's names, and let the package read it. Then do the same with the wrong $\varepsilon$.

# %% tags=["nbval-check-output"]
from lib.weights.rwkv import to_rwkv

if importlib.util.find_spec("rwkv") is None:
    print("The package is not here: pip install --no-deps rwkv==0.8.32, then run this cell again.")
else:
    os.environ.update(RWKV_JIT_ON="0", RWKV_CUDA_ON="0")
    torch.manual_seed(0)
    model = Rwkv(RwkvConfig(5, vocab_size=300, n_layers=3, d_model=128, d_ff=448, d_head=32))
    for each in model.blocks:
        each.mix_time = TimeMix(128, 32)  # yours
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            from rwkv.model import RWKV

            torch.save(to_rwkv(model), f"{folder}/tiny.pth")
            published = RWKV(model=f"{folder}/tiny", strategy="cpu fp32")
        words = torch.randint(300, (1, 70))
        theirs, _ = published.forward(words[0].tolist(), None, full_output=True)
        for eps in (64e-5, 1e-5):
            for each in model.blocks:
                each.mix_time.norm.eps = eps
            off = ((model(words)[0][0] - theirs).abs().max() / theirs.std()).item()
            print(f"eps {eps:.5f}: equal to the package's logits to 4 digits: {off < 1e-4}")

# %% [markdown]
# ## Recap
#
# A vector memory gives everybody the same mean. A matrix, written as keys by values, can be asked, and Eagle lets each of
# its rows fade at its own speed. Within a chunk the recurrence is a product of matrices, with the same values and
# gradients, as long as the chunk is short enough for the strongest decay. The state of Eagle 7B is as large as LLaMA-7B's
# cache of 33 tokens and never grows, so it must choose what it keeps.
#
# ## Read on
#
# - Peng et al., [Eagle and Finch](https://arxiv.org/abs/2404.05892): the paper, with these formulas, the World
#   tokenizer and its corpus.
# - Yang et al., [Gated Linear Attention](https://arxiv.org/abs/2312.06635): the chunked form with decay, and how the
#   overflow is cured on a GPU by a second level of chunks.
# - RWKV-LM, [issue 282](https://github.com/BlinkDL/RWKV-LM/issues/282): the author says where the 64 in the norm's eps
#   is from.
# - Schlag et al., [Linear Transformers Are Secretly Fast Weight Programmers](https://arxiv.org/abs/2102.11174): how
#   many pairs such a matrix holds, and the rule that erases, which is lesson 14's.
#
# **Next:** [14. A memory that erases](14_rwkv6_rwkv7.ipynb).
