# %% [markdown]
# # 11. Take the softmax away and attention becomes a recurrence
#
# Attention keeps every key and every value, for ever. Remove one function from it, the softmax, and all of them can be
# added up in a single matrix that never grows. The result is a recurrent network.
#
# **You build** `linear_recurrent` and `linear_chunked`, two ways through the same sum, on which RWKV and its relatives
# stand. You also see what the softmax was good for.
#
# **You need** lessons 05 (attention) and 09 (the cache). **Time:** 60 minutes.

# %% tags=["setup"]
start("11")

# %%
import time

import torch
import torch.nn.functional as F
from einops import rearrange

from lib.layers.attention import GroupedAttention
from lib.layers.rope import rope_table
from lib.layers.shared import Shared
from lib.models.presets import PRESETS
from lessons.figures import lesson_11 as figures
from lib.show import plots, widgets
from lessons.exercises.lesson_11 import check
from lib.show.predict import predict
from lib.run.measure import numbers_written
from lib.text import corpora
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# A model reads one tale after another and is to remember all of them. What does one layer of attention have to keep?

# %%
tokenizer = load_tokenizer("tales")
tales = corpora.load("tales").documents_validation[:16]
layer = GroupedAttention(d_model=64, n_heads=4, n_kv_heads=4, d_head=16)
for count in (1, 4, 16):
    T = sum(len(tokenizer.encode(tale)) for tale in tales[:count])
    cos, sin = rope_table(16, T)
    with torch.no_grad():
        _, cache = layer(torch.randn(1, T, 64), None, Shared(cos, sin))
    kept = cache.keys.numel() + cache.values.numel()
    print(f"{count:2} tales, {T:5,} tokens: {kept:7,} numbers to keep, and to work through for the next token")

# %% [markdown]
# The memory grows with each token, and so does the work for the next one. There is no way around it: the weight of key $s$
# is $e^{q_t \cdot k_s}$, and a new query needs it for every old key. The power joins query and key so that nothing can take
# them apart again.
#
# A plain product can be taken apart. So, only to see what happens: **leave the power out, and the division with it.** The
# weight of key $s$ is now the product $q_t \cdot k_s$ itself.

# %%
guess = predict(
    "11.a",
    "Way one: multiply the query with each key, and add up the values with these weights. Way two: multiply each"
    " key with its value first, add up, and bring in the query last. The two results are ...",
    ["the same number for number", "close to each other", "two different things"],
)

# %% [markdown]
# ## By hand
#
# Three tokens. Keys and values have two channels each. The third token asks.

# %% tags=["nbval-check-output"]
keys, values, query = [(1, 0), (0, 1), (1, 1)], [(10, 0), (0, 10), (5, 5)], (2, 1)

one = [0, 0]
for key, value in zip(keys, values):
    weight = query[0] * key[0] + query[1] * key[1]
    one = [one[0] + weight * value[0], one[1] + weight * value[1]]
    print(f"key {key}: weight {weight}, sum so far {one}")

S = [[0, 0], [0, 0]]  # a row for each channel of the key, a column for each channel of the value
for key, value in zip(keys, values):
    S = [[S[n][d] + key[n] * value[d] for d in range(2)] for n in range(2)]
    print(f"key {key}: S is {S}")
two = [query[0] * S[0][d] + query[1] * S[1][d] for d in range(2)]
print("way one", one, "  way two", two)
answer = "the same number for number" if one == two else "two different things"
guess.reveal(answer, "It is one sum, in another order.")

# %% [markdown]
# Look at what the second way holds after three tokens: four numbers. After three million tokens it would be four numbers.
# The keys and values are gone, and the query was not needed until the end.

# %% [markdown]
# ## The formula
#
# $q_t$, $k_s$ and $v_s$ are the query, key and value of tokens $t$ and $s$, rows of $N$ numbers. $y_t$ is the result.
#
# $$y_t = \sum_{s \le t} (q_t \cdot k_s)\, v_s \;=\; q_t \Big( \sum_{s \le t} k_s^\top v_s \Big) \;=\; q_t S_t
# \qquad S_t = S_{t-1} + k_t^\top v_t$$
#
# $k_s^\top v_s$ is a column times a row: an $N \times N$ matrix. $S$ is the **[state](../lessons/GLOSSARY.md#state)**: what is written under a key can be read
# with a query like that key. The causal mask is gone, since $S_t$ holds nothing of later tokens.
#
# The left side is a matrix of all pairs, under a mask. It will be our reference for
# [linear attention](../lessons/GLOSSARY.md#linear-attention). ($D$ in the shapes is the number of channels of a value, which need not be $N$.)


# %% tags=["builds:lib.layers.linear_attention.linear_attention"]
def linear_attention(q, k, v):
    """q, k (B, H, T, N) and v (B, H, T, D) -> (B, H, T, D), by the matrix of all products."""
    return (q @ k.transpose(-1, -2)).tril() @ v  # (B, H, T, D)


# %% [markdown]
# ## Build it
#
# **Exercise 11.1** · implement · ●○○ · 10 min · 4 points · teaches attention as a recurrence · needs the formula
#
# Write the right side: token by token, with `S` of shape (B, H, N, D). Return all results, (B, H, T, D), and the last
# `S`. A `state` that is given is the `S` to begin with. Take the tokens apart with `q.unbind(2)`: a list of T tensors
# (B, H, N). Why so and not with `q[:, :, t]` will be a matter of its own.
#
# <details><summary>Hint 1: write</summary>
#
# A column times a row: `k_t[..., :, None] * v_t[..., None, :]` is (B, H, N, D). Add it to `S` with `S = S + ...`, and not
# with `+=`, which would spoil the state that came in.
#
# </details>
# <details><summary>Hint 2: read</summary>
#
# `q_t[..., None, :] @ S` is (B, H, 1, D). The token reads **after** it has written: $s \le t$ has $s = t$ in it.
#
# </details>
# <details><summary>Hint 3: put together</summary>
#
# Collect the results in a list. `torch.stack(ys, dim=2)` makes time the third axis again.
#
# </details>


# %% tags=["exercise:11.1", "builds:lib.layers.linear_attention.linear_recurrent"]
def linear_recurrent(q, k, v, state=None):
    """q, k (B, H, T, N), v (B, H, T, D), S (B, H, N, D) -> what linear_attention returns, and the last S."""
    ### BEGIN SOLUTION
    S = k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state
    ys = []
    for q_t, k_t, v_t in zip(q.unbind(2), k.unbind(2), v.unbind(2)):
        S = S + k_t[..., :, None] * v_t[..., None, :]
        ys.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(ys, dim=2), S
    ### END SOLUTION


# %% tags=["check:11.1"]
linear_recurrent = check("11.1", linear_recurrent)

# %% [markdown] tags=["solution:11.1"]

# %% [markdown]
# The matrix sees all tokens at once, as a transformer does in training. The recurrence can take them all, or one at a time,
# as they come. Do they agree?

# %% tags=["nbval-check-output"]
torch.manual_seed(11)
q, k, v = torch.randn(3, 2, 4, 50, 16, dtype=torch.float64)  # 2 texts, 4 heads, 50 tokens, 16 channels
matrix = linear_attention(q, k, v)
whole, last = linear_recurrent(q, k, v)
state, rows = None, []
for t in range(50):
    y, state = linear_recurrent(q[:, :, t : t + 1], k[:, :, t : t + 1], v[:, :, t : t + 1], state)
    rows.append(y)
print("one number of it:", f"{matrix[1, 2, 49, 0]:.6f} {whole[1, 2, 49, 0]:.6f} {rows[49][1, 2, 0, 0]:.6f}")
for name, other in (("all at once", whole), ("one token at a time", torch.cat(rows, dim=2))):
    assert (other - matrix).abs().max() < 1e-10
    print(f"the recurrence, {name}: equal to the matrix to 10 digits")
assert torch.allclose(state, last)

# %% [markdown]
# ## What is kept
#
# A head of attention keeps $2N$ numbers for each token. A head of this keeps $N^2$, and that is all.

# %%
guess = predict(
    "11.b",
    "Heads of N = 128, as in LLaMA-7B. At how many tokens does the cache hold as much as S?",
    ["64", "128", "16,384"],
)

# %%
c = PRESETS["llama-7b"].config
heads, tokens = c.n_layers * c.n_heads, [2**i for i in range(4, 17)]
cache = [2 * c.d_head * T * heads * 2 / 2**20 for T in tokens]  # MiB, two bytes a number
state = c.d_head**2 * heads * 2 / 2**20
plots.curves(
    {"KV cache of attention": (tokens, cache), "state S, linear attention": (tokens, [state] * len(tokens))},
    xlabel="tokens",
    ylabel="MiB, all layers of a 7B model",
    xlog=True,
    ylog=True,
    marks=True,
    alt="Memory by tokens, both axes logarithmic. The cache rises in a straight line, from 8 MiB for 16 tokens to"
    " 32,768 MiB for 65,536. The state is a flat line at 32 MiB. They cross at 64 tokens.",
)
print(f"the cache for 65,536 tokens: {cache[-1]:,.0f} MiB; the state, for any number: {state:,.0f} MiB")
guess.reveal(f"{c.d_head // 2}", "2 N T = N² at T = N / 2.")

# %% [markdown]
# Look at the flat line. 32 MiB for a novel as for a sentence. It can't be true that nothing is lost, and below you will see
# what is. First the price in time.

# %% [markdown]
# ## What it costs
#
# Count multiplications, for one head with values of $N$ channels. The matrix: $T^2 N$ for all products of queries and keys,
# $T^2 N$ for the weighted sums. The recurrence: $N^2$ to write and $N^2$ to read, $T$ times.

# %% tags=["nbval-check-output"]
N = 32
print("tokens      matrix   recurrence   ratio")
for T in (16, 256, 4096):
    pairs, steps = 2 * T * T * N, 2 * T * N * N
    print(f"{T:6,} {pairs:13,} {steps:10,} {pairs / steps:7.1f}")

# %%
guess = predict(
    "11.c",
    "256 tokens: the recurrence needs an eighth of the multiplications. On your machine it takes ...",
    ["an eighth of the time", "about the same time", "several times as long"],
)


# %%
def seconds(function, repeats=5):
    """Return the shortest time of some calls, on one core."""
    torch.set_num_threads(1)  # on a busy machine, small steps would wait for a second core
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return min(times)


q, k, v = torch.randn(3, 1, 4, 256, N)
by_pairs, by_steps = seconds(lambda: linear_attention(q, k, v)), seconds(lambda: linear_recurrent(q, k, v))
print(f"matrix {1000 * by_pairs:.2f} ms, recurrence {1000 * by_steps:.2f} ms")
ratio = by_steps / by_pairs
quick = "about the same time" if ratio > 0.4 else "an eighth of the time"
answer = "several times as long" if ratio > 1.7 else quick
guess.reveal(answer, "256 small steps that must wait for each other, against two large products.")

# %% [markdown]
# Fewer operations, and slower. A step of the recurrence is so small that calling it costs more than computing it, and
# no two steps can run side by side. It is the reason that the transformer's authors gave for leaving recurrence
# ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), section 1): **not its work, but its waiting.** A GPU makes
# it worse, since it is made for products that are large.

# %% [markdown]
# ## Between the two: chunks
#
# Cut the text into [chunks](../lessons/GLOSSARY.md#chunked-form) of $L$ tokens. Within a chunk use the matrix of pairs, which is small. What came before the chunk
# is in $S$, one product for all $L$ tokens. Then bring $S$ to the end of the chunk, with one product, too.

# %%
figures.chunks(n_tokens=12, chunk=4)

# %% [markdown]
# Look at the right square. The blue triangles grow with $T \cdot L$ and the orange part needs $T / L$ steps. With $L =
# 1$ it is the recurrence, with $L = T$ the matrix. You choose.
#
# **Exercise 11.2** · implement · ●●○ · 15 min · 5 points · teaches the chunked form · needs 11.1
#
# Write it. `S` is the state before the chunk. The last chunk may be shorter.
#
# <details><summary>Hint 1: cut</summary>
#
# `q.split(chunk, dim=2)` is a list of pieces along time; the last one is shorter where T is no multiple.
#
# </details>
# <details><summary>Hint 2: within, and before</summary>
#
# Within the chunk: `linear_attention(q_m, k_m, v_m)`. From before: `q_m @ S`. The result is their sum.
#
# </details>
# <details><summary>Hint 3: the state</summary>
#
# $\sum_s k_s^\top v_s$ over the chunk is one product: `k_m.transpose(-1, -2) @ v_m`. Add it after the chunk has read.
#
# </details>


# %% tags=["exercise:11.2", "builds:lib.layers.linear_attention.linear_chunked"]
def linear_chunked(q, k, v, state=None, chunk=64):
    """Shapes as in linear_recurrent, and the same results: (B, H, T, D), and the last S (B, H, N, D)."""
    ### BEGIN SOLUTION
    S = k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state
    ys = []
    for q_m, k_m, v_m in zip(*(z.split(chunk, dim=2) for z in (q, k, v))):
        ys.append(linear_attention(q_m, k_m, v_m) + q_m @ S)
        S = S + k_m.transpose(-1, -2) @ v_m
    return torch.cat(ys, dim=2), S
    ### END SOLUTION


# %% tags=["check:11.2"]
linear_chunked = check("11.2", linear_chunked)

# %% [markdown] tags=["solution:11.2"]

# %% [markdown]
# Three forms, one result. Here it is asserted, with every chunk from one token to all of them, and with the state.

# %% tags=["nbval-check-output"]
q, k, v = torch.randn(3, 2, 4, 50, 16, dtype=torch.float64)
matrix, (recurrent, S) = linear_attention(q, k, v), linear_recurrent(q, k, v)
assert (recurrent - matrix).abs().max() < 1e-10
for chunk in (1, 7, 16, 50, 1000):
    chunked, last = linear_chunked(q, k, v, chunk=chunk)
    assert (chunked - matrix).abs().max() < 1e-10 and (last - S).abs().max() < 1e-10
    print(f"chunks of {chunk:4}: {-(-50 // chunk):2} steps, equal to both others to 10 digits")

# %% [markdown]
# In lib the chunks run side by side as far as they can, and that is what is measured here.

# %%
from lib.layers.linear_attention import linear_chunked as chunks_at_once

WAYS = {"attention by matrix": linear_attention, "recurrence": linear_recurrent, "in chunks": chunks_at_once}
lengths, taken = (64, 256, 1024, 2048), {name: [] for name in WAYS}
for T in lengths:
    heads = torch.randn(3, 1, 4, T, N)
    for name, way in WAYS.items():
        taken[name].append(1000 * seconds(lambda: way(*heads), repeats=9))
plots.curves(
    {name: (lengths, milliseconds) for name, milliseconds in taken.items()},
    xlabel="tokens",
    ylabel="milliseconds",
    xlog=True,
    ylog=True,
    marks=True,
    alt="Time by tokens, both axes logarithmic. The matrix begins lowest and ends highest, with the steepest slope."
    " The recurrence rises with slope 1 from a high start. The chunked form rises with slope 1, far below both on long"
    " texts.",
)
for name, (_, short, _, long) in taken.items():
    print(f"{name:20} {long:6.1f} ms for 2,048 tokens, {long / short:5.1f} times as long as for 256")

# %% [markdown]
# Look at the slopes: eight times the text is eight times the work for the recurrence and for the chunks, and 64 times
# for the matrix, or more, once it no longer fits into fast memory (other programs disturb this measurement). And look
# where the chunks lie: the work of the recurrence with the speed of products. Every RWKV from lesson 13 on is trained
# so.

# %% [markdown]
# ## A trap in the backward pass
#
# Here is the recurrence as one would write it first. It takes token $t$ by its index. The results are the same, digit for
# digit.


# %%
def indexed(q, k, v):
    """What linear_recurrent returns, without the state."""
    S, ys = 0, []
    for t in range(q.shape[2]):
        S = S + k[:, :, t, :, None] * v[:, :, t, None, :]
        ys.append((q[:, :, t, None, :] @ S).squeeze(-2))
    return torch.stack(ys, dim=2)


def backward_of(function, T):
    """How many numbers the backward pass writes, and its milliseconds, for one head of 16 channels."""
    heads = torch.randn(3, 1, 1, T, 16).unbind(0)
    for z in heads:
        z.requires_grad_()
    count = numbers_written(function(*heads).sum().backward)
    loss = function(*heads).sum()
    begin = time.perf_counter()
    loss.backward()
    return count, 1000 * (time.perf_counter() - begin)


# %% [markdown]
# `numbers_written` calls a function and adds up the sizes of all tensors that are written meanwhile. It is a count, the
# same on each machine.

# %%
guess = predict(
    "11.d",
    "`indexed`: twice the tokens. Its backward pass writes ...",
    ["twice as many numbers", "four times as many"],
)

# %%
for name, form in (("unbind", lambda *heads: linear_recurrent(*heads)[0]), ("indexed", indexed)):
    counts = [backward_of(form, T) for T in (256, 512, 1024)]
    for T, (count, milliseconds) in zip((256, 512, 1024), counts):
        print(f"{name:7} {T:5,} tokens: {count:12,} numbers written, {milliseconds:6.1f} ms")
growth = counts[2][0] / counts[1][0]
guess.reveal("four times as many" if growth > 3 else "twice as many numbers", f"It is {growth:.2f} times.")
assert growth > 3.5

# %% [markdown]
# The gradient of `k[:, :, t]` with respect to `k` is a tensor as large as `k`, zero everywhere but at $t$. Autograd
# makes one in each of the $T$ steps, and adds them all up: $T$ times $T$ numbers. `unbind` takes `k` apart once, and
# its gradient is put together once. The same trap waits in `y[:, :, t] = ...`. The loop of RWKV-4 in transformers has
# both, so part of what looks like slow recurrence there is this.
#
# **Exercise 11.3** · repair · ●●○ · 10 min · 3 points · teaches to see a hidden $T^2$ · needs the trap
#
# This is a running mean of keys, `kept` times the old one plus `1 - kept` times the new. Its result is right and its
# backward pass grows with $T^2$. Find both causes. Repair them.
#
# <details><summary>Hint 1</summary>
#
# Two tensors of length T are touched at a single place in each step: one is read, one is written.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `for k_t in k.unbind(2)` for the first, a list and `torch.stack` for the second.
#
# </details>


# %%
def slow_mean(k, kept):
    """(B, H, T, N) -> (B, H, T, N): m_t = kept * m_{t-1} + (1 - kept) * k_t, from m = 0."""
    means, m = torch.zeros_like(k), 0
    for t in range(k.shape[2]):
        m = kept * m + (1 - kept) * k[:, :, t]
        means[:, :, t] = m
    return means


# %% tags=["exercise:11.3"]
def running_mean(k, kept):
    """(B, H, T, N) -> (B, H, T, N): what slow_mean returns, with a backward pass that grows with T."""
    ### BEGIN SOLUTION
    means, m = [], 0
    for k_t in k.unbind(2):
        m = kept * m + (1 - kept) * k_t
        means.append(m)
    return torch.stack(means, dim=2)
    ### END SOLUTION


# %% tags=["check:11.3"]
running_mean = check("11.3", running_mean)

# %% [markdown] tags=["solution:11.3"]

# %% [markdown]
# ## What the softmax did, part one: weights
#
# A softmax gives weights that are positive and add up to one, so the result is a mean of the values. A plain product
# promises neither.

# %%
torch.manual_seed(3)
q, k, v = torch.randn(3, 1, 1, 1000, 16)
weights = (q @ k.transpose(-1, -2))[0, 0, -1]  # the last token's
size = linear_attention(q, k, v)[0, 0].norm(dim=-1)
print(f"weights below zero: {(weights < 0).float().mean():.0%}, sum of the weights: {weights.sum():.1f}")
for t in (10, 100, 1000):
    print(f"size of the results near token {t:5,}: {size[t - 10 : t].mean():7.1f}")

# %% [markdown]
# The result grows with the text: a layer that was trained on short texts meets numbers ten times too large in long
# ones. The cure keeps the recurrence. Put a function $\phi$ with positive values before the product, and divide by the
# sum of the weights:
#
# $$y_t = \frac{\sum_{s \le t} \big(\phi(q_t) \cdot \phi(k_s)\big)\, v_s}{\sum_{s \le t} \phi(q_t) \cdot \phi(k_s)}
# \qquad \phi(x) = \mathrm{elu}(x) + 1 = \begin{cases} x + 1 & x > 0 \\ e^x & x \le 0 \end{cases}$$
#
# $\phi$ is the **[feature map](../lessons/GLOSSARY.md#feature-map)**, applied to each number; the lower sum is the **normaliser**. Does the lower sum need a state
# of its own? It is the upper sum with $v_s = 1$. So let a channel of ones go along with the values: $S$ gets one column
# more.


# %%
def feature(x):
    """elu(x) + 1, above zero everywhere."""
    return F.elu(x) + 1


# %% [markdown]
# **Exercise 11.4** · implement · ●●○ · 10 min · 3 points · teaches the normaliser as one more value · needs 11.1
#
# Write `averaged`: the weighted mean, by any of the three forms. `form` is one of your functions. The matrix returns y; the
# other two return (y, state). `q` and `k` have been through the feature map already.
#
# <details><summary>Hint 1: the ones</summary>
#
# `F.pad(v, (0, 1), value=1.0)` adds one channel, all ones, at the end of the last axis.
#
# </details>
# <details><summary>Hint 2: the division</summary>
#
# The last channel of what comes out is the sum of the weights. `y[..., :-1] / y[..., -1:]`.
#
# </details>
# <details><summary>Hint 3: two kinds of forms</summary>
#
# `if isinstance(y, tuple): y = y[0]`.
#
# </details>


# %% tags=["exercise:11.4", "builds:lib.layers.linear_attention.averaged"]
def averaged(form, q, k, v):
    """q, k (B, H, T, N), all positive, v (B, H, T, D) -> the weighted mean of the values, (B, H, T, D)."""
    ### BEGIN SOLUTION
    y = form(q, k, F.pad(v, (0, 1), value=1.0))
    y = y[0] if isinstance(y, tuple) else y
    return y[..., :-1] / y[..., -1:]
    ### END SOLUTION


# %% tags=["check:11.4"]
averaged = check("11.4", averaged)

# %% [markdown] tags=["solution:11.4"]

# %% tags=["nbval-check-output"]
torch.manual_seed(4)
q, k, v = torch.randn(3, 1, 1, 1000, 16, dtype=torch.float64)
means = averaged(linear_attention, feature(q), feature(k), v)
for form in (linear_recurrent, linear_chunked):
    assert (averaged(form, feature(q), feature(k), v) - means).abs().max() < 1e-10
ones = averaged(linear_attention, feature(q), feature(k), torch.ones_like(v))
print("the mean of ones is one, so the weights add up to one:", bool((ones - 1).abs().max() < 1e-10))
largest = v.cummax(dim=2).values
print("no mean is above the largest value so far:            ", bool((means <= largest + 1e-10).all()))

# %% [markdown]
# ## What the softmax did, part two: sharpness
#
# Take 64 random keys, and a query that asks for one of them: it is that key, times a number, its **loudness**. With
# softmax a louder query gets a sharper answer (lesson 05 divides by $\sqrt N$ to hold this back).

# %%
keys = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
WANTED, loudness = 9, [2**i for i in range(-1, 6)]


def softmax_weights(query):
    """(N,) -> (64,): shares by softmax."""
    return (query @ keys.T / 16**0.5).softmax(-1)


def linear_weights(query, phi=feature):
    """(N,) -> (64,): shares by a feature map and a normaliser."""
    weights = phi(query) @ phi(keys).T
    return weights / weights.sum()


guess = predict(
    "11.e",
    "The query is made 16 times as loud. The weight of the key that it asks for goes, with softmax, from 0.07 to"
    " 0.99. With the feature map it goes from 0.02 to ...",
    ["0.02", "0.32", "0.99"],
)

# %%
softmax = [softmax_weights(x * keys[WANTED])[WANTED].item() for x in loudness]
linear = [linear_weights(x * keys[WANTED])[WANTED].item() for x in loudness]
nearest = min(guess.choices, key=lambda choice: abs(float(choice) - linear[loudness.index(16)]))
guess.reveal(nearest, "Loudness cancels.")
plots.curves(
    {"softmax attention": (loudness, softmax), "linear attention": (loudness, linear)},
    xlabel="loudness of the query",
    ylabel="weight of the wanted key",
    xlog=True,
    marks=True,
    alt="Weight of the wanted key by loudness from 0.5 to 32. Softmax rises from 0.03 to 1, linear attention stays at"
    " 0.02.",
)

# %% [markdown]
# Look at the flat line. For large $x$, $\phi(x)$ is $x$ or nothing, so twice the query gives twice every weight, and
# the normaliser divides it away. 64 keys get about 1/64 each: **linear attention sees a blur.** Other maps, other
# limits, but none makes $e^{q \cdot k}$ of a finite sum of products; the exact one would need infinitely many channels.

# %% [markdown]
# ## Try it
#
# **Which feature map comes nearest to what softmax does, and how near?** Move the loudness. Change the map.

# %%
MAPS = {"elu(x) + 1": feature, "relu(x)": F.relu, "exp(x)": torch.exp}


def draw_sharpness(loudness, phi):
    """The weights of all keys, for softmax and for a feature map."""
    query = loudness * keys[WANTED]
    linear = linear_weights(query, MAPS[phi])
    rows = {"softmax attention": softmax_weights(query), f"linear attention, {phi}": linear}
    return figures.draw_weights(rows, WANTED)


widgets.explore(
    draw_sharpness,
    "Which feature map comes nearest to what softmax does, and how near?",
    loudness=(0.5, 16.0, 0.5, 8.0, "loudness of the query"),
    phi=(list(MAPS), "elu(x) + 1", "feature map"),
)

# %% [markdown]
# And there is a second limit, however sharp the map. $S$ has $N$ rows. More than $N$ keys can't all be at right angles
# to each other, so what is read under one key has a little of others mixed in. Lesson 17 measures how much is lost.

# %% [markdown]
# ## Forget
#
# One defect can be mended at once. $S$ only ever adds: the first tale counts as much as the sentence before. Let each step
# keep a share of the old state, one share `keep` between 0 and 1 for each head:
#
# $$S_t = \lambda S_{t-1} + k_t^\top v_t \qquad y_t = q_t S_t$$
#
# $\lambda$ ("lambda") is `keep`. As a recurrence it is one multiplication more. What is it as a **matrix**?
#
# **Exercise 11.5** · implement · ●●● · 15 min · 4 points · teaches decay in the matrix form · needs 11.1
#
# Write it without a loop over time. Unroll the recurrence for three tokens, and see with which factor $k_1^\top v_1$
# arrives at $y_3$. It has to hold for 300 tokens and a `keep` of 0.01, gradients, too.
#
# <details><summary>Hint 1</summary>
#
# $v_s$ has faded $t - s$ times when token $t$ reads it: its weight is $\lambda^{t-s} (q_t \cdot k_s)$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `age = torch.arange(T)[:, None] - torch.arange(T)` is (T, T); `keep[:, None, None] ** age` is (H, T, T).
#
# </details>
# <details><summary>Hint 3: when a gradient is nan</summary>
#
# Above the diagonal the age is below zero, and 0.01 to the power of -299 is infinite. `tril` hides it on the way
# forward; on the way back it is infinity times zero. `age.clamp(min=0)` first.
#
# </details>


# %% tags=["exercise:11.5"]
def fading(q, k, v, keep):
    """q, k (B, H, T, N), v (B, H, T, D), keep (H,) -> (B, H, T, D), where S <- keep * S + k_t^T v_t."""
    ### BEGIN SOLUTION
    position = torch.arange(q.shape[2], device=q.device)
    age = (position[:, None] - position).clamp(min=0)  # (T, T)
    weights = (q @ k.transpose(-1, -2)) * keep[:, None, None] ** age  # (B, H, T, T)
    return weights.tril() @ v
    ### END SOLUTION


# %% tags=["check:11.5"]
fading = check("11.5", fading)

# %% [markdown] tags=["solution:11.5"]
# Distance is back, without RoPE: a score fades with the age of its key, at a speed of its head's own.

# %% [markdown]
# ## In the wild
#
# MiniMax-Text-01 is a published model of 456 billion parameters ([arXiv 2501.08313](https://arxiv.org/abs/2501.08313)).
# Seven of each eight layers are what you have just written, under the name "lightning attention": queries, keys and
# values through SiLU, a fixed decay for each head, in chunks, then a norm, a gate and an output matrix. transformers
# has the code. Here is such a layer with random weights, and what reaches its norm:

# %% tags=["nbval-check-output"]
from transformers.models.minimax.configuration_minimax import MiniMaxConfig
from transformers.models.minimax.modeling_minimax import MiniMaxLightningAttention

sizes = dict(hidden_size=24, num_attention_heads=4, head_dim=6, num_hidden_layers=3, block_size=8)
torch.manual_seed(5)
config = MiniMaxConfig(**sizes, layer_types=["linear_attention"] * 3)
published = MiniMaxLightningAttention(config, layer_idx=1)
x, reached = torch.randn(2, 20, 24), []
published.norm.register_forward_hook(lambda norm, inputs, output: reached.append(inputs[0]))
with torch.no_grad():
    published(x, None, None)
    joint = rearrange(F.silu(published.qkv_proj(x)), "b t (h n) -> b h t n", h=4)  # (B, H, T, 3 N)
    q, k, v = joint.split(6, dim=-1)
    keep = torch.exp(-published.slope_rate).flatten()
    ours = rearrange(fading(q, k, v, keep), "b h t n -> b t (h n)")  # (B, T, H * N)
print("keep, one for each head:", [round(share, 3) for share in keep.tolist()])
print("equal to the published layer:", bool((ours - reached[0]).abs().max() < 1e-5))
assert (ours - reached[0]).abs().max() < 1e-5

# %% [markdown]
# ## Recap
#
# Without the softmax the sum over all keys can be taken in another order, and then it is a recurrence with a state of
# $N^2$ numbers. The matrix, the recurrence and the chunks between them give the same results; they differ in work, in
# waiting and in memory, and an index in a loop can hide a $T^2$. What is lost is sharpness: a louder query gets no
# sharper answer, and a fixed state holds only so much.
#
# ## Read on
#
# - Katharopoulos et al., [Transformers are RNNs](https://arxiv.org/abs/2006.16236), section 3: the paper that took the
#   softmax away, with the feature map used here.
# - Schlag et al., [Linear Transformers Are Secretly Fast Weight Programmers](https://arxiv.org/abs/2102.11174),
#   sections 3 and 4: the same matrix in a paper of 1991, and how much it can hold.
# - Sun et al., [Retentive Network](https://arxiv.org/abs/2307.08621), section 2: exercise 11.5 as a model, with its
#   three forms.
# - Arora et al., [Zoology](https://arxiv.org/abs/2312.04927): what such models fail to recall, measured.
#
# **Next:** [12. A transformer that is an RNN](12_rwkv4.ipynb).
