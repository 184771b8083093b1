# %% [markdown]
# # 05. Many heads can share few keys
#
# A word asks, and the words before it answer: that is attention. Many heads ask at once. Far fewer need to answer, and
# a model that keeps fewer answers can remember a longer text.
#
# **You build** `attention_weights` and `GroupedAttention`, the part of every LLaMA that lets tokens look at each other.
#
# **You need** lesson 04 (RoPE) and the softmax. **Time:** 60 minutes.

# %% tags=["setup"]
start("05")

# %%
import math
import time

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import nn

from lib.layers.rope import rope_table, rotate_half_split
from lib.layers.shared import Shared
from lib.models.presets import PRESETS
from lessons.figures import lesson_05 as figures
from lib.show import plots, widgets
from lessons.exercises.lesson_05 import check
from lib.show.predict import predict
from lib.text import corpora

# %% [markdown]
# ## The need
#
# Two stories. They differ in one sentence, near the beginning. What is the next word of each?

# %% tags=["nbval-check-output"]
TWIST = {"first": "one day mina gave the ball to tom .", "second": "one day tom gave the ball to mina ."}
REST = """it was warm and the ducks were asleep by the pond . they ate two pears under the old oak , and then the rain
came , and they ran home along the river , wet and glad . that night the ball lay beside the bed of"""
stories = {name: ("mina and tom had a red toy . " + twist + " " + REST).split() for name, twist in TWIST.items()}
print("the answer stands", len(REST.split()) + 1, "words back")
print("tom and mina in the first: ", stories["first"].count("tom"), "and", stories["first"].count("mina"))
print("tom and mina in the second:", stories["second"].count("tom"), "and", stories["second"].count("mina"))

# %% [markdown]
# Each word becomes a vector. What the model knows about a text must end up in **one** vector, at the last word. The
# plainest way: take the average of all of them, a *bag of words*.

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
vocabulary = sorted({word for story in stories.values() for word in story})
table = torch.randn(len(vocabulary), 256)
index = {word: i for i, word in enumerate(vocabulary)}
vectors = {name: torch.stack([table[index[word]] for word in story]) for name, story in stories.items()}  # (T, N)
bags = {name: x.mean(0) for name, x in vectors.items()}
print(f"largest difference of the two averages: {(bags['first'] - bags['second']).abs().max():.4f}")

# %% [markdown]
# Two stories, two answers, **one** vector. No network behind it can tell them apart, however deep. An average weighs
# every word alike. You need one that weighs the right word, and which word that is depends on what is asked.

# %% [markdown]
# ## A query, keys, values
#
# Give each word two vectors: a **key**, by which it can be found, and a **value**, which it hands over. The last word has
# a **query**. Compare the query with every key by a dot product, turn the scores into shares by a softmax, and take the
# mean of the values with these shares.
#
# Here the key of a word is the vector of the word *before* it. The query asks for "whoever comes right after *to*".


# %% tags=["nbval-check-output"]
def nearest(vector):
    """Return the word of the vocabulary whose vector has the largest dot product with this one."""
    return vocabulary[int((table @ vector).argmax())]


query = table[index["to"]]
for name, values in vectors.items():
    keys = torch.cat([torch.zeros(1, 256), values[:-1]])  # each word is found by the word before it
    scores = keys @ query / math.sqrt(256)
    weights = scores.softmax(0)
    print(f"{name}: the bed of {nearest(weights @ values)}, which has {weights.max():.2f} of all the weight")

# %% [markdown]
# Found, over 45 words. Distance does not matter: every word is one dot product away.
#
# You wrote the keys and the query by hand. A model makes them: three matrices turn the vector $x_t$ of a token into $q_t$,
# $k_t$ and $v_t$, and training finds the matrices. "The word before me" is not in a token's own vector. An earlier layer
# must fetch it first. Trained models do exactly this with two layers, an *induction head* (Olsson et al., below).

# %% [markdown]
# ## By hand
#
# Three tokens, vectors of two numbers, loops only.

# %% tags=["nbval-check-output"]
query, keys, values = [2.0, 0.0], [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], [[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]]
scores = []
for key in keys:
    scores.append(sum(a * b for a, b in zip(query, key)) / math.sqrt(len(query)))
powers = [math.exp(score) for score in scores]
weights = [power / sum(powers) for power in powers]
result = [0.0, 0.0]
for weight, value in zip(weights, values):
    for channel in range(2):
        result[channel] += weight * value[channel]
print("scores ", [round(score, 3) for score in scores])
print("weights", [round(weight, 3) for weight in weights], " sum", round(sum(weights), 3))
print("result ", [round(number, 3) for number in result])

# %% [markdown]
# ## The formula
#
# $$y_t = \sum_{s \le t} w_{ts}\, v_s \qquad w_{ts} = \frac{e^{a_{ts}}}{\sum_{r \le t} e^{a_{tr}}} \qquad
# a_{ts} = \frac{q_t \cdot k_s}{\sqrt N}$$
#
# $q_t$, $k_s$ and $v_s$ are vectors of $N$ channels, the size of one head. $a_{ts}$ is the score of key $s$ for query
# $t$; $w_{ts}$ is its weight; a row of weights sums to one. Two things in it need a reason: $\sqrt N$, and $s \le t$.

# %% [markdown]
# ## Why the square root
#
# Let the channels of $q$ and $k$ be random numbers with variance 1. With 4 channels the typical size of $q \cdot k$, its
# standard deviation, is 2.

# %%
guess = predict("05.a", "With 1,024 channels the standard deviation of q · k is ...", ["2", "32", "512", "1,024"])


# %% tags=["nbval-check-output"]
def spread(N, divide):
    """Return the standard deviation of scores, the largest of 64 weights, and the slope of that weight in its score."""
    torch.manual_seed(N)
    q, k = torch.randn(300, 1, N), torch.randn(300, 64, N)
    scores = (q * k).sum(-1) / (math.sqrt(N) if divide else 1)
    largest = scores.softmax(-1).amax(-1)
    return scores.std(), largest.mean(), (largest * (1 - largest)).mean()


print("              as it is                 divided by sqrt(N)")
print("   N   deviation weight slope      deviation weight slope")
for N in (4, 64, 1024):
    bare, scaled = spread(N, False), spread(N, True)
    print("{:5} {:9.0f} {:7.2f} {:6.2f} {:13.0f} {:7.2f} {:6.2f}".format(N, *bare, *scaled))
guess.reveal(f"{bare[0]:.0f}", "Each product has variance 1, N of them have variance N; the root of 1,024 is 32.")

# %% [markdown]
# The middle column is the harm. Scores that lie 32 apart make the softmax all or nothing: one key gets all the weight,
# whichever it happens to be. And the slope of a weight $w$ in its own score, $w (1 - w)$, is nearly 0, so training can
# hardly change it. Divided by $\sqrt N$, the scores have deviation 1 for every size of head.

# %% [markdown]
# ## Why the mask
#
# In training, a whole text goes in at once, and every token guesses the next one. Token $t$ may then see token $t + 1$:
# that is the answer. The **[causal mask](../lessons/GLOSSARY.md#causal-mask)** gives the keys with $s > t$ the score $-\infty$, and $e^{-\infty} = 0$.
#
# What happens without it? Take the built-in tales, byte by byte, and a model that is one attention and nothing else.


# %%
class Tiny(nn.Module):
    """Bytes (B, T) -> logits (B, T, 256), by one head of attention with RoPE."""

    def __init__(self, causal):
        super().__init__()
        self.embed, self.head = nn.Embedding(256, 64), nn.Linear(64, 256, bias=False)
        self.qkv, self.causal = nn.Linear(64, 3 * 64, bias=False), causal
        self.cos, self.sin = rope_table(64, 64)

    def forward(self, tokens):
        x, T = self.embed(tokens), tokens.shape[1]
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k = (rotate_half_split(z, self.cos[:T], self.sin[:T]) for z in (q, k))
        scores = q @ k.transpose(-1, -2) / math.sqrt(64)
        if self.causal:
            scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
        return self.head(x + scores.softmax(-1) @ v)


# %%
text = torch.tensor(list(corpora.load("tales").train[:200_000].encode()))


def train_tiny(causal, steps=120):
    """Train on random pieces of 64 bytes; return the model and its losses in nats per byte."""
    torch.manual_seed(1)
    model, losses = Tiny(causal), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        start_at = torch.randint(len(text) - 65, (16, 1))
        piece = text[start_at + torch.arange(65)]
        loss = F.cross_entropy(model(piece[:, :-1]).flatten(0, 1), piece[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


# %%
guess = predict(
    "05.b",
    "With the mask the loss falls to about 2.3 nats a byte in 120 steps. Without the mask it falls to ...",
    ["about the same", "about 2.0", "below 1.5"],
)

# %%
masked, masked_losses = train_tiny(causal=True)
leaking, leaking_losses = train_tiny(causal=False)
last = sum(leaking_losses[-20:]) / 20
guess.reveal("below 1.5" if last < 1.5 else "about 2.0" if last < 2.1 else "about the same", "It reads the next byte.")


def honest(model):
    """Return the loss when each byte is guessed from a text that ends before it, as in use."""
    piece = text[torch.arange(0, 20 * 500, 500)[:, None] + torch.arange(65)]
    with torch.no_grad():
        return sum(F.cross_entropy(model(piece[:, :t])[:, -1], piece[:, t]).item() for t in range(1, 65)) / 64


for name, model, losses in (("mask", masked, masked_losses), ("no mask", leaking, leaking_losses)):
    print(f"{name:8} in training {sum(losses[-20:]) / 20:.2f}, in use {honest(model):.2f} nats a byte")
share = text.bincount().double()[text.unique()] / len(text)
print(f"a model that knows how frequent each byte is, and nothing else: {-(share * share.log()).sum():.2f}")

# %% [markdown]
# Unbelievably good in training, and in use worse than counting letters: there the next byte can't be read. **A loss that is
# too good is a leak until you have proved otherwise.** You will meet it again: in a norm (exercise 02.2), in token shifts, in
# bad train and validation splits.

# %% [markdown]
# ## Build it
#
# **Exercise 05.1** · implement · ●●○ · 10 min · 4 points · teaches scores, scale, mask and softmax · needs the formula
#
# Write `attention_weights` for heads: $q$ is (B, H, T, N) and $k$ is (B, H, S, N). The queries belong to the **last** T of
# the S tokens, since a model that tells a story has seen some tokens before. So query $t$ stands at position $S - T + t$.
# For T = 2 and S = 5 the mask, 1 for what may be seen, is
#
# ```
# 1 1 1 1 0
# 1 1 1 1 1
# ```
#
# The first line is given. `repeat` is from einops, as `rearrange` in lesson 04: a name that stands on the right alone is a
# new axis, of copies. The line does nothing as long as $k$ has as many heads as $q$; you will see soon what it is for.
#
# <details><summary>Hint 1: the scores</summary>
#
# `k.transpose(-1, -2)` swaps the last two axes, and `@` multiplies the last two: `q @ k.transpose(-1, -2)` is (B, H, T, S).
#
# </details>
# <details><summary>Hint 2: the mask</summary>
#
# `torch.ones(T, S).tril(d)` keeps what lies on or below diagonal `d`. For T = S that is `d = 0`. What is it for T = 2, S = 5?
#
# </details>
# <details><summary>Hint 3: the order</summary>
#
# Mask the scores *before* the softmax: `scores.masked_fill(~seen, -torch.inf)`. Zeros put into the weights afterwards
# leave rows that no longer sum to one. And `q.device`: the mask must lie where `q` lies.
#
# </details>


# %% tags=["exercise:05.1", "builds:lib.layers.attention.attention_weights"]
def attention_weights(q, k):
    """(B, H, T, N), (B, G, S, N) -> (B, H, T, S): how much each query takes from each key; rows sum to one."""
    k = repeat(k, "b g s n -> b (g r) s n", r=q.shape[1] // k.shape[1])  # (B, H, S, N)
    T, S = q.shape[2], k.shape[2]
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    seen = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)  # (T, S)
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
    ### END SOLUTION


# %% tags=["check:05.1"]
attention_weights = check("05.1", attention_weights)

# %% [markdown] tags=["solution:05.1"]

# %% [markdown]
# With the weights, attention is one more matrix product.


# %%
def attend(q, k, v):
    """(B, H, T, N), (B, G, S, N), (B, G, S, N) -> (B, H, T, N): the mean of the values by the weights."""
    v = repeat(v, "b g s n -> b (g r) s n", r=q.shape[1] // v.shape[1])  # (B, H, S, N)
    return attention_weights(q, k) @ v  # (B, H, T, N)


q, k, v = torch.randn(3, 2, 4, 10, 16)
theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
print("equal to torch's:", torch.allclose(attend(q, k, v), theirs, atol=1e-6))

# %% [markdown]
# ## Many heads
#
# One softmax makes one mean. Ask it for two things at once, *who* (the word after "to") and *which* (the word after "a"),
# and it hands over half of each, added into one vector. Two **heads** of half the width ask one question each.

# %% tags=["nbval-check-output"]
values = vectors["first"]
keys = torch.cat([torch.zeros(1, 256), values[:-1]])
both = (keys @ (table[index["to"]] + table[index["a"]]) / 16).softmax(0)
found = [stories["first"][i] for i in both.topk(2).indices.sort().values]
print(f"one head:  {' + '.join(found)} in one vector, with {both.topk(2).values.sum():.1f} of the weight")
for name, word, channels in (("head 1", "a", slice(0, 128)), ("head 2", "to", slice(128, 256))):
    weights = (keys[:, channels] @ table[index[word], channels] / math.sqrt(128)).softmax(0)
    print(f"{name}:    {stories['first'][int(weights.argmax())]}, with {weights.max():.1f} of the weight")

# %% [markdown]
# Heads cost no parameters and no products. LLaMA-7B cuts its 4,096 channels into 32 heads of 128. The matrix that makes the
# queries is 4,096 x 4,096 with one head or with 32; its rows are only read in groups. (Each head has a T x T matrix of
# weights of its own, though. Lesson 06 gets rid of it.)

# %% [markdown]
# ## The cache
#
# A model tells a story token by token. The new token asks, and all the earlier ones answer with their keys and values.
# The mask makes sure that those **can't have changed**: an earlier token never saw the new one. So keep them. That is the
# **[KV cache](../lessons/GLOSSARY.md#kv-cache)**, and it is all that a LLaMA remembers.


# %%
class KVCache:
    """The keys and values of all tokens so far, each (B, G, S, N)."""

    def __init__(self, keys, values):
        self.keys, self.values = keys, values

    def append(self, keys, values):
        """Return the longer cache; this one stays as it is."""
        return KVCache(torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2))


# %% [markdown]
# What does it cost to keep? For each token, in each layer, $G$ keys and $G$ values of $N$ numbers, two bytes each:

# %% tags=["nbval-check-output"]
seven = PRESETS["llama-7b"].config
per_token = seven.n_layers * 2 * seven.n_heads * seven.d_head * 2
print(f"{seven.n_layers} layers x 2 x {seven.n_heads} heads x {seven.d_head} x 2 bytes = {per_token:,} bytes a token")
for texts in (1, 32):
    print(f"{texts:2} x 2,048 tokens: {per_token * 2048 * texts / 2**30:4.1f} GiB")
print(f"the model's weights: {2 * PRESETS['llama-7b'].n_params / 2**30:4.1f} GiB")

# %% [markdown]
# With 32 texts at a time, which a server easily has, the memory of the texts is larger than the model. And it must be
# **read in full for each new token**. So the question is whether 32 heads really need 32 sets of keys.

# %% [markdown]
# ## Fewer keys
#
# They don't. Let several query heads share one key and value head. With $H$ query heads and $G$ key/value heads:
#
# - $G = H$: multi-head attention, **MHA**. LLaMA, Llama 2 7B and 13B.
# - $G = 1$: multi-query attention, **MQA**. The smallest cache, at some cost in quality (arXiv 2305.13245, table 1).
# - between: [grouped-query attention](../lessons/GLOSSARY.md#grouped-query-attention), **GQA**. Llama 2 70B, TinyLlama, LiteLlama, Mistral.

# %%
figures.sharing(n_heads=8, n_kv_heads=(8, 2, 1), names=("MHA", "GQA", "MQA"))

# %% [markdown]
# Look at the lines: **neighbours share**. With 8 query heads on 2 key heads, heads 0 to 3 read key head 0 and heads 4 to 7
# read key head 1: head $h$ reads $\lfloor h G / H \rfloor$. In `repeat(k, "b g s n -> b (g r) s n", r=4)` the copies $r$ count
# fastest, so each key head is repeated in place, 0 0 0 0 1 1 1 1. With `(r g)` they would be tiled, 0 1 0 1 0 1 0 1, with
# no error and the wrong pairs.

# %%
guess = predict(
    "05.c",
    "Llama-2-70B has ten times the weights of LLaMA-7B. Its cache for one token is ...",
    ["10 times as large", "2.5 times as large", "as large", "smaller"],
)

# %% tags=["nbval-check-output"]
sizes = {}
for name in ("llama-7b", "llama-65b", "llama-2-70b", "mistral-7b-v0.1", "tinyllama-1.1b", "litellama-460m"):
    c = PRESETS[name].config
    sizes[name] = c.n_layers * 2 * c.n_kv_heads * c.d_head * 2
    print(f"{name:15} {c.n_layers} layers x 2 x {c.n_kv_heads:2} x {c.d_head:3} x 2 bytes = {sizes[name]:9,} a token")
ratio = sizes["llama-2-70b"] / sizes["llama-7b"]
answer = "smaller" if ratio < 1 else "2.5 times as large"
guess.reveal(answer, f"{ratio:.3f} times as large: it has 8 key heads, not 64.")

# %% [markdown]
# Eight query heads to a key head: an eighth of the cache, and an eighth of the key and value matrices. Llama 2 put those
# weights into a wider SwiGLU instead: 28,672 channels where LLaMA-65B has 22,016 (arXiv 2307.09288, A.2.1).

# %% [markdown]
# ## Build the layer
#
# A layer of a language model has two halves. One mixes along the channels of each token: the SwiGLU of lesson 03. The other
# mixes along time, and only there do tokens meet. In a LLaMA this **[time mixer](../lessons/GLOSSARY.md#time-mixer)** is grouped attention.
#
# **Exercise 05.2** · implement · ●●○ · 15 min · 5 points · teaches LLaMA's time mixer · needs 05.1
#
# Write `GroupedAttention.forward`. Make `q`, `k` and `v` from `x` and cut them into heads, (B, H, T, N) and (B, G, T, N).
# Turn `q` and `k` by their positions: `shared.cos` and `shared.sin` belong to the tokens of `x`. Put the new keys and
# values into the cache. Attend, into `y`, (B, H, T, N). At the end lay the heads side by side, mix them by `self.output`, and
# return the result and the cache:
#
# ```python
# return self.output(rearrange(y, "b h t n -> b t (h n)")), state
# ```
#
# <details><summary>Hint 1: into heads</summary>
#
# `self.query(x)` is (B, T, H * N): `rearrange(self.query(x), "b t (h n) -> b h t n", n=self.d_head)`. To `view` it as
# (B, H, T, N) at once runs, too, and mixes tokens with heads.
#
# </details>
# <details><summary>Hint 2: what is turned, and when</summary>
#
# `rotate_half_split(q, shared.cos, shared.sin)`, and the same for `k`, *before* the cache: a key is turned once, by its
# own position. Values are not turned: only $q \cdot k$ asks for distances.
#
# </details>
# <details><summary>Hint 3: the cache</summary>
#
# `state = KVCache(k, v) if state is None else state.append(k, v)`, then attend to `state.keys` and `state.values`.
#
# </details>


# %% tags=["exercise:05.2", "builds:lib.layers.attention.GroupedAttention"]
class GroupedAttention(nn.Module):
    def __init__(self, d_model, n_heads, n_kv_heads, d_head):
        super().__init__()
        self.query = nn.Linear(d_model, n_heads * d_head, bias=False)
        self.key = nn.Linear(d_model, n_kv_heads * d_head, bias=False)
        self.value = nn.Linear(d_model, n_kv_heads * d_head, bias=False)
        self.output = nn.Linear(n_heads * d_head, d_model, bias=False)
        self.d_head = d_head

    def forward(self, x, state, shared):
        """(B, T, C), a KVCache or None, a Shared with cos and sin -> (B, T, C), and the cache with the new tokens in it."""
        B, T, C = x.shape
        ### BEGIN SOLUTION
        q = rearrange(self.query(x), "b t (h n) -> b h t n", n=self.d_head)  # (B, H, T, N)
        k = rearrange(self.key(x), "b t (g n) -> b g t n", n=self.d_head)  # (B, G, T, N)
        v = rearrange(self.value(x), "b t (g n) -> b g t n", n=self.d_head)  # (B, G, T, N)
        q, k = (rotate_half_split(z, shared.cos, shared.sin) for z in (q, k))
        state = KVCache(k, v) if state is None else state.append(k, v)
        y = attend(q, state.keys, state.values)  # (B, H, T, N)
        return self.output(rearrange(y, "b h t n -> b t (h n)")), state
        ### END SOLUTION


# %% tags=["check:05.2"]
GroupedAttention = check("05.2", GroupedAttention)

# %% [markdown] tags=["solution:05.2"]

# %% [markdown]
# ## Whole = step by step
#
# The property that everything rests on: a text at once, token by token, or in any pieces gives the same result. Run it in
# float64, where rounding can't hide a mistake.


# %% tags=["nbval-check-output"]
def in_pieces(mixer, x, sizes):
    """Run x (B, T, C) through the mixer in pieces of the given sizes; return all outputs, (B, T, C)."""
    state, outputs, position = None, [], 0
    for piece in x.split(sizes, dim=1):
        cos, sin = rope_table(mixer.d_head, piece.shape[1], offset=position, dtype=x.dtype)
        y, state = mixer(piece, state, Shared(cos, sin))
        outputs.append(y)
        position += piece.shape[1]
    return torch.cat(outputs, dim=1)


mixer, x = GroupedAttention(48, 6, 2, 8).double(), torch.randn(2, 12, 48, dtype=torch.float64)
whole = in_pieces(mixer, x, [12])
for sizes in ([1] * 12, [5, 7], [3, 1, 8]):
    assert torch.allclose(in_pieces(mixer, x, sizes), whole, atol=1e-12)
print("12 at once = 12 single steps = 5 + 7 = 3 + 1 + 8, to 12 digits")

# %% [markdown]
# ## What the cache saves
#
# Without a cache, token $t$ costs a pass over all $t$ tokens again. To write $T$ tokens that is $1 + 2 + \dots + T$ passes
# of a token through the four matrices, and with the cache $T$.

# %% tags=["nbval-check-output"]
T = 256
print(f"{T} tokens: {T * (T + 1) // 2:,} passes without a cache, {T} with it: {(T + 1) / 2:.0f} times fewer")

# %%
guess = predict(
    "05.d",
    "128 times fewer passes. On your machine, how many times less time?",
    ["under 5 times", "5 to 80 times", "over 80 times"],
)


# %%
def seconds_to_write(cached, T=256):
    """Return the processor's seconds to write T tokens with one layer of 512 channels, one after another."""
    torch.manual_seed(0)
    mixer, x = GroupedAttention(512, 8, 2, 64), torch.randn(1, T, 512)
    cos, sin = rope_table(64, T)
    state, begin = None, time.process_time()
    with torch.no_grad():
        for t in range(T):
            first = t if cached else 0
            shared = Shared(cos[first : t + 1], sin[first : t + 1])
            _, state = mixer(x[:, first : t + 1], state if cached else None, shared)
    return time.process_time() - begin


slow, fast = seconds_to_write(cached=False), sum(seconds_to_write(cached=True) for _ in range(4)) / 4
print(f"without a cache {slow:.2f} s, with it {fast:.2f} s: {slow / fast:.0f} times less")
guess.reveal("under 5 times" if slow < 5 * fast else "over 80 times" if slow > 80 * fast else "5 to 80 times")

# %% [markdown]
# Much less, but not 128 times less. Many tokens at once use a processor well: it reads a matrix once for all of them. One
# token alone reads the whole matrix for itself. Operations are not time. That is why the size of the cache, which must be
# read too, matters so much.

# %% [markdown]
# ## Try it
#
# **How long may a text be before its cache is larger than the model?** The model has the shape of LLaMA-7B; the weights
# and the cache have two bytes a number. Share the keys, and look where the lines cross.


# %%
def draw_cache(n_kv_heads, texts):
    """Bytes of the cache against the length of the text, beside the bytes of the weights."""
    per_token = texts * 32 * 2 * n_kv_heads * 128 * 2
    weights = 2 * (PRESETS["llama-7b"].n_params - 32 * 2 * 4096 * 128 * (32 - n_kv_heads)) / 1e9
    crossing = 1e9 * weights / per_token
    return plots.draw_curves(
        {"cache": ((256, 2**20), (256 * per_token / 1e9, 2**20 * per_token / 1e9))},
        floors={"weights": weights},
        point=(crossing, weights),
        title=f"as large at {crossing:,.0f} tokens",
        xlabel="tokens of each text",
        ylabel="GB",
        xlog=True,
        ylog=True,
        ylim=(1e-3, 1e5),
        colors={"cache": "LLAMA"},
    )


widgets.explore(
    draw_cache,
    "How long may a text be before its cache is larger than the model?",
    n_kv_heads=([32, 8, 4, 1], 32, "key/value heads"),
    texts=([1, 8, 64], 1, "texts at a time"),
)

# %% [markdown]
# ## Exercises
#
# **Exercise 05.3** · repair · ●○○ · 5 min · 2 points · teaches which query head reads which key head · needs the figure
#
# The author of this function trained a model with it, and all was well. Then the weights of a TinyLlama were loaded into
# it, and it talked nonsense, without any error. Run the cell below. Why did training not notice? Repair it.
#
# <details><summary>Hint 1</summary>
#
# Compare the printed list with the figure above: which key head does query head 1 read?
#
# </details>
# <details><summary>Hint 2</summary>
#
# torch's `k.repeat` can only tile. einops' `repeat` does what the parentheses say. A model that is trained from scratch
# gets used to any fixed pairs.
#
# </details>


# %%
def tiled_keys(k, n_heads):
    """(B, G, S, N) -> (B, H, S, N): a key head for each query head."""
    return k.repeat(1, n_heads // k.shape[1], 1, 1)


numbered = torch.arange(2.0).view(1, 2, 1, 1)  # key head 0 holds the number 0, key head 1 the number 1
print("query heads 0 to 7 read", tiled_keys(numbered, 8).flatten().int().tolist())


# %% tags=["exercise:05.3"]
def shared_keys(k, n_heads):
    """(B, G, S, N) -> (B, H, S, N): a key head for each query head, neighbours share."""
    ### BEGIN SOLUTION
    return repeat(k, "b g s n -> b (g r) s n", r=n_heads // k.shape[1])
    ### END SOLUTION


# %% tags=["check:05.3"]
shared_keys = check("05.3", shared_keys)

# %% [markdown] tags=["solution:05.3"]

# %% [markdown]
# **Exercise 05.4** · implement · ●●○ · 10 min · 3 points · teaches a cache that stops growing · needs 05.2
#
# Mistral lets a token see the last $W$ tokens alone, itself included: a *[sliding window](../lessons/GLOSSARY.md#sliding-window)*. Then older keys can be thrown away.
# Write `recent`: append `new` to `old` (`old` is None at the beginning) and return what the T new tokens may still look
# at, **oldest first and not one more**. With T = 1 that is $W$ keys. With more it is not $W$: the first of the new tokens
# looks further back than the last one.
#
# <details><summary>Hint 1</summary>
#
# The first of the T new tokens sees itself and $W - 1$ before it. The last new token is T - 1 further on. So how many in all?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `torch.cat([old, new], dim=2)`, then keep the last $W - 1 + T$. Slicing with a negative start takes all where there are
# fewer.
#
# </details>


# %% tags=["exercise:05.4"]
def recent(old, new, window):
    """(B, G, S, N) or None, (B, G, T, N) -> what the T new tokens may see, (B, G, at most window - 1 + T, N)."""
    ### BEGIN SOLUTION
    everything = new if old is None else torch.cat([old, new], dim=2)
    return everything[:, :, -(window - 1 + new.shape[2]) :]
    ### END SOLUTION


# %% tags=["check:05.4"]
recent = check("05.4", recent)

# %% [markdown] tags=["solution:05.4"]
# For T = 1 no mask is needed any more: all that is kept may be seen. For T > 1 the mask still has to hide the oldest keys
# from the later of the new tokens.

# %% [markdown]
# A single token then attends over $W$ keys for ever, and gets what a mask over the whole past would give it:

# %% tags=["nbval-check-output"]
q, k, v = torch.randn(3, 1, 2, 30, 8, dtype=torch.float64).unbind(0)
kept_k = kept_v = None
for t in range(30):
    kept_k, kept_v = recent(kept_k, k[:, :, t : t + 1], 6), recent(kept_v, v[:, :, t : t + 1], 6)
    y = attend(q[:, :, t : t + 1], kept_k, kept_v)
band = torch.ones(30, 30, dtype=torch.bool).tril().triu(-5)
same = torch.allclose(y, F.scaled_dot_product_attention(q, k, v, band)[:, :, -1:])
print("after 30 tokens", kept_k.shape[2], "keys are kept; the same result as a masked matrix:", same)

# %% [markdown]
# **Exercise 05.5** · implement · ●○○ · 5 min · 2 points · teaches to count what a model must remember · needs 05.4
#
# Write `cache_bytes(config, length, bytes_per_number)`: the bytes of the cache for one text of `length` tokens. `config` has
# `n_layers`, `n_heads`, `n_kv_heads`, `d_head`, and `window`, which is None where a token sees everything.
#
# <details><summary>Hint 1</summary>
#
# Layers x (keys and values) x key/value heads x size of a head x tokens kept x bytes.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `min(length, config.window)` tokens are kept, where there is a window.
#
# </details>


# %% tags=["exercise:05.5"]
def cache_bytes(config, length, bytes_per_number=2):
    """Return the bytes of the keys and values of `length` tokens."""
    ### BEGIN SOLUTION
    kept = length if config.window is None else min(length, config.window)
    return 2 * config.n_layers * config.n_kv_heads * config.d_head * kept * bytes_per_number
    ### END SOLUTION


# %% tags=["check:05.5"]
cache_bytes = check("05.5", cache_bytes)

# %% [markdown] tags=["solution:05.5"]

# %% tags=["nbval-check-output"]
print("cache of one text, in GiB:  2,048   32,768 tokens")
for name in ("llama-7b", "llama-65b", "llama-2-70b", "mistral-7b-v0.1", "tinyllama-1.1b"):
    short, long = (cache_bytes(PRESETS[name].config, length) / 2**30 for length in (2048, 32768))
    print(f"{name:22} {short:10.2f} {long:8.2f}")

# %% [markdown]
# ## In the wild
#
# transformers calls it `LlamaAttention`. `q_proj`, `k_proj`, `v_proj`, `o_proj` are our `query`, `key`, `value`, `output`;
# `repeat_kv` is our `repeat`; `eager_attention_forward` is our `attend`, with a mask that is added. Meta's files
# say `wq`, `wk`, `wv`, `wo`. The same weights must give the same numbers:

# %% tags=["nbval-check-output"]
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention

shape = {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16}
config = LlamaConfig(**shape, attn_implementation="eager")
theirs, ours = LlamaAttention(config, layer_idx=0), GroupedAttention(96, 6, 2, 16)
names = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "o_proj": "output"}
ours.load_state_dict({f"{names[name.split('.')[0]]}.weight": weight for name, weight in theirs.state_dict().items()})
x, (cos, sin) = torch.randn(2, 11, 96), rope_table(16, 11)
wide = [torch.cat([z, z], dim=-1)[None] for z in (cos, sin)]  # they keep the table twice, side by side
mask = torch.full((11, 11), -torch.inf).triu(1)[None, None]
difference = (theirs(x, wide, mask)[0] - ours(x, None, Shared(cos, sin))[0]).abs().max()
print("largest difference to transformers below 1e-6:", bool(difference < 1e-6))

# %% [markdown]
# ## Recap
#
# A query scores every key by a dot product over $\sqrt N$, a softmax makes shares of the scores, and the mask hides what
# comes later: so a token can fetch one word from any distance. Many heads ask many questions at no extra cost, and groups
# of them share keys and values, so that the cache, all that a LLaMA remembers, shrinks by $H / G$. Whole text or step by
# step, the result is the same.
#
# ## Read on
#
# - Vaswani et al., [Attention Is All You Need](https://arxiv.org/abs/1706.03762), section 3.2: two pages, with the reason for
#   the root in a footnote.
# - Shazeer, [Fast Transformer Decoding](https://arxiv.org/abs/1911.02150): one key head, and why reading the cache is what
#   takes the time.
# - Ainslie et al., [GQA](https://arxiv.org/abs/2305.13245): groups, and how a trained model is turned into a grouped one.
# - Olsson et al., [In-context Learning and Induction Heads](https://arxiv.org/abs/2209.11895): the look-up of this lesson's
#   beginning, found in trained models.
#
# **Next:** [06. Attention never needs the whole matrix](06_online_softmax.ipynb).
