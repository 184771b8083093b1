# %% [markdown]
# # 12. A transformer that is an RNN
#
# While it learns, RWKV-4 reads a whole text at once, as a transformer does. While it writes, it takes one token at a time,
# with a memory that never grows. Three ideas make that work well: decay, bonus and token shift.
#
# **You build** the whole block, `shift`, `wkv`, `TimeMix` and `ChannelMix`, put three of them into a model, and hold it
# to the published package: the same logits, token for token.
#
# **You need** lessons 06 (the running maximum) and 11 (linear attention). **Time:** 110 minutes.

# %% tags=["setup"]
start("12")

# %%
import math
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from lib.layers import rwkv4
from lib.models.presets import PRESETS, RWKV_PRESETS
from lib.models.rwkv import RwkvConfig
from lib.models.rwkv_start import vectors
from lib.models.skeleton import Block, LanguageModel, n_params
from lib.run.measure import best_seconds
from lessons.figures import lesson_12 as figures
from lib.show import widgets
from lessons.exercises.lesson_12 import check
from lib.show.predict import predict
from lib.text import corpora
from lib.text.published import load_tokenizer
from lib.weights.rwkv import to_rwkv

# %% [markdown]
# ## The need: a mean stops listening
#
# At the end of lesson 11 there was a state that adds up everything, and divides by the sum of the weights. Let such a mean
# read forty tales, with a random vector for each token, and see how far each tale moves it.

# %%
tokenizer, tales = load_tokenizer("tales"), corpora.load("tales").documents_validation[:40]
table = torch.randn(tokenizer.vocab_size, 64)


def moves(kept):
    """How far each tale moves a memory that keeps a share `kept` of its sums at each token."""
    total, count, distances = torch.zeros(64), 0.0, []
    for tale in tales:
        before = total / max(count, 1)
        for token in tokenizer.encode(tale):
            total, count = kept * total + table[token], kept * count + 1
        distances.append((total / count - before).norm().item())
    return distances


guess = predict(
    "12.a",
    "The second tale moves the mean of all tokens so far by some distance. The fortieth moves it ...",
    ["as far", "half as far", "less than a tenth as far"],
)

# %%
for name, kept in (("keeps all", 1.0), ("keeps 99 % at each token", 0.99)):
    far = moves(kept)
    print(f"{name:25}", "  ".join(f"tale {n:2}: {far[n - 1]:.2f}" for n in (2, 10, 20, 40)))
    if kept == 1:
        ratio = far[39] / far[1]
        answer = "half as far" if 0.1 < ratio < 0.7 else "as far" if ratio >= 0.7 else "less than a tenth as far"
guess.reveal(answer, "It is one tale of forty.")

# %% [markdown]
# A mean of everything hardens. A memory that fades goes on listening: it forgets, and **that makes room**. How fast should
# it forget? RWKV-4 gives each channel a speed of its own, and learns it.
#
# It also gives up something that lesson 11 had, the matrix with its queries. Each channel takes a mean of its own, and
# meets no other channel. Later generations bring the matrix back. Here is where the next three lessons lead; come back to
# this table when you meet its words:
#
# | RWKV | 4 | 5, Eagle | 6, Finch | 7, Goose |
# |---|---|---|---|---|
# | **lesson** | 12 | 13 | 14 | 14 |
# | **state** | two sums for each channel | a matrix for each head, keys by values | as in 5 | as in 5, turned: values by keys |
# | **decay** | learned, one for each channel | learned, one for each channel of the key | made from each token | made from each token |
# | **write** | fade, then add the value | fade, then add key times value | as in 5 | fade, take the old value away, add the new one |
# | **read** | the mean, turned down by a gate | the matrix, asked by a query | as in 5 | as in 5, after it has written |
# | **what it can't do** | be asked | choose how long it keeps what it reads | replace one value and spare the rest | keep many overlapping keys apart at once |

# %% [markdown]
# ## Token shift
#
# Begin with the cheapest idea, the [token shift](../lessons/GLOSSARY.md#token-shift). How much is it worth to see the token before? Count it, for bytes of the tales: how many
# bits does the next byte still cost if you know one byte, or two?


# %%
def bits_given(n, text):
    """Average bits of a byte, given the n bytes before it, by the counts of the text itself."""
    both = Counter(zip(*(text[i:] for i in range(n + 1))))
    given = Counter(zip(*(text[i:-1] for i in range(n))))
    return sum(count * math.log2(given[key[:-1]] / count) for key, count in both.items()) / (len(text) - n)


text = corpora.load("tales").train[:500_000].encode()
for n in (1, 2):
    print(f"the next byte, given {n} byte{'s' * (n > 1)} before it: {bits_given(n, text):.2f} bits")

# %% [markdown]
# So let each token carry some of the one before it, for the price of an addition. $x_t$ is the token's vector, (C,). Each
# channel has a **share** $\mu$ ("mu"), which is learned and mostly lies between 0 and 1:
#
# $$\mathrm{mix}(x_t) = \mu \odot x_t + (1 - \mu) \odot x_{t-1}$$
#
# $\odot$ multiplies channel by channel. There is one such share for the key, one for the value, and so on: a channel of the
# key may look at the token before, and the same channel of the value at the token itself. Before the first token stands
# zero.
#
# In `mix` the share belongs to the token itself: at 1 there is no shift. From generation 6 on, RWKV's code turns that round,
# and the share belongs to the token before. We call that form `lean`. You will meet it in lesson 14:
#
# $$\mathrm{lean}(x_t) = x_t + \mu \odot (x_{t-1} - x_t)$$

# %%
words = tales[0].split()[:7]
figures.shifts(words, n_layers=3)

# %% [markdown]
# Look at the orange places: a layer sees one token back, three layers see three. A convolution that is two places wide does
# the same. When the tokens come one at a time, the layer must keep the last one: it is the first part of its state.
#
# **Exercise 12.1** · implement · ●○○ · 5 min · 2 points · teaches the shift and its state · needs the formula
#
# Return for each token the one before it, and the last token, which the next call gets as `last`.
#
# <details><summary>Hint 1: all but the first</summary>
#
# `x[:, :-1]` are all tokens but the last one. They stand before `x[:, 1:]`.
#
# </details>
# <details><summary>Hint 2: the first</summary>
#
# Before the first stands `last[:, None]`, (B, 1, C), or `torch.zeros_like(x[:, :1])`. Join with `torch.cat([...], dim=1)`.
#
# </details>


# %% tags=["exercise:12.1", "builds:lib.layers.shift.shift"]
def shift(x, last=None):
    """x (B, T, C), last (B, C) or None -> the tokens before, (B, T, C), and x's last token, (B, C)."""
    ### BEGIN SOLUTION
    first = torch.zeros_like(x[:, :1]) if last is None else last[:, None]  # (B, 1, C)
    return torch.cat([first, x[:, :-1]], dim=1), x[:, -1]
    ### END SOLUTION


# %% tags=["check:12.1"]
shift = check("12.1", shift)


def mix(x, before, *shares):
    """x and the tokens before, mixed once for each share: 1 is x, 0 is `before`."""
    return [share * x + (1 - share) * before for share in shares]


# %% [markdown] tags=["solution:12.1"]

# %% [markdown]
# ## Decay and bonus, by hand
#
# One channel, four tokens. Each brings a value and a key, one number that says how much the token matters. Token 3 takes
# a mean of all four values. What is the weight of each? The key counts as $e^k$. At each token the memory keeps a share
# $w$ of what it held, a number between 0 and 1: that is the [decay](../lessons/GLOSSARY.md#decay). The token before has not faded yet, the one before that
# has faded once, and so on. The token itself gets a number of its own, the **[bonus](../lessons/GLOSSARY.md#bonus)** $u$.

# %% tags=["nbval-check-output"]
keys, values, w, u = [0.0, 1.0, 0.5, 2.0], [10.0, 20.0, 30.0, 40.0], 0.6, 0.3


def weighted_mean(t):
    """The mean that token t takes, and the weights, by the formula."""
    weights = [w ** (t - 1 - s) * math.exp(keys[s]) for s in range(t)] + [math.exp(u + keys[t])]
    return sum(weight * v for weight, v in zip(weights, values)) / sum(weights), weights


for t in range(4):
    mean, weights = weighted_mean(t)
    print(f"token {t}: weights {[round(weight, 3) for weight in weights]}, mean {mean:.4f}")

# %% [markdown]
# $$y_t = \frac{\sum_{s<t} w^{t-1-s}\, e^{k_s}\, v_s + e^{u + k_t}\, v_t}{\sum_{s<t} w^{t-1-s}\, e^{k_s} + e^{u + k_t}}
# \qquad w = e^{-e^{d}}$$
#
# All of it is done channel by channel. What is learned is $d$, `decay` in code. It can be any number: $e^d$ is above zero,
# so $w$ stays between 0 and 1. Code works with the logarithm, $\log w = -e^d$, as `log_w`.
#
# Why the bonus? Without it, a token that is to be heard loudly *now* would also have to be *remembered* loudly. With $u$
# a channel may look at the present alone, or leave it out.
#
# Both sums can be carried along: all that is in them fades by $w$ at each step. Call them **above** and **below**.

# %% tags=["nbval-check-output"]
above = below = 0.0
for t, (k, v) in enumerate(zip(keys, values)):
    mean = (above + math.exp(u + k) * v) / (below + math.exp(u + k))
    above, below = w * above + math.exp(k) * v, w * below + math.exp(k)
    print(f"token {t}: mean {mean:.4f}, then above {above:8.4f}, below {below:.4f}")
    assert math.isclose(mean, weighted_mean(t)[0])

# %% [markdown]
# The same means, from two numbers. That is an RNN.
#
# ## And it overflows


# %%
def naive(k, v, log_w, u):
    """k, v (B, T, C), log_w and u (C,) -> (B, T, C), with the two sums as they are."""
    above, below, ys = torch.zeros_like(k[:, 0]), torch.zeros_like(k[:, 0]), []
    for k_t, v_t in zip(k.unbind(1), v.unbind(1)):
        own, w = (u + k_t).exp(), log_w.exp()
        ys.append((above + own * v_t) / (below + own))
        above, below = w * above + k_t.exp() * v_t, w * below + k_t.exp()
    return torch.stack(ys, dim=1)


guess = predict(
    "12.b",
    "Four tokens with the values 1, 2, 3, 4. The second has the key 100, the others 0. In float32 the mean at the"
    " last token is ...",
    ["2.00", "2.50", "not a number"],
)

# %% tags=["nbval-check-output"]
values = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1)
log_w, u = torch.tensor([-0.1]), torch.tensor([0.0])
for loud in (2.0, 80.0, 100.0, -200.0):
    keys = torch.tensor([0.0, loud, 0.0, 0.0]).view(1, 4, 1) if loud > 0 else torch.full((1, 4, 1), loud)
    print(f"key {loud:6.0f}: means {[round(y, 3) for y in naive(keys, values, log_w, u).flatten().tolist()]}")
    if loud == 100:
        last = naive(keys, values, log_w, u).flatten()[-1].item()
answer = "not a number" if math.isnan(last) else "2.00"
guess.reveal(answer, "e^100 is above what float32 holds, and infinity / infinity is not a number.")

# %% [markdown]
# Nothing keeps a key below 88, where $e^k$ leaves float32. And with keys of -200 all powers are zero: 0 / 0. The mean
# itself is harmless, because it lies between its values. Lesson 06 had the cure: keep both sums **relative to the largest
# exponent so far**. Call it `top`: the true sums are `above` and `below` times $e^{top}$. What is new here is that the top
# fades, too:
#
# - to read: the exponents are `top` for the sums and `u + k` for the token itself. Take the larger one off both;
# - to write: the exponents are `top + log_w` and `k`. Take the larger one off both. It is the new top.
#
# At the start both sums are 0, relative to a top that any key exceeds: -1e38.
#
# **Exercise 12.2** · implement · ●●● · 20 min · 6 points · teaches the memory in its stable form · needs `naive`
#
# Write `wkv`. The memory is the triple (above, below, top), each (B, C).
#
# <details><summary>Hint 1: to read</summary>
#
# `largest = torch.maximum(top, u + k_t)`, `past = (top - largest).exp()`, `own = (u + k_t - largest).exp()`. In
# `naive`, where does `above` get the factor `past`, and what is `own` there?
#
# </details>
# <details><summary>Hint 2: to write</summary>
#
# The same two lines with `top + log_w` for `top` and `k_t` for `u + k_t`. The fading is in the exponent: no
# `log_w.exp()` is left. `largest` is the new top.
#
# </details>
# <details><summary>Hint 3: the order</summary>
#
# Read first: token t is in the mean through its own term, not through the memory. Then write. No bonus is written.
#
# </details>


# %%
def empty_memory(k):
    """The memory of nothing, (B, C) three times. k: (B, T, C)."""
    zero = torch.zeros_like(k[:, 0])  # (B, C)
    return zero, zero, torch.full_like(zero, -1e38)


# %% tags=["exercise:12.2", "builds:lib.layers.rwkv4.wkv"]
def wkv(k, v, log_w, u, state=None):
    """k, v (B, T, C), log_w < 0 and u (C,), state (above, below, top) or None -> y (B, T, C), new state."""
    above, below, top = empty_memory(k) if state is None else state
    ys = []
    for k_t, v_t in zip(k.unbind(1), v.unbind(1)):
        ### BEGIN SOLUTION
        largest = torch.maximum(top, u + k_t)  # (B, C)
        past, own = (top - largest).exp(), (u + k_t - largest).exp()
        ys.append((past * above + own * v_t) / (past * below + own))
        largest = torch.maximum(top + log_w, k_t)
        past, own = (top + log_w - largest).exp(), (k_t - largest).exp()
        above, below, top = past * above + own * v_t, past * below + own, largest
        ### END SOLUTION
    return torch.stack(ys, dim=1), (above, below, top)  # (B, T, C), ...


# %% tags=["check:12.2"]
wkv = check("12.2", wkv)

# %% [markdown] tags=["solution:12.2"]

# %% tags=["nbval-check-output"]
for loud in (2.0, 100.0, 3000.0, -200.0):
    keys = torch.tensor([0.0, loud, 0.0, 0.0]).view(1, 4, 1) if loud > 0 else torch.full((1, 4, 1), loud)
    means = wkv(keys, values, log_w, u)[0]
    assert means.isfinite().all()
    print(f"key {loud:6.0f}: means {[round(y, 3) for y in means.flatten().tolist()]}")

# %% [markdown]
# ## The transformer in it
#
# The weights are $e$ to some power, divided by their sum: **that is a softmax**, over the tokens so far, with the scores
# $(t-1-s) \log w + k_s$ for the past and $u + k_t$ for the token itself. So RWKV-4 is attention, with a head for each channel,
# and no loop is needed:


# %%
def wkv_by_softmax(k, v, log_w, u):
    """What wkv returns, without the state, by the matrix of all scores, (B, T, S, C)."""
    position = torch.arange(k.shape[1])
    age = (position[:, None] - 1 - position)[..., None]  # (T, S, 1), -1 for the token itself
    scores = torch.where(age < 0, u + k[:, None], age * log_w + k[:, None])
    return (scores.masked_fill(age < -1, -torch.inf).softmax(dim=2) * v[:, None]).sum(2)


# %% tags=["nbval-check-output"]
torch.manual_seed(12)
k, v = 3 * torch.randn(2, 40, 8, dtype=torch.float64), torch.randn(2, 40, 8, dtype=torch.float64)
log_w, u = -torch.randn(8, dtype=torch.float64).exp(), torch.randn(8, dtype=torch.float64)
at_once, (one_by_one, memory) = wkv_by_softmax(k, v, log_w, u), wkv(k, v, log_w, u)
in_chunks, _ = rwkv4.wkv_chunked(k, v, log_w, u, chunk=16)
for name, y in (("by softmax, all at once", at_once), ("in chunks, as lib does it", in_chunks)):
    assert (y - one_by_one).abs().max() < 1e-10
    print(f"{name}: equal to the recurrence to 10 digits")

# %% [markdown]
# In lesson 11 the softmax stood in the way of a recurrence. Here it does not: $e^{(t-1-s) \log w + k_s}$ splits into a factor
# of $t$ times a factor of $s$, so the sum can be built before anyone reads it. A table of weights, later tokens by earlier
# ones, splits exactly if its **rank** is 1: all its rows are multiples of one.

# %%
guess = predict(
    "12.c",
    "Three changes to the scores of the past. Which one puts an end to the recurrence?",
    ["a decay that each token sets anew", "keys ten times as large", "keys times a number of the token that reads"],
)

# %% tags=["nbval-check-output"]
torch.manual_seed(13)
key, faded, reader = torch.randn(8), -torch.rand(16).cumsum(0), torch.randn(16)  # 8 early tokens, 16 in all
age = (torch.arange(8, 16)[:, None] - 1 - torch.arange(8)).double()  # the 8 late ones read
scores = {
    guess.choices[0]: faded[8:, None] - faded[:8] + key,
    guess.choices[1]: -0.3 * age + 10 * key,
    guess.choices[2]: -0.3 * age + reader[8:, None] * key,
}
ranks = {change: int(torch.linalg.matrix_rank(score.double().exp(), rtol=1e-6)) for change, score in scores.items()}
for change, rank in ranks.items():
    print(f"{change}: rank {rank}")
guess.reveal(
    max(ranks, key=ranks.get),
    "Such a number is a query. e to a product of reader and key is no factor of the reader times one of the key.",
)

# %% [markdown]
# So no token can ask for anything here. Key and age alone say what counts, for all tokens that come later. (Zhai et al. 2021
# call this an [attention-free transformer](https://arxiv.org/abs/2105.14103); RWKV has the decay in place of their table of
# positions.)

# %% [markdown]
# ## What a channel remembers
#
# After $n$ steps a share $w^n$ is left. Half of it is gone after $\log \tfrac12 / \log w$ steps. In RWKV-4 169M, which has 768
# channels and 12 layers, training begins with $d$ from -5 to 3, spread over the channels (RWKV-LM,
# `RWKV-v4neo/src/model.py`).

# %%
guess = predict(
    "12.d",
    "Layer 0, before training. In which share of the channels is over half of a token gone after a single step?",
    ["about 5 %", "about a quarter", "about half"],
)

# %%
config, steps = RWKV_PRESETS["rwkv-4-169m"].config, torch.arange(60)
log_ws = {i: -vectors(config, i)["mix_time.decay"].exp() for i in (0, 6, 11)}  # (C,) each
fast = {i: (log_w.exp() < 0.5).double().mean().item() for i, log_w in log_ws.items()}
for i, log_w in log_ws.items():
    halves = ", ".join(f"{math.log(0.5) / log_w[c].item():.3g} in channel {c}" for c in (0, 384, 767))
    print(f"layer {i:2}: steps until half is gone: {halves}; {fast[i]:.0%} of the channels lose half at once")
guess.reveal(
    "about half" if fast[0] > 0.4 else "about a quarter" if fast[0] > 0.15 else "about 5 %",
    f"More than half goes where e^d is above log 2, so where d is above {math.log(math.log(2)):.2f}.",
)
figures.fading(
    {f"layer {i}": torch.exp(log_w[:, None] * steps) for i, log_w in log_ws.items()},
    alt="Three maps of the share that is left, channels downward, tokens ago to the right, for layers 0, 6 and 11. On"
    " top, in the low channels, much is left after 60 tokens; at the bottom nothing after two. The line where half is"
    " left lies lower in each later layer: there more channels remember long.",
)

# %% [markdown]
# Look at the line where half is left. Early layers are busy with neighbours, late ones hold more of the text. lib starts
# from the same numbers, and training moves them all. One thing training can't change: **a channel forgets at one speed,
# whatever it reads**. Lesson 14 lets the decay depend on the token.

# %% [markdown]
# ## Try it
#
# **What does a channel still remember after n tokens?** Set the decay $d$. Then make the bonus large, and small. Does
# that change what is remembered?


# %%
def draw_memory(decay, bonus, ago):
    """What is left of a token, and the weights in the mean."""
    return figures.draw_memory(-math.exp(decay), bonus, ago)


widgets.explore(
    draw_memory,
    "What does a channel still remember after n tokens?",
    decay=(-5.0, 3.0, 0.25, -2.0, "decay d, as it is learned"),
    bonus=(-3.0, 5.0, 0.5, 0.0, "bonus u"),
    ago=(1, 200, 1, 10, "n, tokens ago"),
)

# %% [markdown]
# ## Time mix
#
# Now the layer. Each token is shifted and mixed three times, for the **key**, the **value** and the **[receptance](../lessons/GLOSSARY.md#receptance)** $r$.
# The model's name is made of these letters: R, W for the decay, K, V. The receptance is a gate, as in lesson 03: it
# decides how much of what is remembered gets through.
#
# $$k = W_k\, \mathrm{mix}_k(x) \qquad v = W_v\, \mathrm{mix}_v(x) \qquad r = \sigma\big(W_r\, \mathrm{mix}_r(x)\big)
# \qquad \mathrm{out} = W_o \big(r \odot \mathrm{wkv}(k, v)\big)$$
#
# $\sigma$ is the sigmoid; the four $W$ are (C, C), without bias. Only in these four products does a channel meet others.
#
# **Exercise 12.3** · implement · ●●○ · 15 min · 4 points · teaches the layer and its two states · needs 12.1 and 12.2
#
# Write the forward pass. The state is the pair (last token, memory); None is the start of a text.
#
# <details><summary>Hint 1: the shift</summary>
#
# `before, last = shift(x, last)`, then `x_k, x_v, x_r = mix(x, before, self.mix_key, self.mix_value, self.mix_receptance)`.
#
# </details>
# <details><summary>Hint 2: the decay</summary>
#
# `self.decay` is $d$. `wkv` wants $\log w = -e^d$.
#
# </details>
# <details><summary>Hint 3: the state</summary>
#
# Both parts come back new: `return self.output(...), (last, memory)`.
#
# </details>


# %% tags=["exercise:12.3", "builds:lib.layers.rwkv4.TimeMix"]
class TimeMix(nn.Module):
    """RWKV-4's time mixer: (B, T, C) and a state -> (B, T, C) and the new state."""

    def __init__(self, d_model):
        super().__init__()
        half = torch.full((d_model,), 0.5)
        self.mix_key, self.mix_value, self.mix_receptance = (nn.Parameter(half.clone()) for _ in range(3))
        self.decay, self.bonus = nn.Parameter(torch.zeros(d_model)), nn.Parameter(torch.zeros(d_model))
        square = [nn.Linear(d_model, d_model, bias=False) for _ in range(4)]
        self.key, self.value, self.receptance, self.output = square

    def forward(self, x, state, shared=None):
        last, memory = state or (None, None)
        ### BEGIN SOLUTION
        before, last = shift(x, last)
        x_k, x_v, x_r = mix(x, before, self.mix_key, self.mix_value, self.mix_receptance)
        r = self.receptance(x_r).sigmoid()
        y, memory = wkv(self.key(x_k), self.value(x_v), -self.decay.exp(), self.bonus, memory)
        return self.output(r * y), (last, memory)
        ### END SOLUTION


# %% tags=["check:12.3"]
TimeMix = check("12.3", TimeMix)

# %% [markdown] tags=["solution:12.3"]

# %% [markdown]
# ## Channel mix
#
# The second half of the block has a shift of its own, and then works on each token alone, as SwiGLU does in LLaMA. $F$
# is the inner width, 4 C in RWKV-4:
#
# $$\mathrm{out} = \sigma\big(W_r\, \mathrm{mix}_r(x)\big) \odot W_v\, \mathrm{relu}\big(W_k\, \mathrm{mix}_k(x)\big)^2$$
#
# **Exercise 12.4** · repair · ●●○ · 10 min · 3 points · teaches where states and gates belong · needs the formula
#
# This one has three mistakes. One of them shows only when a text comes in parts. Run the cell. Then copy its `forward` into
# the class below it, and repair all three there.
#
# <details><summary>Hint 1</summary>
#
# Compare the formula from the inside out: what is squared, what goes through the sigmoid?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A text in two parts: which token stands before the first of the second part?
#
# </details>


# %%
class BrokenChannelMix(rwkv4.ChannelMix):
    """Has lib's weights, and a forward pass with three mistakes."""

    def forward(self, x, state=None, shared=None):
        before, last = shift(x)
        x_k, x_r = mix(x, before, self.mix_key, self.mix_receptance)
        hidden = self.key(x_k).square().relu()
        return self.receptance(x_r).relu() * self.value(hidden), last


broken, x = BrokenChannelMix(8, 32), torch.randn(1, 6, 8)
whole, first = broken(x)[0], broken(x[:, :4])
parts = torch.cat([first[0], broken(x[:, 4:], first[1])[0]], dim=1)
print(
    "differs between whole and parts at the tokens",
    (whole - parts).abs().amax((0, 2)).gt(1e-6).nonzero().flatten().tolist(),
)


# %% tags=["exercise:12.4", "builds:lib.layers.rwkv4.ChannelMix"]
class ChannelMix(nn.Module):
    """RWKV-4's channel mixer: (B, T, C) and the last token (B, C) -> (B, T, C) and the new last token."""

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.mix_key, self.mix_receptance = (nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(2))
        self.key = nn.Linear(d_model, d_ff, bias=False)
        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x, state=None, shared=None):
        ### BEGIN SOLUTION
        before, last = shift(x, state)
        x_k, x_r = mix(x, before, self.mix_key, self.mix_receptance)
        hidden = self.key(x_k).relu().square()  # (B, T, F)
        return self.receptance(x_r).sigmoid() * self.value(hidden), last
        ### END SOLUTION


# %% tags=["check:12.4"]
ChannelMix = check("12.4", ChannelMix)

# %% [markdown] tags=["solution:12.4"]
# After a square nothing is negative, so `relu` does nothing. A gate of `relu` can open without bound. And `shift` needs the
# last token of the part before.

# %% [markdown]
# ## The whole model
#
# A block is what it was in lesson 07: `x + mix_time(norm(x))`, then `x + mix_channels(norm(x))`. LayerNorm takes
# RMSNorm's place, and one more stands right after the embedding. There is no RoPE and no mask: the order is in the
# decay and in the shift.

# %%
config = RwkvConfig(generation=4, vocab_size=tokenizer.vocab_size, n_layers=3, d_model=128, d_ff=512)
blocks = [Block(nn.LayerNorm(128), TimeMix(128), nn.LayerNorm(128), ChannelMix(128, 512)) for _ in range(3)]
model = LanguageModel(config, blocks, nn.LayerNorm(128), nn.LayerNorm(128))
torch.manual_seed(7)
with torch.no_grad():  # random weights: at the start of a training a block passes its input on
    for name, weight in model.named_parameters():
        share = name.split(".")[-1].startswith("mix_")
        weight.copy_(torch.rand_like(weight) if share else torch.randn_like(weight) * 0.3)
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and "embed" not in name:
            weight.mul_(3 / weight.shape[1] ** 0.5)
tokens = torch.tensor(tokenizer.encode(tales[0])[:40])[None]
with torch.no_grad():
    whole, state = model(tokens)
    carried, rows = None, []
    for token in tokens[0]:
        row, carried = model(token[None, None], carried)
        rows.append(row[0])
difference = (whole[0] - torch.cat(rows)).abs().max() / whole.std()
print(
    f"{n_params(model):,} parameters, logits {tuple(whole.shape)};"
    f" all at once and one by one differ by {difference:.0e} of their spread"
)
assert difference < 1e-4

# %% [markdown]
# ## What is kept
#
# For each layer: two last tokens, above, below, top. Five times C numbers.

# %%
guess = predict(
    "12.e",
    "RWKV-4 7B has 32 layers and C = 4096, as LLaMA-7B has. From how many tokens on does LLaMA's cache hold more"
    " numbers?",
    ["3", "3,000", "never"],
)


# %% tags=["nbval-check-output"]
def numbers_in(state):
    """Count the numbers of a state, however it is nested."""
    return state.numel() if isinstance(state, torch.Tensor) else sum(map(numbers_in, state))


assert numbers_in(state.layers) == numbers_in(model(tokens[:, :1])[1].layers) == 3 * 5 * 128
rwkv, llama = RWKV_PRESETS["rwkv-4-7b"].config, PRESETS["llama-7b"].config
kept, a_token = rwkv.n_layers * 5 * rwkv.d_model, llama.n_layers * 2 * llama.n_kv_heads * llama.d_head
print(f"RWKV-4 7B keeps {kept:,} numbers, and that is all")
print(f"LLaMA-7B keeps {a_token:,} for each token, {2048 * a_token:,} for 2,048")
guess.reveal("3" if kept // a_token + 1 == 3 else "never", f"{kept:,} / {a_token:,} is {kept / a_token}.")

# %% [markdown]
# That is the strength and the weakness in one number. A state of 5 C numbers a layer can't hold a long text word for word.

# %% [markdown]
# ## One token at a time, or all at once
#
# In training the whole text is there. Then the matrices work on all tokens at once, and only `wkv` goes step by step. The cell
# below times your `TimeMix`. (If you left exercise 12.3 out, "in one go" is the course's, which works in chunks.)


# %%
def milliseconds(ways, rounds=5):
    """The shortest time of each way, {name: function} -> {name: ms}, on one core and without gradients."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.no_grad():
        best = best_seconds(ways, rounds)
    torch.set_num_threads(threads)
    return {name: 1000 * seconds for name, seconds in best.items()}


def step_by_step(mixer, x):
    """Each token alone, with the state carried."""
    state = None
    for token in x.split(1, dim=1):
        _, state = mixer(token, state)


guess = predict(
    "12.f",
    "One time mix, 512 tokens, C = 128, in one go, on one core. What takes most of the time?",
    ["the four matrices", "the loop of wkv"],
)


# %%
x, mixer, chunked = torch.randn(1, 512, 128), blocks[1].mix_time, rwkv4.TimeMix(128)
k, v = torch.randn(2, 1, 512, 128)
four = mixer.key, mixer.value, mixer.receptance, mixer.output
took = milliseconds(
    {
        "token by token": lambda: step_by_step(mixer, x),
        "in one go": lambda: mixer(x, None),
        "the loop of wkv": lambda: wkv(k, v, -mixer.decay.exp(), mixer.bonus),
        "the four matrices": lambda: [matrix(x) for matrix in four],
        "in chunks (the course's)": lambda: chunked(x, None),
    }
)
for name, time in took.items():
    print(f"{name:24} {time:6.1f} ms")
answer = max(guess.choices, key=took.get)
guess.reveal(answer, "512 small steps wait for each other." if answer == guess.choices[1] else "")

# %% [markdown]
# Where the loop is slow, it is for the reason of lesson 11: small steps that wait. The published code puts the loop into a
# CUDA kernel. lib cuts it into chunks. All chunks add up their own part at once, the memory is carried from chunk to
# chunk, and then all chunks step through their tokens side by side. For that, a memory has to be *joined* to another. This
# is your last exercise.
#
# **Exercise 12.5** · implement · ●●● · 15 min · 4 points · teaches what makes a recurrence parallel · needs 12.2
#
# `first` is the memory after some part of a text. `second` is the memory of the `n` tokens that follow, read from an empty
# memory. Write `join`: the memory after both. Keys of 3,000 must do no harm.
#
# <details><summary>Hint 1</summary>
#
# What happens to `first` while n tokens go by? Its sums fade n times, so its top changes by n times `log_w`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Then two pairs of sums are added that are relative to two tops. It is `merge` of lesson 06.
#
# </details>


# %% tags=["exercise:12.5"]
def join(first, second, n, log_w):
    """Two memories (above, below, top), each (B, C), the second of n tokens -> the memory after both."""
    (above1, below1, top1), (above2, below2, top2) = first, second
    ### BEGIN SOLUTION
    faded = top1 + n * log_w
    top = torch.maximum(faded, top2)
    past, new = (faded - top).exp(), (top2 - top).exp()
    return past * above1 + new * above2, past * below1 + new * below2, top
    ### END SOLUTION


# %% tags=["check:12.5"]
join = check("12.5", join)

# %% [markdown] tags=["solution:12.5"]
# Joins may be grouped in any way. So a text of 1,024 tokens can be joined in pairs, in ten rounds, with all joins of a
# round side by side: a *scan*. It works because a token does only two things to the memory: it fades it, and adds to it.

# %% tags=["nbval-check-output"]
torch.manual_seed(1)
k, v, log_w, u = 50 * torch.randn(1, 100, 4), torch.randn(1, 100, 4), -torch.rand(4), torch.zeros(4)
parts = [wkv(k[:, i : i + 25], v[:, i : i + 25], log_w, u)[1] for i in (0, 25, 50, 75)]
pairs = join(join(parts[0], parts[1], 25, log_w), join(parts[2], parts[3], 25, log_w), 50, log_w)
_, (above, below, top) = wkv(k, v, log_w, u)
print(
    "four parts, joined in pairs, remember what the whole does:",
    torch.allclose(pairs[0] / pairs[1], above / below, atol=1e-4),
)
assert torch.allclose(pairs[2] + pairs[1].log(), top + below.log(), atol=1e-3)

# %% [markdown]
# ## In the wild
#
# The author of RWKV publishes a package, `rwkv`, that runs its checkpoints. The names in its files: `att` is time mix,
# `ffn` channel mix, `time_decay` is $d$, `time_first` is $u$, `time_mix_k` is $\mu$ for the key. Give it your model
# under these names and the same tokens. It reads its settings while it is imported, so it gets a process of its own.

# %%
SCRIPT = """
import os
os.environ["RWKV_JIT_ON"], os.environ["RWKV_CUDA_ON"] = "1", "0"
import torch
from rwkv.model import RWKV
model = RWKV(model="tiny", strategy="cpu fp32")
tokens = torch.load("tokens.pt", weights_only=True).tolist()
whole, _ = model.forward(tokens, None, full_output=True)
state, rows = None, []
for token in tokens:
    row, state = model.forward([token], state)
    rows.append(row.clone())
torch.save({"whole": whole, "token by token": torch.stack(rows)}, "logits.pt")
"""


def published_logits(model, tokens):
    """The logits of the rwkv package for a model of ours: {"whole": (T, V), "token by token": (T, V)}."""
    with tempfile.TemporaryDirectory() as folder:
        torch.save(to_rwkv(model), Path(folder) / "tiny.pth")
        torch.save(tokens, Path(folder) / "tokens.pt")
        done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-1000:]
        return torch.load(Path(folder) / "logits.pt", weights_only=True)


# %%
if find_spec("rwkv") is None:
    print(
        "The package rwkv is not installed, so this comparison is left out."
        " `pip install --no-deps rwkv==0.8.32` brings it; then run this cell again."
    )
else:
    published = published_logits(model, tokens[0])
    for way, ours in (("whole", whole[0]), ("token by token", torch.cat(rows))):
        difference = ((ours - published[way]).abs().max() / published[way].std()).item()
        print(f"{way:15} largest difference {difference:.0e} of the logits' spread")
        assert difference < 1e-4
    with torch.no_grad():
        blocks[1].mix_time.bonus.mul_(1.1)
        changed = model(tokens)[0][0]
        blocks[1].mix_time.bonus.div_(1.1)
    difference = (changed - published["whole"]).abs().max() / published["whole"].std()
    print(f"{'a control':15} with one layer's bonus 10 % larger: {difference:.0e}")
    assert difference > 1e-3

# %% [markdown]
# Three layers that you have written, and the published code gives the same logits for each token. (The control shows
# that the comparison would have seen a mistake of ten per cent in one vector of one layer.) The package adds speed, and
# half precision for GPUs. transformers has RWKV-4, too (`RwkvForCausalLM`), and the tests of this course hold lib's model
# to both.
#
# ## Recap
#
# In each channel RWKV-4 takes a mean of all values so far, which fades at the channel's own speed, with a bonus for the
# token itself. It is a softmax without a query, so two sums and a running maximum carry it. Token shift lets each token
# see the one before, and a receptance gates what gets through. Whole texts are read in parallel, single tokens with a
# state of 5 C numbers a layer, and both give what the published package gives.
#
# ## Read on
#
# - Peng et al., [RWKV: Reinventing RNNs for the Transformer Era](https://arxiv.org/abs/2305.13048): the paper; its
#   appendix has the stable form that you built.
# - BlinkDL, [RWKV in 150 lines](https://github.com/BlinkDL/ChatRWKV/blob/main/RWKV_in_150_lines.py): the author's own
#   shortest version, to be read beside yours.
# - Zhai et al., [An Attention Free Transformer](https://arxiv.org/abs/2105.14103), section 3: the same mean, with a
#   table of positions where RWKV has its decay.
# - Martin and Cundy, [Parallelizing Linear Recurrent Neural Nets](https://arxiv.org/abs/1709.04057): the scan of
#   exercise 12.5, in general.
#
# **Next:** [13. A memory that is a matrix can be asked](13_rwkv5_eagle.ipynb).
