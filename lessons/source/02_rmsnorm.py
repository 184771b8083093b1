# %% [markdown]
# # 02. Keep the direction, drop the length
#
# A deep network adds and adds, and its numbers drift. LLaMA's cure is one line: before each layer, shrink or stretch every
# vector to the same length, and keep the direction in which it points.
#
# **You build** `rms_norm`, the norm of LLaMA, TinyLlama, OpenELM and Mistral.
#
# **You need** lesson 01 (text to tokens) and matrix products. **Time:** 90 minutes.

# %% tags=["setup"]
start("02")

# %%
import time

import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from lib.models.llama import Llama
from lib.models.presets import PRESETS
from lib.run.paired import t_interval
from lib.run.measure import best_seconds
from lib.show import plots, widgets
from lessons.exercises.lesson_02 import check
from lib.teach.claims import claim
from lib.show.predict import predict
from lib.text import corpora
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# Take one of the tales (lesson 00) and turn it into tokens (lesson 01). Look each token up in a table of random vectors.
# Every model of this course begins like this: one vector, here of 64 numbers, for each token. The table is called an
# [embedding](../lessons/GLOSSARY.md#embedding), and the 64 places are **channels**. Where a line makes a new shape, the
# shape stands at its end: (T, C) is $T$ tokens by $C$ channels. Later $B$ comes before them, for $B$ texts side by side.

# %% tags=["nbval-check-output"]
tokenizer = load_tokenizer("tales")
story = corpora.load("tales").documents_validation[0]
tokens = torch.tensor(tokenizer.encode(story))
vectors = torch.randn(tokenizer.vocab_size, 64)[tokens]  # (T, C)
print("one vector for each of", len(tokens), "tokens:", tuple(vectors.shape) == (len(tokens), 64))

# %% [markdown]
# Now a deep network in its plainest form. Each layer computes something from the vector and **adds** it: `x + f(x)`. The
# weights are random, as they are in a network before its first training step. Watch the **size** of the vectors, which is
# measured here by the root of the mean of their squares.

# %%
torch.manual_seed(2)
LAYERS = [(torch.randn(64, 256) / 8, torch.randn(256, 64) / 16) for _ in range(48)]


def deep(x, depth, norm=lambda x: x):
    """Run x through `depth` layers; return the root mean square of each vector after each layer, and the last x."""
    sizes = [x.square().mean(-1).sqrt()]
    for wide, narrow in LAYERS[:depth]:
        x = x + torch.relu(norm(x) @ wide) @ narrow
        sizes.append(x.square().mean(-1).sqrt())
    return torch.stack(sizes), x


# %% [markdown]
# At the end the model gives a score to each of the tokens that may come next. An untrained model knows nothing. It
# should give every token about the same chance, and then its loss is $\ln V$, where $V$ is the size of the vocabulary.

# %%
HEAD = torch.randn(64, tokenizer.vocab_size) / 8


def loss_of(x):
    """Cross-entropy, in nats, of guessing each next token of the story from the vector before it."""
    return F.cross_entropy(x[:-1] @ HEAD, tokens[1:]).item()


print(f"a model that knows nothing: {torch.tensor(tokenizer.vocab_size).log():.2f} nats")

# %%
guess = predict(
    "02.a",
    "The untrained network has 0, 12, 24 or 48 layers. What happens to its loss as it gets deeper?",
    ["it stays near ln V", "it about doubles", "it grows to thousands"],
)

# %%
for depth in (0, 12, 24, 48):
    sizes, x = deep(vectors, depth)
    print(f"{depth:2} layers: vectors of size {sizes[-1].mean():10.1f}, loss {loss_of(x):10.1f} nats")
final, factor = loss_of(x), (sizes[-1].mean() / sizes[0].mean()) ** (1 / depth)
print(f"the largest number in them: {x.abs().max():,.0f}")
guess.reveal(
    "it grows to thousands" if final > 1000 else "it about doubles" if final > 11 else "it stays near ln V",
    f"The longer a vector is, the more a layer adds to it. So each layer makes it longer by a factor, about {factor:.2f}.",
)

# %% [markdown]
# The deep network knows nothing, and yet it is sure of itself. Training would first have to undo that. And numbers in half
# precision can't be larger than 65,504: compare that with the largest number above, and with the factor a layer.
# (Without any layer the loss lies half a nat above $\ln V$. That is the random head: its scores are not all equal, they
# scatter around 0 with a spread of 1. No norm can take that away, and the first steps of training do.)
#
# What did the layers do to the vectors? Two things: they turned them, and they made them longer. The first is the work
# of the network. The second is a nuisance. **Can you keep the direction and drop the length?**

# %% [markdown]
# ## By hand
#
# Two numbers, and only school arithmetic. Divide each by the *root of the mean of the squares*, the
# **[RMS](../lessons/GLOSSARY.md#rmsnorm)**.

# %% tags=["nbval-check-output"]
vector = [3.0, 4.0]
total = 0.0
for number in vector:
    total += number**2
mean_square = total / len(vector)
rms = mean_square**0.5
print("squares add up to", total, " their mean", mean_square, " its root", round(rms, 4))
print("divided:", [round(number / rms, 4) for number in vector])

# %% [markdown]
# The vector [300, 400] gives the same result, because its RMS is a hundred times larger too. So after this every vector has
# the same length. But which?

# %%
guess = predict(
    "02.b",
    "A vector of 64 channels goes through this. How long is it then, as an arrow in space?",
    ["1", "8", "64"],
)


# %% tags=["nbval-check-output"]
def by_hand(vector, eps=0.0):
    """Divide each number by the root of the mean of the squares (plus eps)."""
    mean_square = sum(number**2 for number in vector) / len(vector)
    return [number / (mean_square + eps) ** 0.5 for number in vector]


print([round(number, 4) for number in by_hand([300.0, 400.0])])
length = sum(number**2 for number in by_hand(range(1, 65))) ** 0.5
print(f"length {length:.2f}")
guess.reveal(
    f"{length:.0f}", "The mean of the squares is 1, so their sum is the number of channels, and the length is its root."
)

# %% [markdown]
# ## The formula
#
# For a vector $x$ of $C$ channels:
#
# $$y_i = \frac{x_i}{\sqrt{\frac{1}{C}\sum_{j=1}^{C} x_j^2 + \epsilon}} \; g_i$$
#
# - The mean runs over the **channels of one token**, never over tokens: otherwise a token would be changed by later ones,
#   and the model would see the future.
# - $\epsilon$ ("epsilon", here 0.00001) stands **inside** the root. It matters for tiny vectors only: zero stays zero, and
#   nothing is divided by zero.
# - $g$ is a learned **weight** for each channel. It starts at 1. With it a layer can make some channels louder.

# %% tags=["nbval-check-output"]
for vector in ([3.0, 4.0], [0.003, 0.004], [0.0, 0.0]):
    print(vector, "->", [round(number, 3) for number in by_hand(vector, eps=1e-5)])

# %% [markdown]
# ## Build it
#
# **Exercise 02.1** · implement · ●○○ · 10 min · 4 points · teaches the formula in tensors · needs nothing else
#
# Write `rms_norm` for a tensor of any number of axes, the last of which is the channels. Square in float32 at least, and
# return the result in the type of `x`: in float16 the square of 300 is already infinite.
#
# <details><summary>Hint 1: the axis</summary>
#
# `x.pow(2).mean(-1, keepdim=True)` keeps the last axis with size 1, so that each token's channels are divided by its own.
#
# </details>
# <details><summary>Hint 2: the root</summary>
#
# `torch.rsqrt(z)` is one over the square root. Multiply by it.
#
# </details>
# <details><summary>Hint 3: the types</summary>
#
# `wide = x.float()` for half precision. But float64 must stay float64: test for it, or the result is less exact than the
# input. Go back with `.to(x.dtype)`, and multiply by the weight after that.
#
# </details>


# %% tags=["exercise:02.1", "builds:lib.layers.norm.rms_norm"]
def rms_norm(x, weight, eps=1e-5):
    """(..., C) -> (..., C): each vector divided by its root mean square, times weight (C,)."""
    ### BEGIN SOLUTION
    wide = x if x.dtype == torch.float64 else x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return (wide * scale).to(x.dtype) * weight
    ### END SOLUTION


# %% tags=["check:02.1"]
rms_norm = check("02.1", rms_norm)

# %% [markdown] tags=["solution:02.1"]

# %% [markdown]
# As a layer it is the same function with a weight that is learned. Later lessons import it as `lib.layers.norm.RMSNorm`.


# %%
class RMSNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x):
        return rms_norm(x, self.weight, self.eps)


# %% [markdown]
# ## Does it help?
#
# Put a norm before each layer, on the way in only: `x + f(norm(x))`. The straight path `x` stays as it is. One more norm
# stands before the **head**, the last matrix, which gives the scores. That is LLaMA's order, *pre-norm*.

# %%
norm = RMSNorm(64)
bare, _ = deep(vectors, 48)
normed, last = deep(vectors, 48, norm)
print(f"48 layers, bare:   loss {final:10.1f} nats")
print(f"48 layers, normed: loss {loss_of(norm(last)):10.1f} nats")

# %%
plots.curves(
    {"no norm": bare.mean(-1).tolist(), "RMSNorm before each layer": normed.mean(-1).tolist()},
    xlabel="layer",
    ylabel="size of the vectors (RMS)",
    ylog=True,
    alt="Size of the vectors by layer on a logarithmic axis: without a norm a straight line up, a constant factor a layer;"
    " with RMSNorm nearly flat, growing like a square root.",
)

# %% [markdown]
# Look at the slopes. Without a norm the line is straight on a logarithmic axis: a **factor** a layer. With it each layer
# adds a vector of about the same length, in a new direction, so the size grows like a square root.

# %% [markdown]
# ## What is lost, and how LayerNorm differs
#
# The older norm, **[LayerNorm](../lessons/GLOSSARY.md#layernorm)**, first subtracts the mean of the channels. Then it
# divides by the standard deviation. Does the subtraction matter? Look at vectors of two channels, where you can see it.

# %%
guess = predict(
    "02.c",
    "A thousand points all over the plane go through LayerNorm (no weight, no bias). Where do they land?",
    ["on a circle", "on a line", "on two points"],
)

# %%
cloud = torch.randn(1000, 2)
landed = F.layer_norm(cloud, (2,), eps=0.0).round(decimals=3)
circle = rms_norm(cloud, torch.ones(2), eps=0.0)
plots.scatter(
    {"before": cloud[:300], "RMSNorm": circle[:300], "LayerNorm": landed.unique(dim=0)},
    colors={"RMSNorm": "YOURS", "LayerNorm": "REFERENCE", "before": "#9A9A9A"},
    alt="Points of the plane: RMSNorm puts them on a circle, LayerNorm puts all of them on two points.",
)
places = len({tuple(point) for point in landed.tolist()})
guess.reveal(
    "on two points" if places == 2 else "on a circle",
    "Minus their mean, two numbers are a and -a, and the length is fixed.",
)

# %% [markdown]
# Two channels minus their mean are one number and its opposite, and a fixed length leaves only the sign. With 4,096 channels
# LayerNorm loses one direction of 4,096, which hardly matters. The authors of RMSNorm turned it round: if the mean hardly
# matters, why subtract it? In their experiments models without the subtraction were as good.
#
# **Direction kept, length dropped:** one number tells it, the cosine of the angle between a vector before and after the norm.
# Try it with vectors whose mean is near 0, where the subtraction has little to take away, and with others whose mean is as
# large as their spread.

# %% tags=["nbval-check-output"]
torch.manual_seed(5)
centred = torch.randn(1000, 64)
for mean, x in ((0, centred), (1, centred + 1)):
    for name, y in {"RMSNorm": rms_norm(x, torch.ones(64)), "LayerNorm": F.layer_norm(x, (64,))}.items():
        cosine = F.cosine_similarity(x, y, dim=-1).mean()
        print(f"mean {mean}  {name:9}  cosine with the input {cosine:.2f}   size {y.square().mean().sqrt():.2f}")

# %% [markdown]
# ## Try it
#
# **Which inputs does epsilon change?** Move the size of the vector, and then epsilon.


# %%
def draw_size(exponent, eps_exponent):
    """Size after the norm against size before it, with the chosen vector marked."""
    before = torch.logspace(-6, 3, 200)
    after = before / (before**2 + 10.0**eps_exponent).sqrt()
    size = 10.0**exponent
    return plots.draw_curves(
        {"size after RMSNorm": (before, after)},
        xlabel="size before",
        ylabel="size after",
        xlog=True,
        ylim=(0, 1.15),
        point=(size, size / (size**2 + 10.0**eps_exponent) ** 0.5),
        alt=f"A vector of size {size:g} comes out with size {size / (size**2 + 10.0**eps_exponent) ** 0.5:.3f}.",
    )


widgets.explore(
    draw_size,
    "Which inputs does epsilon change?",
    exponent=(-6, 3, 0.5, -3, "size of the vector, as a power of 10"),
    eps_exponent=(-8, -3, 1, -5, "epsilon, as a power of 10"),
)

# %% [markdown]
# The bend lies where the size is the root of epsilon: there the two add up to twice the square, and the size comes out as
# 0.71. Vectors ten times as large hardly notice epsilon, and vectors ten times as small stay small.
#
# ## What does it cost?
#
# The paper says in its first lines that RMSNorm takes 7 to 64 % less time than LayerNorm, "on different models". Check it.
# A fair comparison gives both the same care, so write both by hand, with the same functions. LayerNorm also has a second
# weight, a **bias**, which it adds.


# %%
def plain_rms(x, weight, bias, eps=1e-5):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def plain_layer(x, weight, bias, eps=1e-5):
    x = x - x.mean(-1, keepdim=True)
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight + bias


threads = torch.get_num_threads()
torch.set_num_threads(1)  # one thread, and its processor time: what else the machine does matters less
big, weight, bias = torch.randn(4096, 1024), torch.ones(1024), torch.zeros(1024)
norms = {
    "by hand, LayerNorm": lambda: plain_layer(big, weight, bias),
    "by hand, RMSNorm": lambda: plain_rms(big, weight, bias),
    "torch's, LayerNorm": lambda: F.layer_norm(big, (1024,), weight, bias),
    "torch's, RMSNorm": lambda: F.rms_norm(big, (1024,), weight),
}
taken = best_seconds(norms, rounds=15, clock=time.process_time)
for name, seconds in taken.items():
    print(f"{name:19} {1000 * seconds:6.2f} ms")
alone = 1 - taken["by hand, RMSNorm"] / taken["by hand, LayerNorm"]
print(f"by hand, RMSNorm takes {alone:.0%} less")

# %% [markdown]
# Why measure by hand at all? Compare the two lines of torch's own. On a processor its `layer_norm` is one **fused** kernel,
# which reads the numbers once and writes them once, and its `rms_norm` is put together from several steps. Whoever compares
# these two compares the care that somebody took, and not the two formulas.
#
# But nobody trains a norm alone. In a whole model a norm stands between matrix products. Take a small LLaMA, put one norm
# or the other in all its places, and time whole training steps: forward and backward.


# %%
class Plain(nn.Module):
    """A norm by hand, with two weights; RMSNorm leaves the second one alone."""

    def __init__(self, d_model, formula):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))
        self.formula = formula

    def forward(self, x):
        return self.formula(x, self.weight, self.bias)


def step_with(formula):
    """A training step of a small LLaMA with this norm in all its places, as a function without arguments."""
    llama, batch = Llama(PRESETS["tiny-llama"].config), torch.randint(2048, (4, 193))
    for block in llama.blocks:
        block.norm_time, block.norm_channels = Plain(128, formula), Plain(128, formula)
    llama.norm = Plain(128, formula)
    return lambda: F.cross_entropy(llama(batch[:, :-1])[0].flatten(0, 1), batch[:, 1:].flatten()).backward()


# %%
steps, savings = {"layer": step_with(plain_layer), "rms": step_with(plain_rms)}, []
best_seconds(steps, rounds=2)  # warm up
for _ in tqdm(range(30), leave=False):
    times = best_seconds(steps, rounds=1, clock=time.process_time)
    savings.append(1 - times["rms"] / times["layer"])
torch.set_num_threads(threads)
whole = t_interval(savings)
print(
    f"a whole step takes {whole.mean:.1%} less, give or take {whole.half:.1%} (95 % interval of {len(savings)} pairs)"
)
verdict = "holds" if whole.mean >= 0.07 else "holds for the norm alone" if alone >= 0.07 else "does not hold here"
claim(
    "rmsnorm-faster", verdict, f"by hand {alone:.0%} less for the norm, {whole.mean:.0%} +- {whole.half:.0%} for a step"
)

# %% [markdown]
# The last lines say what became of the paper's **claim**. Both numbers are needed: the first is about the norm, the second
# about a model with that norm. How much a model saves depends on how much of its time went into norms. The paper's models
# were others than yours, many of them recurrent, and on a graphics card.

# %% [markdown]
# ## Exercises
#
# **Exercise 02.2** · repair · ●●○ · 10 min · 3 points · teaches that a norm must not look at other tokens · needs 02.1
#
# Somebody wrote this norm. The model's loss in training is wonderful, and its stories are nonsense. Find out why with the
# cell below, then repair the function.
#
# <details><summary>Hint 1</summary>
#
# The last token changes, and an earlier output changes with it. How does it know?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Over which axes does the mean run? `x` is (B, T, C).
#
# </details>


# %%
def leaking_norm(x):
    """(B, T, C) -> (B, T, C)."""
    return x / (x.pow(2).mean(dim=(1, 2), keepdim=True) + 1e-5).sqrt()


two = torch.randn(1, 2, 4)
other = two.clone()
other[0, 1] *= 100  # only the second token is changed
print("first token before", leaking_norm(two)[0, 0].numpy().round(2))
print("first token after ", leaking_norm(other)[0, 0].numpy().round(2))


# %% tags=["exercise:02.2"]
def repaired_norm(x):
    """(B, T, C) -> (B, T, C), each token by itself."""
    ### BEGIN SOLUTION
    return x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    ### END SOLUTION


# %% tags=["check:02.2"]
repaired_norm = check("02.2", repaired_norm)

# %% [markdown] tags=["solution:02.2"]

# %% [markdown]
# **Exercise 02.3** · predict · ●○○ · 5 min · 1 point · teaches where norms stand · needs the text above
#
# LLaMA-7B has 32 layers of width 4,096. Each layer has two halves, attention and an MLP (lessons 05 and 03), with a norm
# before each half. One more norm stands before the head. How many parameters are in norms? Compute the number.
#
# <details><summary>Hint 1</summary>
#
# A norm has one weight for each channel, and no bias.
#
# </details>
# <details><summary>Hint 2</summary>
#
# 65 norms.
#
# </details>

# %% tags=["exercise:02.3"]
### BEGIN SOLUTION
norm_parameters = (2 * 32 + 1) * 4096
### END SOLUTION

# %% tags=["check:02.3"]
norm_parameters = check("02.3", norm_parameters)

# %% tags=["nbval-check-output", "spoiler"]
print(f"{norm_parameters:,} of {PRESETS['llama-7b'].n_params:,}")

# %% [markdown] tags=["solution:02.3"]

# %% [markdown]
# **Exercise 02.4** · implement · ●●○ · 10 min · 3 points · teaches why some engines have no norm weights · needs 02.1
#
# After a norm with weight $g$ comes a matrix: `rms_norm(x, g) @ W`. Give the matrix `M` for which
# `rms_norm(x, ones) @ M` is the same. Then the weights cost nothing when the model runs.
#
# <details><summary>Hint 1</summary>
#
# $\sum_i (y_i g_i) W_{ij} = \sum_i y_i (g_i W_{ij})$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each row of `W` is multiplied by one number. `weight[:, None]` has one row for each channel.
#
# </details>


# %% tags=["exercise:02.4"]
def fold_weight(weight, matrix):
    """(C,), (C, D) -> (C, D): the matrix with the norm's weight inside."""
    ### BEGIN SOLUTION
    return weight[:, None] * matrix
    ### END SOLUTION


# %% tags=["check:02.4"]
fold_weight = check("02.4", fold_weight)

# %% [markdown] tags=["solution:02.4"]

# %% [markdown]
# **Exercise 02.5** · implement · ●●● · 20 min · 4 points · teaches what a norm does to gradients · needs the chain rule
#
# Write the backward pass by hand. Given $x$ and the gradient $d$ of the loss with respect to $y = x / r$,
# $r = \sqrt{\mathrm{mean}(x^2) + \epsilon}$, return the gradient with respect to $x$. You will find that it has no part
# along $x$ (when $\epsilon$ is 0): moving along $x$ changes only the length, and the length is dropped.
#
# <details><summary>Hint 1</summary>
#
# $r$ depends on every channel: $\partial r / \partial x_i = x_i / (C r)$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $\partial L/\partial x_i = d_i / r - x_i / r^3 \cdot \mathrm{mean}(d\,x)$.
#
# </details>


# %% tags=["exercise:02.5"]
def rms_norm_backward(x, d, eps=1e-5):
    """x, d: (..., C), d = dL/dy -> dL/dx (..., C), for a norm without weight."""
    ### BEGIN SOLUTION
    r = (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return d / r - x / r**3 * (d * x).mean(-1, keepdim=True)
    ### END SOLUTION


# %% tags=["check:02.5"]
rms_norm_backward = check("02.5", rms_norm_backward)

# %% [markdown] tags=["solution:02.5"]

# %% [markdown]
# ## In the wild
#
# transformers calls it `LlamaRMSNorm`: `hidden_states` is our `x`, `variance_epsilon` our `eps`, and `variance` is a mean
# of squares with no mean subtracted. Same weights in, same numbers out. The epsilon differs from model to model. A wrong one
# raises no error: the answers are only slightly wrong.

# %% tags=["nbval-check-output"]
from transformers.models.llama.modeling_llama import LlamaRMSNorm

theirs = LlamaRMSNorm(64, eps=1e-5)
with torch.no_grad():
    theirs.weight.copy_(torch.randn(64))
difference = (theirs(vectors) - rms_norm(vectors, theirs.weight)).abs().max()
print("largest difference to transformers below 1e-5:", bool(difference < 1e-5))
for name in ("llama-7b", "llama-65b", "tinyllama-1.1b", "litellama-460m"):
    print(f"{name:15} eps {PRESETS[name].config.norm_eps:.0e}")

# %% [markdown]
# ## Recap
#
# RMSNorm divides each token's vector by its root mean square: the direction stays, the length goes. It keeps the numbers of
# a deep network in range. It has one weight for each channel, no mean and no bias, and it must never look at another token.
#
# ## Read on
#
# - Zhang and Sennrich, [Root Mean Square Layer Normalization](https://arxiv.org/abs/1910.07467): six pages, with the
#   experiment that the mean is not needed.
# - Xiong et al., [On Layer Normalization in the Transformer Architecture](https://arxiv.org/abs/2002.04745): why the norm
#   stands before the layer and not after it.
#
# **Next:** [03. A gate decides what passes](03_swiglu.ipynb).
