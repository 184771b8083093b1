# %% [markdown]
# # 16. Cheaper by ten, by a hundred, or not at all
#
# Eagle 7B was announced as "a linear transformer with 10-100x+ lower inference cost"
# ([RWKV's blog, January 2024](https://blog.rwkv.com/p/eagle-7b-soaring-past-transformers)). Lower than what, of what, and at
# which length? You count it and you measure it. Then you can say for which cost, against which model and from which length on
# it holds.
#
# **You build** a fit with an error bar, a count of the bytes that a token moves, and a table that says from which length on
# the claim holds, and against whom.
#
# **You need** lessons 05, 06 and 13, and logarithms. **Time:** 110 minutes.

# %% tags=["setup"]
start("16")

# %%
import math
import time
from dataclasses import replace
from datetime import date

import torch
from tqdm.auto import tqdm

from lib.layers import rwkv5
from lib.layers.attention import attend
from lib.layers.fast import attend_fused
from lib.models.llama import Llama, LlamaConfig
from lib.models.presets import preset
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run import cost
from lib.run.checkpoint import load_bundle
from lib.run.measure import best_seconds, peak_bytes
from lessons.figures import lesson_16 as figures
from lib.show import plots, widgets
from lib.show.memories import memories
from lessons.exercises.lesson_16 import check
from lib.teach.claims import claim
from lib.show.predict import predict
from lib.text import corpora

# %% [markdown]
# ## The need
#
# Take the claim at its word. A LLaMA and an Eagle of one size, with random weights, because the cost does not depend on what
# they know. Both have read 100 tokens, and write one more.

# %%
guess = predict(
    "16.a",
    "Eagle's time for one more token, as a share of LLaMA's, is ...",
    ["a tenth or less", "between a tenth and a half", "more than a half"],
)

# %%
threads = torch.get_num_threads()
torch.set_num_threads(1)
shape = {"vocab_size": 2048, "n_layers": 4, "d_model": 256, "d_ff": 896}
small = {
    "LLaMA": Llama(LlamaConfig(**shape, n_heads=4, n_kv_heads=4, d_head=64, context_length=512)),
    "Eagle": Rwkv(RwkvConfig(5, **shape)),
}
with torch.inference_mode():
    states = {name: model(torch.randint(2048, (1, 100)))[1] for name, model in small.items()}
    calls = {name: lambda name=name: small[name](torch.tensor([[7]]), states[name]) for name in small}
    taken = best_seconds(calls, rounds=20, clock=time.process_time)
for name, model in small.items():
    n, ms = cost.n_parameters(model.config), 1000 * taken[name]
    print(f"{name}: {n:,} parameters, {ms:.2f} ms for one more token")
share = taken["Eagle"] / taken["LLaMA"]
guess.reveal(guess.choices[0 if share <= 0.1 else 1 if share <= 0.5 else 2], f"Measured here: {share:.2f}.")

# %% [markdown]
# At this length there is little to save: both models pull one token through all of their matrices, and that is nearly all
# that they do. What differs is what happens with the **past**, so you have to know how that grows.
#
# (Times in this lesson are the processor's seconds, `time.process_time`, the shortest of several calls, without gradients, on
# one thread, because a second one that waits would be counted too. They say little about a GPU. How they *grow* says more.)

# %% [markdown]
# **From how many tokens on does the LLaMA keep ten times what the Eagle keeps?** Two small models that have learned to tell
# tales read one and a part of another. Each dot is a number of their memory, so equal areas are equal bytes.

# %%
FOLDERS = {"LLaMA": "llama-tales", "RWKV-5 Eagle": "rwkv-5-tales"}
bundles = {name: load_bundle(corpora.DATA / "checkpoints" / folder) for name, folder in FOLDERS.items()}
readers, tokenizer = {name: model for name, (model, _) in bundles.items()}, bundles["LLaMA"][1]
tales = " ".join(corpora.load("tales").documents_validation[:2])[:1000]
question = "From how many tokens on does the LLaMA keep ten times what the Eagle keeps?"
memories(readers, tokenizer, tales, question, at=30, tower=2)
token, state = (cost.state_bytes(reader.config, 1, dtype="float32") for reader in readers.values())
print(f"the Eagle keeps {state:,} bytes, the LLaMA {token:,} for each token: equal at {state / token:.0f} tokens,")
print(f"ten times as much at {10 * state / token:.0f}")

# %% [markdown]
# ## By hand
#
# One head of N channels, one new token. Count every multiplication and every addition, with loops.


# %% tags=["nbval-check-output"]
def attention_operations(N, context):
    """Operations of one query with `context` keys and values, by loops that only count."""
    count = 0
    for _key in range(context):
        for _channel in range(N):
            count += 2  # the score: multiply, add
        count += 6  # the softmax: scale, maximum, subtract, exp, sum, divide
        for _channel in range(N):
            count += 2  # the value, times its share, added up
    return count


def state_operations(N, context):
    """Operations of one step of Eagle's memory; the context is not asked for."""
    count = 0
    for _number in range(N * N):
        count += 2  # the answer: multiply, add
        count += 5  # k v, times the bonus, added to S; S times its decay, plus k v
    return count


for context in (10, 100, 1000):
    counts = attention_operations(64, context), state_operations(64, context)
    print("{:5} tokens before: attention {:7,}, state {:7,}".format(context, *counts))

# %% [markdown]
# Three lines hold the idea. Attention's work grows with every token. The state's does not, and it is not small: it is as much
# as attention over a hundred tokens or so.
#
# ## The counts
#
# For each layer, with $C$ channels in heads of $N$, after $n$ tokens, for the next one:
#
# | | weights | the past, products | the past, other work | kept |
# |---|---|---|---|---|
# | attention | 2 for each | $4\,C\,n$ | $6\,n$ a head | $2\,C\,n$ numbers |
# | Eagle | 2 for each | $2\,C N$ | $5\,C N$ | $C N$ numbers |
#
# (With fewer key heads than query heads, lesson 05, attention *keeps* less. It does not compute less.) A text of $T$ tokens is
# read with $n = 1, 2, \dots, T$: about $2\,C\,T^2$ for attention, a multiple of $T$ for Eagle. **Quadratic** and **linear**
# are statements about exponents: cost $= c\,T^p$, with $p = 2$ or $p = 1$. Can you see $p$ in a measurement? Take logarithms:
#
# $$\log \mathrm{cost} = \log c + p \log T$$
#
# On logarithmic axes a power law is a straight line, and $p$ is its slope.

# %% [markdown]
# ## Build it: an exponent with its error
#
# **Exercise 16.1** · implement · ●●○ · 15 min · 4 points · teaches least squares, and to distrust a slope · needs the formula
#
# Write `fit_power`: the exponent $p$ and its standard error. With $d_x$ and $d_y$ the logarithms less their means,
#
# $$p = \frac{\sum d_x d_y}{\sum d_x^2} \qquad \mathrm{error} = \sqrt{\frac{\sum (d_y - p\,d_x)^2}{(n - 2) \sum d_x^2}}$$
#
# There are $n$ points; $n - 2$, because two numbers, slope and height, were taken from the same points. The error says how far
# the points lie off a line. Whether the truth is a line, it does not know.
#
# <details><summary>Hint 1: the logarithms</summary>
#
# `[math.log(value) for value in x]`, then subtract the mean, `sum(...) / n`, from each.
#
# </details>
# <details><summary>Hint 2: the sums</summary>
#
# `sum(a * b for a, b in zip(dx, dy))`. Or make tensors: `torch.tensor(x, dtype=torch.float64).log()`, and `.tolist()` or
# `.item()` at the end.
#
# </details>


# %% tags=["exercise:16.1", "builds:lib.run.measure.fit_power"]
def fit_power(x, y):
    """Two lists of positive numbers -> (exponent, standard error) of y = c x^p."""
    ### BEGIN SOLUTION
    n, log_x, log_y = len(x), [math.log(value) for value in x], [math.log(value) for value in y]
    dx = [value - sum(log_x) / n for value in log_x]
    dy = [value - sum(log_y) / n for value in log_y]
    spread = sum(a * a for a in dx)
    p = sum(a * b for a, b in zip(dx, dy)) / spread
    left = sum((b - p * a) ** 2 for a, b in zip(dx, dy))
    return p, math.sqrt(left / (n - 2) / spread)
    ### END SOLUTION


# %% tags=["check:16.1"]
fit_power = check("16.1", fit_power)

# %% [markdown] tags=["solution:16.1"]

# %% [markdown]
# ## Measure: reading a text
#
# Four ways to mix a text of T tokens, two heads of 64 channels. *Naive* attention makes the T x T matrix; *fused* is torch's
# kernel, which never holds it whole (lesson 06). *Recurrent* is Eagle's formula token by token; *chunked* takes 64 tokens at a
# time with matrix products (lesson 13), in pieces of 512 tokens that hand on the state. A recurrence may read a text in any
# pieces.
#
# Each way is measured at eight lengths, and all of it three times: then you see how far a measurement wanders.

# %%
guess = predict(
    "16.b",
    "Twice the text. Fused attention holds no matrix. Its time grows ...",
    ["2 times", "about 4 times", "about 8 times"],
)

# %%
H, N = 2, 64
log_decay, bonus = -torch.rand(H, 1, N) / 2, torch.randn(H, N)
LENGTHS = {
    "attention, naive": [round(2 ** (k / 2)) for k in range(17, 25)],  # 362 to 4,096
    "attention, fused": [2**k for k in range(7, 15)],  # 128 to 16,384
    "RWKV, recurrent": [2**k for k in range(5, 13)],  # 32 to 4,096
    "RWKV, chunked": [2**k for k in range(7, 15)],
}


def in_pieces(q, k, v):
    """Eagle's memory in its chunked form, 512 tokens at a time."""
    S, outputs = None, []
    for piece in zip(*(z.split(512, dim=2) for z in (q, k, v))):
        y, S = rwkv5.wkv_chunked(*piece, log_decay, bonus, S)
        outputs.append(y)
    return torch.cat(outputs, dim=2)


# %%
def ways(T):
    """The four ways as functions without arguments, on random heads of T tokens."""
    q, k, v = torch.randn(3, 1, H, T, N).unbind(0)
    return {
        "attention, naive": lambda: attend(q, k, v),
        "attention, fused": lambda: attend_fused(q, k, v),
        "RWKV, recurrent": lambda: rwkv5.wkv(q, k, v, log_decay, bonus),
        "RWKV, chunked": lambda: in_pieces(q, k, v),
    }


def timed(call, often, rounds=2):
    """The processor's seconds of a call, the shortest of some rounds of `often` calls."""
    return best_seconds({"": lambda: [call() for _ in range(often)]}, rounds, time.process_time)[""] / often


def spread(lengths, three, last=4):
    """Three measurements -> the exponents of the longest lengths: (the middle one, half of least to most)."""
    low, middle, high = sorted(fit_power(lengths[-last:], costs[-last:])[0] for costs in three)
    return middle, (high - low) / 2


# %%
seconds = {name: [[], [], []] for name in LENGTHS}
with torch.inference_mode():
    for repeat in tqdm(range(3), leave=False):
        for T in sorted({T for lengths in LENGTHS.values() for T in lengths}):
            for name, call in ways(T).items():
                if T in LENGTHS[name]:
                    seconds[name][repeat].append(timed(call, max(1, 1024 // T)))
best = {name: [min(costs) for costs in zip(*three)] for name, three in seconds.items()}
fits = {name: spread(LENGTHS[name], seconds[name]) for name in LENGTHS}
figures.growth(
    {name: (LENGTHS[name], best[name]) for name in LENGTHS},
    fits,
    last=4,
    ylabel="seconds",
    alt="Seconds against tokens, both axes logarithmic, eight lengths each, a line through the four longest. Exponents: "
    + "; ".join(f"{name} {p:.2f}" for name, (p, _) in fits.items())
    + ".",
)

# %% [markdown]
# Look at the slopes, not at the heights. Heights are about craft: the fused kernel is compiled, the recurrence pays Python
# for each token, and the two ways of RWKV compute the same numbers. Slopes are about the method. Each line goes through the
# four longest lengths; behind ± stands half of the range of the three measurements, and it is no standard error.
#
# Do the measured exponents agree with the counted ones? Count with `lib.run.cost`, which is held against transformers at the
# end of the lesson. Beside each exponent stand the **local slopes**, from each length to the next.

# %%
layer = cost.layers_of(LlamaConfig(1, 1, H * N, H, H, N, 1, 1))[0]
eagle_layer = cost.layers_of(RwkvConfig(5, 1, 1, H * N, 1))[0]
COUNTED = {
    "attention, naive": lambda T: sum(layer.read(T, masked=True)),
    "attention, fused": lambda T: sum(layer.read(T, masked=False)),
    "RWKV, recurrent": lambda T: T * sum(eagle_layer.step(0)),
    "RWKV, chunked": lambda T: sum(eagle_layer.read(T, masked=False)),
}


def local_slopes(x, y):
    """The exponents between neighbours, as text."""
    pairs = zip(x, x[1:], y, y[1:])
    return " ".join(f"{math.log(d / c) / math.log(b / a):5.2f}" for a, b, c, d in pairs)


for name, count in COUNTED.items():
    x, (p, half) = LENGTHS[name], fits[name]
    counted = [count(T) for T in x]
    print(f"{name:17} {x[0]:,} to {x[-1]:,} tokens; the four longest: measured {p:.2f} ± {half:.2f}", end=", ")
    print(f"counted {fit_power(x[-4:], counted[-4:])[0]:.2f}")
    print(f"{'local, measured':>19} {local_slopes(x, best[name])}\n{'local, counted':>19} {local_slopes(x, counted)}")
one = "attention, fused"
more, measured = COUNTED[one](16384) / COUNTED[one](8192), best[one][-1] / best[one][-2]
guess.reveal(next(c for c in guess.choices if str(round(more)) in c), f"Counted {more:.2f}, measured {measured:.2f}.")

# %% [markdown]
# The fused kernel saves memory, and every query still meets every key before it.
#
# Read each pair of rows from left to right. At short lengths a fixed cost of the call (Python, allocating) hides the growth and
# pulls the measured slope below the counted one. Further out the two come nearer. What is left has other causes: fused
# attention computes whole tiles along the diagonal, whose number grows like T, which pulls its slope down; tensors that outgrow
# the processor's fast memory on the way pull a slope up, for a step or two. **An exponent belongs to a range of lengths**, and
# a single slope over all of them would have been a mean of different things.

# %% [markdown]
# ## Measure: memory
#
# The same four, and the most bytes that they hold at one time.

# %%
peaks = {name: [] for name in LENGTHS}
with torch.inference_mode():
    for T in (512, 1024, 2048, 4096):
        for name, call in ways(T).items():
            peaks[name].append(peak_bytes(call))
memory_fits = {name: fit_power((512, 1024, 2048, 4096), values) for name, values in peaks.items()}
for name, values in peaks.items():
    p, _ = memory_fits[name]
    print(f"{name:17} {values[-1] / 2**20:6.1f} MiB for 4,096 tokens, exponent {p:.2f}")
assert memory_fits["attention, naive"][0] > 1.8 > 1.2 > memory_fits["attention, fused"][0]

# %% [markdown]
# These are counted bytes, the same in every run. Here *fused* stands with RWKV: exponent 1, because what must be held is the
# result. (In pieces it is less than 1: most of it is one piece's work, which does not grow, and the result is small beside
# it.) In memory, attention need not be quadratic. Whoever compares a new model with the naive form alone has chosen an easy
# opponent.
#
# ## Measure: writing a text
#
# Now one token at a time. Attention has its cache, RWKV its state. The cost of **one** more token after $n$:

# %%
guess = predict(
    "16.c",
    "The next token with the KV cache, after n tokens, n large. The exponent in n is ...",
    ["about 0", "about 1", "about 2"],
)

# %%
CONTEXTS = [2**k for k in range(8, 16)]  # 256 to 32,768
steps = {name: [[], [], []] for name in ("KV cache (attention)", "state (RWKV)")}
new, S = torch.randn(1, H, 1, N), torch.randn(1, H, N, N)
with torch.inference_mode():
    for n in CONTEXTS:
        keys, values = torch.randn(2, 1, H, n, N).unbind(0)
        calls = (lambda: attend_fused(new, keys, values), lambda: rwkv5.wkv(new, new, new, log_decay, bonus, S))
        for name, call in zip(steps, calls):
            for repeat in range(3):
                steps[name][repeat].append(1e6 * timed(call, often=20, rounds=10))
step_best = {name: [min(costs) for costs in zip(*three)] for name, three in steps.items()}
step_fits = {name: spread(CONTEXTS, three) for name, three in steps.items()}
figures.growth(
    {name: (CONTEXTS, costs) for name, costs in step_best.items()},
    step_fits,
    last=4,
    xlabel="tokens before",
    ylabel="microseconds",
    alt="Microseconds for one more token against the tokens before, logarithmic axes, a line through the four longest."
    + " ".join(f" {name}: exponent {p:.2f}." for name, (p, _) in step_fits.items()),
)
counted, _ = fit_power(CONTEXTS[-4:], [sum(layer.step(n)) for n in CONTEXTS[-4:]])
guess.reveal(f"about {counted:.0f}", f"Counted {counted:.2f}, measured {step_fits['KV cache (attention)'][0]:.2f}.")

# %% [markdown]
# The state's line has no reason to rise: the same work for every token. The cache's line does: one token costs $n$, so $T$ tokens
# cost $T^2$, cache or not. (Without the cache it is $T^3$ for attention: lesson 09.) If the measured exponent is above the counted
# one, the cache has outgrown the processor's fast memory on the way: the last lengths hold 16 MiB and more.
#
# Where do the lines cross? Below the crossing the state costs more, on this machine, in this form. The answer is read from the
# lengths that were measured, without drawing a line beyond them.


# %%
def crossing(lengths, first, second):
    """Where the second becomes cheaper and stays so, among measured lengths, in words."""
    if second[-1] >= first[-1]:
        return f"not up to {lengths[-1]:,} tokens"
    dearer = [i for i, (a, b) in enumerate(zip(first, second)) if b >= a]
    if not dearer:
        return f"from {lengths[0]:,} tokens on"
    return f"between {lengths[dearer[-1]]:,} and {lengths[dearer[-1] + 1]:,} tokens"


torch.set_num_threads(threads)  # nothing is timed from here on
print("writing, the state becomes cheaper:", crossing(CONTEXTS, *step_best.values()), "as measured;", end=" ")
print("as counted at", next(n for n in range(1, 10**5) if sum(layer.step(n)) > sum(eagle_layer.step(n))))
one, other = "attention, fused", "RWKV, chunked"
print("reading, chunks become cheaper:   ", crossing(LENGTHS[one], best[one], best[other]), "as measured;", end=" ")
print("as counted at", next(T for T in range(64, 10**5, 64) if COUNTED[one](T) > COUNTED[other](T)))

# %% [markdown]
# Compare measured and counted. If the measured crossing lies further out, the reason is craft again: attention runs as one
# compiled call, our recurrence as a dozen calls from Python. A compiled kernel for RWKV moves the crossing towards the count.
#
# ## Real sizes
#
# Now for the models of the claim, and for its opponents. When it was made, January 2024, there was more than LLaMA-7B: Mistral-7B
# has 8 key heads for 32 queries (GQA) and a window of 4,096 tokens, and Falcon-7B has **one** key head for 71 queries (MQA,
# lesson 05). Nobody needs to load them: costs follow from the configs. (Falcon's feed-forward has two matrices of width $4C$
# and no gate; a gated one of width $8C/3$ has as many weights, so that is its stand-in here.)

# %% tags=["nbval-check-output"]
MODELS = {
    "LLaMA-7B": preset("llama-7b").config,
    "Mistral-7B": preset("mistral-7b-v0.1").config,
    "Falcon-7B": LlamaConfig(65024, 32, 4544, 71, 1, 64, d_ff=8 * 4544 // 3, context_length=2048, tied=True),
    "TinyLlama": preset("tinyllama-1.1b").config,
    "Eagle 7B": preset("eagle-7b").config,
}
PEERS = ("LLaMA-7B", "Mistral-7B", "Falcon-7B")
print("             parameters (billion)                         past of one text (MiB) after")
print("             embed  time  channels  head    all       1 token    2,048   32,768  1,000,000")
for name, config in MODELS.items():
    parts = cost.parameters(config)
    shown = [parts[part] / 1e9 for part in ("embedding", "time mixers", "channel mixers", "head")]
    past = [cost.state_bytes(config, n) / 2**20 for n in (1, 2048, 32768, 10**6)]
    shown.append(sum(parts.values()) / 1e9)
    print("{:11} {:6.2f}{:6.2f}{:10.2f}{:6.2f}{:7.2f} ".format(name, *shown), end="")
    print("{:13.2f}{:9.0f}{:9.0f}{:11,.0f}".format(*past))

# %% [markdown]
# Two bytes a number, but for Eagle's memory: it adds up over the whole text, so it is kept in float32. Mistral's cache stops
# growing at its window. TinyLlama has 4 key heads for 32 queries.

# %%
guess = predict(
    "16.d",
    "Eagle's whole memory is as large as LLaMA-7B's cache of how many tokens?",
    ["65", "650", "6,500"],
)

# %% tags=["nbval-check-output"]
seven, eagle = MODELS["LLaMA-7B"], MODELS["Eagle 7B"]
tokens = cost.state_bytes(eagle, 1) / cost.state_bytes(seven, 1)
sizes = cost.state_bytes(eagle, 1), cost.state_bytes(seven, 1)
print("{:,} bytes against {:,} a token: {:.1f} tokens".format(*sizes, tokens))
guess.reveal(f"{tokens:.0f}", "After 650 its cache is ten times as large, after 6,500 a hundred times.")

# %% [markdown]
# So for **the memory of the past**, against LLaMA-7B, the claim holds from 650 and from 6,500 tokens on. But memory of the past
# is not the cost of inference. Count what a token takes: [FLOPs](../lessons/GLOSSARY.md#flop), and bytes that move. Bytes first, because they take
# the time when few texts are written at once: each weight comes from memory for two operations.
#
# **Exercise 16.2** · implement · ●●○ · 15 min · 4 points · teaches what a written token moves · needs the table above
#
# `batch` texts are written side by side, a token each at every step. Count the bytes that move, **for each token written**:
#
# - the weights, two bytes each, are read once for all texts. The embedding table is not read, but for a row, which you leave
#   out; where `config.tied` is true the head reads it after all;
# - each text's past is read: `cost.state_bytes(config, context)` are the bytes of one text;
# - the new is written: one token's keys and values, or, where the config has a `generation`, the whole state.
#
# <details><summary>Hint 1: the weights</summary>
#
# `cost.n_parameters(config)` counts all; the table has `config.vocab_size * config.d_model`.
#
# </details>
# <details><summary>Hint 2: what is shared</summary>
#
# The weights' bytes are divided by `batch`. A text's past is that text's alone.
#
# </details>
# <details><summary>Hint 3: what is written</summary>
#
# `cost.state_bytes(config, 1)` is one token's keys and values. For RWKV it is the whole state, for any context.
#
# </details>


# %% tags=["exercise:16.2"]
def bytes_per_token(config, context, batch=1):
    """Return the bytes that move for each token written, `batch` texts at a time, all of `context` tokens."""
    ### BEGIN SOLUTION
    weights = cost.n_parameters(config) - (0 if config.tied else config.vocab_size * config.d_model)
    return 2 * weights / batch + cost.state_bytes(config, context) + cost.state_bytes(config, 1)
    ### END SOLUTION


# %% tags=["check:16.2"]
bytes_per_token = check("16.2", bytes_per_token)
assert math.isclose(bytes_per_token(seven, 999, 4), cost.bytes_per_token(seven, 999, 4), rel_tol=1e-4)

# %% [markdown] tags=["solution:16.2"]

# %% [markdown]
# Now the figure that the claim does not show: how many times as much LLaMA-7B needs for a token, against the length of the text.

# %%
guess = predict(
    "16.e",
    "One text. From which length on does LLaMA-7B's next token take ten times Eagle's FLOPs?",
    ["2,500 tokens", "25,000 tokens", "250,000 tokens"],
)

# %%
RATIOS = {
    "FLOPs": lambda c, n: cost.decode_flops(c, n).total / cost.decode_flops(eagle, n).total,
    "bytes, 1 text": lambda c, n: bytes_per_token(c, n) / bytes_per_token(eagle, n),
    "bytes, 64 texts": lambda c, n: bytes_per_token(c, n, 64) / bytes_per_token(eagle, n, 64),
    "memory of the past": lambda c, n: cost.state_bytes(c, n) / cost.state_bytes(eagle, n),
}
lengths = [round(2 ** (k / 2)) for k in range(10, 41)]
plots.curves(
    {name: (lengths, [ratio(seven, n) for n in lengths]) for name, ratio in RATIOS.items()},
    floors={"10 times": 10, "100 times": 100, "equal": 1},
    xlabel="tokens before",
    ylabel="LLaMA-7B's need, in Eagle 7Bs",
    xlog=True,
    ylog=True,
    ylim=(0.3, 30_000),
    alt="Ratios of LLaMA-7B to Eagle 7B against tokens before, logarithmic axes, with lines at 1, 10 and 100:"
    " memory of the past crosses 10 at 650 tokens; bytes with 64 texts at 5,000; FLOPs, and bytes with one"
    " text, lie on each other, stay near 1 up to some thousands of tokens and cross 10 at 250,000.",
)


# %%
def first_length(ratio, factor):
    """The first length at which ratio(n), which never falls, reaches the factor; None if it never does."""
    low, high = 1, 2**40
    if ratio(high) < factor:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if ratio(middle) >= factor else (middle + 1, high)
    return low


opponents = {name: MODELS[name] for name in PEERS}
opponents["Mistral, no window"] = replace(MODELS["Mistral-7B"], window=None)
found = {}
for opponent, config in opponents.items():
    print(f"Eagle 7B against {opponent}, cheaper from:".ljust(52), "  equal  10 times 100 times")
    for name, ratio in RATIOS.items():
        found[opponent, name] = [first_length(lambda n: ratio(config, n), factor) for factor in (1, 10, 100)]
        print(f"{name:>47}", *(f"{'never' if n is None else f'{n:,}':>10}" for n in found[opponent, name]))
tenth = found["LLaMA-7B", "FLOPs"][1]
near = min((2500, 25_000, 250_000), key=lambda n: abs(math.log(n / tenth)))
guess.reveal(f"{near:,} tokens", f"{tenth:,}, to be exact.")

# %% [markdown]
# Read the table by its rows.
#
# - *FLOPs*: at the 2,048 tokens that LLaMA was trained for, the two take nearly the same. Ten times begins at a quarter of a
#   million tokens, a hundred times at nearly three million: far beyond the texts that LLaMA-7B was made for.
# - *Bytes, one text*: much the same, because the weights are nearly all that moves.
# - *Bytes, many texts*: the weights are shared, the pasts are not. Ten times from about 5,000 tokens on, a hundred from
#   56,000. For a server with long texts the claim is about something real, against this opponent.
# - *Memory of the past*: it holds early, against LLaMA-7B.
# - *Mistral and Falcon*: fewer key heads take away a factor of 4, or of 71; Mistral's window takes away the growth.
#
# "Linear" promises a slope. What one pays is a height plus a slope, and the height is the weights, which are as many.
#
# ## Tokens a second
#
# A price for a token is a card's price for an hour, divided by the tokens it writes in an hour. So put all of it into one number.
# A card with 80 GiB writes as many texts at once as fit beside the weights. Each step takes at least as long as its bytes need
# from memory, and at least as long as its FLOPs need in the arithmetic units: the larger of the two is a **roofline**, a bound
# that no program beats. For the bound, take NVIDIA's datasheet of the A100: 2.039 terabytes and 312 teraflops a second.

# %% tags=["nbval-check-output"]
BYTES_A_SECOND, FLOPS_A_SECOND, TEXTS = 2.039e12, 312e12, (512, 2048, 8192, 32768)


def fastest(config, context):
    """(tokens a second at most, texts at a time) on a card of 80 GiB, with as many texts as fit."""
    batch = (80 * 2**30 - cost.weight_bytes(config)) // cost.state_bytes(config, context)
    moved = batch * bytes_per_token(config, context, batch) / BYTES_A_SECOND
    worked = batch * cost.decode_flops(config, context).total / FLOPS_A_SECOND
    return batch / max(moved, worked), batch


rates = {name: {n: fastest(MODELS[name], n) for n in TEXTS} for name in (*PEERS, "Eagle 7B")}
print("tokens a second (texts at a time)", *(f"{n:>17,}" for n in TEXTS))
for name, row in rates.items():
    print(f"{name:33}", *(f"{rate:9,.0f} ({batch:5,})" for rate, batch in row.values()))
times = {name: {n: rates["Eagle 7B"][n][0] / rates[name][n][0] for n in TEXTS} for name in PEERS}
for key, factor in {"eagle-10-times": 10, "eagle-100-times": 100}.items():
    reached = [ratio >= factor for row in times.values() for ratio in row.values()]
    verdict = "holds" if all(reached) else "holds in some settings" if any(reached) else "does not hold here"
    words = "; ".join(f"{name} " + ", ".join(f"{x:.1f}" for x in row.values()) for name, row in times.items())
    claim(key, verdict, f"tokens a second over a peer's, 512, 2,048, 8,192, 32,768 tokens: {words}")

# %% [markdown]
# The blog gives no lengths, no batch and no opponent, so the two rows of our table of claims say for whom it holds. At 2,048 tokens
# Eagle writes 13 times as many tokens as LLaMA-7B, three times as many as Mistral, and as many as Falcon, which
# can keep 4,294 texts of that length at once. At 32,768, which LLaMA-7B was never trained on, it writes over two hundred times as
# many as that one, and still less than ten times as many as either of the others. So "10 to 100 times" is true of one
# opponent, with long texts, and of no other.
#
# **Exercise 16.3** · repair · ●●○ · 10 min · 3 points · teaches to compare under equal conditions · needs 16.2
#
# A benchmark finds Eagle 180 times cheaper in FLOPs and 45 times in bytes, at **200 tokens**. Run it. The two models do not
# run under the same conditions, in two ways. Repair it: FLOPs and bytes of one more token of each of `batch` texts, every
# model with the memory that it has.
#
# <details><summary>Hint 1: FLOPs</summary>
#
# What does the other model do with its 201 tokens here? What would it do with its KV cache (`cost.decode_flops`)?
#
# </details>
# <details><summary>Hint 2: bytes</summary>
#
# How many texts share the weights, on each side? Look at the last argument of `cost.bytes_per_token`.
#
# </details>


# %% tags=["nbval-check-output"]
def unfair(other, ours, context, batch):
    """(FLOPs, bytes): how many times as much the other model needs for a token."""
    flops = cost.prefill_flops(other, context + 1).total / cost.decode_flops(ours, context).total
    n_bytes = cost.bytes_per_token(other, context) / cost.bytes_per_token(ours, context, batch)
    return flops, n_bytes


found_by_them = unfair(seven, eagle, 200, 64)
print("after 200 tokens: {:.0f} times the FLOPs, {:.0f} times the bytes".format(*found_by_them))


# %% tags=["exercise:16.3"]
def fair(other, ours, context, batch):
    """(FLOPs, bytes): how many times as much the other model needs for a token, under the same conditions."""
    ### BEGIN SOLUTION
    flops = cost.decode_flops(other, context).total / cost.decode_flops(ours, context).total
    n_bytes = cost.bytes_per_token(other, context, batch) / cost.bytes_per_token(ours, context, batch)
    return flops, n_bytes
    ### END SOLUTION


# %% tags=["check:16.3", "nbval-check-output"]
fair = check("16.3", fair)
found_by_you = fair(seven, eagle, 200, 64)
print("after 200 tokens: {:.2f} times the FLOPs, {:.2f} times the bytes".format(*found_by_you))

# %% [markdown] tags=["solution:16.3"]
# Reading the whole text for every token is how a transformer writes *without* a cache, and servers do not run one that way. The
# batch is the finer trap: a server's figure for one side, a laptop's for the other.

# %% [markdown]
# ## What fits
#
# Memory decides before time does. Three older claims, in one cell: LLaMA-13B runs on a single V100 (arXiv 2302.13971; that
# card came with 16 GB first, then with 32), LiteLlama-460M needs no more than 4 GB, and TinyLlama can be *trained* on an RTX 3090
# or 4090, which have 24. What a card's maker calls a GB is $2^{30}$ bytes, a **GiB**, and so it is written from here on.

# %% tags=["nbval-check-output"]
OLDER = {("llama-13b", 32): "llama-13b-v100", ("litellama-460m", 4): "litellama-4gb"}
for key, card, n, dtype in (
    ("llama-13b", 32, 2048, "float16"),
    ("llama-13b", 16, 2048, "float16"),
    ("llama-13b", 16, 2048, "q8_0"),
    ("litellama-460m", 4, 1024, "float32"),
):
    weights, past = (part / 2**30 for part in cost.memory_bytes(preset(key).config, n, dtype=dtype).values())
    verdict = "fits" if weights + past <= card else "does not fit"
    print(f"{key:14} {dtype:8} {weights:5.2f} GiB, {n:,} tokens {past:4.2f} GiB: {verdict} in {card} GiB")
    if (key, card) in OLDER:
        words = f"{weights + past:.2f} GiB with {n:,} tokens in {dtype}, on a card of {card} GiB"
        claim(OLDER[key, card], "holds" if verdict == "fits" else "does not hold here", words)
learners = ("llama-13b", "litellama-460m", "tinyllama-1.1b")
trained = {key: cost.training_bytes(preset(key).config) / 2**30 for key in learners}
print("to train, before the first activation:", ", ".join(f"{key} {room:.1f} GiB" for key, room in trained.items()))
room = trained["tinyllama-1.1b"]
words = f"{room:.1f} GiB of 24 before the first activation, which need the rest; not run here"
claim("tinyllama-3090", "adds up" if room < 24 else "does not hold here", words)

# %% [markdown]
# With 16 GiB LLaMA-13B fits only in 8 bits, so the claim means the larger V100. Training is another matter: sixteen bytes a
# parameter, and the activations come on top. "Adds up" says that a claim's numbers fit together; whether it was done, a count
# can't say.

# %% [markdown]
# ## Try it
#
# **Which model fits into 4, 16, 24 and 80 GiB?** Begin with one text and make it long. Then make it many. Find a setting in
# which Eagle fits into 24 GiB and neither LLaMA-7B nor Mistral does, and one in which Mistral does as well.

# %%
CHOICES = {**MODELS, "LLaMA-13B": preset("llama-13b").config, "RWKV-7 2.9B": preset("rwkv-7-2.9b").config}


def draw_fit(model, thousands, texts, bits):
    """Shares of four cards' memory that weights and states take."""
    config, dtype = CHOICES[model], {16: "float16", 8: "q8_0", 4: "q4_0"}[bits]
    weights, past = cost.memory_bytes(config, 1024 * thousands, texts, dtype).values()
    return figures.draw_shares(weights, past, model, recurrent=hasattr(config, "generation"))


widgets.explore(
    draw_fit,
    "Which model fits into 4, 16, 24 and 80 GiB?",
    thousands=([2, 8, 32, 128, 1024], 8, "tokens of each text, in 1,024"),
    texts=([1, 8, 64, 256], 1, "texts at a time"),
    bits=([16, 8, 4], 16, "bits of a weight"),
    model=list(CHOICES),
)

# %% [markdown]
# <details><summary>Two such settings</summary>
#
# With 16 bits, 64 texts of 8 x 1,024 tokens: Mistral's caches alone take 32 GiB, LLaMA-7B's far more, Eagle's states 2. With 8
# texts of 32 x 1,024 tokens Mistral's windows are full and take 4 GiB, so it fits as Eagle does; LLaMA-7B's caches take 128.
#
# </details>

# %% [markdown]
# **Exercise 16.4** · implement · ●●○ · 15 min · 4 points · teaches where each kind of memory ends · needs the widget
#
# Turn the question around. Write `longest_context`: how many tokens may each of `batch` texts have, so that weights and
# pasts stay within `room` bytes? 0 where not one token fits, and `None` where the texts may go on **without end**. For which
# models is that so? One of them is not an RWKV.
#
# <details><summary>Hint 1: without end</summary>
#
# Take a length that nobody will reach, `2**40`. If `cost.state_bytes(config, 2**40, batch)` fits beside the weights, nothing
# grows any more.
#
# </details>
# <details><summary>Hint 2: else</summary>
#
# `room - cost.weight_bytes(config)` bytes are left. A token takes `cost.state_bytes(config, 1, batch)`. Whole tokens: `//`.
# The weights alone may be too large: `max(0, ...)`.
#
# </details>


# %% tags=["exercise:16.4"]
def longest_context(config, room, batch=1):
    """Return the tokens that each of `batch` texts may have within `room` bytes; None: no end."""
    ### BEGIN SOLUTION
    left = room - cost.weight_bytes(config)
    if cost.state_bytes(config, 2**40, batch) <= left:
        return None
    return max(0, left // cost.state_bytes(config, 1, batch))
    ### END SOLUTION


# %% tags=["check:16.4", "nbval-check-output"]
longest_context = check("16.4", longest_context)
print("longest texts in    24 GiB: 1    32 texts   80 GiB: 1   256 texts")
for name, config in MODELS.items():
    cases = ((24, 1), (24, 32), (80, 1), (80, 256))
    ends = [longest_context(config, gb * 2**30, texts) for gb, texts in cases]
    print(f"{name:18}", *(f"{'no end' if n is None else f'{n:,}':>11}" for n in ends))

# %% [markdown] tags=["solution:16.4"]
# An RWKV that fits at all has no end, and neither has Mistral where its full window fits. "No end" does not mean that it
# remembers everything: a window drops what leaves it, and a state fades.

# %% [markdown]
# ## Energy
#
# The same page calls Eagle "the world's greenest 7B model (per token)". `lib.run.cost` has joules for a FLOP and for a byte,
# each with a lower and an upper bound. They are estimates, five to seven times apart in the sum. What do they decide?

# %% tags=["nbval-check-output"]
for each in (cost.PER_FLOP, cost.PER_BYTE):
    print(f"{each.low * 1e12:.2f} to {each.high * 1e12:.2f} pJ. {each.source}.\n")
SETTINGS = {f"{batch} at {n:,} tokens": (n, batch) for batch in (1, 64) for n in (2048, 32768)}
print(f"{'joules a token':14}", *(f"{words:>21}" for words in SETTINGS))
joules = {name: [cost.token_energy(c, *setting) for setting in SETTINGS.values()] for name, c in MODELS.items()}
for name, row in joules.items():
    print(f"{name:14}", *(f"{low:13.3f} to {high:4.2f}" for low, high in row))
best_peer, least = [], []
for i, ours in enumerate(joules["Eagle 7B"]):
    best_peer.append(min(joules[name][i][0] for name in PEERS) / ours[0])
    least.append(all(joules[name][i][bound] > ours[bound] for name in PEERS for bound in (0, 1)))
verdict = "holds" if all(least) else "holds in some settings" if any(least) else "does not hold here"
words = ", ".join(f"{ratio:.2f} for {setting}" for ratio, setting in zip(best_peer, SETTINGS))
claim("eagle-energy", verdict, f"an estimate: the thriftiest peer's joules over Eagle's, texts and length: {words}")

# %% [markdown]
# For one text of 2,048 tokens the 7B models need nearly the same, because it takes energy to move the weights, and the weights
# are as many; Falcon has the fewest, and needs the least. TinyLlama needs about a seventh, for a seventh of the weights. With
# 64 texts the caches count: LLaMA-7B takes two to three times as much as Eagle at 2,048 tokens and some thirty times at 32,768.
# Falcon, with its one key head, takes less than Eagle at 2,048 tokens even then. "Greenest of all 7B models" holds where many
# long texts are written at once, and not elsewhere. (This is an estimate. Watts are measured with a wattmeter.)

# %% [markdown]
# From which length on does Eagle take a tenth less than another model, at the lower and at the upper bound?


# %% tags=["nbval-check-output"]
def saves(name, batch, bound):
    """The first length at which Eagle takes a tenth less energy than another model, at one of the bounds."""

    def spent(config, n):
        return cost.token_energy(config, n, batch)[bound]

    n = first_length(lambda n: spent(MODELS[name], n) / spent(eagle, n), 1 / 0.9)
    return "never" if n is None else f"{n:,} tokens"


for batch in (1, 64):
    for name in PEERS:
        bounds = saves(name, batch, 0), saves(name, batch, 1)
        print("{:2} texts: a tenth less than {:10} from {:>12}, {:>12}".format(batch, name, *bounds))

# %% [markdown]
# ## What it costs
#
# You have seen where Eagle is cheaper, and the reason is one number: 34 million bytes, the cache of 65 tokens. LLaMA keeps
# half a megabyte for every token and can look any of them up, word for word. Eagle must fit a book into the room of a
# paragraph, and what does not fit is lost. So a table of costs without a column for recall is half a table. Lesson 17 measures
# that column.
#
# One way out is to mix.
#
# **Exercise 16.5** · predict · ●●● · 10 min · 3 points · teaches the price of a little attention · needs 16.2
#
# Take Eagle 7B, and make 4 of its 32 layers attention with 8 key heads of 128, as Mistral has them, without a window, two bytes
# a number. The other 28 keep their state. From which context on is this hybrid's memory of the past **ten times** Eagle's?
# Compute it. (Such hybrids exist: [Jamba](https://arxiv.org/abs/2403.19887) has attention in one of eight layers.)
#
# <details><summary>Hint 1</summary>
#
# 28/32 of Eagle's bytes stay, and do not grow. The 4 layers add 4 x 2 x 8 x 128 numbers a token.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\frac{28}{32} E + 16{,}384\, n = 10\, E$, with $E$ from `cost.state_bytes(eagle, 1)`.
#
# </details>

# %% tags=["exercise:16.5"]
### BEGIN SOLUTION
whole = cost.state_bytes(eagle, 1)
hybrid_tokens = (10 - 28 / 32) * whole / (4 * 2 * 8 * 128 * 2)
### END SOLUTION

# %% tags=["check:16.5", "nbval-check-output"]
hybrid_tokens = check("16.5", hybrid_tokens)
print(f"from {hybrid_tokens:,.0f} tokens on; LLaMA-7B: from {found['LLaMA-7B', 'memory of the past'][1]} on")

# %% [markdown] tags=["solution:16.5"]
# Some 30 times later than LLaMA-7B, and the four layers can look up any word of the text. The slope is back, though: at
# a million tokens the hybrid keeps some 15 GiB.

# %% [markdown]
# ## In the wild
#
# Is `lib.run.cost` right? torch has a counter that watches the matrix products of any model while it runs, and its *meta*
# device runs models without numbers. So let **transformers'** LLaMA-7B read 512 tokens, here and now, and compare.

# %% tags=["nbval-check-output"]
import transformers
from torch.utils.flop_counter import FlopCounterMode

for name in ("LLaMA-7B", "Mistral-7B", "TinyLlama"):
    c = MODELS[name]
    sizes = {"vocab_size": c.vocab_size, "hidden_size": c.d_model, "intermediate_size": c.d_ff}
    heads = {"num_attention_heads": c.n_heads, "num_key_value_heads": c.n_kv_heads}
    more = {"num_hidden_layers": c.n_layers, "attn_implementation": "eager"}
    config = transformers.LlamaConfig(**sizes, **heads, **more)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        transformers.LlamaForCausalLM(config)(torch.zeros(1, 512, dtype=torch.long))
    # Older versions make RoPE's angles, positions times speeds, by a matrix product: left out here.
    angles = sum(counter.get_flop_counts().get("LlamaForCausalLM.model.rotary_emb", {}).values())
    theirs, ours = counter.get_total_flops() - angles, cost.prefill_flops(c, 512, masked=True).products
    print(f"{name:11} {theirs:,} FLOPs by torch's counter, {ours:,} by ours")
    assert theirs == ours

# %% [markdown]
# Equal to the last FLOP. (The naive form computes the upper triangle, too, and throws it away: `masked=True`.) What the counter
# does not see is work that is not a matrix product: the softmax, and five sevenths of the work on Eagle's state. A count by that
# counter alone would make the memory of a recurrence look three times as cheap as it is.

# %%
flops = cost.decode_flops(eagle, 0)
heaps = [heap / 1e9 for heap in flops]
words = "Eagle 7B, a token, GFLOP: {:.2f} weights, {:.3f} products with the state, {:.3f} other work on it"
print(words.format(*heaps))
for name, config in MODELS.items():
    step, rule = cost.training_flops(config, 2048).total / 1e12, 6 * cost.n_parameters(config) * 2048 / 1e12
    print(f"{name:11} training on 2,048 tokens: {step:5.1f} TFLOP; 6 x parameters x tokens: {rule:5.1f}")

# %% [markdown]
# Compare the two columns: the rule of thumb, six FLOPs for each parameter and token, comes within a few percent at such a
# length. Lesson 20 builds on it.
#
# Some claims need no model at all, only a division. Do the published speeds, tokens and times fit together?

# %% tags=["nbval-check-output"]
days = (date(2023, 12, 28) - date(2023, 9, 1)).days  # from the start to the last checkpoint, in TinyLlama's README
took = f"; its README's dates give {days} days, {3e12 / (16 * 86_400 * days):,.0f} tokens/s"
for key, tokens, speed, claimed, unit, more in (
    ("llama-65b-days", 1.4e12, 380 * 2048, 21, "days", ""),
    ("tinyllama-hours", 300e9, 24_000, 3456, "hours", ""),
    ("tinyllama-32-hours", 22e9, 24_000 * 8, 32, "hours", ""),
    ("tinyllama-90-days", 3e12, 24_000 * 16, 90, "days", took),
):
    needed = tokens / speed / {"days": 86_400, "hours": 3600}[unit]
    fits = "adds up" if abs(needed / claimed - 1) < 0.02 else "does not hold here"
    claim(key, fits, f"{needed:,.1f} {unit}, {needed / claimed - 1:+.1%}{more}")
tiny = MODELS["TinyLlama"]
used = [24_000 * cost.training_flops(tiny, 2048, masked=masked).total / 2048 / 312e12 for masked in (True, False)]
words = "{:.1%} with the pairs that the mask throws away, {:.1%} without".format(*used)
claim("tinyllama-mfu", "adds up" if min(abs(share - 0.56) for share in used) < 0.01 else "does not hold here", words)
per = 22e9 / cost.n_parameters(tiny)
words = f"{per:.1f} tokens a parameter; Chinchilla itself had 20"
claim("tinyllama-22b", "adds up" if abs(per / 20 - 1) < 0.05 else "does not hold here", words)

# %% [markdown]
# They add up. What a division can't say is whether the hardware ran at such a speed for weeks: where dates are published, as
# for TinyLlama's last run, it took longer. And "model FLOPs utilisation" depends on what is counted: the pairs that a
# causal mask throws away make four points of the 56.
#
# ## Recap
#
# Attention's exponent is 2 for reading and 1 for each written token, RWKV's 1 and 0, by the counts; a measured exponent comes
# near to it where the texts are long. But a cost is a height plus a slope, and the weights are the height. Against LLaMA-7B,
# Eagle's token is ten times cheaper in FLOPs only from 250,000 tokens on, in moved bytes of 64 texts from 5,000, in memory of
# the past from 650; fewer key heads and a window take most of that away. The price is a memory of one size, the cache of 65
# tokens, into which everything must fit.
#
# ## Read on
#
# - Kaplan et al., [Scaling Laws](https://arxiv.org/abs/2001.08361), section 2.1: the same counts in ten lines, and the factor
#   of three for training.
# - Pope et al., [Efficiently Scaling Transformer Inference](https://arxiv.org/abs/2211.05102): when weights, and when caches,
#   are what takes the time.
# - Peng et al., [Eagle and Finch](https://arxiv.org/abs/2404.05892): the model of the claim, with its own measurements of
#   speed and memory.
# - Arora et al., [Zoology](https://arxiv.org/abs/2312.04927): what cheap models forget, and how much of the gap in quality
#   is just that.
#
# **Next:** [17. What a fixed state forgets](17_recall.ipynb).
