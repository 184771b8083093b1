# %% [markdown]
# # 06. Attention never needs the whole matrix
#
# The weights of attention fill a matrix of T x T numbers, and all that they are for is a mean. You can have that mean in one
# pass over the keys, with two numbers and one vector for each query.
#
# **You build** `add_block`, the step of that pass. It is the idea in FlashAttention, and in torch's own attention.
#
# **You need** lesson 05 (attention). **Time:** 90 minutes.

# %% tags=["setup"]
start("06")

# %%
import math
import time
from functools import partial

import torch
import torch.nn.functional as F

from lib.layers.attention import attend
from lib.layers.fast import attend_fused
from lib.layers.mask import causal_mask
from lib.models.presets import PRESETS
from lessons.figures import lesson_06 as figures
from lib.show import plots, widgets
from lessons.exercises.lesson_06 import check
from lib.run.measure import best_seconds, fit_power, peak_bytes
from lib.show.predict import predict
from lib.teach.claims import claim
from lib.text import corpora
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# How large is the matrix of weights, if one layer of LLaMA-7B reads 32,768 tokens at once? In *tales*, the course's own
# stories, that is:

# %%
tokenizer = load_tokenizer("tales")
tales = corpora.load("tales").documents_validation[:100]
per_tale = sum(len(tokenizer.encode(tale)) for tale in tales) / 100
print(f"about {per_tale:.0f} tokens a tale: {32768 / per_tale:.0f} tales, the size of a small book")

# %%
guess = predict(
    "06.a",
    "32 heads, two bytes a number. The keys and values of these tokens take 0.5 GiB in one layer. The weights take ...",
    ["0.5 GiB", "4 GiB", "64 GiB"],
)

# %% tags=["nbval-check-output"]
c = PRESETS["llama-7b"].config
print("tokens     keys and values     matrix of weights, one layer")
for T in (1024, 4096, 16384, 32768):
    cache, matrix = 2 * c.n_kv_heads * T * c.d_head * 2, c.n_heads * T * T * 2
    print(f"{T:6,} {cache / 2**30:15.3f} GiB {matrix / 2**30:15.3f} GiB")
guess.reveal(f"{matrix / 2**30:.0f} GiB", "Twice the text, four times the matrix.")

# %% [markdown]
# That is one layer of 32, for a result as small as the keys. Is it as bad in practice? Take 4 heads and 1,024 tokens.
# `peak_bytes` calls a function, and counts the bytes of all tensors that the call has made and that are alive at the worst
# moment. What was there before, here q, k and v, does not count.

# %%
T = 1024
q, k, v = torch.randn(3, 1, 4, T, 64)
print(f"q, k and v:           {3 * q.nbytes / 2**20:5.1f} MiB")
print(f"matrix of weights:    {4 * T * T * 4 / 2**20:5.1f} MiB")
print(f"attend, at its worst: {peak_bytes(lambda: attend(q, k, v)) / 2**20:5.1f} MiB")

# %% [markdown]
# Scores, scaled scores, masked scores, weights: several such matrices are alive at once. And all you want is the mean of the
# values. **Can you take a weighted mean without writing down the weights?**

# %% [markdown]
# ## A second trouble
#
# A plain mean is easy: add up the values, count them, divide at the end. With weights $e^{a_s}$, where $a_s$ is the score of
# key $s$, it is no harder: add up $e^{a_s} v_s$, add up $e^{a_s}$, divide at the end. Two sums for a stream of any length.
# Try it on a row of scores.

# %%
guess = predict(
    "06.b",
    "Scores [100, 99, 98] in float32, weights by exp(score) / sum of exp. The first weight is ...",
    ["0.67", "1", "0", "not a number"],
)

# %% tags=["nbval-check-output"]
row = torch.tensor([100.0, 99.0, 98.0])
powers = row.exp()
print("powers ", powers.tolist())
print("weights", (powers / powers.sum()).tolist())
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    print(f"{str(dtype):15} exp overflows above {math.log(torch.finfo(dtype).max):.1f}")
guess.reveal("not a number" if powers.isinf().all() else "0.67", "Infinity divided by infinity.")

# %% [markdown]
# In float16 a score of 12 is too large already. The usual cure is to subtract the **maximum** $m$ of the row first. The weights
# stay the same, because $e^{a-m}$ has the factor $e^{-m}$ in both sums. And no exponent is above zero.

# %% tags=["nbval-check-output"]
powers = (row - row.max()).exp()
print("weights", [round(weight, 3) for weight in (powers / powers.sum()).tolist()])

# %% [markdown]
# But now it is no stream any more. You know the maximum only when the **last** score has come by, and the first power needs
# it. So the row must be kept, or computed again. Unless ...

# %% [markdown]
# ## By hand
#
# Five scores come in two blocks: 1, 3, 2 and then 5, 4. Take the largest *so far* as the maximum. When a larger one comes, all
# that was added before is too large by the same factor. One multiplication repairs it.

# %% tags=["nbval-check-output"]
scores, values = [[1.0, 3.0, 2.0], [5.0, 4.0]], [[10.0, 20.0, 30.0], [40.0, 50.0]]
maximum, total, weighted = -math.inf, 0.0, 0.0
for block_scores, block_values in zip(scores, values):
    larger = max([maximum, *block_scores])
    shrink = math.exp(maximum - larger)  # all that was added so far was measured from the old maximum
    total, weighted = total * shrink, weighted * shrink
    for score, value in zip(block_scores, block_values):
        total += math.exp(score - larger)
        weighted += math.exp(score - larger) * value
    maximum = larger
    print(f"shrink {shrink:.4f}   maximum {maximum:.0f}   total {total:.4f}   weighted {weighted:8.4f}")
weights = torch.tensor([1.0, 3.0, 2.0, 5.0, 4.0]).softmax(0)
print(f"in one pass {weighted / total:.4f}, with all weights {weights @ torch.tensor([10.0, 20, 30, 40, 50]):.4f}")

# %% [markdown]
# ## The formula
#
# This is the **[online softmax](../lessons/GLOSSARY.md#online-softmax)**. For one query keep three things: the maximum $m$ so
# far, the sum $\ell$ of the powers, and the sum $o$ of the powers times the values, a vector. A block brings scores $a_s$ and
# values $v_s$:
#
# $$m' = \max(m, \max_s a_s) \qquad \ell' = e^{m - m'} \ell + \sum_s e^{a_s - m'} \qquad
# o' = e^{m - m'} o + \sum_s e^{a_s - m'} v_s$$
#
# At the beginning $m = -\infty$, $\ell = 0$, $o = 0$. At the end the result is $o / \ell$.
#
# There is one special case. A query that may see no key of the first block still has $m' = -\infty$, and
# $-\infty - (-\infty)$ is not a number. Measure such a row from 0 instead: $e^{-\infty - 0} = 0$, which is right.

# %% [markdown]
# ## Build it
#
# **Exercise 06.1** · implement · ●●○ · 15 min · 5 points · teaches the running maximum · needs the formula
#
# Write `add_block` for all queries at once. `measured_from`, for the special case, is given: measure everything from its
# result.
#
# <details><summary>Hint 1: the new maximum</summary>
#
# `scores.amax(-1, keepdim=True)` is (..., T, 1), the largest of the block for each query; `torch.maximum` compares two tensors.
#
# </details>
# <details><summary>Hint 2: the two factors</summary>
#
# With `base = measured_from(larger)`: `shrink = torch.exp(maximum - base)` is (..., T, 1), and
# `share = torch.exp(scores - base)` is (..., T, S).
#
# </details>
# <details><summary>Hint 3: the sums</summary>
#
# `share.sum(-1, keepdim=True)` for the total, `share @ v` for the weighted sum. Shrink **both** old sums first, and return
# the three parts in the order in which they came.
#
# </details>


# %%
def measured_from(maximum):
    """Return the maximum, but 0 for a query that has seen no key yet, whose maximum is -inf."""
    return torch.where(maximum == -torch.inf, torch.zeros_like(maximum), maximum)


# %% tags=["exercise:06.1", "builds:lib.layers.online_softmax.add_block"]
def add_block(state, scores, v):
    """State (maximum (..., T, 1), total (..., T, 1), weighted (..., T, N)), scores (..., T, S), v (..., S, N) -> new state."""
    maximum, total, weighted = state
    ### BEGIN SOLUTION
    larger = torch.maximum(maximum, scores.amax(-1, keepdim=True))  # (..., T, 1)
    base = measured_from(larger)
    shrink, share = torch.exp(maximum - base), torch.exp(scores - base)
    return larger, total * shrink + share.sum(-1, keepdim=True), weighted * shrink + share @ v
    ### END SOLUTION


# %% tags=["check:06.1"]
add_block = check("06.1", add_block)

# %% [markdown] tags=["solution:06.1"]

# %% [markdown]
# Attention is now a loop over blocks of keys. Only one block of scores is there at a time.


# %%
def attend_online(q, k, v, block=64):
    """(B, H, T, N), (B, H, S, N), (B, H, S, N) -> (B, H, T, N), causal, with the scores of `block` keys at a time."""
    T, S = q.shape[2], k.shape[2]
    nothing = torch.zeros_like(q[..., :1])  # (B, H, T, 1)
    state = (nothing - torch.inf, nothing, torch.zeros_like(q))
    for s in range(0, S, block):
        here = slice(s, s + block)
        scores = q @ k[:, :, here].transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, T, block)
        seen = causal_mask(T, S, keys=here)  # (T, block)
        state = add_block(state, scores.masked_fill(~seen, -torch.inf), v[:, :, here])
    maximum, total, weighted = state
    return weighted / total  # (B, H, T, N)


# %%
guess = predict(
    "06.c",
    "Blocks of 1, 7, 64 or 1,024 keys. In which does the result differ from the matrix's by more than rounding?",
    ["in none", "in those of 1", "in all but 1,024"],
)

# %%
exact = attend(q.double(), k.double(), v.double())
worst = {}
for block in (1, 7, 64, 1024):
    worst[block] = (attend_online(q, k, v, block) - exact).abs().max().item()
    print(f"blocks of {block:4}: largest difference {worst[block]:.1e}")
print(f"the matrix:     largest difference {(attend(q, k, v) - exact).abs().max():.1e}")
off = [block for block, difference in worst.items() if difference > 1e-4]
answer = "in none" if not off else "in those of 1" if off == [1] else "in all but 1,024"
guess.reveal(answer, "It is the same sum in another order: exact, but for rounding.")

# %% [markdown]
# ## What is held, and when
#
# Rows are queries, columns are keys. Blue scores are in memory at that moment; white and grey ones are not. No query may look
# into the upper triangle, so the pale ones are held for nothing.

# %%
figures.tiles(n_tokens=16, block=4)

# %% [markdown]
# Look at the blue column: it is all of the matrix that exists at that moment. What stood left of it is gone, and its sums are
# in the three narrow columns. What stands right of it is not computed yet. The pale parts need not be computed at all: fast
# kernels cut the queries into blocks, too, skip the tiles above the diagonal, and save nearly half of the work.

# %% [markdown]
# ## Try it
#
# One query, 24 keys, four at a time. **Which block changes the result most, and why that one?** Step through the blocks. Then
# let the same 24 keys come in another order. Does the same block still change it most, and where does the result end?


# %%
def draw_stream(blocks, order):
    """Scores, running maximum, and the running result against the final one, after some blocks."""
    scores, values = torch.randn(2, 24, generator=torch.Generator().manual_seed(4))
    scores[13], values[13] = 4.0, 2.0
    falling = scores.argsort(descending=True)
    places = {"as they come": torch.arange(24), "largest first": falling, "largest last": falling.flip(0)}[order]
    state, steps = (torch.full((1, 1), -torch.inf), torch.zeros(1, 1), torch.zeros(1, 1)), []
    for part in places.split(4):
        state = add_block(state, scores[None, part], values[part, None])
        steps.append((state[0].item(), state[1].item(), (state[2] / state[1]).item()))
    return figures.draw_stream(scores[places], 4, steps, blocks, result=(scores.softmax(0) @ values).item())


widgets.explore(
    draw_stream,
    "Which block changes the result most, and why that one?",
    blocks=(1, 6, 1, 3, "blocks taken in"),
    order=["as they come", "largest first", "largest last"],
)

# %% [markdown]
# The block with the largest score moves the result most, whenever it comes: its powers are most of the sum, and all that
# came before shrinks. In the order "largest first" that is the first block, and what follows shifts it little by little.
# The end is the same in any order.
#
# ## What it saves, measured
#
# Memory first, of three ways to the same result. `attend_fused` is torch's own kernel. It does what you just built in one
# compiled function, with tiles that fit a processor's fast memory. (`peak_bytes` sees the tensors that torch makes, but not
# what a kernel uses inside.)

# %%
WAYS = {"matrix": attend, "online": attend_online, "torch's fused": attend_fused}
lengths, peaks = (256, 512, 1024, 2048), {name: [] for name in WAYS}
for T in lengths:
    heads = torch.randn(3, 1, 4, T, 64)
    for name, way in WAYS.items():
        peaks[name].append(peak_bytes(lambda: way(*heads)) / 2**20)
plots.curves(
    {name: (lengths, megabytes) for name, megabytes in peaks.items()},
    xlabel="tokens",
    ylabel="most memory at once (MiB)",
    xlog=True,
    ylog=True,
    alt="Peak memory against tokens, both axes logarithmic: the matrix grows with slope 2, online and fused with slope 1.",
)
for name, megabytes in peaks.items():
    print(f"{name:14} {megabytes[-1]:6.1f} MiB for 2,048 tokens, {megabytes[-1] / megabytes[-2]:.1f} times 1,024's")
powers = {name: fit_power(lengths, megabytes)[0] for name, megabytes in peaks.items()}
verdict = "holds" if powers["online"] < 1.1 and powers["torch's fused"] < 1.1 else "does not hold here"
grows = ", ".join(f"T^{power:.2f} {name}" for name, power in powers.items())
claim("flash-memory", verdict, f"from 256 to 2,048 tokens memory grows as {grows}")

# %% [markdown]
# Twice the text takes about four times the memory with the matrix, and twice without it. The last line holds that against
# what FlashAttention's authors say. And the time? The online form does every product of the matrix form and a little more,
# and it does so from Python, block by block.

# %%
guess = predict(
    "06.d",
    "2,048 tokens on one core of your processor. The online pass takes ...",
    ["under half of the matrix's time", "about as long: half to twice its time", "over twice its time"],
)


# %%
threads = torch.get_num_threads()
torch.set_num_threads(1)
taken = {}
for T in (256, 2048):
    heads = torch.randn(3, 1, 4, T, 64)
    calls = {name: partial(way, *heads) for name, way in WAYS.items()}
    taken[T] = best_seconds(calls, rounds=5, clock=time.process_time)
    shares = [f"{name} {value / taken[T]['matrix']:.2f}" for name, value in taken[T].items()]
    print(f"{T:5} tokens, time in units of the matrix's: {', '.join(shares)}")
torch.set_num_threads(threads)
ratio = taken[2048]["online"] / taken[2048]["matrix"]
choice = 0 if ratio < 0.5 else 1 if ratio <= 2 else 2
guess.reveal(guess.choices[choice])

# %% [markdown]
# Two things pull in opposite directions. Each block costs some calls from Python, and its sums are repaired once. That weighs
# most on short texts. But a block of scores stays in the processor's fast memory, while a matrix of many megabytes must
# travel to main memory and back several times. Your numbers say which of the two wins on your machine. The fused kernel has
# the saving without Python's price. **The idea is about memory; the speed comes from not moving memory.**

# %% [markdown]
# ## And in training?
#
# Training needs gradients, and for gradients PyTorch keeps what each step has made.

# %%
guess = predict(
    "06.e",
    "1,024 tokens, forward and backward. `attend_online` against the matrix: its memory is now ...",
    ["a tenth", "a half", "about the same"],
)

# %%
heads = torch.randn(3, 1, 4, 1024, 64).unbind(0)
for z in heads:
    z.requires_grad_()
training = {name: peak_bytes(lambda: way(*heads).sum().backward()) / 2**20 for name, way in WAYS.items()}
for name, megabytes in training.items():
    print(f"{name:14} {megabytes:6.1f} MiB")
ratio = training["online"] / training["matrix"]
answer = "about the same" if ratio > 0.7 else "a half" if ratio > 0.3 else "a tenth"
guess.reveal(answer, f"{ratio:.0%} of the matrix's: PyTorch keeps every tile for the backward pass.")

# %% [markdown]
# All tiles together are the matrix again. [FlashAttention](../lessons/GLOSSARY.md#flashattention)'s second idea is for this:
# keep only one number for each query, $m + \ln \ell$, **throw the tiles away, and compute them a second time** on the way
# back. The fused kernel does so, too. These are more operations, and still they take less time: on a GPU it takes longer to
# move the matrix than to compute it twice (Dao et al., section 3).

# %% [markdown]
# ## Exercises
#
# **Exercise 06.2** · repair · ●○○ · 5 min · 2 points · teaches why both sums must shrink · needs 06.1
#
# This version is right on many inputs, and then wrong. Run the cell. On which inputs is it right? Repair it.
#
# <details><summary>Hint 1</summary>
#
# The same numbers, the blocks in another order: the largest score comes in the first block, or in the second.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `total` is measured from the new maximum. From which maximum is the old part of `weighted` measured?
#
# </details>


# %%
def forgetful(blocks):
    """A list of (scores (S,), values (S, N)) -> the weighted mean (N,)."""
    maximum, total, weighted = torch.tensor(-torch.inf), 0.0, 0.0
    for scores, values in blocks:
        larger = torch.maximum(maximum, scores.max())
        total = total * (maximum - larger).exp() + (scores - larger).exp().sum()
        weighted = weighted + (scores - larger).exp() @ values
        maximum = larger
    return weighted / total


high, low = (torch.tensor([5.0, 4.0]), torch.eye(2)), (torch.tensor([1.0, 3.0]), -torch.eye(2))
print("largest first:", forgetful([high, low]).numpy().round(3))
print("largest last: ", forgetful([low, high]).numpy().round(3))


# %% tags=["exercise:06.2"]
def mean_of_stream(blocks):
    """A list of (scores (S,), values (S, N)) -> the weighted mean (N,), in one pass."""
    maximum, total, weighted = torch.tensor(-torch.inf), 0.0, 0.0
    for scores, values in blocks:
        larger = torch.maximum(maximum, scores.max())
        ### BEGIN SOLUTION
        shrink, share = (maximum - larger).exp(), (scores - larger).exp()
        total = total * shrink + share.sum()
        weighted = weighted * shrink + share @ values
        ### END SOLUTION
        maximum = larger
    return weighted / total


# %% tags=["check:06.2"]
mean_of_stream = check("06.2", mean_of_stream)

# %% [markdown] tags=["solution:06.2"]

# %% [markdown]
# **Exercise 06.3** · implement · ●●○ · 10 min · 3 points · teaches that the order does not matter · needs 06.1
#
# When a model writes a token, there is one query, and a GPU has a hundred processors. So the keys are cut into pieces, and each
# processor passes over its own. Write `merge`, which makes one state of two. (This is *split-k*, or Flash-Decoding.) Every
# state has seen at least one key.
#
# <details><summary>Hint 1</summary>
#
# Which of the two maxima is larger? Measure both from that one.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each state gets its own factor, $e^{m_1 - m}$ and $e^{m_2 - m}$. One of them is 1.
#
# </details>


# %% tags=["exercise:06.3"]
def merge(one, other):
    """Two states (maximum (..., T, 1), total (..., T, 1), weighted (..., T, N)) over different keys -> the state over all."""
    (m1, l1, o1), (m2, l2, o2) = one, other
    ### BEGIN SOLUTION
    m = torch.maximum(m1, m2)
    a, b = torch.exp(m1 - m), torch.exp(m2 - m)
    return m, a * l1 + b * l2, a * o1 + b * o2
    ### END SOLUTION


# %% tags=["check:06.3"]
merge = check("06.3", merge)

# %% [markdown] tags=["solution:06.3"]

# %% [markdown]
# One query over 1,000 keys, by four processors that do not know of each other:

# %% tags=["nbval-check-output"]
torch.manual_seed(6)
scores, values = 5 * torch.randn(1, 1000, dtype=torch.float64), torch.randn(1000, 3, dtype=torch.float64)
empty = tuple(torch.full((1, n), number, dtype=torch.float64) for n, number in ((1, -torch.inf), (1, 0.0), (3, 0.0)))
parts = [add_block(empty, s, x) for s, x in zip(scores.split(250, dim=1), values.split(250))]
for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
    state = parts[order[0]]
    for i in order[1:]:
        state = merge(state, parts[i])
    difference = (state[2] / state[1] - scores.softmax(-1) @ values).abs().max()
    print("merged in the order", order, "equal to the whole to 12 digits:", bool(difference < 1e-12))

# %% [markdown]
# **Exercise 06.4** · implement · ●●● · 15 min · 4 points · teaches the same pass elsewhere · needs 06.1, cross-entropy
#
# The loss has a large matrix, too: the logits, (T, V). (Here a *word* is an entry of the vocabulary; a *token* is a place
# in the text.) For 4,096 tokens and LLaMA's 32,000 words in float32 that is 0.5 GB; with the 128,256 words of Llama 3,
# 2 GB. Write `chunked_loss`: the mean cross-entropy of all tokens, with the logits of only `chunk` words at a time. With
# $z_{tw}$, the logit of word $w$ at token $t$, the loss of token $t$ is $\ln \sum_w e^{z_{tw}} - z_{t,\,\mathrm{target}}$.
# That sum is a sum of powers over a stream.
#
# <details><summary>Hint 1: the first part</summary>
#
# $\ln \sum_w e^{z_{tw}} = m + \ln \ell$. Keep $m$ and $\ell$ for each token, both (T,), as in `add_block`, without values.
#
# </details>
# <details><summary>Hint 2: the logits of a chunk</summary>
#
# `z = x @ head[w : w + chunk].T` is (T, chunk). The last chunk may be smaller, and slicing takes care of it.
#
# </details>
# <details><summary>Hint 3: the second part</summary>
#
# No stream is needed: the logit of the target is `(x * head[targets]).sum(-1)`.
#
# </details>


# %% tags=["exercise:06.4"]
def chunked_loss(x, head, targets, chunk=256):
    """x (T, C), head (V, C), targets (T,) -> the mean of cross_entropy(x @ head.T, targets), `chunk` words at a time."""
    ### BEGIN SOLUTION
    maximum, total = torch.full_like(x[:, 0], -torch.inf), torch.zeros_like(x[:, 0])  # (T,), (T,)
    for w in range(0, len(head), chunk):
        z = x @ head[w : w + chunk].T  # (T, chunk)
        larger = torch.maximum(maximum, z.amax(-1))
        total = total * torch.exp(maximum - larger) + torch.exp(z - larger[:, None]).sum(-1)
        maximum = larger
    return (maximum + total.log() - (x * head[targets]).sum(-1)).mean()
    ### END SOLUTION


# %% tags=["check:06.4"]
chunked_loss = check("06.4", chunked_loss)

# %% [markdown] tags=["solution:06.4"]

# %%
x, head, targets = torch.randn(1024, 64), torch.randn(8192, 64) / 8, torch.randint(8192, (1024,))
whole = peak_bytes(lambda: F.cross_entropy(x @ head.T, targets))
pieces = peak_bytes(lambda: chunked_loss(x, head, targets))
print(f"cross-entropy over 8,192 words: {whole / 2**20:.1f} MiB with all logits, {pieces / 2**20:.1f} MiB in chunks")

# %% [markdown]
# **Exercise 06.5** · predict · ●○○ · 5 min · 1 point · teaches what FlashAttention keeps · needs the text above
#
# One head of LLaMA-7B, N = 128, reads 32,768 tokens. Both forms keep queries, keys and values for the backward pass. Beside
# them the matrix form keeps 32,768 x 32,768 weights; FlashAttention keeps the result, and one number for each query. How many
# numbers is that?
#
# <details><summary>Hint 1</summary>
#
# The result is (T, N).
#
# </details>
# <details><summary>Hint 2</summary>
#
# $N + 1$ numbers for each of the $T$ queries.
#
# </details>

# %% tags=["exercise:06.5"]
### BEGIN SOLUTION
numbers_kept = 32768 * (128 + 1)
### END SOLUTION

# %% tags=["check:06.5", "nbval-check-output"]
numbers_kept = check("06.5", numbers_kept)
print(f"{32768**2 / numbers_kept:.0f} times fewer numbers than the matrix has")

# %% [markdown] tags=["solution:06.5"]

# %% [markdown]
# ## In the wild
#
# In the papers and kernels $m$, $\ell$ and $O$ are called just that, and $L = m + \ln \ell$ is the *log-sum-exp*, `lse` or
# `softmax_lse`. torch's kernel for the CPU returns it beside the result. It must be what your state holds at the end:

# %% tags=["nbval-check-output"]
q, k, v = torch.randn(3, 2, 4, 100, 32).unbind(0)
result, logsumexp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, True)
state = (torch.full((2, 4, 100, 1), -torch.inf), torch.zeros(2, 4, 100, 1), torch.zeros(2, 4, 100, 32))
for s in range(0, 100, 32):
    here = slice(s, s + 32)
    scores = q @ k[:, :, here].transpose(-1, -2) / math.sqrt(32)
    state = add_block(state, scores.masked_fill(~causal_mask(100, 100, keys=here), -torch.inf), v[:, :, here])
maximum, total, weighted = state
print("the same result:     ", torch.allclose(weighted / total, result, atol=1e-5))
print("the same log-sum-exp:", torch.allclose((maximum + total.log())[..., 0], logsumexp, atol=1e-5))

# %% [markdown]
# In transformers, `attn_implementation="eager"` is the matrix, `"sdpa"` is torch's fused kernel, and `"flash_attention_2"`
# is the authors' own. All give the same result, up to rounding.
#
# ## Recap
#
# A softmax mean needs one pass: keep the maximum so far, the sum, and the weighted sum, and shrink both sums whenever the
# maximum grows. It is exact, in any order and any blocks, and large scores do no harm. Memory falls from T x T to T, and a
# fused kernel, which computes the tiles a second time for the backward pass, saves time as well.
#
# ## Read on
#
# - Milakov and Gimelshein, [Online normalizer calculation for softmax](https://arxiv.org/abs/1805.02867): four pages, the
#   running maximum itself.
# - Dao et al., [FlashAttention](https://arxiv.org/abs/2205.14135), section 3.1: the tiles, and why moving memory is what
#   costs.
# - Rabe and Staats, [Self-attention Does Not Need O(n²) Memory](https://arxiv.org/abs/2112.05682): the same in a page of
#   Python, with the cure for gradients.
#
# **Next:** [07. Five parts make a LLaMA](07_llama.ipynb).
