# %% [markdown]
# # 11. Take the softmax away and attention becomes a recurrence
#
# Attention keeps every key and every value of the text. Remove one function from it, the softmax, and all of them can be
# added up in a single matrix that never grows. The result is a recurrent network.
#
# **You build** `linear_recurrent` and `linear_chunked`, two ways through the same sum. RWKV and its relatives stand on
# them. You also see what the softmax was good for.
#
# **You need** lessons 05 (attention) and 09 (the cache). **Time:** 100 minutes.

# %% tags=["setup"]
start("11")

# %%
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
from lib.run.checkpoint import load_bundle
from lib.run.measure import best_seconds, numbers_written, peak_bytes
from lib.show.memories import memories
from lib.text import corpora
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# A model reads one tale after another and has to remember all of them. What does one layer of attention keep?

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
# The memory grows with each token, and so does the work for the next one. The softmax is the reason. Before it divides,
# the weight of key $s$ is $e^{q_t \cdot k_s}$, and a new query needs it for every old key. That power can't be split into
# a part for the query times a part for the key.
#
# A plain product can be split. So try it, to see what happens: **leave the power out, and the division with it.** The
# weight of key $s$ is now the product $q_t \cdot k_s$ itself.

# %%
guess = predict(
    "11.a",
    "A million tokens with keys and values of 16 channels have been read. Way one multiplies a new query with each"
    " key, then adds up the values with these weights: 32 million multiplications. Way two has added up key times value"
    " while it read, and brings in the query last. For one query it needs ...",
    ["256 multiplications", "16 million", "32 million"],
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
assert one == two
guess.reveal(f"{16 * 16} multiplications", "S has 16 x 16 numbers, and the query meets each of them once.")

# %% [markdown]
# The two ways are one sum, added up in another order. Look at what the second way holds after three tokens: four
# numbers. After three million tokens it still holds four. The keys and values are gone, and the query was not needed
# until the end.

# %% [markdown]
# ## The formula
#
# $q_t$, $k_s$ and $v_s$ are the query, key and value of tokens $t$ and $s$, rows of $N$ numbers. $y_t$ is the result.
#
# $$y_t = \sum_{s \le t} (q_t \cdot k_s)\, v_s \;=\; q_t \Big( \sum_{s \le t} k_s^\top v_s \Big) \;=\; q_t S_t
# \qquad S_t = S_{t-1} + k_t^\top v_t$$
#
# $k_s^\top v_s$ is a column times a row: an $N \times N$ matrix. $S$ is the **[state](../lessons/GLOSSARY.md#state)**: what is written under a key can be read
# with a query like that key. $S$ is **keys by values**: a row for each channel of the key, a column for each channel of the
# value. The causal mask is gone, because $S_t$ holds nothing of later tokens.
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
# `S`. A `state` that is given is the `S` to begin with. Take the tokens apart with `q.unbind(2)`: it gives T tensors of
# shape (B, H, N).
#
# <details><summary>Hint 1: write</summary>
#
# A column times a row: `k_t[..., :, None] * v_t[..., None, :]` is (B, H, N, D). Add it to `S` with `S = S + ...`. The
# shorter `+=` would change the state that came in.
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
# A formula is one thing, a model that has learned to read is another. Here are two, a LLaMA and an RWKV-7 (you build that in
# lesson 14), and what they keep of one sentence: each dot is one number, the darker the larger. **Which numbers does one more
# token change?** Move the tokens, and look from one model to the other. Then set `shown` to the change.

# %%
FOLDERS = {"LLaMA": "llama-tales", "RWKV-7": "rwkv-7-tales"}
readers = {name: load_bundle(corpora.DATA / "checkpoints" / folder)[0] for name, folder in FOLDERS.items()}
SENTENCE = """Grandma had lent her a golden drum. Beside a green gate, she stumbled, and the golden drum cracked. "If I put
the golden drum behind the crooked harbour, nobody will know," she thought."""
memories(readers, tokenizer, SENTENCE, "Which numbers does one more token change?", at=24)

# %% [markdown]
# The cache gets a new strip, and what stood there before stays as it was. In the state every number is another one: the token
# is added to all that came before it, $S + k^\top v$ (RWKV-7 does more than add), and nobody can take it out again by
# cutting something off.

# %% [markdown]
# Go back to the flat line of the figure before: 32 MiB, for a sentence or for a novel. Something must be lost, and below you will see what. First
# the price in time.

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
    "256 tokens: the recurrence needs an eighth of the multiplications. On one core of your machine it takes ...",
    ["an eighth of the time", "about the same time", "several times as long"],
)


# %%
def milliseconds(ways, rounds=9):
    """The shortest time of each way, {name: function} -> {name: ms}, on one core: small steps gain nothing from two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    best = best_seconds(ways, rounds)
    torch.set_num_threads(threads)
    return {name: 1000 * seconds for name, seconds in best.items()}


q, k, v = torch.randn(3, 1, 4, 256, N)
took = milliseconds({"matrix": lambda: linear_attention(q, k, v), "recurrence": lambda: linear_recurrent(q, k, v)})
print(", ".join(f"{name} {time:.2f} ms" for name, time in took.items()))
ratio = took["recurrence"] / took["matrix"]
quick = "about the same time" if ratio > 0.4 else "an eighth of the time"
answer = "several times as long" if ratio > 1.7 else quick
because = "256 small steps wait for each other, where two large products do not." if ratio > 0.4 else ""
guess.reveal(answer, because)

# %% [markdown]
# A step of the recurrence is so small that calling it costs more than computing it, and no two steps can run side by
# side. So fewer operations need not be faster. The transformer's authors gave this reason for leaving recurrence
# ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), section 1): **not its work, but its waiting.** A GPU is made
# for large products, so there the gap is wider still.

# %% [markdown]
# ## Between the two: chunks
#
# Cut the text into [chunks](../lessons/GLOSSARY.md#chunked-form) of $L$ tokens. Within a chunk use the matrix of pairs, which is small. What came before the chunk
# is in $S$, and one product reads it for all $L$ tokens. One more product brings $S$ to the end of the chunk.

# %%
figures.chunks(n_tokens=12, chunk=4)

# %% [markdown]
# Look at the right square. The work in the blue triangles grows with $T \cdot L$, and the orange part needs $T / L$ steps.
# With $L = 1$ it is the recurrence, with $L = T$ the matrix. You choose.
#
# **Exercise 11.2** · implement · ●●○ · 15 min · 5 points · teaches the chunked form · needs 11.1
#
# Write it: `chunk` tokens at a time, by products of matrices, with `S` carried from chunk to chunk. The last chunk may be
# shorter.
#
# <details><summary>Hint 1: cut</summary>
#
# `q.split(chunk, dim=2)` gives pieces of `chunk` tokens; the last one is shorter where T is no multiple. (`q.chunk(n)`
# gives n pieces, which is something else.)
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
# Three forms, one result. Here it is asserted, for chunks from one token to the whole text, and for the state as well.

# %% tags=["nbval-check-output"]
q, k, v = torch.randn(3, 2, 4, 50, 16, dtype=torch.float64)
matrix, (recurrent, S) = linear_attention(q, k, v), linear_recurrent(q, k, v)
assert (recurrent - matrix).abs().max() < 1e-10
for chunk in (1, 7, 16, 50, 1000):
    chunked, last = linear_chunked(q, k, v, chunk=chunk)
    assert (chunked - matrix).abs().max() < 1e-10 and (last - S).abs().max() < 1e-10
    print(f"chunks of {chunk:4}: {-(-50 // chunk):2} steps, equal to both others to 10 digits")

# %% [markdown]
# What did your chunks buy? Three measures of each form: its time on your machine, the numbers that it writes, and the most
# memory that it holds at once. The last two are counts, the same on each machine.

# %%
WAYS = {"attention by matrix": linear_attention, "recurrence": linear_recurrent, "in chunks": linear_chunked}
texts, taken = {T: torch.randn(3, 1, 4, T, N) for T in (64, 256, 1024, 2048)}, {name: [] for name in WAYS}
for heads in texts.values():
    for name, time in milliseconds({name: lambda way=way: way(*heads) for name, way in WAYS.items()}).items():
        taken[name].append(time)
ends = [f"{name} from {times[0]:.2f} to {times[-1]:.2f}" for name, times in taken.items()]
plots.curves(
    {name: (list(texts), times) for name, times in taken.items()},
    xlabel="tokens",
    ylabel="milliseconds, one core",
    xlog=True,
    ylog=True,
    marks=True,
    alt=f"Milliseconds by tokens, 64 to 2,048, both axes logarithmic: {'; '.join(ends)}.",
)
for name, way in WAYS.items():
    few, many = (numbers_written(lambda: way(*texts[T])) for T in (256, 2048))
    held = peak_bytes(lambda: way(*texts[2048])) / 2**20
    print(f"{name:20} 2,048 tokens: {taken[name][-1]:6.1f} ms, {many / 1e6:4.1f} million numbers written", end=" ")
    print(f"({many / few:2.0f} times those of 256 tokens), {held:5.1f} MiB held at once")

# %% [markdown]
# Look at the slopes. Eight times the text writes eight times the numbers in the recurrence and in the chunks, and some
# 60 times in the matrix. The times follow, as well as other programs on your machine let them. And look at how little
# the chunks write: the growth of the recurrence, the large products of the matrix. From lesson 13 on, RWKV is trained
# this way.

# %% [markdown]
# ## The backward pass
#
# Here is the recurrence as one would write it first. It takes token $t$ by its index. The results are the same, digit for
# digit. What about the gradients?


# %%
def indexed(q, k, v):
    """What linear_recurrent returns, without the state."""
    S, ys = 0, []
    for t in range(q.shape[2]):
        S = S + k[:, :, t, :, None] * v[:, :, t, None, :]
        ys.append((q[:, :, t, None, :] @ S).squeeze(-2))
    return torch.stack(ys, dim=2)


def backward_of(function, T):
    """How many numbers the backward pass writes, for one head of 16 channels."""
    heads = torch.randn(3, 1, 1, T, 16).unbind(0)
    for z in heads:
        z.requires_grad_()
    return numbers_written(function(*heads).sum().backward)


guess = predict(
    "11.d",
    "1,024 tokens, one head of 16 channels. Your recurrence, which takes the tokens apart with `unbind`, writes about 1.1"
    " million numbers in its backward pass. `indexed` writes ...",
    ["about as many", "twice as many", "over fifty times as many"],
)

# %%
counts = {}
for name, form in (("unbind", lambda *heads: linear_recurrent(*heads)[0]), ("indexed", indexed)):
    counts[name] = [backward_of(form, T) for T in (256, 512, 1024)]
    for T, count in zip((256, 512, 1024), counts[name]):
        print(f"{name:7} {T:5,} tokens: {count:12,} numbers written in the backward pass")
times, growth = counts["indexed"][-1] / counts["unbind"][-1], counts["indexed"][2] / counts["indexed"][1]
answer = guess.choices[2] if times > 50 else guess.choices[1] if times > 1.5 else guess.choices[0]
guess.reveal(answer, f"It is {times:.0f} times as many, and twice the tokens make it {growth:.1f} times as many.")

# %% [markdown]
# The gradient of `k[:, :, t]` with respect to `k` is a tensor as large as `k`, zero everywhere but at $t$. Autograd
# makes one in each of the $T$ steps, and adds them all up: $T$ times $T$ numbers. `unbind` takes `k` apart once, and
# its gradient is put together once. The same trap waits in `y[:, :, t] = ...`. The loop of RWKV-4 in transformers has
# both, so part of its slowness in training comes from there, and not from recurrence.
#
# **Exercise 11.3** · repair · ●●○ · 10 min · 3 points · teaches to see a hidden $T^2$ · needs the trap
#
# This is a running mean of keys: `kept` times the old one, plus `1 - kept` times the new. Its result is right, but its
# backward pass grows with $T^2$. Find both causes and repair them.
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
# The result grows with the text: a layer that was trained on short texts meets larger numbers in long ones. The cure
# keeps the recurrence. Put a function $\phi$ ("phi") with positive values before the product, and divide by the sum of
# the weights:
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
# Take 64 random keys, and a query that asks for one of them: it is that key times a number, its **loudness**. With
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
# Look at the flat line. For a loud query $\phi(x)$ is nearly $x$ or nearly nothing. So twice the query gives twice every
# weight, and the normaliser divides that away. 64 keys get about 1/64 each: **linear attention sees a blur.** Other maps
# have other limits. None with finitely many channels gives $e^{q \cdot k}$ for all queries and keys; an exact one would
# need infinitely many.

# %% [markdown]
# ## Try it
#
# **At which loudness does softmax give half of its weight to the wanted key, and which map gives it most there?** Move the
# loudness until the left bar says 0.5, then change the map. The last map has twice the channels: $e^x$, and $e^{-x}$
# beside it.

# %%
MAPS = {"elu(x) + 1": feature, "relu(x)": F.relu, "exp(x)": torch.exp}
MAPS["exp(x), exp(-x)"] = lambda x: torch.cat([x.exp(), (-x).exp()], dim=-1)


def draw_sharpness(loudness, phi):
    """The weights of all keys, for softmax and for a feature map."""
    query = loudness * keys[WANTED]
    linear = linear_weights(query, MAPS[phi])
    rows = {"softmax attention": softmax_weights(query), f"linear attention, {phi}": linear}
    return figures.draw_weights(rows, WANTED)


widgets.explore(
    draw_sharpness,
    "At which loudness does softmax give half of its weight to the wanted key, and which map gives it most there?",
    loudness=(0.5, 16.0, 0.5, 1.0, "loudness of the query"),
    phi=(list(MAPS), "elu(x) + 1", "feature map"),
)

# %% [markdown]
# Softmax gives half of its weight from a loudness of about 4.5 on. The last map gives most there, and that is a twentieth:
# twice the channels sharpen the picture a little, and cost twice the state. There is a second limit, however sharp the
# map. $S$ has $N$ rows, and more than $N$ keys can't all be at right angles to each other. So what is read under one key
# has a little of the others mixed in.

# %% [markdown]
# ## Forget
#
# One defect can be mended here and now. $S$ only ever adds: the first tale counts as much as the sentence just read. Let
# each step keep a share $w$ of the old state, a number between 0 and 1, one for each head:
#
# $$S_t = w\, S_{t-1} + k_t^\top v_t \qquad y_t = q_t S_t$$
#
# In all that follows $w$ is the share that is **kept**. (Papers and programs use other letters and signs; the
# [table of symbols](../lessons/GLOSSARY.md) has them side by side.) As a recurrence, the decay is one multiplication more.
# What is it as a **matrix**?
#
# **Exercise 11.5** · implement · ●●● · 15 min · 4 points · teaches decay in the matrix form · needs 11.1
#
# Write it without a loop over time. Unroll the recurrence for three tokens, and see which factor $k_1^\top v_1$ has when
# it arrives at $y_3$. The function has to hold for 300 tokens and a `w` of 0.01, and so do its gradients.
#
# <details><summary>Hint 1</summary>
#
# $v_s$ has faded $t - s$ times when token $t$ reads it: its weight is $w^{t-s} (q_t \cdot k_s)$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `age = torch.arange(T)[:, None] - torch.arange(T)` is (T, T); `w[:, None, None] ** age` is (H, T, T).
#
# </details>
# <details><summary>Hint 3: when a gradient is nan</summary>
#
# Above the diagonal the age is below zero, and 0.01 to the power of -299 is infinite in float32. `tril` hides it on the
# way forward; on the way back it is infinity times zero. `age.clamp(min=0)` first.
#
# </details>


# %% tags=["exercise:11.5"]
def fading(q, k, v, w):
    """q, k (B, H, T, N), v (B, H, T, D), w (H,) -> (B, H, T, D), where S <- w * S + k_t^T v_t."""
    ### BEGIN SOLUTION
    position = torch.arange(q.shape[2], device=q.device)
    age = (position[:, None] - position).clamp(min=0)  # (T, T)
    weights = (q @ k.transpose(-1, -2)) * w[:, None, None] ** age  # (B, H, T, T)
    return weights.tril() @ v
    ### END SOLUTION


# %% tags=["check:11.5"]
fading = check("11.5", fading)

# %% [markdown] tags=["solution:11.5"]
# Distance is back, without RoPE: a score fades with the age of its key, and each head has its own speed.

# %% [markdown]
# ## In the wild
#
# MiniMax-Text-01 is a published model of 456 billion parameters ([arXiv 2501.08313](https://arxiv.org/abs/2501.08313)).
# Seven of every eight layers are what you have just written, under the name "lightning attention". Queries, keys and
# values go through SiLU, each head has a fixed decay, the work is done in chunks; then come a norm, a gate and an output
# matrix. transformers has the code. Here is such a layer with random weights, and what reaches its norm:

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
    w = torch.exp(-published.slope_rate).flatten()
    ours = rearrange(fading(q, k, v, w), "b h t n -> b t (h n)")  # (B, T, H * N)
print("w, one for each head:", [round(share, 3) for share in w.tolist()])
print("equal to the published layer:", bool((ours - reached[0]).abs().max() < 1e-5))
assert (ours - reached[0]).abs().max() < 1e-5

# %% [markdown]
# ## Recap
#
# Without the softmax the sum over all keys can be taken in another order, and then it is a recurrence with a state of
# $N^2$ numbers. The matrix, the recurrence and the chunks between them give the same results. They differ in work, in
# waiting and in memory, and an index in a loop can hide a $T^2$. What is lost is sharpness: a louder query gets hardly a
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
