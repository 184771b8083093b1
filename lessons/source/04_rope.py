# %% [markdown]
# # 04. Position is an angle
#
# Attention compares every word with every other, and never asks where they stand. LLaMA's cure: turn each query and each
# key by an angle that grows with its position. Then their product knows how far apart they are.
#
# **You build** `rotate_half_split` and the rest of RoPE, the rotary position embedding of LLaMA, TinyLlama, OpenELM and
# Mistral, and you meet a well-hidden bug in loading their weights.
#
# **You need** sine and cosine, and the dot product of two vectors. **Time:** 100 minutes.

# %% tags=["setup"]
start("04")

# %%
import math
import re

import torch
from einops import rearrange

from lessons.figures import lesson_04 as figures
from lib.show import plots, widgets
from lessons.exercises.lesson_04 import check
from lib.show.predict import predict
from lib.teach.claims import claim
from lib.text import corpora

# %% [markdown]
# ## The need
#
# A sentence from *tales*, the stories that come with the course, and the same sentence with its two names swapped. The third
# line has the same words in alphabetical order. In this lesson a token is a word.

# %% tags=["nbval-check-output"]
text = corpora.load("tales").train[:2_000_000]
found = re.search(r"Little (\w+) [^.\"\n]* gave Big (\w+) the [^.\"\n]*\.", text)
sentence = re.findall(r"\w+|[^\w\s]", found[0])
giver, taker = found[1], found[2]
swap = {giver: taker, taker: giver}
swapped = [swap.get(word, word) for word in sentence]
shuffled = sorted(sentence[:-1]) + sentence[-1:]
for words in (sentence, swapped, shuffled):
    print(" ".join(words))

# %% [markdown]
# Lesson 05 builds [attention](../lessons/GLOSSARY.md#attention) with all its parts. Its core is three lines, and they are
# enough here. The last token asks with a **query**. Each token has a **key** and a **value**. The dot product of query and
# key is a **score**. The softmax turns the scores into shares that add up to one, and the output is the mean of the values
# in these shares. All of this together is one **[head](../lessons/GLOSSARY.md#head)**; a model has many.


# %%
N = 16  # the size of a head
VECTORS = {word: torch.randn(N) for word in sentence}
WQ, WK, WV = torch.randn(3, N, N) / N**0.5


def attend(words, turn=lambda z: z):
    """What the last word gets from all words, (N,). `turn` may change queries and keys, (T, N) -> (T, N)."""
    x = torch.stack([VECTORS[word] for word in words])  # (T, N)
    q, k, v = turn(x @ WQ), turn(x @ WK), x @ WV
    shares = (q[-1] @ k.T / N**0.5).softmax(-1)  # (T,)
    return shares @ v


# %%
guess = predict(
    "04.a",
    "Who gave, and who got it? The output at the last word, for the three lines above:",
    ["three different outputs", "the swap is lost, the shuffle shows", "three times the same"],
)

# %%
outputs = [attend(words) for words in (sentence, swapped, shuffled)]
for name, output in zip(("sentence", "swapped", "shuffled"), outputs, strict=True):
    print(f"{name:9} first four of {N} numbers: {[round(number, 4) for number in output[:4].tolist()]}")
same = [bool(torch.allclose(output, outputs[0], atol=1e-5)) for output in outputs]
answer = {(True, True, True): "three times the same", (True, False, False): "three different outputs"}.get(tuple(same))
guess.reveal(answer or "the swap is lost, the shuffle shows", "A sum does not know the order of its terms.")

# %% [markdown]
# To this attention a sentence is a **bag of words**. It can't know who gave. (In a model of several layers the causal mask,
# which hides later tokens, gives away a little of the order, because early tokens see fewer others. Models without any
# positions [do learn](https://arxiv.org/abs/2203.16634), nearly as well as others.)
#
# GPT-2 adds a learned vector for each position, 1,024 of them. It works, but there is no vector for position 1,025. And
# nothing carries what it learned about positions 3 and 1 over to 103 and 101. **Can a score know the distance, and
# nothing else about the positions?**

# %% [markdown]
# ## By hand
#
# Two numbers are a point in the plane, an arrow from the middle. Turn it by an angle:


# %% tags=["nbval-check-output"]
def turn_pair(pair, angle):
    """Turn (a, b) by an angle in radians: 2 pi is once around."""
    a, b = pair
    return a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle)


for degrees in (0, 90, 180, 360):
    a, b = turn_pair((3.0, 4.0), math.radians(degrees))
    print(f"(3, 4) turned by {degrees:3} degrees: ({a:4.1f}, {b:4.1f}), length {math.hypot(a, b):.1f}")

# %% [markdown]
# The length stays. Now the idea: **turn a query at position $t$ by $t$ radians, and a key likewise.** Then take their product.

# %%
PLACES = {"query at 103, key at 101": (103, 101), "query at 1, key at 3": (1, 3)}
guess = predict(
    "04.b",
    "A query at position 3 and a key at position 1 give some score. Where do the same two give the same score again?",
    [*PLACES, "at both", "at neither"],
)


# %% tags=["nbval-check-output"]
def score(query, m, key, n):
    """The product of a query at position m and a key at position n, one radian a position."""
    (a, b), (c, d) = turn_pair(query, m), turn_pair(key, n)
    return a * c + b * d


query, key = (3.0, 4.0), (2.0, 1.0)
for m, n in ((3, 1), (103, 101), (1_000_003, 1_000_001), (3, 2), (1, 3)):
    print(f"query at {m:7}, key at {n:7}, distance {m - n:2}: score {score(query, m, key, n):.4f}")
same = [
    math.isclose(score(query, 3, key, 1), score(query, place[0], key, place[1]), abs_tol=1e-9)
    for place in PLACES.values()
]
once = [name for name, found in zip(PLACES, same, strict=True) if found]
answer = "at both" if all(same) else "at neither" if not any(same) else once[0]
guess.reveal(answer, "100 radians more for both leave the angle between them as it is.")

# %% [markdown]
# From 3 back to 1 is not from 1 on to 3: the score can tell before from after.

# %%
figures.rotation(
    query,
    key,
    alt="Three planes with arrows from the middle. Left: one arrow at positions 0 to 6, turned by one radian each time."
    " Middle: the query at position 3 and the key at position 1. Right: the query at 103 and the key at 101: the same two"
    " arrows with the same angle between them, turned together.",
)

# %% [markdown]
# Look at the middle and the right: the pair of arrows is turned as a whole. The dot product of two arrows depends on their
# lengths and the angle between them, and neither has changed.

# %% [markdown]
# ## One hand is not enough
#
# What turns by one radian a token is a clock with one hand. It goes once round in 6.28 tokens, $2\pi$.

# %%
guess = predict(
    "04.c", "Query and key are equal. Which distance can this clock hardly tell from distance 0?", ["3", "22", "44"]
)

# %% tags=["nbval-check-output"]
same_place = score((1.0, 0.0), 0, (1.0, 0.0), 0)
scores = {distance: score((1.0, 0.0), distance, (1.0, 0.0), 0) for distance in (3, 22, 44)}
print({distance: round(value, 4) for distance, value in scores.items()}, "and at distance 0:", same_place)
nearest = max(scores, key=scores.get)
guess.reveal(str(nearest), f"{nearest} radians are {nearest / (2 * math.pi):.3f} turns, nearly a whole number.")

# %% [markdown]
# A clock tells hours, minutes and seconds with three hands. A head of size $N$ has $N/2$ pairs of channels, so it gets
# $N/2$ hands, from fast to slow. Pair $j$ turns by
#
# $$\omega_j = \theta^{-2j/N}, \qquad j = 0, 1, \dots, N/2 - 1$$
#
# radians a token. $\theta$ ("theta") is 10,000 in LLaMA. The first hand turns one radian a token whatever $\theta$ is, and
# each next one is slower by the same factor.


# %%
def speeds(d_head, theta=10000.0):
    """How many radians each pair turns per token, (N/2,)."""
    return theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)


for j, speed in enumerate(speeds(8).tolist()):
    print(f"pair {j}: {speed:.3f} radians a token, once round in {2 * math.pi / speed:6.0f} tokens")
figures.clocks(
    [0, 1, 10, 100, 1000],
    speeds(8),
    alt="Four rows of clocks, one row for each pair, and a column for each of the positions 0, 1, 10, 100 and 1000. The"
    " first hand moves by one radian from 0 to 1, the second from 0 to 10, the third from 0 to 100, the fourth from 0 to 1000.",
)

# %% [markdown]
# Go down a column to see what the head sees at one position. The fast hand on top tells neighbours apart, and at 100 it has
# been round many times. The slow hands hardly move from one token to the next, and tell a beginning from what is a thousand
# tokens on.

# %% [markdown]
# ## The formula
#
# This is **[RoPE](../lessons/GLOSSARY.md#rope)**. Take a vector at position $t$. Pair $j$ of its channels, $(a, b)$, is
# turned by the angle $t\,\omega_j$:
#
# $$(a, b) \to \big(a \cos t\omega_j - b \sin t\omega_j,\;\; b \cos t\omega_j + a \sin t\omega_j\big)$$
#
# - Queries and keys are turned, **values are not**: the position should decide who listens to whom, not what is said.
# - Nothing is learned. The cosines and sines are a table, the same for all layers and heads.
# - Which channels are a pair? **[Half-split](../lessons/GLOSSARY.md#half-split-and-interleaved)**: channel $j$ and channel
#   $j + N/2$. Hugging Face, OpenELM and this course do it this way. It is a choice, and it will matter.

# %% [markdown]
# ## Build it
#
# **Exercise 04.1** · implement · ●○○ · 10 min · 4 points · teaches the rotation in tensors · needs the formula
#
# Turn the pairs $(j, j + N/2)$ of `x`. `x` is (..., T, N): T tokens, N channels, and any number of axes in front. `cos` and
# `sin` are the table, (T, N/2): a row for each token, a column for each pair. Return the result in the type of `x`.
#
# <details><summary>Hint 1: the pairs</summary>
#
# `a, b = x.chunk(2, dim=-1)` cuts the last axis in half: `a` has channels 0 .. N/2 - 1, `b` the rest.
#
# </details>
# <details><summary>Hint 2: put them together</summary>
#
# Compute both new halves from the **old** `a` and `b`, then `torch.cat([...], dim=-1)`.
#
# </details>
# <details><summary>Hint 3: the type</summary>
#
# A bfloat16 tensor times a float32 table is float32. `.type_as(x)` at the end.
#
# </details>


# %% tags=["exercise:04.1", "builds:lib.layers.rope.rotate_half_split"]
def rotate_half_split(x, cos, sin):
    """(..., T, N) -> (..., T, N): the pairs (j, j + N/2) turned by the table's angles."""
    ### BEGIN SOLUTION
    a, b = x.chunk(2, dim=-1)  # (..., T, N/2)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).type_as(x)
    ### END SOLUTION


# %% tags=["check:04.1"]
rotate_half_split = check("04.1", rotate_half_split)

# %% [markdown] tags=["solution:04.1"]

# %% [markdown]
# Does it see who gave? And does the distance alone count, for a whole head with all its hands?


# %% tags=["nbval-check-output"]
def table(d_head, length, theta=10000.0):
    """cos and sin for positions 0 .. length - 1, each (T, N/2)."""
    angles = torch.arange(length, dtype=torch.float64)[:, None] * speeds(d_head, theta)
    return angles.cos().float(), angles.sin().float()


cos, sin = table(N, len(sentence))
turned = [attend(words, lambda z: rotate_half_split(z, cos, sin)) for words in (sentence, swapped, shuffled)]
print("the swap shows:   ", bool((turned[1] - turned[0]).abs().max() > 0.01))
print("the shuffle shows:", bool((turned[2] - turned[0]).abs().max() > 0.01))

q, k = torch.randn(2, N)
cos, sin = table(N, 200)
scores = rotate_half_split(q.expand(200, N), cos, sin) @ rotate_half_split(k.expand(200, N), cos, sin).T  # (query, key)
for distance in (0, 1, 50):
    along = scores.diagonal(-distance)  # all places where query and key are that far apart
    print(f"distance {distance:2}: {len(along)} pairs of positions, all the same score: {bool(along.std() < 1e-4)}")

# %% [markdown]
# RoPE's authors say that a score depends on the relative position alone. The course keeps a list of what the sources claim,
# and says of each claim whether it holds here. Take all distances from -190 to 190, and the largest spread of the scores
# at one distance:

# %%
spread = max(float(scores.diagonal(d).max() - scores.diagonal(d).min()) for d in range(-190, 191))
size = float(scores.max() - scores.min())
verdict = "holds" if spread < 1e-5 * size else "does not hold here"
claim("rope-relative", verdict, f"scores at one distance differ by {spread / size:.0e} of their range, 381 distances")

# %% [markdown]
# ## What a head can do with it
#
# Take any key, turn it **back** by three tokens' angles, and use it as the query. At which distance do the two agree best?

# %%
N_WIDE = 64
key = torch.ones(N_WIDE)
curves = {}
for back in (3, 20):
    cos, sin = (part[back] for part in table(N_WIDE, 64))
    query = rotate_half_split(key, cos, -sin)  # -sin turns the other way
    cos, sin = table(N_WIDE, 64)
    curves[f"made for {back} back"] = (range(64), rotate_half_split(query.expand(64, -1), cos, sin) @ key)
plots.curves(
    curves,
    xlabel="distance from query back to key, in tokens",
    ylabel="score",
    alt="Two curves of the score by distance. One has its single high peak at distance 3, the other at distance 20.",
)
peaks = [int(curve.argmax()) for _, curve in curves.values()]
verdict = "does not hold here" if max(peaks) > 0 else "holds"
claim(
    "rope-decay", verdict, f"two queries whose scores with one key are highest at distances {peaks[0]} and {peaks[1]}"
)

# %% [markdown]
# Each curve has one high peak, at the distance it was made for. So a head can learn "look three words back", or "look about
# twenty words back", and then it does so everywhere in the text. GPT-2's table has to learn it for each position anew.
#
# The paper also says that scores fade with distance. For this key they do, in ripples, on both sides of the peak. But a
# query can put the peak anywhere, so it is no law ([Barbero et al.](https://arxiv.org/abs/2410.06205) prove the same).

# %% [markdown]
# ## Try it
#
# **What can the score see: where two tokens stand, or how far apart they are?** Move the position with the distance fixed.
# Then move the distance.


# %%
def draw_distance(position, distance):
    """Clocks with the hands of a query and of a key, and their score."""
    return figures.draw_two_hands(position, distance, speeds(16))


widgets.explore(
    draw_distance,
    "What can the score see: where two tokens stand, or how far apart they are?",
    position=(0, 1000, 1, 100, "position of the key"),
    distance=(0, 100, 1, 3, "distance to the query"),
)

# %% [markdown]
# ## One token at a time
#
# A model that writes gets one new token at a time, and keeps the turned keys of all earlier ones in a **cache** (lesson
# 05). The new token is alone in its tensor, T = 1. A table that begins at 0 turns it by nothing at all:

# %%
q, k = torch.randn(2, 12, N)  # queries and keys of twelve tokens
cos, sin = table(N, 12)
keys = rotate_half_split(k, cos, sin)
right = (rotate_half_split(q, cos, sin)[-1:] @ keys.T / N**0.5).softmax(-1)  # (1, 12)
cos, sin = table(N, 1)
wrong = (rotate_half_split(q[-1:], cos, sin) @ keys.T / N**0.5).softmax(-1)
print("the last token's shares, whole text:   ", [round(share, 2) for share in right[0].tolist()])
print("the same token alone, position 0 again:", [round(share, 2) for share in wrong[0].tolist()])

# %% [markdown]
# No error, no warning, other shares. The table needs an **offset**: the number of tokens that came before.
#
# **Exercise 04.2** · implement · ●●○ · 10 min · 3 points · teaches the table and its offset · needs `speeds`
#
# Write the table for the positions `offset`, ..., `offset + length - 1`. Compute the angles in float64, because in float32
# an angle near 10,000 can be 0.0005 off. Return the cosines and sines in float32.
#
# <details><summary>Hint 1</summary>
#
# `table` above is nearly it. `torch.arange(first, last)` stops before `last`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `speeds(d_head, theta)` is float64; keep the positions float64 too, and call `.float()` on the cosines, not on the angles.
#
# </details>


# %% tags=["exercise:04.2"]
def rope_table(d_head, length, theta=10000.0, offset=0):
    """cos and sin, each (T, N/2) in float32, for positions offset .. offset + length - 1."""
    ### BEGIN SOLUTION
    position = torch.arange(offset, offset + length, dtype=torch.float64)  # (T,)
    angles = position[:, None] * speeds(d_head, theta)  # (T, N/2)
    return angles.cos().float(), angles.sin().float()
    ### END SOLUTION


# %% tags=["check:04.2"]
rope_table = check("04.2", rope_table)

alone = (rotate_half_split(q[-1:], *rope_table(N, 1, offset=11)) @ keys.T / N**0.5).softmax(-1)
print("with offset 11 the shares are those of the whole text:", bool(torch.allclose(alone, right, atol=1e-6)))

# %% [markdown] tags=["solution:04.2"]

# %% [markdown]
# ## Two pairings
#
# Meta's own code pairs neighbours, channels $(2j, 2j + 1)$: **interleaved**. So do files in GGUF, the format of llama.cpp.
# Hugging Face pairs $(j, j + N/2)$: **half-split**. Same angles, same idea, other channels.
#
# **Exercise 04.3** · implement · ●●○ · 10 min · 3 points · teaches the other pairing · needs 04.1
#
# Write the rotation for the pairs $(2j, 2j + 1)$, shapes as before.
#
# <details><summary>Hint 1: take apart</summary>
#
# `x[..., 0::2]` are channels 0, 2, 4, ...; `x[..., 1::2]` the others.
#
# </details>
# <details><summary>Hint 2: put together</summary>
#
# `torch.stack([first, second], dim=-1)` is (..., N/2, 2): each pair side by side. `.flatten(-2)` joins the last two axes.
#
# </details>


# %% tags=["exercise:04.3"]
def rotate_interleaved(x, cos, sin):
    """(..., T, N) -> (..., T, N): the pairs (2j, 2j + 1) turned by the table's angles."""
    ### BEGIN SOLUTION
    a, b = x[..., 0::2], x[..., 1::2]  # (..., T, N/2)
    turned = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1)  # (..., T, N/2, 2)
    return turned.flatten(-2).type_as(x)
    ### END SOLUTION


# %% tags=["check:04.3"]
rotate_interleaved = check("04.3", rotate_interleaved)

# %% [markdown] tags=["solution:04.3"]

# %% [markdown]
# Now the bug. A model was trained with one pairing, and its weights are loaded into code with the other. All shapes fit.

# %%
guess = predict(
    "04.d",
    "Twelve tokens, causal attention. Where is the output of the crossed model right?",
    ["nowhere", "at the first token only", "nearly everywhere, a little off"],
)


# %%
def causal(q, k, v, rotate):
    """(T, N) three times -> scores (T, T) and output (T, N); each token sees itself and what came before."""
    T = len(q)
    cos, sin = rope_table(N, T)
    scores = rotate(q, cos, sin) @ rotate(k, cos, sin).T / N**0.5
    shares = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -math.inf).softmax(-1)
    return scores, shares @ v


x = torch.randn(12, N)
q, k, v = x @ WQ, x @ WK, x @ WV
trained_scores, trained = causal(q, k, v, rotate_interleaved)
crossed_scores, crossed = causal(q, k, v, rotate_half_split)
error = (crossed - trained).norm(dim=-1) / trained.norm(dim=-1)
print("error by token:", " ".join(f"{e:.2%}" for e in error.tolist()))
right = (error < 1e-5).tolist()
answer = "at the first token only" if right == [True] + [False] * 11 else "nowhere"
guess.reveal(answer, "The first token has only itself to look at, and at position 0 nothing is turned.")

# %%
plots.heatmap(
    crossed_scores - trained_scores,
    kind="signed",
    xlabel="key",
    ylabel="query",
    alt="The error of each score, queries as rows and keys as columns. The diagonal is white: there the error is zero."
    " On both sides of it there are errors, positive and negative.",
)

# %% [markdown]
# Look at the diagonal: white. A token that looks at itself has distance 0, both are turned alike, and either pairing gives
# the right score. Off the diagonal the scores are wrong; those above it are hidden by the mask. This is how the bug looks
# from outside: **the first token is right, then the text falls apart**. Whoever tests a loader with one token finds nothing.
#
# You don't have to change the rotation. Put the channels where it looks for them: permute the **rows of the weights** that
# make queries and keys.
#
# Such steps are hard to read as a chain of `view` and `transpose`. [`einops`](https://einops.rocks) lets you name the axes:
# `rearrange` takes a tensor and two shapes, before and after an arrow. Parentheses join axes into one, and the name on
# the right counts fastest. Nothing is computed; the numbers change places. From here on the course writes shapes in
# this way.

# %% tags=["nbval-check-output"]
numbers = torch.arange(6)
print("two rows:        ", rearrange(numbers, "(row column) -> row column", row=2).tolist())
print("column by column:", rearrange(numbers, "(row column) -> (column row)", row=2).tolist())

# %% [markdown]
# **Exercise 04.4** · implement · ●●○ · 15 min · 3 points · teaches the permutation · needs 04.3
#
# `weight` is (n_heads · N, C), as `nn.Linear` stores it: one row for each channel of a query. Within each head, row
# $2j + i$ must move to row $i \cdot N/2 + j$. For N = 8 the order of the old rows is 0 2 4 6 1 3 5 7.
#
# <details><summary>Hint 1: see the axes</summary>
#
# The rows are numbered by (head, pair j, i in pair), the last counting fastest: on the left stands `(h j i) c`, with
# `h=n_heads` and `i=2`.
#
# </details>
# <details><summary>Hint 2: swap</summary>
#
# Half-split is numbered by (head, i, j). Swap two letters. Without `einops`: `weight.reshape(n_heads, N // 2, 2, C)`, swap
# axes 1 and 2, and reshape back.
#
# </details>


# %% tags=["exercise:04.4"]
def to_half_split(weight, n_heads):
    """(n_heads * N, C) -> (n_heads * N, C): rows from the interleaved order to the half-split one."""
    ### BEGIN SOLUTION
    return rearrange(weight, "(h j i) c -> (h i j) c", h=n_heads, i=2)
    ### END SOLUTION


# %% tags=["check:04.4"]
to_half_split = check("04.4", to_half_split)

print("order of the rows for N = 8:", to_half_split(torch.arange(8.0)[:, None], 1).flatten().int().tolist())
q, k = (x @ to_half_split(w.T, 1).T for w in (WQ, WK))  # our WQ is (C, N); a Linear's weight is (N, C)
_, mended = causal(q, k, v, rotate_half_split)
print("permuted, then half-split, equals the trained model:", bool(torch.allclose(mended, trained, atol=1e-5)))

# %% [markdown] tags=["solution:04.4"]

# %% [markdown]
# A score is a sum over the channels. Permute query and key alike, and it is the same sum with its terms in another order.
# So queries and keys need the permutation, and nothing else does.
#
# **Exercise 04.5** · repair · ●●● · 15 min · 4 points · teaches how to load real weights · needs 04.4
#
# This loader takes Meta's weights (interleaved) to our names (half-split). Its author had read about the permutation. It
# runs without an error on a model with 4 query heads and 2 key heads, and the model's text is garbage from the second token
# on. Two things are wrong. Repair it, and leave the dict `weights` as it is.
#
# <details><summary>Hint 1</summary>
#
# Which of the four matrices make something that is rotated?
#
# </details>
# <details><summary>Hint 2</summary>
#
# A model may have fewer key heads than query heads (lesson 05). `wk` has `n_kv_heads` heads of N rows.
#
# </details>


# %%
def broken_load(weights, n_heads, n_kv_heads):
    """{"wq", "wk", "wv", "wo"} -> {"query", "key", "value", "output"}."""
    names = {"wq": "query", "wk": "key", "wv": "value", "wo": "output"}
    return {ours: to_half_split(weights[meta], n_heads) for meta, ours in names.items()}


rows = torch.arange(16.0)[:, None]
print("wk, 2 heads of 8, asked for 4 heads:", to_half_split(rows, 4).flatten().int().tolist())


# %% tags=["exercise:04.5"]
def load_attention(weights, n_heads, n_kv_heads):
    """{"wq", "wk", "wv", "wo"} -> {"query", "key", "value", "output"}, rows in the half-split order where it matters."""
    ### BEGIN SOLUTION
    return {
        "query": to_half_split(weights["wq"], n_heads),
        "key": to_half_split(weights["wk"], n_kv_heads),
        "value": weights["wv"],
        "output": weights["wo"],
    }
    ### END SOLUTION


# %% tags=["check:04.5"]
load_attention = check("04.5", load_attention)

# %% [markdown] tags=["solution:04.5"]
# Values are not rotated, and neither is the output. With twice the number of heads `rearrange` cuts each head in two and
# permutes inside the halves. There is no error, because 16 rows can be 4 heads of 4 as well as 2 heads of 8.

# %% [markdown]
# ## How far does it reach?
#
# Beyond the longest text of its training a model meets angles that it has never seen. Which ones? The fast hands have been
# round many times. The slowest have not been round once. LLaMA-7B has heads of 128 channels, and was trained on texts of
# 2,048 tokens. Llama 3 and Code Llama have the same heads and a larger $\theta$:

# %% tags=["nbval-check-output"]
for name, theta in (("LLaMA", 10_000), ("Llama 3", 500_000), ("Code Llama", 1_000_000)):
    once_round = 2 * math.pi / speeds(128, theta)  # tokens
    count = int((once_round <= 2048).sum())
    print(
        f"{name:10} theta {theta:9,}: {count} of 64 hands go round within 2,048 tokens, the slowest in {once_round[-1]:12,.0f}"
    )

# %% [markdown]
# (Sources: `rope_theta` in [llama3/llama/model.py](https://github.com/meta-llama/llama3/blob/main/llama/model.py) and in
# the Code Llama paper, [arXiv 2308.12950](https://arxiv.org/abs/2308.12950).) A larger $\theta$ slows all hands but the
# first. That leaves room for longer texts, but the model has to be trained with it.
#
# What happens beyond? Every score as a function of the distance $d$ is a sum of waves, $\sum_j (p_j \cos d\omega_j + r_j \sin
# d\omega_j)$. Query and key choose the numbers $p_j$ and $r_j$. Choose them so that the score fits a wish on distances 0 to
# 63: 4 for the nearest, fading to 0. Then look beyond.

# %%
guess = predict(
    "04.e",
    "A head's score fits the wish well up to distance 63, never above 4. Its largest size between 64 and 255 is ...",
    ["near 0: it keeps fading", "a little above 0, below 4", "above 4"],
)


# %%
def waves(distance, d_head=32):
    """All cos and sin of d times each speed: (D, N)."""
    angles = torch.as_tensor(distance, dtype=torch.float64)[:, None] * speeds(d_head)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


distance = torch.arange(256, dtype=torch.float64)
wish = 4 * torch.exp(-distance / 6)
trained_on = waves(distance[:64])
amplitudes = torch.linalg.solve(trained_on.T @ trained_on + 1e-4 * torch.eye(32), trained_on.T @ wish[:64])
fitted = waves(distance) @ amplitudes
squeezed = waves(distance / 4) @ amplitudes  # 256 positions in the room of 64
error, beyond = (fitted - wish)[:64].abs().max(), fitted[64:].abs().max()
print(f"largest error up to 63: {error:.2f}, largest score beyond: {beyond:.1f}")
print(f"largest score beyond, with the positions squeezed: {squeezed[64:].abs().max():.1f}")
guess.reveal("above 4" if beyond > 4 else "near 0: it keeps fading" if beyond < 0.5 else "a little above 0, below 4")
plots.curves(
    {"wish": (distance, wish), "fitted up to 63": (distance, fitted), "positions divided by 4": (distance, squeezed)},
    xlabel="distance in tokens",
    ylabel="score",
    colors={"wish": "REFERENCE", "fitted up to 63": "LLAMA", "positions divided by 4": "YOURS"},
    alt="Three curves by distance. Up to 63 the fitted curve lies on the wish. Beyond it swings far above and below. With"
    " positions divided by four the curve falls four times more slowly and then stays near zero up to 255.",
)

# %% [markdown]
# Up to 63 the waves were fitted. Beyond, nothing holds them. This is a fit, not a trained model, but
# [Chen et al. 2023](https://arxiv.org/abs/2306.15595), who fit such waves too, show that trained models break down there. A
# cheap repair is the green curve's, *position interpolation*: divide all positions by four, so that no hand goes where it
# has never been. It costs sharpness, because neighbours are now a quarter of a step apart, and the model needs a little
# more training.

# %% [markdown]
# ## In the wild
#
# transformers keeps `cos` and `sin` twice side by side, (B, T, N), and writes the turned pair as `x * cos +
# rotate_half(x) * sin`. Meta writes a pair as one complex number and multiplies. Both give your numbers:

# %% tags=["nbval-check-output"]
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

q, k = torch.randn(2, 4, 12, N), torch.randn(2, 1, 12, N)  # (B, heads, T, N)
cos, sin = rope_table(N, 12)
twice = [torch.cat([part, part], dim=-1)[None] for part in (cos, sin)]  # (1, T, N)
for name, mine, theirs in zip("qk", (q, k), apply_rotary_pos_emb(q, k, *twice), strict=True):
    print(name, "equals transformers':", bool((rotate_half_split(mine, cos, sin) - theirs).abs().max() < 1e-6))
as_complex = torch.view_as_complex(q.unflatten(-1, (-1, 2))) * torch.complex(cos, sin)
meta = torch.view_as_real(as_complex).flatten(-2)
print("q equals Meta's:", bool((rotate_interleaved(q, cos, sin) - meta).abs().max() < 1e-6))

# %% [markdown]
# ## Recap
#
# RoPE turns each pair of channels of queries and keys by an angle that grows with the position, fast in the first pairs and
# slowly in the last, and the position enters their product as a distance alone. A token that comes alone needs its offset,
# and weights trained with one pairing need their rows permuted for the other. Beyond the trained length the slow hands reach
# angles that training never showed.
#
# ## Read on
#
# - Su et al., [RoFormer](https://arxiv.org/abs/2104.09864): the paper; section 3.2 derives the rotation from the wish that
#   only the distance counts.
# - Hugging Face, [issue 25199](https://github.com/huggingface/transformers/issues/25199): people find out about the two
#   pairings, and the authors explain.
# - Chen et al., [Position Interpolation](https://arxiv.org/abs/2306.15595): why extrapolation breaks and squeezing works.
# - Barbero et al., [Round and Round We Go](https://arxiv.org/abs/2410.06205): what a trained model really uses the fast and
#   the slow hands for.
#
# **Next:** [05. Many heads can share few keys](05_attention.ipynb).
