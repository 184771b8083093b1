# %% [markdown]
# # 10. Layers need not be alike
#
# In LLaMA every layer is as wide as the next. OpenELM gives the late layers more heads and wider MLPs than the early ones,
# by a rule of four lines. The rule is easy to build, and its rounding decides the published sizes. Whether it **helps** is
# a measurement, and you make it: same parameters, same data, five seeds.
#
# **You build** `make_divisible`, the lists of OpenELM's four sizes, the model, and a fair comparison. **You need** lessons
# 07 and 08. **Time:** 60 minutes.

# %% tags=["setup"]
start("10")

# %%
import json

import torch
from torch import nn

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
from lib.run.paired import compare, paired, tales_batches
from lib.run.train import Recipe
from lessons.figures import lesson_10 as figures
from lib.show import plots, training, widgets
from lessons.exercises.lesson_10 import check
from lib.teach.claims import claim
from lib.show.predict import predict
from lib.text import corpora

# %% [markdown]
# ## The need
#
# The trained LLaMA of lesson 08 has four layers, all of one size. So each gets the same share of the parameters. Do they
# earn it alike? Leave one part of one layer out, let the model read new stories, and see what that costs.

# %%
trained, _ = load_bundle(corpora.DATA / "checkpoints" / "llama-tales")
batches_of, new_text = tales_batches(n_documents=3000, length=64)


def nothing(module, inputs, output):
    """What a part gives that adds nothing."""
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
    {0: "without the first layer's", last: "without the last layer's"}.get(
        largest, "without one in the middle"
    ),
    f"With all parts the loss is {whole:.2f}.",
)
figures.costs(
    costs,
    alt="Four rows, one for each layer, with a square for attention and a dot for the MLP on a logarithmic axis of what"
    " leaving it out costs. The costs of the MLPs differ far more from layer to layer than those of attention.",
)

# %% [markdown]
# Look at the dots. These MLPs are equally large, and what they do for the loss differs by far more than a factor of ten.
# (Leaving out is not the same as making narrow: the other layers had no chance to adapt. It is a reason to ask, not an
# answer.)
#
# **Could the same number of parameters do more, if the layers got different shares?** OpenELM (Apple, 2024) says yes, and
# that the shares should grow from the first layer to the last: [layer-wise scaling](../lessons/GLOSSARY.md#layer-wise-scaling).

# %% [markdown]
# ## By hand
#
# The model stays as wide as it is: what flows from layer to layer has `d_model` channels everywhere. Two numbers change
# with the layer, $i = 0, \dots, L-1$ of $L$ layers, each in a straight line:
#
# $$\alpha_i = 0.5 + 0.5\,\frac{i}{L-1} \qquad \beta_i = 0.5 + 3.5\,\frac{i}{L-1}$$
#
# $\alpha_i$ times `d_model` channels go to the queries, so $\alpha_i \cdot$ `d_model` $/N$ heads of size $N$. And the MLP
# is $\beta_i \cdot$ `d_model` wide inside. Five layers of 640 channels, heads of 32:

# %% tags=["nbval-check-output"]
for i in range(5):
    alpha, beta = 0.5 + 0.5 * i / 4, 0.5 + 3.5 * i / 4
    print(
        f"layer {i + 1}: alpha {alpha:.3f}, {alpha * 640 / 32:5.2f} heads    beta {beta:.3f}, {beta * 640:7.2f} wide"
    )

# %% [markdown]
# There is no such thing as 12.5 heads. Four query heads share one key/value head (lesson 05), so the heads must come in
# fours. And widths should be multiples of 256, since processors work in blocks. The paper's formula stops here; Apple's code
# has a helper that came from networks for phones. It takes the nearest multiple, unless that loses more than a tenth.

# %%
guess = predict(
    "10.b", "300 channels, in multiples of 256. What does Apple's helper return?", ["256", "300", "512"]
)

# %% tags=["nbval-check-output"]
for value in (640, 300, 280, 100):
    below = value // 256 * 256
    print(f"{value}: between {below} and {below + 256}; the lower one would be {below / value:.0%} of it")
helped = 512 if 256 < 0.9 * 300 else 256
guess.reveal(str(helped), "256 is nearest, but it is less than 0.9 of 300. So it is one multiple more.")

# %% [markdown]
# **Exercise 10.1** · implement · ●○○ · 5 min · 2 points · teaches the rounding that the paper leaves out · needs nothing
# else
#
# Write `make_divisible`: the multiple of `divisor` that is nearest to `value`, the larger one where two are equally near; at
# least one divisor; and one multiple more where the result would be below 0.9 of the value. `value` may be a float; return
# an int.
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
# One more thing that only the code tells: $\alpha_i$ and $\beta_i$ are rounded to **two decimals** before they are used.


# %% tags=["nbval-check-output"]
def multipliers(first, last, n_layers, decimals=2):
    """n_layers numbers from first to last in equal steps, rounded."""
    return [round(first + (last - first) * i / (n_layers - 1), decimals) for i in range(n_layers)]


print("alpha", multipliers(0.5, 1.0, 5), " beta", multipliers(0.5, 4.0, 5))

# %% [markdown]
# **Exercise 10.2** · implement · ●●○ · 10 min · 4 points · teaches OpenELM's rule · needs 10.1
#
# Return three lists with a number for each layer: query heads, key/value heads, MLP widths. The query **channels**
# $\alpha_i \cdot$ `d_model` are rounded to a multiple of four heads; each four query heads share one key/value head; the
# width $\beta_i \cdot$ `d_model` is rounded to a multiple of 256. $\alpha$ goes from 0.5 to 1.0, $\beta$ from 0.5 to 4.0.
#
# <details><summary>Hint 1</summary>
#
# `make_divisible(d_model * alpha, d_head * 4)` are channels. Divide by `d_head`.
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
    n_heads = [
        make_divisible(d_model * alpha, d_head * 4) // d_head for alpha in multipliers(0.5, 1.0, n_layers)
    ]
    d_ff = [make_divisible(d_model * beta, 256) for beta in multipliers(0.5, 4.0, n_layers)]
    return n_heads, [heads // 4 for heads in n_heads], d_ff
    ### END SOLUTION


# %% tags=["check:10.2", "nbval-check-output"]
layer_sizes = check("10.2", layer_sizes)
n_heads, n_kv_heads, d_ff = layer_sizes(16, 1280, 64)
print("OpenELM-270M, query heads:", n_heads, "\nMLP widths:", d_ff)

# %% [markdown] tags=["solution:10.2"]

# %% [markdown]
# The published sizes are four triples of layers, `d_model` and `d_head`. Does it matter that the multipliers are rounded?

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
            make_divisible(d_model * a, unit) != make_divisible(d_model * b, unit)
            for a, b in zip(exact, rounded)
        )
print("of 100 each, these would be others:", changed)
number = changed["MLP widths"]
guess.reveal(
    "none" if number == 0 else "a few" if number < 50 else "most of them",
    "The others round to the same multiple.",
)

# %% [markdown]
# A few. And with one wrong list a file of weights doesn't load at all. A formula in a paper is not yet a model.

# %%
figures.towers(
    {name: OPENELM_PRESETS[f"openelm-{name.lower()}"].config for name in SIZES},
    alt="Four towers, one for each size of OpenELM, a row for each layer with the first below. To the left the query heads,"
    " from half of d_model to all of it in a few steps; to the right the MLP width, from about half of d_model to four"
    " times d_model, growing in a straight line.",
)

# %% [markdown]
# Layers go upward. Look at the right sides: nearly straight lines, with small stumbles where the rounding skips a multiple
# or takes it twice (1.1B, layers 14 and 15). The left sides grow in few steps, since heads come in fours.
#
# ## Try it
#
# **Where do the parameters go when the lists are tilted?** The tiny model below has six layers of 48 channels. Tilt the MLP
# alone, then the heads alone, and compare the first layer with the dashed line. The mean of first and last stays the same.


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
# The MLPs decide: attention is the smaller part, and its heads can't change by less than a group. The total moves by a few
# percent, though the mean of the multipliers does not: that is the rounding. Remember it when you compare.
#
# ## One more thing in the block: QK-norm
#
# Scores are products of queries and keys. If training makes both matrices ten times larger, the scores grow a hundredfold,
# softmax gives all to one key, and no gradient is left that could undo it. OpenELM puts an RMSNorm on each head's query
# and key, [QK-norm](../lessons/GLOSSARY.md#qk-norm).

# %%
T, N = 12, 16
q, k = torch.randn(2, 1, 1, T, N)  # (B, H, T, N) each
ones = torch.ones(N)
for name, norm in {"as they are": lambda z: z, "with QK-norm": lambda z: rms_norm(z, ones, 1e-6)}.items():
    for scale in (1, 10):
        largest = attention_weights(norm(scale * q), norm(scale * k))[0, 0, -1].max()
        print(f"{name:13} queries and keys times {scale:2}: the last token's largest share is {largest:.2f}")

# %% [markdown]
# With the norm the scale is gone. A vector of $N$ channels with root mean square 1 has length $\sqrt N$, so no score is
# above $\sqrt N \cdot \sqrt N / \sqrt N = \sqrt N$, times what the norm's weight adds. **Before or after RoPE?** Turning
# keeps lengths, so without a weight it makes no difference. But the weight is one number a channel, and turning mixes
# channels:

# %% tags=["nbval-check-output"]
cos, sin = rope_table(N, T)
uneven = torch.linspace(0.5, 2.0, N)
for name, weight in {"all ones": ones, "learned": uneven}.items():
    before = rotate_half_split(rms_norm(q, weight, 1e-6), cos, sin)
    after = rms_norm(rotate_half_split(q, cos, sin), weight, 1e-6)
    print(f"weight {name:8}: norm then turn = turn then norm: {torch.allclose(before, after, atol=1e-5)}")

# %% [markdown]
# OpenELM norms first. Only then does a score depend on the distance alone (lesson 04).
#
# ## Build it
#
# The whole model is lesson 07's with two changes: each block is built from its own numbers, and the head **is** the
# embedding. `GroupedAttention` is lesson 05's; with `qk_norm_eps` it norms queries and keys, by one weight for all heads of a
# layer.


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
difference = (at_once - torch.cat(steps, 1)).abs().max() / at_once.std()
assert difference < 1e-4
print(f"whole against step by step: {difference:.0e} of the logits' spread")
print("keys of each layer:", *(tuple(cache.keys.shape) for cache, _ in state.layers))

# %% [markdown]
# ## Count it
#
# **Exercise 10.3** · implement · ●●○ · 10 min · 3 points · teaches where the parameters of an uneven model are · needs 07.4
#
# Count the parameters of an OpenELM from its config: `n_heads`, `n_kv_heads` and `d_ff` are lists now. No biases; the head is
# the embedding; QK-norm has two weights of `d_head` a layer.
#
# <details><summary>Hint 1</summary>
#
# Query and output matrix: `d_model * n_heads * d_head` each. In most layers that is less than `d_model` squared.
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
    config = OpenElmConfig(
        32000, d_model, d_head, *layer_sizes(n_layers, d_model, d_head), context_length=2048
    )
    published = OPENELM_PRESETS[f"openelm-{name.lower()}"].n_params
    with torch.device("meta"):
        built = sum(weight.numel() for weight in OpenElm(config).parameters())
    assert count_parameters(config) == built
    print(
        f"{name:5} {built:13,}   published {published:13,}   {'equal' if built == published else 'DIFFERENT'}"
    )
billion = OPENELM_PRESETS["openelm-1.1b"]
ends = block_parameters(billion.config, 0), block_parameters(billion.config, 27)
print(f"1.1B: first layer {ends[0]:,}, last layer {ends[1]:,}, {ends[1] / ends[0]:.1f} times as many")

# %% [markdown] tags=["solution:10.3"]

# %% [markdown]
# To the last parameter, all four. And the ends of one model lie far apart: the MLP grows eightfold, attention twofold.
#
# ## Does it help?
#
# OpenELM's paper reports 2.36 points more accuracy than OLMo at about a billion parameters. OLMo is another model, with
# other data and another recipe. What the rule does is seen only beside a **uniform twin**: equal layers, as many
# parameters, the same data and the same recipe.
#
# **Exercise 10.4** · implement · ●●● · 15 min · 3 points · teaches how to make a comparison fair · needs 10.3
#
# A twin has `n_heads` and `n_kv_heads` in every layer. Which width must its MLPs have, so that all its layers together have
# as many parameters as the layers of `config`? Return the nearest whole number.
#
# <details><summary>Hint 1</summary>
#
# Sum `block_parameters(config, i)`. From that take what the twin's attention and norms cost, in all layers.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What is left goes to L MLPs, and one more channel of width costs `3 * d_model` in each. The norms are the same in both.
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
# The third is the scaled one upside down. Keep it for later. Two runs of one model with different seeds differ, too. So each
# model runs five times, and in each seed both read the same batches in the same order: a **paired** comparison. The score
# is the loss on stories that neither has read.

# %%
guess = predict(
    "10.d",
    "Both have learned for 140 steps. Which one has the lower loss on new stories?",
    ["the scaled one", "the uniform one", "no difference beyond the spread"],
)

# %%
PLAN = Recipe(steps=140, learning_rate=0.01, warmup=14, final_ratio=0.02)


def fresh(config):
    """A function that builds a new model of that config: lib's, whose first weights are drawn with care."""
    return lambda: openelm.OpenElm(config)


builds = {"uniform": fresh(twin), "scaled": fresh(tiny)}
runs = list(compare(builds, batches_of, new_text, PLAN, seeds=range(5), n_scored=2))
scores = {name: [run.nats for run in runs if run.name == name] for name in builds}
for name, losses in scores.items():
    print(f"{name:8}", *(f"{loss:.3f}" for loss in losses))
mean, error = paired(scores["uniform"], scores["scaled"])
print(f"scaled minus uniform: {mean:+.3f}, standard error {error:.3f}")
clear = abs(mean) > 3 * error
guess.reveal(
    "no difference beyond the spread" if not clear else "the uniform one" if mean > 0 else "the scaled one"
)

# %%
figures.pairs(
    scores,
    alt="Left: five lines, one for each seed, from the loss of the uniform model to that of the scaled one. Right: the five"
    " differences with their mean and a bar of two standard errors to each side, and a dashed line at no difference.",
)

# %% [markdown]
# Look at the right side: is the bar, two standard errors to each side of the mean, clear of the dashed line? Then look at
# the left, at the slopes. Runs of one model differ from seed to seed, and the differences between the models are what
# the pairing leaves.
#
# One number at the end says little about how they came there. Here is the whole way, the mean of five seeds, and the
# range from the lowest to the highest as a band:

# %%
smooth = training.smooth
paths = {
    name: torch.stack([torch.tensor(smooth(run.losses)) for run in runs if run.name == name])
    for name in builds
}
plots.curves(
    {name: (torch.arange(8, 141), path.mean(0)[7:]) for name, path in paths.items()},
    bands={name: (path.amin(0)[7:], path.amax(0)[7:]) for name, path in paths.items()},
    colors=figures.MODELS,
    xlabel="step",
    ylabel="loss, nats a token",
    alt="The training loss of both models over 140 steps, each with a band of five seeds. Both fall; after the first forty"
    " steps or so the bands are apart, and stay apart.",
)

# %% [markdown]
# ## Turn it upside down
#
# If the first layers are the ones that need room, the reversed tower should do better than the scaled one. Two seeds are
# enough for a first look. They pair with the runs that are there.

# %%
more = list(
    compare({"reversed": fresh(reversed_layers(tiny))}, batches_of, new_text, PLAN, range(2), n_scored=2)
)
for run in more:
    others = ", ".join(f"{name} {scores[name][run.seed]:.3f}" for name in builds)
    print(f"seed {run.seed}: reversed {run.nats:.3f}, {others}")
mean_gap = sum(run.nats - scores["scaled"][run.seed] for run in more) / len(more)
print(f"reversed minus scaled: {mean_gap:+.3f} in the mean of two seeds")

# %% [markdown]
# Two seeds have no spread worth the name, so this is a hint and no result. What would make it one? You know by now; but
# many a published comparison does it as the function below.
#
# **Exercise 10.5** · repair · ●●○ · 10 min · 4 points · teaches a paired difference and its error · needs nothing else
#
# `runs` is a list of (name, seed, loss), in any order, perhaps with other models in between. The function should return the
# mean of scaled minus uniform, **paired by seed**, and the **standard error** of that mean: the standard deviation of the
# differences, with $n - 1$ below the root, over $\sqrt n$. It runs and looks reasonable. Three things in it are wrong.
#
# <details><summary>Hint 1</summary>
#
# What does sorting do to the pairs?
#
# </details>
# <details><summary>Hint 2</summary>
#
# How far do single differences spread, and how far would the **mean** of five spread, if you did it all again?
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
# 140 steps are the steep part of the curve. The command below trained all three towers further, with longer rows and half the rate. What it
# measured is on record. Below it: how many tokens each of these runs read for each parameter, and OpenELM-1.1B's (1.5
# trillion tokens, says table 1 of its paper).

# %%
record = json.loads((corpora.DATA / "records" / "widths.json").read_text(encoding="utf-8"))
print(record["command"])
longer = [(run["name"], run["seed"], run["nats"]) for run in record["runs"]]
final = {name: [loss for other, _, loss in sorted(longer) if other == name] for name in record["parameters"]}
for name in ("scaled", "reversed"):
    for n in (3, 5):
        mean, error = paired(final["uniform"][:n], final[name][:n])
        print(f"{name} minus uniform, the first {n} seeds: {mean:+.4f}, standard error {error:.4f}")
mean, error = paired(final["uniform"], final["scaled"])
words = f"scaled minus uniform, {len(final['scaled'])} seeds: {mean:+.3f} nats a token, standard error {error:.3f}"
claim("openelm-accuracy", "holds" if mean < -2 * error else "does not hold here", words)
figures.pairs(
    final,
    alt="The same figure for the longer runs and three models: the losses of each seed, and the differences of the scaled"
    " and the reversed model to the uniform one, with their means and bars.",
)
blocks = {"this lesson": (140, 4 * 64), "the record": (len(record["runs"][0]["losses_by_25"]) * 25, 4 * 192)}
for name, (steps, tokens) in blocks.items():
    print(f"{name}: {steps * tokens:9,} tokens, {steps * tokens / sizes['scaled']:8.1f} for each parameter")
print(f"OpenELM-1.1B: 1.5 trillion, {1.5e12 / billion.n_params:8.1f} for each parameter")
for name, config in {"tiny": tiny, "OpenELM-1.1B": billion.config}.items():
    print(f"{name}: the first layer's MLP is {config.d_ff[0]:,} wide, and it has {config.n_heads[0]} heads")

# %% [markdown]
# So what did you see? After 140 steps the scaled tower is **worse** than its uniform twin in every seed, and upside down it is
# ahead. After thirteen times the tokens the scaled tower is **ahead** in every seed, by between one and two percent of the
# loss; and upside down it is ahead too, by half of that and not in every seed. What you saw first was how fast a tower
# starts, not how good it is.
#
# Now be careful with it. OpenELM's claim holds here: the scaled tower beats the uniform one, by several standard errors. Its
# reason does not follow. Both uneven towers win, so where the room is may matter less than that layers are unlike each
# other. And five seeds say only that no lucky seed made the difference. They say nothing of another text: on an earlier
# form of these stories, whose words were harder to copy, the same command showed no difference at all.
#
# And at a billion parameters? Here the first MLP of the scaled tower has 24 channels for 2,048 different
# tokens, and the first figure shows what a first MLP is worth. OpenELM's has a thousand. Here a parameter sees a token or
# two, so the loss tells how **fast** a model learns; there it saw more than a thousand, and what counts is where it **ends**.
# And all three towers had one learning rate, which was tuned for none of them: try 0.003 in `PLAN`.
#
# The one published comparison at equal size that this lesson knows of, with 180 million parameters, finds all uneven towers a
# little better than the uniform one. Its authors then found that half of the tokens which it had read were zeros. So the
# question is open, and it costs a few GPU-days to answer.
#
# ## In the wild
#
# Apple's files on Hugging Face hold what you built, with two things packed: queries, keys and values stand under each other
# in one matrix, and so do gate and up. `lib.weights.openelm` takes them apart, and its tests hold the result to mlx-lm's
# OpenELM.

# %% tags=["nbval-check-output"]
from lib.weights.openelm import to_hugging_face_openelm

with torch.device("meta"):
    described, tensors = to_hugging_face_openelm(openelm.OpenElm(OPENELM_PRESETS["openelm-270m"].config))
for name, tensor in tensors.items():
    if "layers" not in name or ".layers.5." in name:
        print(f"{name:45} {tuple(tensor.shape)}")
print(
    "heads", described["num_query_heads"][5], "and", described["num_kv_heads"][5], "of", described["head_dim"]
)

# %% [markdown]
# `qkv_proj` has (16 + 4 + 4) heads of 64 rows; `proj_1` has two matrices of 2,048, the gate first. `num_gqa_groups` is 4 in
# all sizes: it counts the query heads that share a key/value head, not the groups.
#
# ## Recap
#
# OpenELM spends its parameters unevenly: half the heads and an eighth of the MLP width in the first layer, and straight lines
# up to the last. The formula gives the published sizes to the last parameter only with the rounding that stands in the code.
# Whether it helps is seen beside a uniform twin, over several seeds, paired: here it slows the start, and later it is one to
# two percent ahead; upside down it is ahead as well.
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
