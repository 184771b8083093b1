# %% [markdown]
# # 05. Many heads can share few keys
#
# A word asks, and the words before it answer: that is attention. Many heads ask at once. Fewer can answer, and a model that
# keeps fewer answers has room for a longer text.
#
# **You build** `attention_weights` and `GroupedAttention`, the part of every LLaMA that lets tokens look at each other. And
# you watch a trained model as it looks for a name.
#
# **You need** lesson 04 (RoPE) and the softmax. **Time:** 90 minutes.

# %% tags=["setup"]
start("05")

# %%
import math
import time
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import nn
from tqdm.auto import trange

from lib.layers.rope import rope_table, rotate_half_split
from lib.layers.shared import Shared
from lib.models.llama import attention_maps
from lib.models.presets import PRESETS
from lib.run.checkpoint import load_bundle
from lib.run.measure import best_seconds
from lessons.figures import lesson_05 as figures
from lib.show import plots, widgets
from lib.show.attention_map import attention_map
from lessons.exercises.lesson_05 import check
from lib.show.predict import predict
from lib.teach.claims import claim
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
# Each word becomes a vector. What the model needs to know of the text must end up in **one** vector, at the last word. The
# plainest way is to take the average of all of them, a *bag of words*.

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
vocabulary = sorted({word for story in stories.values() for word in story})
table = torch.randn(len(vocabulary), 256)
index = {word: i for i, word in enumerate(vocabulary)}
vectors = {name: torch.stack([table[index[word]] for word in story]) for name, story in stories.items()}  # (T, N)
bags = {name: x.mean(0) for name, x in vectors.items()}
print(f"largest difference of the two averages: {(bags['first'] - bags['second']).abs().max():.4f}")

# %% [markdown]
# Two stories, two answers, **one** vector. No network that gets this vector can tell them apart, however deep it is. An
# average gives every word the same weight. You need one that gives it to the right word, and which word that is depends on
# what is asked.

# %% [markdown]
# ## A query, keys, values
#
# Give each word two vectors: a **key**, by which it can be found, and a **value**, which it hands over. The last word has
# a **query**. Compare the query with every key by a dot product, turn the scores into weights by a softmax, and take the
# mean of the values with these weights.
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
# Found, from so far away. Distance does not matter: every word is one dot product away.
#
# Here the keys and the query are made by hand. In a model three matrices turn the vector $x_t$ of a token into $q_t$, $k_t$
# and $v_t$, and training finds the matrices. "The word before me" is not in a token's own vector: an earlier layer has to
# fetch it first. Further down you look into a trained model, and see whether it does so.

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
# $t$ is the token that asks, and $s$ runs over the tokens that answer. $q_t$, $k_s$ and $v_s$ are vectors of $N$ channels,
# the size of one head. $a_{ts}$ is the score of key $s$ for query $t$, and $w_{ts}$ is its weight; a row of weights sums to
# one. Two things need a reason: $\sqrt N$, and $s \le t$.

# %% [markdown]
# ## Why the square root
#
# Let the channels of $q$ and $k$ be random numbers with mean 0 and variance 1. Each product of two of them has variance 1,
# and their sum over $N$ channels has variance $N$. So the typical size of $q \cdot k$, its standard deviation, is
# $\sqrt N$: 2 for 4 channels, 32 for 1,024. Does that do any harm?

# %%
guess = predict(
    "05.a",
    "64 random keys, 1,024 channels, nothing divided. How much of the weight does the strongest key get, on average?",
    ["about 0.1", "about 0.5", "over 0.9"],
)


# %% tags=["nbval-check-output"]
def spread(N, divide):
    """Return the standard deviation of scores, the largest of 64 weights, and the sum of all weights' slopes."""
    torch.manual_seed(N)
    q, k = torch.randn(300, 1, N), torch.randn(300, 64, N)
    scores = (q * k).sum(-1) / (math.sqrt(N) if divide else 1)
    weights = scores.softmax(-1)
    return scores.std(), weights.amax(-1).mean(), (weights * (1 - weights)).sum(-1).mean()


print("              as it is                  divided by sqrt(N)")
print("   N   deviation largest slopes      deviation largest slopes")
for N in (4, 64, 128, 1024):
    bare, scaled = spread(N, False), spread(N, True)
    print("{:5} {:9.0f} {:8.2f} {:6.2f} {:13.0f} {:8.2f} {:6.2f}".format(N, *bare, *scaled))
answer = min(("about 0.1", 0.1), ("about 0.5", 0.5), ("over 0.9", 0.95), key=lambda near: abs(near[1] - bare[1]))[0]
guess.reveal(answer, "With scores of deviation 32, the best of 64 is mostly far ahead of the second.")

# %% [markdown]
# The wider the scores, the more the softmax gives to one key, whichever it happens to be. And the less it can be changed.
# The slope of a weight $w$ in its own score is $w (1 - w)$, which is small for a weight near 0 or 1. The columns
# *slopes* add them up for all 64 weights: follow each down the rows. Divided by $\sqrt N$, the scores have
# deviation 1, so a head of any size starts with weights that training can move.

# %% [markdown]
# ## Why the mask
#
# In training, a whole text goes in at once, and every token guesses the next one. If token $t$ sees token $t + 1$, it sees the
# answer. The **[causal mask](../lessons/GLOSSARY.md#causal-mask)** gives the keys with $s > t$ the score $-\infty$, and
# $e^{-\infty} = 0$.
#
# What happens without it? Take *tales*, the course's own stories, byte by byte, and a small model: an embedding, one
# attention, and a last matrix that guesses the next byte.


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
torch.set_num_threads(1)  # steps this small would wait for a second thread
text = torch.tensor(list(corpora.load("tales").train[:200_000].encode()))


def train_tiny(causal, steps=120):
    """Train on random pieces of 64 bytes; return the model and its losses in nats per byte."""
    torch.manual_seed(1)
    model, losses = Tiny(causal), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in trange(steps, leave=False):
        start_at = torch.randint(len(text) - 65, (16, 1))
        piece = text[start_at + torch.arange(65)]
        loss = F.cross_entropy(model(piece[:, :-1]).flatten(0, 1), piece[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


masked, masked_losses = train_tiny(causal=True)

# %%
guess = predict(
    "05.b",
    f"With the mask the loss falls to {sum(masked_losses[-20:]) / 20:.1f} nats a byte. Without it, in as many steps, to ...",
    ["about the same", "about 1.8", "below 1.5"],
)

# %%
leaking, leaking_losses = train_tiny(causal=False)
last = sum(leaking_losses[-20:]) / 20
guess.reveal("below 1.5" if last < 1.5 else "about 1.8" if last < 2.0 else "about the same", "It reads the next byte.")


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
# In training it looks far too good. In use the next byte can't be read, and the model does worse than counting letters. **A
# loss that is too good is a leak until you have proved otherwise.** You met one in a norm (exercise 02.2), and there will be
# others.

# %% [markdown]
# ## Build it
#
# **Exercise 05.1** · implement · ●●○ · 10 min · 4 points · teaches scores, scale, mask and softmax · needs the formula
#
# Write `attention_weights`. `q` is (B, H, T, N): B texts, H heads, T tokens that ask, N channels in a head. `k` is
# (B, G, S, N): S tokens that answer, in G heads. For now G is as large as H.
#
# The queries belong to the **last** T of the S tokens, because a model that tells a story has seen some tokens before. So
# query $t$, counted from 0, stands at position $S - T + t$. For T = 2 and S = 5 the mask, 1 for what may be seen, is
#
# ```
# 1 1 1 1 0
# 1 1 1 1 1
# ```
#
# The first line of the function is given. `repeat` is from `einops`, like `rearrange` in lesson 04: a name that stands on the
# right alone is a new axis of copies. The line does nothing where G = H. You will see soon what it is for.
#
# <details><summary>Hint 1: the scores</summary>
#
# `k.transpose(-1, -2)` swaps the last two axes, and `@` multiplies the last two: `q @ k.transpose(-1, -2)` is (B, H, T, S).
#
# </details>
# <details><summary>Hint 2: the mask</summary>
#
# `torch.ones(T, S, dtype=torch.bool).tril(d)` is True on and below diagonal `d`. For T = S you need `d = 0`. And for T = 2,
# S = 5?
#
# </details>
# <details><summary>Hint 3: the order</summary>
#
# Mask the scores *before* the softmax: `scores.masked_fill(~seen, -torch.inf)`. Zeros put into the weights afterwards
# leave rows that no longer sum to one. And make the mask with `device=q.device`, so that it lies where `q` lies.
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
# One softmax makes one mean. Ask it for two things at once, *which* (the word after "a") and *who* (the word after "to"),
# and both values come in one vector, in shares that nobody chose. Two **heads** of half the width ask one question each.

# %% tags=["nbval-check-output"]
values = vectors["first"]
keys = torch.cat([torch.zeros(1, 256), values[:-1]])
both = (keys @ (table[index["to"]] + table[index["a"]]) / 16).softmax(0)
for i in both.topk(2).indices.sort().values:
    print(f"one head: {stories['first'][i]} with {both[i]:.2f} of the weight")
for name, word, channels in (("head 1", "a", slice(0, 128)), ("head 2", "to", slice(128, 256))):
    weights = (keys[:, channels] @ table[index[word], channels] / math.sqrt(128)).softmax(0)
    print(f"{name}:   {stories['first'][int(weights.argmax())]} with {weights.max():.2f} of the weight")

# %% [markdown]
# More heads need no more parameters. LLaMA-7B cuts its 4,096 channels into 32 heads of 128. The matrix that makes the queries
# is 4,096 x 4,096 with one head or with 32; its rows are only read in groups. (But each head has a T x T matrix of weights
# of its own. Lesson 06 gets rid of it.)

# %% [markdown]
# ## Watch a trained model
#
# So much for keys made by hand. `llama-tales` is the small LLaMA of lesson 00, trained on *tales*: four layers, one after
# another, of four heads each. Let it read the beginning of a story. At the last word, *Big*, it must know who has the
# lantern. `attention_maps` runs the model, and returns the weights of all its heads.

# %%
TALE = (
    '"What a snowy Monday!" said Grandma Rose to Little Emil Winter, and they walked out to the quiet bridge made of logs. '
    "On a grey morning Little Emil met Big Amara, who had no coat behind a red bench. Then he held out the golden lantern.\n"
    '  "Where is the golden lantern?" asked Grandma softly. "With Big'
)
model, tokenizer = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")


def read(text):
    """Return the words of a text as the model gets them, and the weights of all heads, (L, H, T, T)."""
    tokens = [tokenizer.eot, *tokenizer.encode(text)]
    return ["(start)", *(tokenizer.decode([token]) for token in tokens[1:])], attention_maps(
        model, torch.tensor([tokens])
    )


words, maps = read(TALE)
print(f"{maps.shape[0]} layers of {maps.shape[1]} heads, {maps.shape[2]} tokens")

# %%
WHY = {"lantern": "the question is about it", "Emil": "the name said most often", "Big": "the same word, earlier"}
WHY |= {"Amara": "the name after the earlier Big"}
guess = predict(
    "05.c",
    "One head gives nearly all its weight at the last word to one of these. Which one does it read?",
    [f"{word}: {why}" for word, why in WHY.items()],
)


# %%
def most(maps, words, word):
    """Return the largest weight that the last word gives to an earlier `word`, its layer and head, and its place."""
    places = [s for s, other in enumerate(words[:-1]) if other.strip() == word]
    found = maps[:, :, -1, places]  # (L, H, places)
    layer, head, i = (int(n) for n in torch.unravel_index(found.argmax(), found.shape))
    return float(found.max()), layer, head, places[i]


for word in WHY:
    share, layer, head, _ = most(maps, words, word)
    print(f"{word:8} is read with {share:4.0%} at most, by layer {layer + 1}, head {head + 1}")
share, layer, head, place = max(most(maps, words, word) for word in WHY)
answer = words[place].strip()
guess.reveal(f"{answer}: {WHY[answer]}", f"Layer {layer + 1}, head {head + 1} reads it with {share:.0%}.")

# %% [markdown]
# The query asks "who came after *Big*?", and a key says "I came after *Big*": the look-up of the two stories. If it is that,
# and not a liking for one name, the same head must read another name where the two are swapped, or where the last word is
# *Little*. And some head of an earlier layer must have read, at the name, the word before it.

# %% tags=["spoiler"]
swapped = TALE.replace("Emil", "(x)").replace("Amara", "Emil").replace("(x)", "Amara")
for name, text in (
    ("as it is", TALE),
    ("names swapped", swapped),
    ("... With Little", TALE.removesuffix("Big") + "Little"),
):
    others, weights = read(text)
    row = weights[layer, head, -1]
    print(f"{name:16} reads {others[int(row.argmax())].strip()} with {row.max():.0%}")
others, weights = read(TALE.removesuffix("With Big") + "By the red")
bench = float(weights[layer, head, -1, others.index(" bench")])
print(f"... By the red   reads bench, which came after the earlier red, with {bench:.0%}", end=": ")
print("it looks up other words than names, too" if bench > 0.1 else "not what it does for names")
before = maps[: max(layer, 1), :, place, place - 1]  # (earlier layers, H): how much the name reads the word before it
first, its_head = divmod(int(before.argmax()), before.shape[1])
print(
    f"{answer} reads the word before it, {words[place - 1].strip()}, with {before.max():.0%}: layer {first + 1}, head {its_head + 1}"
)

# %% tags=["spoiler"]
attention_map(words, maps, "Who holds the lantern?", layer=layer, head=head)

# %% [markdown]
# Point at the words, and try other layers and heads. Two heads that work together like these, one that fetches the word
# before and a later one that looks for it, are called an **induction head** (Olsson et al., below). Theirs do it with any
# words. The line of *By the red* asks whether this one does it with a word that is no name. Change the story, and try more.

# %% [markdown]
# ## The cache
#
# A model tells a story token by token. The new token asks, and all the earlier ones answer with their keys and values.
# Because of the mask those **can't have changed**: an earlier token never saw the new one. So keep them. That is the
# **[KV cache](../lessons/GLOSSARY.md#kv-cache)**, and it is all that a LLaMA remembers.
#
# What does it cost to keep? For each token, in each layer, a key and a value of $N$ numbers for each head, two bytes a number:


# %% tags=["nbval-check-output"]
class KVCache:
    """The keys and values of all tokens so far, each (B, G, S, N)."""

    def __init__(self, keys, values):
        self.keys, self.values = keys, values

    def append(self, keys, values):
        """Return the longer cache; this one stays as it is."""
        return KVCache(torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2))


seven = PRESETS["llama-7b"].config
per_token = seven.n_layers * 2 * seven.n_heads * seven.d_head * 2
print(f"{seven.n_layers} layers x 2 x {seven.n_heads} heads x {seven.d_head} x 2 bytes = {per_token:,} bytes a token")
for texts in (1, 32):
    print(f"{texts:2} x 2,048 tokens: {per_token * 2048 * texts / 2**30:4.1f} GiB")
print(f"the model's weights: {2 * PRESETS['llama-7b'].n_params / 2**30:4.1f} GiB")

# %% [markdown]
# With 32 texts at a time the caches are larger than the model. And a cache must be **read in full for each new token**. Do 32
# heads really need 32 sets of keys?

# %% [markdown]
# ## Fewer keys
#
# Let several query heads share one head of keys and values. With $H$ query heads and $G$ key/value heads:
#
# - $G = H$: multi-head attention, **MHA**. LLaMA, Llama 2 7B and 13B.
# - $G = 1$: multi-query attention, **MQA**. The smallest cache.
# - between: [grouped-query attention](../lessons/GLOSSARY.md#grouped-query-attention), **GQA**. Llama 2 70B, TinyLlama, LiteLlama, Mistral.
#
# What does it cost? Ainslie et al. (arXiv 2305.13245, table 1) score a large T5 on seven tasks: 47.2 on average with MHA,
# 46.6 with MQA, 47.1 with 8 groups. A small model on short stories can't repeat that; the memory you can check.

# %%
figures.sharing(n_heads=8, n_kv_heads=(8, 2, 1), names=("MHA", "GQA", "MQA"))

# %% [markdown]
# Look at the lines: **neighbours share**. With 8 query heads on 2 key heads, heads 0 to 3 read key head 0, and heads 4 to 7
# read key head 1. In general head $h$ reads key head $\lfloor h G / H \rfloor$. In `repeat(k, "b g s n -> b (g r) s n", r=4)` the copies $r$ count
# fastest, so each key head is repeated in place, 0 0 0 0 1 1 1 1. With `(r g)` they would be tiled, 0 1 0 1 0 1 0 1, with
# no error and the wrong pairs.

# %%
guess = predict(
    "05.d",
    "LLaMA-7B has 32 layers of 32 key heads. Llama-2-70B has ten times its weights, in 80 layers of 64 query heads and 8 key"
    " heads of the same size. Its cache for one token is ...",
    ["10 times as large", "2.5 times as large", "smaller"],
)

# %% tags=["nbval-check-output"]
sizes = {}
for name in ("llama-7b", "llama-65b", "llama-2-70b", "mistral-7b-v0.1", "tinyllama-1.1b", "litellama-460m"):
    c = PRESETS[name].config
    sizes[name] = c.n_layers * 2 * c.n_kv_heads * c.d_head * 2
    print(f"{name:15} {c.n_layers} layers x 2 x {c.n_kv_heads:2} x {c.d_head:3} x 2 bytes = {sizes[name]:9,} a token")
ratio = sizes["llama-2-70b"] / sizes["llama-7b"]
answer = "smaller" if ratio < 1 else "2.5 times as large" if ratio < 5 else "10 times as large"
guess.reveal(answer, f"It is {ratio:.3f} times as large: 80 x 8 key heads for 32 x 32.")

# %% [markdown]
# Eight query heads to a key head: an eighth of the cache, and an eighth of the key and value matrices. Llama 2 put those
# weights into a wider SwiGLU instead: 28,672 channels where LLaMA-65B has 22,016 (arXiv 2307.09288, A.2.1).

# %% [markdown]
# ## Build the layer
#
# A layer of a language model has two halves. One mixes along the channels of each token: the SwiGLU of lesson 03. The other
# mixes along time: it is the one place where tokens meet. In a LLaMA this **[time mixer](../lessons/GLOSSARY.md#time-mixer)** is
# grouped attention.
#
# **Exercise 05.2** · implement · ●●○ · 15 min · 5 points · teaches LLaMA's time mixer · needs 05.1
#
# Write `GroupedAttention.forward`. Make `q`, `k` and `v` from `x` and cut them into heads, (B, H, T, N) and (B, G, T, N).
# Turn `q` and `k` by their positions. The angles come in `shared`, which holds what is computed once for all layers:
# `shared.cos` and `shared.sin` have a row for each token of `x`. Put the new keys and values into the cache. Attend, into
# `y`, (B, H, T, N). At the end lay the heads side by side, mix them by `self.output`, and return the result and the cache:
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
# Everything rests on this property: a text at once, token by token, or in any pieces gives the same result. Run it in
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
# The GQA paper says that the cache shrinks by $H / G$. Hold two caches of your layer beside each other, and count:

# %%
sizes = {}
for G in (32, 4):
    keys = GroupedAttention(64, 32, G, 16)(torch.randn(1, 100, 64), None, Shared(*rope_table(16, 100)))[1]
    sizes[G] = keys.keys.nbytes + keys.values.nbytes
ratio = sizes[32] / sizes[4]
claim(
    "gqa-memory",
    "holds" if ratio == 32 / 4 else "does not hold here",
    f"32 heads on 4: the cache is {ratio:.0f} times smaller",
)

# %% [markdown]
# ## What the cache saves
#
# Without a cache, token $t$ costs a pass over all $t$ tokens again. To write $T$ tokens that is $1 + 2 + \dots + T$ passes
# of a token through the four matrices, and with the cache $T$.

# %%
T = 256
guess = predict(
    "05.e",
    f"{T} tokens: {T * (T + 1) // 2:,} passes without a cache, {T} with it, {(T + 1) / 2:.0f} times fewer. On your machine, how"
    " many times less time?",
    ["under 5 times", "5 to 80 times", "over 80 times"],
)


# %%
@torch.no_grad()
def write(cached, mixer, x):
    """Write the T tokens of x (1, T, C) with one layer, one after another."""
    cos, sin = rope_table(mixer.d_head, x.shape[1])
    state = None
    for t in range(x.shape[1]):
        first = t if cached else 0
        shared = Shared(cos[first : t + 1], sin[first : t + 1])
        _, state = mixer(x[:, first : t + 1], state if cached else None, shared)


wide, thin = GroupedAttention(512, 8, 2, 64), GroupedAttention(16, 2, 1, 8)
ways = {"without": partial(write, False, wide, torch.randn(1, T, 512))}
ways |= {
    "with": partial(write, True, wide, torch.randn(1, T, 512)),
    "thin": partial(write, True, thin, torch.randn(1, T, 16)),
}
seconds = best_seconds(ways, rounds=3, clock=time.process_time)
less = seconds["without"] / seconds["with"]
print(f"without a cache {seconds['without']:.2f} s, with it {seconds['with']:.3f} s: {less:.0f} times less")
print(f"the same with 16 channels in place of 512: {seconds['thin']:.3f} s")
guess.reveal("under 5 times" if less < 5 else "over 80 times" if less > 80 else "5 to 80 times")

# %% [markdown]
# Passes are not time. Compare the last two numbers: with 16 channels there is next to nothing to multiply, and what is left
# is the cost of calling each function from Python, once for each token. And where many tokens go through a matrix together,
# the processor reads it once for all of them; a single token reads it for itself alone. In a large model the calls hardly
# count, and writing is bound by what must be read for each token. That is why the size of the cache matters so much.

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
# The author of this function trained a model with it, and all was well. Then someone loaded the weights of a TinyLlama into
# it, and it talked nonsense, without any error. Run the cell below. Why did training not notice? Repair it.
#
# <details><summary>Hint 1</summary>
#
# Compare the printed list with the figure above: which key head does query head 1 read?
#
# </details>
# <details><summary>Hint 2</summary>
#
# torch's `k.repeat` can only tile. `repeat` of `einops` does what the parentheses say. A model that is trained from scratch
# learns with any fixed pairs; weights that were trained with other pairs do not fit them.
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
# Why did training not notice? With tiled keys each query head still has one key head, always the same one, and learns to
# work with it. TinyLlama's heads have learned with other partners.

# %% [markdown]
# **Exercise 05.4** · implement · ●●○ · 10 min · 3 points · teaches a cache that stops growing · needs 05.2
#
# Mistral lets a token see only the last $W$ tokens, itself included: a
# *[sliding window](../lessons/GLOSSARY.md#sliding-window)*. Then older keys can be thrown away. Write `recent`: append `new`
# to `old` (`old` is None at the beginning), and return what the T new tokens may look at, **oldest first and not one more**.
# With T = 1 that is $W$ keys at most. With more new tokens it is not $W$: the first of them looks further back than the last.
#
# <details><summary>Hint 1</summary>
#
# The first of the T new tokens sees itself and $W - 1$ tokens before it. The last is T - 1 further on. So how many in all?
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


# %% tags=["check:05.4", "nbval-check-output"]
recent = check("05.4", recent)

q, k, v = torch.randn(3, 1, 2, 30, 8, dtype=torch.float64).unbind(0)
kept_k = kept_v = None
for t in range(30):
    kept_k, kept_v = recent(kept_k, k[:, :, t : t + 1], 6), recent(kept_v, v[:, :, t : t + 1], 6)
    y = attend(q[:, :, t : t + 1], kept_k, kept_v)
band = torch.ones(30, 30, dtype=torch.bool).tril().triu(-5)
same = torch.allclose(y, F.scaled_dot_product_attention(q, k, v, band)[:, :, -1:])
print("after 30 tokens", kept_k.shape[2], "keys are kept; the same result as a masked matrix:", same)

# %% [markdown] tags=["solution:05.4"]
# For T = 1 no mask is needed any more: all that is kept may be seen, and the result is that of a mask over the whole past,
# as the last line above says. For T > 1 a mask still has to hide the oldest keys from the later of the new tokens.

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

print("cache of one text, in GiB:  2,048   32,768 tokens")
for name in ("llama-7b", "llama-65b", "llama-2-70b", "mistral-7b-v0.1", "tinyllama-1.1b"):
    short, long = (cache_bytes(PRESETS[name].config, length) / 2**30 for length in (2048, 32768))
    print(f"{name:22} {short:10.2f} {long:8.2f}")

# %% [markdown] tags=["solution:05.5"]

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
# A query scores every key by a dot product over $\sqrt N$, a softmax makes weights of the scores, and the mask hides what
# comes later: so a token can fetch one word from any distance, and a trained model does. Many heads ask many questions
# with no more parameters, and groups of them share keys and values, so that the cache, all that a LLaMA remembers, shrinks
# by $H / G$. At once or step by step, the result is the same.
#
# ## Read on
#
# - Vaswani et al., [Attention Is All You Need](https://arxiv.org/abs/1706.03762), section 3.2: two pages, with the reason for
#   the root in a footnote.
# - Shazeer, [Fast Transformer Decoding](https://arxiv.org/abs/1911.02150): one key head, and why reading the cache is what
#   takes the time.
# - Ainslie et al., [GQA](https://arxiv.org/abs/2305.13245): groups, and how a trained model is turned into a grouped one.
# - Olsson et al., [In-context Learning and Induction Heads](https://arxiv.org/abs/2209.11895): two heads that look up what
#   came after a word, found in trained models of many sizes.
#
# **Next:** [06. Attention never needs the whole matrix](06_online_softmax.ipynb).
