# %% [markdown]
# # 10. Layers need not be alike
#
# In LLaMA all layers have the same sizes. OpenELM gives the late layers more heads and wider MLPs than the early ones, by a
# rule of four lines. The rule is easy to build, and its rounding decides the published sizes. Whether it **helps** has to
# be measured, and you measure it: same parameters, same data, five seeds.
#
# **You build** `make_divisible`, the lists of OpenELM's four sizes, the model, and a fair comparison. **You need** lessons
# 07 and 08. **Time:** 90 minutes.

# %% tags=["setup"]
start("10")

# %%
import json
import statistics

import torch
from torch import nn
from tqdm.auto import tqdm

from lib.layers.attention import GroupedAttention, attention_weights
from lib.layers.mlp import SwiGLU
from lib.layers.norm import RMSNorm, rms_norm
from lib.layers.rope import rope_table, rotate_half_split
from lib.layers.shared import Shared
from lib.models import openelm
from lib.models.openelm import OpenElmConfig, block_parameters, openelm_config, reversed_layers
from lib.models.presets import OPENELM_PRESETS
from lib.models.skeleton import Block, State
from lib.run.checkpoint import load_bundle
from lib.run.evaluate import evaluate
from lib.run.paired import compare, p_value, t_interval, tales_batches
from lib.run.sample import tell
from lib.run.train import Recipe, train

# %%
from lessons.figures import lesson_10 as figures
from lib.show import live, plots, training, widgets
from lessons.exercises.lesson_10 import check
from lib.teach.claims import claim
from lib.show.predict import predict
from lib.text import corpora
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# The trained LLaMA of lesson 08 has four layers, all of one size, so each has the same share of the parameters. Does each do
# as much for the loss? Leave one part of one layer out, let the model read new stories, and see what that costs.

# %%
torch.set_num_threads(1)  # on a busy machine, small steps would wait for a second core
trained, _ = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
batches_of, new_text = tales_batches(n_documents=3000, length=64)


def nothing(module, inputs, output):
    """The output of a part that adds nothing."""
    return 0 * output[0], output[1]


def cost_without(part, i):
    """How much the loss grows, in nats a token, when block i adds nothing in its part."""
    hook = getattr(trained.blocks[i], part).register_forward_hook(nothing)
    loss = evaluate(trained, new_text, n_batches=1).nats_per_token
    hook.remove()
    return loss - whole


whole = evaluate(trained, new_text, n_batches=1).nats_per_token
guess = predict(
    "10.a",
    "One of the four MLPs is left out. When is the loss largest?",
    ["without the first layer's", "without one in the middle", "without the last layer's"],
)

# %%
parts = {"attention": "mix_time", "MLP": "mix_channels"}
costs = {name: [cost_without(part, i) for i in range(len(trained.blocks))] for name, part in parts.items()}
for name, values in costs.items():
    print(
        f"without its {name:9}",
        *(f"layer {i + 1}: {value:+.2f}" for i, value in enumerate(values)),
        sep="   ",
    )
largest, last = max(range(4), key=lambda i: costs["MLP"][i]), len(trained.blocks) - 1
guess.reveal(
    {0: "without the first layer's", last: "without the last layer's"}.get(largest, "without one in the middle"),
    f"With all parts the loss is {whole:.2f}. The costliest MLP costs {max(costs['MLP']) / min(costs['MLP']):.0f} times as"
    " much as the cheapest one.",
)
figures.costs(
    costs,
    alt="Four rows, one for each layer, with a square for attention and a dot for the MLP on a logarithmic axis of what"
    " leaving it out costs. The printed table gives the numbers.",
)

# %% [markdown]
# Look at the dots. These MLPs are equally large, and do very different amounts of work. (Leaving a part out is not the same
# as making it narrow: the other layers had no chance to adapt. So this is a reason to ask, and no answer.)
#
# **Could the same number of parameters do more if the layers got different shares?** OpenELM (Apple, 2024) says yes, and
# lets the shares grow from the first layer to the last:
# [layer-wise scaling](../lessons/GLOSSARY.md#layer-wise-scaling).

# %% [markdown]
# ## By hand
#
# What flows from layer to layer has `d_model` channels everywhere. Two numbers change from layer to layer, each along a
# straight line. For layer $i = 0, \dots, L-1$ of $L$ layers:
#
# $$\alpha_i = 0.5 + 0.5\,\frac{i}{L-1} \qquad \beta_i = 0.5 + 3.5\,\frac{i}{L-1}$$
#
# The queries get $\alpha_i \cdot$ `d_model` channels: that is $\alpha_i \cdot$ `d_model` $/N$ heads of size $N$. And the
# MLP is $\beta_i \cdot$ `d_model` wide inside. Here are five layers of 640 channels with heads of 32:

# %% tags=["nbval-check-output"]
for i in range(5):
    alpha, beta = 0.5 + 0.5 * i / 4, 0.5 + 3.5 * i / 4
    print(f"layer {i + 1}: alpha {alpha:.3f}, {alpha * 640 / 32:5.2f} heads    beta {beta:.3f}, {beta * 640:7.2f} wide")

# %% [markdown]
# There is no such thing as 12.5 heads. In OpenELM four query heads share one key/value head (lesson 05), so heads must come
# in fours. And widths should be multiples of 256, because processors work in blocks. The paper's formula stops here. Apple's
# code has a helper that came from networks for phones. It takes the nearest multiple; but where that loses more than a tenth
# of the value, it takes one multiple more.

# %%
guess = predict(
    "10.b",
    "300 and 280 channels, each rounded by that helper to a multiple of 256. Which of them becomes 512?",
    ["neither", "300 alone", "both"],
)

# %% tags=["nbval-check-output"]
more = []
for value in (640, 300, 280, 100):
    below = value // 256 * 256
    print(f"{value}: between {below} and {below + 256}; the lower one is {below / value:.0%} of it")
    if value in (300, 280) and below < 0.9 * value:
        more.append(value)
guess.reveal({0: "neither", 1: "300 alone", 2: "both"}[len(more)], "256 is nearest to both; 0.9 decides.")

# %% [markdown]
# **Exercise 10.1** · implement · ●○○ · 5 min · 2 points · teaches the rounding that the paper leaves out · needs nothing
# else
#
# Write `make_divisible`. It returns the multiple of `divisor` that is nearest to `value`, and the larger one where two are
# equally near; at least one divisor; and one multiple more where that would be below 0.9 of the value. `value` may be a
# float; return an int.
#
# <details><summary>Hint 1</summary>
#
# Add half a divisor, cut down to a multiple: `int(value + divisor / 2) // divisor * divisor`. Python's `round` takes halves
# to the even number.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Then `max(divisor, ...)`, and only then the comparison with `0.9 * value`.
#
# </details>


# %% tags=["exercise:10.1", "builds:lib.models.openelm.make_divisible"]
def make_divisible(value, divisor):
    """The nearest multiple of the divisor, at least one, never below 0.9 of the value."""
    ### BEGIN SOLUTION
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded
    ### END SOLUTION


# %% tags=["check:10.1"]
make_divisible = check("10.1", make_divisible)

# %% [markdown] tags=["solution:10.1"]

# %% [markdown]
# ## The lists
#
# One more thing stands only in Apple's code: $\alpha_i$ and $\beta_i$ are rounded to **two decimals** before they are used.


# %% tags=["nbval-check-output"]
def multipliers(first, last, n_layers, decimals=2):
    """n_layers numbers from first to last in equal steps, rounded."""
    return [round(first + (last - first) * i / (n_layers - 1), decimals) for i in range(n_layers)]


print("alpha", multipliers(0.5, 1.0, 5), " beta", multipliers(0.5, 4.0, 5))

# %% [markdown]
# **Exercise 10.2** · implement · ●●○ · 10 min · 4 points · teaches OpenELM's rule · needs 10.1
#
# Return three lists with a number for each layer: query heads, key/value heads, and MLP widths. `make_divisible` rounds the
# query **channels** $\alpha_i \cdot$ `d_model` to a multiple of four heads, and the width $\beta_i \cdot$ `d_model` to a
# multiple of 256. Every four query heads share one key/value head. `multipliers` gives $\alpha$ from 0.5 to 1.0 and $\beta$
# from 0.5 to 4.0.
#
# <details><summary>Hint 1</summary>
#
# `make_divisible(d_model * alpha, d_head * 4)` gives channels. Divide them by `d_head`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Three list comprehensions. The second one needs the first: `heads // 4`.
#
# </details>


# %% tags=["exercise:10.2"]
def layer_sizes(n_layers, d_model, d_head):
    """The lists n_heads, n_kv_heads, d_ff, a number for each layer."""
    ### BEGIN SOLUTION
    n_heads = [make_divisible(d_model * alpha, d_head * 4) // d_head for alpha in multipliers(0.5, 1.0, n_layers)]
    d_ff = [make_divisible(d_model * beta, 256) for beta in multipliers(0.5, 4.0, n_layers)]
    return n_heads, [heads // 4 for heads in n_heads], d_ff
    ### END SOLUTION


# %% tags=["check:10.2", "nbval-check-output"]
layer_sizes = check("10.2", layer_sizes)
n_heads, n_kv_heads, d_ff = layer_sizes(16, 1280, 64)
print("OpenELM-270M, query heads:", n_heads, "\nMLP widths:", d_ff)

# %% [markdown] tags=["solution:10.2"]

# %% [markdown]
# Each published size is given by its layers, `d_model` and `d_head`. Does it matter that the multipliers are rounded?

# %%
guess = predict(
    "10.c",
    "The four sizes have 100 layers, so 100 MLP widths. Without the rounding to two decimals, how many differ?",
    ["none", "a few", "most of them"],
)

# %% tags=["nbval-check-output"]
SIZES = {"270M": (16, 1280, 64), "450M": (20, 1536, 64), "1.1B": (28, 2048, 64), "3B": (36, 3072, 128)}
changed = {"query heads": 0, "MLP widths": 0}
for n_layers, d_model, d_head in SIZES.values():
    for kind, last, unit in (("query heads", 1.0, 4 * d_head), ("MLP widths", 4.0, 256)):
        exact, rounded = (multipliers(0.5, last, n_layers, decimals) for decimals in (12, 2))
        changed[kind] += sum(
            make_divisible(d_model * a, unit) != make_divisible(d_model * b, unit) for a, b in zip(exact, rounded)
        )
print("of 100 each, these would be others:", changed)
number = changed["MLP widths"]
guess.reveal(
    "none" if number == 0 else "a few" if number < 50 else "most of them",
    f"It is {number}. The others round to the same multiple.",
)

# %% [markdown]
# One wrong width is enough: the published file of weights does not load into such a model. A formula in a paper is not yet
# a model.

# %%
figures.towers(
    {name: OPENELM_PRESETS[f"openelm-{name.lower()}"].config for name in SIZES},
    alt="Four towers, one for each size of OpenELM, a row for each layer with the first below. To the left the query heads,"
    " from half of d_model to all of it in a few steps; to the right the MLP width, from about half of d_model to four"
    " times d_model, growing in a straight line.",
)

# %% [markdown]
# Each tower is a model: its layers go upward. Look at the right sides: nearly straight lines, with small bumps where the rounding skips a multiple or
# takes one twice. The left sides grow in few steps, because heads come in fours.
#
# ## Try it
#
# **Where do the parameters go when the lists are tilted?** The tiny model below has six layers of 48 channels. Tilt the MLPs
# alone, then the heads alone, and compare the first layer with the dashed line. A tilt keeps the mean of the first and the
# last multiplier.


# %%
def draw_tilted(mlp, heads):
    """Parameters of each layer when the multipliers lean around 2.25 and 0.75; Apple's lean by 1.75 and 0.25."""
    alpha, beta = (0.75 - heads, 0.75 + heads), (2.25 - mlp, 2.25 + mlp)
    config = openelm_config(2048, 6, 48, 8, 256, alpha, beta, group=2, multiple_of=8)
    level = openelm_config(2048, 6, 48, 8, 256, (0.75, 0.75), (2.25, 2.25), group=2, multiple_of=8)
    in_mlp = [3 * 48 * width for width in config.d_ff]
    rest = [block_parameters(config, i) - in_mlp[i] for i in range(6)]
    plain = block_parameters(level, 0)
    words = f"{sum(in_mlp) + sum(rest):,} parameters in six layers; without a tilt {6 * plain:,}"
    return figures.draw_tilt(rest, in_mlp, plain, title=words)


widgets.explore(
    draw_tilted,
    "Where do the parameters go when the lists are tilted?",
    mlp=(-1.75, 1.75, 0.25, 1.75, "tilt of the MLPs"),
    heads=(-0.25, 0.25, 0.125, 0.25, "tilt of the heads"),
)

# %% [markdown]
# The MLPs decide: their tilt takes the first layer far below the dashed line, and that of the heads moves it a little.
# Attention is the smaller part, and its heads change by a whole group or not at all. Read the title while
# you tilt: the total changes although the mean of the multipliers does not. That is the rounding, and it is why two towers
# that should be equally large may not be.
#
# ## One more thing in the block: QK-norm
#
# Scores are products of queries and keys. If training makes both matrices ten times larger, the scores become a hundred
# times as large. Softmax then gives nearly everything to one key, and where it does, hardly any gradient is left to undo it.
# OpenELM puts an RMSNorm on each head's query and key: [QK-norm](../lessons/GLOSSARY.md#qk-norm).

# %%
T, N = 12, 16
q, k = torch.randn(2, 1, 1, T, N)  # (B, H, T, N) each
ones = torch.ones(N)
for name, norm in {"as they are": lambda z: z, "with QK-norm": lambda z: rms_norm(z, ones, 1e-6)}.items():
    for scale in (1, 10):
        largest = attention_weights(norm(scale * q), norm(scale * k))[0, 0, -1].max()
        print(f"{name:13} queries and keys times {scale:2}: the last token's largest share is {largest:.2f}")

# %% [markdown]
# With the norm the scale is gone. A vector of $N$ channels with root mean square 1 has length $\sqrt N$. So while the norm's
# weights are 1, no score is above $\sqrt N \cdot \sqrt N / \sqrt N = \sqrt N$. **Should the norm come before or after
# RoPE?** Turning keeps lengths, so with weights of 1 it makes no difference. But a learned weight has one number for each
# channel, and turning mixes channels:

# %% tags=["nbval-check-output"]
cos, sin = rope_table(N, T)
uneven = torch.linspace(0.5, 2.0, N)
for name, weight in {"all ones": ones, "learned": uneven}.items():
    before = rotate_half_split(rms_norm(q, weight, 1e-6), cos, sin)
    after = rms_norm(rotate_half_split(q, cos, sin), weight, 1e-6)
    print(f"weight {name:8}: norm then turn = turn then norm: {torch.allclose(before, after, atol=1e-5)}")

# %% [markdown]
# OpenELM norms first. Then turning comes last, and a score depends on the distance alone (lesson 04).
#
# ## Build it
#
# The whole model is lesson 07's with three changes: each block is built from its own numbers, queries and keys are normed,
# and the head **is** the embedding. `GroupedAttention` is lesson 05's; with `qk_norm_eps` it norms queries and keys, with one
# weight for all heads of a layer.


# %% tags=["builds:lib.models.openelm.OpenElm"]
class OpenElm(nn.Module):
    def __init__(self, config):
        super().__init__()
        C, N, eps = config.d_model, config.d_head, config.norm_eps
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, C)
        self.blocks = nn.ModuleList()
        for H, G, F in zip(config.n_heads, config.n_kv_heads, config.d_ff):
            attention = GroupedAttention(C, H, G, N, qk_norm_eps=eps)
            self.blocks.append(Block(RMSNorm(C, eps), attention, RMSNorm(C, eps), SwiGLU(C, F)))
        self.norm = RMSNorm(C, eps)
        self.head = nn.Linear(C, config.vocab_size, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens, state=None):
        """Token ids (B, T) -> logits (B, T, V), and the new state."""
        T = tokens.shape[1]
        state = state or State(0, [(None, None)] * len(self.blocks))
        cos, sin = rope_table(self.config.d_head, T, self.config.rope_theta, offset=state.position)
        x, layers = self.embed(tokens), []
        for block, layer in zip(self.blocks, state.layers):
            x, layer = block(x, layer, Shared(cos, sin))
            layers.append(layer)
        return self.head(self.norm(x)), State(state.position + T, layers)


# %% [markdown]
# Whole, or step by step? And what does the state hold, now that the layers differ?

# %%
tiny = openelm_config(2048, n_layers=6, d_model=48, d_head=8, context_length=256, group=2, multiple_of=8)
model, tokens = OpenElm(tiny), torch.randint(2048, (1, 20))
with torch.no_grad():
    at_once, state = model(tokens)
    steps, last = [], None
    for t in range(20):
        logits, last = model(tokens[:, t : t + 1], last)
        steps.append(logits)
gap = (at_once - torch.cat(steps, 1)).abs().max() / at_once.std()
assert gap < 1e-4
print(f"whole against step by step: {gap:.0e} of the logits' spread")
print("keys of each layer:", *(tuple(cache.keys.shape) for cache, _ in state.layers))

# %% [markdown]
# ## Count it
#
# **Exercise 10.3** · implement · ●●○ · 10 min · 3 points · teaches where the parameters of an uneven model are · needs 07.4
#
# Count the parameters of an OpenELM from its config, where `n_heads`, `n_kv_heads` and `d_ff` are lists now. There are no
# biases, the head is the embedding, and QK-norm has two weights of `d_head` in each layer.
#
# <details><summary>Hint 1</summary>
#
# The query matrix has `d_model * n_heads * d_head` numbers, and so has the output matrix. In most layers that is less than
# `d_model` squared.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loop with `zip(config.n_heads, config.n_kv_heads, config.d_ff)`. Then the table and the last norm.
#
# </details>


# %% tags=["exercise:10.3"]
def count_parameters(config):
    """The number of parameters of an OpenElm of that config, as an int."""
    ### BEGIN SOLUTION
    C, N = config.d_model, config.d_head
    total = config.vocab_size * C + C
    for H, G, F in zip(config.n_heads, config.n_kv_heads, config.d_ff):
        total += 2 * C * H * N + 2 * C * G * N + 3 * C * F + 2 * C + 2 * N
    return total
    ### END SOLUTION


# %% tags=["check:10.3", "nbval-check-output"]
count_parameters = check("10.3", count_parameters)
for name, (n_layers, d_model, d_head) in SIZES.items():
    config = OpenElmConfig(32000, d_model, d_head, *layer_sizes(n_layers, d_model, d_head), context_length=2048)
    published = OPENELM_PRESETS[f"openelm-{name.lower()}"].n_params
    with torch.device("meta"):
        built = sum(weight.numel() for weight in OpenElm(config).parameters())
    assert count_parameters(config) == built
    print(f"{name:5} {built:13,}   published {published:13,}   {'equal' if built == published else 'DIFFERENT'}")
billion = OPENELM_PRESETS["openelm-1.1b"]
ends = block_parameters(billion.config, 0), block_parameters(billion.config, 27)
print(f"1.1B: first layer {ends[0]:,}, last layer {ends[1]:,}, {ends[1] / ends[0]:.1f} times as many")

# %% [markdown] tags=["solution:10.3"]

# %% [markdown]
# The first and the last layer of one model differ a lot: by the rule, the MLP grows
# eightfold from one end to the other, and the heads twofold.
#
# ## Does it help?
#
# OpenELM's paper reports 2.36 points more accuracy than OLMo at about a billion parameters. But OLMo is another model, with
# other data and another recipe. What the rule itself does can be seen only beside a **uniform twin**: equal layers, as many
# parameters, the same data and the same recipe.
#
# **Exercise 10.4** · implement · ●●● · 15 min · 3 points · teaches how to make a comparison fair · needs 10.3
#
# The twin has `n_heads` and `n_kv_heads` in every layer. How wide must its MLPs be, so that all its layers together have as
# many parameters as all layers of `config`? Return the nearest whole number.
#
# <details><summary>Hint 1</summary>
#
# Sum `block_parameters(config, i)`. Subtract what the twin's attention and norms have, in all layers.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What is left goes to L MLPs, and each channel of width costs `3 * d_model` in each MLP. Both models have the same norms.
#
# </details>


# %% tags=["exercise:10.4"]
def uniform_width(config, n_heads, n_kv_heads):
    """The MLP width of the uniform twin, an int."""
    ### BEGIN SOLUTION
    L, C, N = config.n_layers, config.d_model, config.d_head
    total = sum(block_parameters(config, i) for i in range(L))
    other = 2 * C * N * (n_heads + n_kv_heads) + 2 * C + 2 * N
    return round((total - L * other) / (3 * C * L))
    ### END SOLUTION


# %% tags=["check:10.4"]
uniform_width = check("10.4", uniform_width)
twin = OpenElmConfig(2048, 48, 8, [4] * 6, [2] * 6, [uniform_width(tiny, 4, 2)] * 6, context_length=256)
sizes = {name: count_parameters(config) for name, config in {"uniform": twin, "scaled": tiny}.items()}
print(sizes)
assert abs(sizes["scaled"] / sizes["uniform"] - 1) < 0.01

# %% [markdown] tags=["solution:10.4"]

# %%
figures.towers(
    {"uniform": twin, "scaled": tiny, "reversed": reversed_layers(tiny)},
    height=2.4,
    alt="Three towers of six layers. Uniform: all rows alike. Scaled: narrow below, wide on top. Reversed: wide below,"
    " narrow on top.",
)

# %% [markdown]
# The third tower is the scaled one upside down. Keep it for later. Watch one run of the scaled tower first.

# %%
PLAN = Recipe(steps=100, learning_rate=0.01, warmup=10, final_ratio=0.02)
tokenizer = load_tokenizer("tales")
torch.manual_seed(0)
first = openelm.OpenElm(tiny)  # the class above, with first weights that are drawn with care


def says():
    """A few words of the model as it is now."""
    return tell(first, tokenizer, n_tokens=30, temperature=0.8, seed=1)


records = train(first, batches_of(0), PLAN, device="cpu", dtype="float32")
losses = [record.loss for record in live.follow(records, PLAN.steps, speak=says)]

# %% [markdown]
# Another seed would give this run another loss. So each model runs five times, and in each seed both read the same batches
# in the same order. That makes it a **paired** comparison: what a seed's batches do to both cancels in the difference. The
# score is the loss on stories that neither has read. The mean of the five differences comes with an interval. With
# $n$ differences it is
#
# $$\text{mean} \pm t\,\frac{s}{\sqrt n},$$
#
# where $s$ is their standard deviation, and $t$ is Student's number for $n$ of them: 2.78 for five, and near 2 for many.
# In 95 % of all experiments such an interval holds the true mean. If zero lies outside, the difference is **clear**.

# %%
guess = predict(
    "10.d",
    f"Both learn for {PLAN.steps} steps. Which one has the lower loss on new stories?",
    ["the scaled one", "the uniform one", "no clear difference"],
)

# %%


def fresh(config):
    """A function that builds a new model of that config."""
    return lambda: openelm.OpenElm(config)


def gaps(scores, name, other):
    """The differences name - other, seed by seed."""
    return [a - b for a, b in zip(scores[name], scores[other])]


builds = {"uniform": fresh(twin), "scaled": fresh(tiny)}
runs = list(tqdm(compare(builds, batches_of, new_text, PLAN, range(5), n_scored=2), total=10, leave=False))
scores = {name: [run.nats for run in runs if run.name == name] for name in builds}
for name, losses in scores.items():
    print(f"{name:8}", *(f"{loss:.3f}" for loss in losses))
found = t_interval(gaps(scores, "scaled", "uniform"))
print(f"scaled minus uniform: {found.mean:+.3f} +- {found.half:.3f} (95 %)")
guess.reveal("no clear difference" if not found.clear else "the uniform one" if found.mean > 0 else "the scaled one")

# %% tags=["spoiler"]
figures.pairs(
    scores,
    alt="Left: five lines, one for each seed, from the loss of the uniform model to that of the scaled one. Right: the five"
    " differences with their mean and its 95 % interval, and a dashed line at no difference.",
)

# %% [markdown]
# Look at the right side: is the bar, the 95 % interval of the mean, clear of the dashed line? Then look at the left side. The
# dots of one model lie apart from seed to seed. The slopes are what the pairing compares.
#
# One number at the end doesn't tell how they came there. Here is the whole way: the mean of five seeds, with a band from the
# least to the most.

# %% tags=["spoiler"]
smooth = training.smooth
paths = {name: torch.stack([torch.tensor(smooth(run.losses)) for run in runs if run.name == name]) for name in builds}
plots.curves(
    {name: (torch.arange(8, PLAN.steps + 1), path.mean(0)[7:]) for name, path in paths.items()},
    bands={name: (path.amin(0)[7:], path.amax(0)[7:]) for name, path in paths.items()},
    colors=figures.MODELS,
    xlabel="step; bands: least to most of five seeds",
    ylabel="training loss, nats a token",
    alt="The training loss of both models over all steps, the mean of five seeds, each with a band from the least to the most"
    " of the five.",
)

# %% [markdown]
# ## Turn it upside down
#
# OpenELM's rule has a **direction**: the room belongs at the end. To test the direction, train the reversed tower, too. Two
# seeds are enough for a first look. They pair with the runs that are there.

# %%
upside_down = {"reversed": fresh(reversed_layers(tiny))}
more = list(tqdm(compare(upside_down, batches_of, new_text, PLAN, range(2), n_scored=2), total=2, leave=False))
for run in more:
    others = ", ".join(f"{name} {scores[name][run.seed]:.3f}" for name in builds)
    print(f"seed {run.seed}: reversed {run.nats:.3f}, {others}")
found = t_interval([run.nats - scores["scaled"][run.seed] for run in more])
print(f"reversed minus scaled: {found.mean:+.3f} +- {found.half:.3f} (95 %, two seeds)")

# %% [markdown]
# From two seeds the spread itself is hardly known: Student's number for two is 12.7, so the interval is wide. That is a hint,
# and no result. What would make it one? You know by now. But many comparisons are made as the function below makes them.
#
# **Exercise 10.5** · repair · ●●○ · 10 min · 4 points · teaches a paired difference and its error · needs nothing else
#
# `runs` is a list of (name, seed, loss) in any order, perhaps with other models in between. The function should return the
# mean of scaled minus uniform, **paired by seed**, and the **standard error** $s / \sqrt n$ of that mean, where $s$ is the
# standard deviation of the differences, with $n - 1$ below the root. It runs, and its result looks reasonable. Three things
# in it are wrong.
#
# <details><summary>Hint 1</summary>
#
# What does sorting do to the pairs?
#
# </details>
# <details><summary>Hint 2</summary>
#
# How far do single differences spread? And how far would the **mean** of five spread, if you did it all again?
#
# </details>


# %%
def compare_badly(runs):
    """The mean of scaled - uniform, and its error."""
    uniform = sorted(loss for name, _, loss in runs if name == "uniform")
    scaled = sorted(loss for name, _, loss in runs if name == "scaled")
    differences = [b - a for a, b in zip(uniform, scaled)]
    mean = sum(differences) / len(differences)
    return mean, (sum((d - mean) ** 2 for d in differences) / len(differences)) ** 0.5


# %% tags=["exercise:10.5"]
def difference(runs):
    """The mean of scaled - uniform, paired by seed, and its standard error, from a list of (name, seed, loss)."""
    ### BEGIN SOLUTION
    losses = {(name, seed): loss for name, seed, loss in runs}
    pairs = [losses["scaled", seed] - losses["uniform", seed] for name, seed in losses if name == "uniform"]
    mean = sum(pairs) / len(pairs)
    variance = sum((pair - mean) ** 2 for pair in pairs) / (len(pairs) - 1)
    return mean, (variance / len(pairs)) ** 0.5
    ### END SOLUTION


# %% tags=["check:10.5"]
difference = check("10.5", difference)
rows = [(run.name, run.seed, run.nats) for run in runs]
for name, function in {"as it was": compare_badly, "repaired": difference}.items():
    print(f"{name}: {function(rows)[0]:+.3f}, error {function(rows)[1]:.4f}")

# %% [markdown] tags=["solution:10.5"]

# %% [markdown]
# ## A longer comparison
#
# Pairing can't change the mean of the differences. It changes what you know about it: the error.
#
# A hundred steps are the steep part of the curve. The command below trained all three towers further, with longer rows and
# half the rate, and what it measured is on record. Three comparisons are of interest, each with its interval and its
# $p$: the chance of a mean at least as far from zero if the two towers were equally good.

# %%
record = json.loads((corpora.DATA / "records" / "widths.json").read_text(encoding="utf-8"))
print(record["command"])
final = {name: [run["nats"] for run in record["runs"] if run["name"] == name] for name in record["parameters"]}
pairs = (("scaled", "uniform"), ("reversed", "uniform"), ("scaled", "reversed"))
means = {pair: t_interval(gaps(final, *pair)) for pair in pairs}
for (name, other), found in means.items():
    p = p_value(gaps(final, name, other))
    print(f"{name:8} - {other:8} {found.mean:+.4f} +- {found.half:.4f} (95 %), p = {p:.3f}")
rule, direction = means["scaled", "uniform"], means["scaled", "reversed"]
better, worse = rule.clear and rule.mean < 0, rule.clear and rule.mean > 0
holds = better and direction.clear and direction.mean < 0
words = f"scaled - uniform {rule.mean:+.3f} +- {rule.half:.3f}, scaled - reversed {direction.mean:+.3f} +- {direction.half:.3f}"
verdict = "holds" if holds else "does not hold here" if worse else "undecided here"
claim("openelm-accuracy", verdict, f"{words} nats a token (95 %, {len(final['scaled'])} seeds, one rate)")

# %%
figures.pairs(
    final,
    alt="The same figure for the longer runs and three models: the losses of each seed, and the differences of the scaled"
    " and the reversed model to the uniform one, with their means and 95 % intervals.",
)

# %% [markdown]
# The last line of the table's cell is the verdict on OpenELM's claim, as it stands in the course's list of claims. For the
# claim to hold, two intervals must lie below zero: the scaled tower is better than its uniform twin, **and** better
# than itself upside down. The first says that uneven layers help. Only the second says that the room belongs at the end, and
# that is OpenELM's rule.
# What the runs looked like on the way there:

# %%
curves = {
    name: [
        statistics.fmean(losses)
        for losses in zip(*(run["losses_by_25"] for run in record["runs"] if run["name"] == name))
    ]
    for name in record["parameters"]
}
steps = torch.arange(25, 25 * len(curves["uniform"]) + 1, 25)
ahead = [int(step) for step, a, b in zip(steps, curves["scaled"], curves["reversed"]) if a < b]
print("the scaled tower's training loss is below the reversed one's at the steps", ahead)
plots.curves(
    {name: (steps, [a - b for a, b in zip(curves[name], curves["uniform"])]) for name in ("scaled", "reversed")},
    floors={"uniform": 0.0},
    colors=figures.MODELS,
    xlabel="step",
    ylabel="loss minus uniform's",
    alt="The training loss of the scaled and of the reversed tower minus that of the uniform one, means of five seeds, from"
    " step 25 on. The printed line says where the scaled one is below the reversed one.",
)

# %% [markdown]
# Look at both ends of this picture. A tower that starts fast need not be the better one later, and the lines still move when
# the runs end. So a comparison answers for its own length only. How long were these runs?

# %%
blocks = {"this lesson": (PLAN.steps, 4 * 64), "the record": (len(record["runs"][0]["losses_by_25"]) * 25, 4 * 192)}
for name, (n_steps, n_tokens) in blocks.items():
    n = n_steps * n_tokens
    print(f"{name:13} {n:17,} tokens, {n / sizes['scaled']:8.1f} for each parameter")
print(f"OpenELM-1.1B  {1.5e12:17,.0f} tokens, {1.5e12 / billion.n_params:8.1f} for each parameter")
for name, config in {"tiny": tiny, "OpenELM-1.1B": billion.config}.items():
    print(f"{name:13} the first layer's MLP is {config.d_ff[0]:,} wide, and it has {config.n_heads[0]} heads")

# %% [markdown]
# (The 1.5 trillion tokens are from table 1 of OpenELM's paper.) Here a parameter sees two tokens at most, so the loss tells how
# **fast** a model learns. There it saw more than a thousand, and what counts is where it **ends**. And our first MLP has two
# dozen channels for 2,048 different tokens; the first figure shows what a first MLP is worth.
#
# What would decide the question at this size? Three towers, and a fourth with the same widths in a random order. Each with
# several rates, and compared at its own best one: here all had the same rate, which was tuned for none of them. More seeds
# than five. And the test is written down before the runs, so that nobody chooses the comparison that came out well.
#
# The one published comparison at equal size that this lesson knows of has 180 million parameters (see "Read on"). It
# finds all uneven towers a little better than the uniform one. Read its authors' comment on the paper's page before you
# quote it.
#
# ## In the wild
#
# Apple's files on Hugging Face hold what you built, with two things packed: queries, keys and values stand one below the
# other in one matrix, and so do gate and up. `lib.weights.openelm` takes them apart.

# %% tags=["nbval-check-output"]
from lib.weights.openelm import to_hugging_face_openelm

with torch.device("meta"):
    described, tensors = to_hugging_face_openelm(openelm.OpenElm(OPENELM_PRESETS["openelm-270m"].config))
for name, tensor in tensors.items():
    if "layers" not in name or ".layers.5." in name:
        print(f"{name:45} {tuple(tensor.shape)}")
print("heads", described["num_query_heads"][5], "and", described["num_kv_heads"][5], "of", described["head_dim"])

# %% [markdown]
# `qkv_proj` has (16 + 4 + 4) heads of 64 rows. `proj_1` has two matrices of 2,048 rows, the gate first. In Apple's config
# `num_gqa_groups` is 4 in all sizes: it counts the query heads that share a key/value head, and not the groups.
#
# ## Recap
#
# OpenELM spends its parameters unevenly: half the heads and an eighth of the MLP width in the first layer, and straight lines
# up to the last. The formula gives the published sizes to the last parameter only with the rounding that stands in the code.
# Whether it helps can be seen beside a uniform twin and beside the same tower upside down, over several seeds, paired, with
# an interval: and the verdict may be that the runs do not decide it.
#
# ## Read on
#
# - Mehta et al., [OpenELM](https://arxiv.org/abs/2404.14619), section 2.1: the rule, in half a column.
# - Mehta et al., [DeLighT](https://arxiv.org/abs/2008.00623): where the idea comes from, and what it did for translation.
# - Baroian and Notebomer, [Crown, Frame, Reverse](https://arxiv.org/abs/2509.06518): towers of all shapes beside each other; read
#   the authors' comment on the paper's page first.
# - Henry et al., [Query-Key Normalization](https://arxiv.org/abs/2010.04245): the norm on queries and keys, and why.
#
# **Next:** [11. Take the softmax away and attention becomes a recurrence](11_linear_attention.ipynb).
