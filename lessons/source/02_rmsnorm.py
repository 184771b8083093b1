# %% [markdown]
# # 02. Keep the direction, drop the length
#
# A deep network adds and adds, and its numbers drift. LLaMA's cure is one line: before each step, shrink or stretch every
# vector to the same length, and keep where it points.
#
# **You build** `rms_norm`, the norm of every LLaMA, TinyLlama, OpenELM and Mistral.
#
# **You need** lesson 01 (text to tokens) and matrix products. **Time:** 50 minutes.

# %% tags=["setup"]
start("02")

# %%
import time

import torch
import torch.nn.functional as F
from torch import nn

from lib.models.presets import PRESETS
from lib.show import plots, widgets
from lessons.exercises.lesson_02 import check
from lib.teach.claims import claim
from lib.show.predict import predict
from lib.text import corpora
from lib.text.published import load_tokenizer

# %% [markdown]
# ## The need
#
# Take a story and turn it into tokens (lesson 01). Look each token up in a table of random vectors. That is where every
# language model begins: one vector, here of 64 numbers, for each token. The table is called an
# [embedding](../lessons/GLOSSARY.md#embedding), the 64 places are **channels**. A shape stands at the end of a line: (T, C) is T tokens by C
# channels; later B, texts side by side, comes before them.

# %% tags=["nbval-check-output"]
tokenizer = load_tokenizer("tales")
story = corpora.load("tales").documents_validation[0]
tokens = torch.tensor(tokenizer.encode(story))
vectors = torch.randn(tokenizer.vocab_size, 64)[tokens]  # (T, C)
print("one vector for each of", len(tokens), "tokens:", tuple(vectors.shape) == (len(tokens), 64))

# %% [markdown]
# Now a deep network in its plainest form. Each layer computes something from the vector and **adds** it: `x + f(x)`. The
# weights are random, as in any network before its first training step.

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
# should give every token about the same chance, and then its loss is $\ln V$, with $V$ the size of the vocabulary.

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
    ["it stays near ln V", "it grows a little, to about 10", "it grows without bound"],
)

# %%
for depth in (0, 12, 24, 48):
    sizes, x = deep(vectors, depth)
    print(f"{depth:2} layers: vectors of size {sizes[-1].mean():10.1f}, loss {loss_of(x):10.1f} nats")
final = loss_of(x)
guess.reveal(
    "it grows without bound" if final > 20 else "it grows a little, to about 10" if final > 8 else "it stays near ln V",
    "Each layer adds something about as long as what it got. So the length grows by a factor a layer.",
)

# %% [markdown]
# The deep network knows nothing and is sure of it. Training would first have to undo that, and with half-precision
# numbers, whose largest is 65,504, it would not even start.
#
# What did the layers do to the vectors? Two things: they turned them, and they made them longer. The first is the work
# of the network. The second is a nuisance. **Can you keep the direction and drop the length?**

# %% [markdown]
# ## By hand
#
# Two numbers, and only school arithmetic. Divide each by the *root of the mean of the squares*, the **[RMS](../lessons/GLOSSARY.md#rmsnorm)**.

# %% tags=["nbval-check-output"]
vector = [3.0, 4.0]
total = 0.0
for number in vector:
    total += number**2
mean_square = total / len(vector)
rms = mean_square**0.5
print("squares add up to", total, " their mean", mean_square, " its root", round(rms, 4))
print("divided:", [round(number / rms, 4) for number in vector])

# %%
guess = predict(
    "02.b",
    "The same with [300, 400], a hundred times as long. The result is ...",
    ["100 times larger", "10 times larger", "the same"],
)


# %% tags=["nbval-check-output"]
def by_hand(vector, eps=0.0):
    """Divide each number by the root of the mean of the squares (plus eps)."""
    mean_square = sum(number**2 for number in vector) / len(vector)
    return [number / (mean_square + eps) ** 0.5 for number in vector]


long = by_hand([300.0, 400.0])
print([round(number, 4) for number in long])
ratio = round(long[0] / by_hand([3.0, 4.0])[0])
guess.reveal(
    {1: "the same", 10: "10 times larger", 100: "100 times larger"}[ratio], "Length is all that is divided out."
)

# %% [markdown]
# ## The formula
#
# For a vector $x$ of $C$ channels:
#
# $$y_i = \frac{x_i}{\sqrt{\frac{1}{C}\sum_{j=1}^{C} x_j^2 + \epsilon}} \; g_i$$
#
# - The mean runs over the **channels of one token**, never over tokens. A token that looked at its neighbours here would
#   see the future.
# - $\epsilon$ ("epsilon", 0.00001) stands **inside** the root. It matters for tiny vectors only: zero stays zero and
#   nothing is divided by zero.
# - $g$ is a learned **weight** for each channel. It starts at 1. With it a layer can say which channels it wants louder.

# %% tags=["nbval-check-output"]
for vector in ([3.0, 4.0], [0.003, 0.004], [0.0, 0.0]):
    print(vector, "->", [round(number, 3) for number in by_hand(vector, eps=1e-5)])

# %% [markdown]
# ## Build it
#
# **Exercise 02.1** · implement · ●○○ · 10 min · 4 points · teaches the formula in tensors · needs nothing else
#
# Write `rms_norm` for a tensor of any number of axes, the last being the channels. Square in float32 at least, and give
# the result back in the type of `x`: in float16 the square of 300 is already infinite.
#
# <details><summary>Hint 1: the axis</summary>
#
# `x.pow(2).mean(-1, keepdim=True)` keeps the last axis with size 1, so that it divides each token's channels.
#
# </details>
# <details><summary>Hint 2: the root</summary>
#
# `torch.rsqrt(z)` is one over the square root. Multiply by it.
#
# </details>
# <details><summary>Hint 3: the types</summary>
#
# `wide = x.float()` for half precision. But float64 must stay float64: test for it, or the result is less exact than what
# came in. `.to(x.dtype)` at the end, before the weight.
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
# As a layer it is a function with a weight that is learned. From here on it is `lib.layers.norm.RMSNorm`.


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
# Norm before each layer, on the way in only: `x + f(norm(x))`. The road straight through stays free, and once more a norm
# before the **head**, the last matrix, which gives the scores. That is LLaMA's order, *pre-norm*.

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
# Look at the slopes. Without a norm the line is straight on a logarithmic axis: a **factor** a layer. With it the layers
# each add about the same, so the size grows like a square root.

# %% [markdown]
# ## What is lost, and how LayerNorm differs
#
# The norm before RMSNorm, **[LayerNorm](../lessons/GLOSSARY.md#layernorm)**, first subtracts the mean of the channels. Then it divides by the standard
# deviation. That costs one more pass. Does the subtraction matter? Look at vectors of two channels, where one can see it.

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
    "on two points" if places == 2 else "on a circle", "Without the mean only (a, -a) is left, and its length is fixed."
)

# %% [markdown]
# Two channels minus the mean leave one; a fixed length leaves only its sign. With 4,096 channels LayerNorm loses one
# direction of 4,096, which hardly matters. That is the finding behind RMSNorm: the length had to go, the mean did not.
#
# **Direction kept, length dropped:** the cosine of the angle between a vector and its norm says it in one number.

# %% tags=["nbval-check-output"]
torch.manual_seed(5)
shifted = torch.randn(1000, 64) + 1.0  # vectors whose mean is not zero
for name, y in {"RMSNorm": rms_norm(shifted, torch.ones(64)), "LayerNorm": F.layer_norm(shifted, (64,))}.items():
    cosine = F.cosine_similarity(shifted, y, dim=-1).mean()
    print(f"{name:9}  cosine with the input {cosine:.2f}   size {y.square().mean().sqrt():.2f}")

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
# ## What does it cost?
#
# The sources say that RMSNorm is much faster than LayerNorm at equal quality. Count first: both read every number and
# write every number once; LayerNorm subtracts one mean more. A norm moves memory, it hardly computes. So a fair
# comparison gives both the same care: torch's fused version of each, and ours, which makes several passes.


# %%
def seconds(function, repeats=30):
    """The median time of one call."""
    times = []
    for _ in range(repeats):
        start_time = time.perf_counter()
        function()
        times.append(time.perf_counter() - start_time)
    return sorted(times)[repeats // 2]


big, weight, bias = torch.randn(4096, 1024), torch.ones(1024), torch.zeros(1024)
norms = {
    "LayerNorm, fused": lambda: F.layer_norm(big, (1024,), weight, bias),
    "RMSNorm, fused": lambda: F.rms_norm(big, (1024,), weight),
    "RMSNorm, ours": lambda: rms_norm(big, weight),
}
taken = {name: min(seconds(function) for _ in range(3)) for name, function in norms.items()}
for name in norms:
    print(f"{name:17} {taken[name] / taken['LayerNorm, fused']:5.2f} times LayerNorm's time")
share = taken["RMSNorm, fused"] / taken["LayerNorm, fused"]
number = f"{share:.1f} times LayerNorm's time, torch's own kernels on a CPU"
claim("rmsnorm-faster", "holds" if share < 0.93 else "does not hold here", number)

# %% [markdown]
# Read your own numbers. On the CPUs that we tried, who wins depends on who wrote the better kernel, not on the subtraction.
# The claim is about hand-written code of 2019. RMSNorm won since it is simpler and not worse.

# %% [markdown]
# ## Exercises
#
# **Exercise 02.2** · repair · ●●○ · 10 min · 3 points · teaches that a norm must not look at other tokens · needs 02.1
#
# Somebody wrote this norm. The model's loss in training is wonderful, its stories are garbage. Find out why with the cell
# below, then repair the function.
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
# LLaMA-7B has 32 layers of width 4,096. Each layer has two halves, attention and an MLP (lessons 05 and 03), and a norm
# before either; one more stands before the head. How many parameters are in norms? Compute the number.
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

# %% tags=["check:02.3", "nbval-check-output"]
norm_parameters = check("02.3", norm_parameters)
print(f"{norm_parameters:,} of {PRESETS['llama-7b'].n_params:,}")

# %% [markdown] tags=["solution:02.3"]

# %% [markdown]
# **Exercise 02.4** · implement · ●●○ · 10 min · 3 points · teaches why some engines have no norm weights · needs 02.1
#
# After a norm with weight $g$ comes a matrix: `rms_norm(x, g) @ W`. Give the matrix `V` for which
# `rms_norm(x, ones) @ V` is the same. Then the weights cost nothing when the model runs.
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
# $r = \sqrt{\mathrm{mean}(x^2) + \epsilon}$, return the gradient with respect to $x$. Surprise: it has no part along $x$
# (when $\epsilon$ is 0), since moving along $x$ changes the length alone, and the length was dropped.
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
# of squares with no mean subtracted. Same weights in, same numbers out. Only the epsilon differs from model to model, and
# the wrong one makes no error, only slightly wrong answers.

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
# RMSNorm divides each token's vector by its root mean square: the direction stays, the length goes. It keeps a deep
# network's numbers in range, in training and in half precision. It has one weight a channel, no mean and no bias, and it
# must never look at another token.
#
# ## Read on
#
# - Zhang and Sennrich, [Root Mean Square Layer Normalization](https://arxiv.org/abs/1910.07467): six pages, with the
#   experiment that the mean is not needed.
# - Xiong et al., [On Layer Normalization in the Transformer Architecture](https://arxiv.org/abs/2002.04745): why the norm
#   stands before the layer and not after it.
#
# **Next:** [03. A gate decides what passes](03_swiglu.ipynb).
