# %% [markdown]
# # 03. A gate decides what passes
#
# What a letter means depends on the letter before it. A matrix can't say "depends": it only adds. LLaMA's cure is a
# product. Each hidden number comes twice, once as an offer and once as a gate, and the gate decides how much of the offer
# passes.
#
# **You build** `SwiGLU`, the channel mixer of LLaMA, TinyLlama, OpenELM and Mistral. Most of LLaMA's parameters are in it.
#
# **You need** lesson 02 (tensors of any number of axes) and matrix products. **Time:** 85 minutes.

# %% tags=["setup"]
start("03")

# %%
import math

import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from lib.models.presets import PRESETS
from lib.run.paired import t_interval
from lessons.figures import lesson_03 as figures
from lib.show import plots, widgets
from lessons.exercises.lesson_03 import check
from lib.show.predict import predict
from lib.teach.claims import claim
from lib.text import corpora

# %% [markdown]
# ## The need
#
# In this lesson the tokens are letters, and a space or a comma counts as a letter, too. Here are four pairs of letters in
# the tales. How often does an `e` follow, and how often a `d`? (Think of *candle*, *quiet*, *could*, *did*.)

# %% tags=["nbval-check-output"]
corpus = corpora.load("tales")
text = corpus.train[:1_000_000]
for pair in ("dl", "ui", "ul", "di"):
    e, d = text.count(pair + "e"), text.count(pair + "d")
    print(f"after {pair!r}: {e:4} times e, {d:4} times d, so guess {'e' if e > d else 'd'}")

# %% [markdown]
# Now let a linear map guess. It can give each letter a **vote**, a number for `e` and against `d`: one vote for the first
# letter, one for the second. Then it adds them, and that is all that it can do. For the right guesses it needs
#
# - d first + l second **above** zero, and u first + i second **above** zero;
# - u first + l second **below** zero, and d first + i second **below** zero.
#
# Add up the first line: all four votes, above zero. Add up the second: the same four votes, below zero. No numbers can do
# that, however long you train. One letter must decide what the other's vote is worth.
#
# How much does it cost over the whole text? Guess the next letter from the last four. Each letter is a vector of 12
# numbers, so four letters are a vector of 48.


# %%
LETTERS = {letter: i for i, letter in enumerate(sorted(set(corpus.train)))}


def places(text):
    """All places of a text: the four letters before it (P, 4), and the letter that stands there (P,)."""
    ids = torch.tensor([LETTERS[letter] for letter in text])
    return ids[:-1].unfold(0, 4, 1), ids[4:]


before, after = places(text)
unseen = places(corpus.validation[:20_000])
print(f"{len(after):,} places to learn from, {len(unseen[1]):,} unseen ones to test on, {len(LETTERS)} letters")

# %% [markdown]
# The next cell trains for a second or two. Lesson 08 explains such a loop; here only the line with `mixer` matters. (`rate`
# sets how large the steps are, and each layer below gets one that suits it.) The
# **[channel mixer](../lessons/GLOSSARY.md#channel-mixer)** gets the 48 channels of one place and adds what it makes of
# them, as in lesson 02: `x + f(x)`. Every mixer of this course is called with three things and returns two. It gets the
# channels, a **state** (what it remembers of earlier tokens) and `shared` (what is computed once for all layers); it
# returns the result and the new state. A channel mixer remembers nothing and shares nothing, so both are `None` here.


# %%
torch.set_num_threads(1)  # for steps this small a second thread costs more time than it saves


def train(mixer, rate, seed=0, steps=300):
    """Train for a second or two: (loss in nats on unseen text, the letters' vectors, the mixer)."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)  # so that with one seed all mixers see the same places
    embed, mixer, head = nn.Embedding(len(LETTERS), 12), mixer(), nn.Linear(48, len(LETTERS))
    optimizer = torch.optim.AdamW(nn.ModuleList([embed, mixer, head]).parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)

    def loss_on(before, after):
        x = embed(before).flatten(1)  # (P, 48)
        return F.cross_entropy(head(x + mixer(x)[0]), after)

    for _ in range(steps):
        some = torch.randint(len(after), (256,), generator=draw)
        optimizer.zero_grad()
        loss_on(before[some], after[some]).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return loss_on(*unseen).item(), embed, mixer


# %%
class Nothing(nn.Module):
    def forward(self, x, state=None, shared=None):
        return torch.zeros_like(x), None


class Mlp(nn.Module):
    """48 channels -> `wide` hidden units, through a curve -> 48 channels."""

    def __init__(self, wide, curve):
        super().__init__()
        self.up, self.down = nn.Linear(48, wide, bias=False), nn.Linear(wide, 48, bias=False)
        self.curve = curve

    def forward(self, x, state=None, shared=None):
        return self.down(self.curve(self.up(x))), None


votes, _, _ = train(Nothing, 0.08)
print(f"votes alone, no mixer: {votes:.2f} nats a letter")

# %%
guess = predict(
    "03.a",
    "Now a mixer of two matrices, 48 to 192 and 192 to 48, with nothing between: 18,432 parameters more. The loss ...",
    ["falls by more than a tenth", "falls a little", "does not fall"],
)

# %%
linear, _, mixer = train(lambda: Mlp(192, lambda z: z), 0.08)
print(f"votes alone {votes:.2f}, with two matrices {linear:.2f} nats")
fall = (votes - linear) / votes
guess.reveal(
    "falls by more than a tenth" if fall > 0.1 else "falls a little" if fall > 0.01 else "does not fall",
    "Two matrices in a row are one matrix, and one matrix is votes again"
    + (": nothing new to say, only more to learn in 300 steps." if linear > votes else "."),
)

# %% tags=["nbval-check-output"]
x = torch.randn(5, 48)
one_matrix = mixer.down.weight @ mixer.up.weight  # (48, 192) @ (192, 48) -> (48, 48)
print("two steps equal one matrix of shape", tuple(one_matrix.shape), end=": ")
print(torch.allclose(mixer(x)[0], x @ one_matrix.T, atol=1e-4))

# %% [markdown]
# So something must stand between the two that is no straight line. The old answer is a bend, **ReLU**: what is negative
# becomes zero. With it the layer is more than a sum of votes:

# %%
bent, _, _ = train(lambda: Mlp(192, F.relu), 0.02)
print(f"votes {votes:.2f}, two matrices {linear:.2f}, two matrices with a ReLU between {bent:.2f} nats")

# %% [markdown]
# But look at what we asked for: *one letter decides what the other's vote is worth*. That is a **product** of two things
# that the network computes. A bend must build it from many straight pieces. Can you have the product itself?

# %% [markdown]
# ## By hand
#
# First the curve. The **sigmoid** takes any number to one between 0 and 1: $\sigma(z) = 1/(1 + e^{-z})$. Multiply a number
# by its own sigmoid and you have **silu**: the number decides for itself how much of it passes.

# %%
guess = predict(
    "03.b",
    "silu(z) = z times sigmoid(z). How low does it get, for z from -10 to 10?",
    ["not below 0", "to about -0.3", "to about -5"],
)


# %% tags=["nbval-check-output"]
def sigmoid(z):
    """Any number -> between 0 and 1."""
    return 1 / (1 + math.exp(-z))


def silu(z):
    """A number times its own sigmoid."""
    return z * sigmoid(z)


for z in (-10, -4, -2, -1, 0, 1, 4, 10):
    print(f"z {z:4}   sigmoid {sigmoid(z):.4f}   silu {silu(z):8.4f}   relu {max(z, 0):3}")
lowest = min(silu(z / 100) for z in range(-1000, 1001))
guess.reveal(
    "not below 0" if lowest > -0.01 else "to about -0.3" if lowest > -1 else "to about -5",
    "It dips, and further left it comes back to 0: there silu is as quiet as ReLU.",
)

# %% [markdown]
# Now the [gate](../lessons/GLOSSARY.md#gate). One hidden unit has two numbers: an **offer** $u$ and a **gate** $g$. What passes is $\mathrm{silu}(g)\,u$.

# %% tags=["nbval-check-output"]
for g in (-6, -1, 0, 1, 6):
    passed = [round(silu(g) * u, 2) for u in (-2, 3)]
    print(f"gate {g:2}: of the offers [-2, 3] it passes {passed}")

# %% [markdown]
# At -6 hardly anything passes. At 6 the offer passes, about six times as loud. At -1 a little passes, **with its sign
# turned**: this gate is not only open or shut, it multiplies.
#
# Gate and offer are both computed from the same $x$. Here is what hidden units can make of two channels $a$ and $b$.

# %%
figures.hidden_units()

# %% [markdown]
# Look at where the colour changes. A ReLU unit knows **one** line: silent on one side, a slope on the other. A gated unit
# knows **two**, and they cross: what $b$ is worth depends on $a$. In the right picture two gated units share the work. It
# is the pattern that no votes can make: the sign of one channel turns the other's round. In exercise 03.4 you find out how
# they do it, and how exact it is.

# %% [markdown]
# ## The formula
#
# $$y = W_\mathrm{down}\big(\mathrm{silu}(W_\mathrm{gate}\,x) \odot W_\mathrm{up}\,x\big)$$
#
# - $x$ and $y$ have $C$ channels (`d_model`). Inside there are $F$ hidden units (`d_ff`).
# - $W_\mathrm{gate}$ and $W_\mathrm{up}$ are two matrices of the same shape, $F \times C$. $W_\mathrm{down}$ is
#   $C \times F$.
# - $\odot$ multiplies number by number: unit 7's gate works on unit 7's offer.
# - There are no biases. Tokens do not mix: each token's channels go through by themselves.
#
# The name: silu is also called *Swish*, and a *gated linear unit* is a GLU. Hence **[SwiGLU](../lessons/GLOSSARY.md#swiglu)**.

# %% [markdown]
# ## Build it
#
# **Exercise 03.1** · implement · ●○○ · 10 min · 4 points · teaches the layer itself · needs nothing else
#
# Write the layer. The three matrices are called `gate`, `up` and `down`. `forward` returns `(y, state)`, with the state
# just as it came in, and does not use `shared`.
#
# <details><summary>Hint 1: the matrices</summary>
#
# `nn.Linear(d_model, d_ff, bias=False)` holds a weight of shape (d_ff, d_model) and multiplies from `d_model` to `d_ff`
# channels.
#
# </details>
# <details><summary>Hint 2: the product</summary>
#
# `F.silu(...)` around one of the two wide results, and `*` between them. Around which one? Its name tells you.
#
# </details>


# %% tags=["exercise:03.1", "builds:lib.layers.mlp.SwiGLU"]
class SwiGLU(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        ### BEGIN SOLUTION
        self.gate = nn.Linear(d_model, d_ff, bias=False)
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)
        ### END SOLUTION

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the state as it came."""
        ### BEGIN SOLUTION
        hidden = F.silu(self.gate(x)) * self.up(x)  # (B, T, F)
        return self.down(hidden), state
        ### END SOLUTION


# %% tags=["check:03.1"]
SwiGLU = check("03.1", SwiGLU)

# %% [markdown] tags=["solution:03.1"]

# %% [markdown]
# ## How wide?
#
# SwiGLU has three matrices instead of two. At the same width it would cost half as much again, and a comparison would be
# unfair. The usual width of the two-matrix layer is $4C$, which makes $2 \cdot C \cdot 4C = 8C^2$ parameters. Three matrices
# of width $F$ have $3CF$. So they cost the same for $F = \tfrac{8}{3}C$.

# %% tags=["nbval-check-output"]
for C in (48, 4096):
    print(
        f"C {C}: two matrices 4C wide {2 * C * 4 * C:,}; three matrices 8/3 C = {8 * C / 3:.1f} wide {3 * C * 8 * C / 3:,.0f}"
    )
print("your SwiGLU(48, 128):", sum(p.numel() for p in SwiGLU(48, 128).parameters()))

# %% [markdown]
# ## Does it help?
#
# Same parameters, same data, same steps. Two things are new, the gate and the curve, so there are four layers to compare:
# with or without a gate, with ReLU or with silu. Each gets its own learning rate, the best of 0.01, 0.02, 0.04 and 0.08 on
# other text (for SwiGLU 0.02 and 0.04 are about equally good); with one rate for all, the rate would decide. Each is trained four
# times, from four seeds. With one seed all four layers learn from the same places in the same order, so their losses are
# compared seed by seed.

# %%
guess = predict(
    "03.c",
    "Loss on unseen text, SwiGLU against the ReLU layer of the same size. The difference is ...",
    ["no larger than the luck of the seeds", "clear, but under a tenth of the loss", "more than a tenth of the loss"],
)


# %%
class ReGLU(SwiGLU):
    """The gate without silu."""

    def forward(self, x, state=None, shared=None):
        return self.down(F.relu(self.gate(x)) * self.up(x)), state


LAYERS = {
    "ReLU": (lambda: Mlp(192, F.relu), 0.02),
    "silu": (lambda: Mlp(192, F.silu), 0.04),
    "ReLU + gate (ReGLU)": (lambda: ReGLU(48, 128), 0.02),
    "silu + gate (SwiGLU)": (lambda: SwiGLU(48, 128), 0.02),
}
jobs = [(name, seed) for name in LAYERS for seed in range(4)]
runs = {(name, seed): train(*LAYERS[name], seed) for name, seed in tqdm(jobs, leave=False)}
losses = {name: [runs[name, seed][0] for seed in range(4)] for name in LAYERS}

# %%
gains = {}
for name, some in losses.items():
    gains[name] = t_interval([1 - loss / relu for loss, relu in zip(some, losses["ReLU"])])
    print(f"{name:21} {sum(some) / 4:.3f} nats, from {min(some):.3f} to {max(some):.3f}", end="")
    print(f"; {gains[name].mean:4.1%} below ReLU, give or take {gains[name].half:.1%}" if name != "ReLU" else "")
gain = gains["silu + gate (SwiGLU)"]
answer = 0 if not gain.clear else 1 if gain.mean < 0.1 else 2
guess.reveal(guess.choices[answer], f"It is {gain.mean:.1%}.")
verdict = "holds" if gain.clear and gain.mean > 0 else "does not hold here"
claim("swiglu-relu", verdict, f"loss {gain.mean:.1%} +- {gain.half:.1%} lower, letters of the tales, 4 seeds")

# %% [markdown]
# "Give or take" is a 95 % interval from the four seeds. Read the three gains: silu alone, the gate alone, both. When this
# page was made the gate brought most, silu alone less, and both together little more than the gate.
#
# The last lines check a **claim** of the paper that proposed SwiGLU
# ([Shazeer 2020](https://arxiv.org/abs/2002.05202), table 1). There the model was a real one, T5 base after 524,288 steps,
# also at equal parameters. Its loss was 1.677 with ReLU, 1.683 with silu alone (no gain there), 1.645 with ReGLU and 1.636
# with SwiGLU. The paper gives no reason: "we attribute their success, as all else, to divine benevolence".
#
# So it is a small gain at no cost. Our picture of crossing lines is an explanation that fits, and no proof.

# %% [markdown]
# ## What silu is good for
#
# A ReLU unit whose input is negative for every text gives zero, and its slope there is zero too. So no gradient reaches
# it, and it hardly ever comes back. It is **dead**. silu still has a slope where it is nearly silent:

# %% tags=["nbval-check-output"]
for z in (-2.0, -4.0, -12.0):
    point = torch.tensor([z, z], requires_grad=True)
    (F.relu(point[0]) + F.silu(point[1])).backward()
    print(f"slope at {z:5}: relu {point.grad[0]:.1f}, silu {point.grad[1]:.5f}")

# %%
guess = predict(
    "03.d",
    "Train the ReLU layer at 0.04, twice its best rate. How many of its 192 units pass nothing, at any unseen place?",
    ["none", "1 to 9", "10 or more"],
)


# %%
@torch.no_grad()
def silent(embed, mixer):
    """How many hidden units never pass more than 0.01, up or down, at any of the unseen places."""
    x = embed(unseen[0]).flatten(1)  # (P, 48)
    hidden = F.silu(mixer.gate(x)) * mixer.up(x) if hasattr(mixer, "gate") else mixer.curve(mixer.up(x))
    return int((hidden.abs() < 0.01).all(0).sum())


dead = {}
for name in ("ReLU", "silu + gate (SwiGLU)"):
    for rate in (0.02, 0.04, 0.08):
        loss, embed, mixer = runs[name, 0] if rate == 0.02 else train(LAYERS[name][0], rate)
        dead[name, rate] = silent(embed, mixer)
        print(f"{name:21} rate {rate}: {dead[name, rate]:3} silent units, loss {loss:.3f}")
count = dead["ReLU", 0.04]
guess.reveal(
    "none" if count == 0 else "1 to 9" if count < 10 else "10 or more", "One big step too many, and a unit is gone."
)

# %% [markdown]
# Compare the two layers, rate by rate. Where units of the ReLU layer fall silent, its loss rises with them. In SwiGLU a gate
# that is nearly shut still has a slope, so a gradient still reaches it and can open it again. That is no guarantee: at -12
# the slope of silu is below a ten-thousandth, hardly better than ReLU's. Lesson 08 deals with steps that are too large.

# %% [markdown]
# ## What the gates do
#
# Take a trained SwiGLU and look at its gates while it reads. Each column is a place: the letter shown is the last of the
# four that the mixer sees. Each row is a hidden unit, with its number; they are the ten that add most to the result.

# %%
_, embed, mixer = runs["silu + gate (SwiGLU)", 0]
start_at = 2_000
line = corpus.validation[start_at : start_at + 44]
with torch.no_grad():
    x = embed(places(corpus.validation[start_at - 3 : start_at + 45])[0]).flatten(1)  # (44, 48)
    gates = F.silu(mixer.gate(x))  # (44, 128)
    work = (gates * mixer.up(x)).std(0) * mixer.down.weight.norm(dim=0)
units = work.topk(10).indices.tolist()
shown = gates[:, units]
print(f"{(shown.abs() < shown.abs().max() / 10).float().mean():.0%} of these gates are below a tenth of the largest")
plots.heatmap(
    shown.T,
    kind="signed",
    rows=units,
    columns=list(line.replace(" ", "␣").replace("\n", "↵")),
    xlabel="the letter before the place",
    ylabel="hidden unit",
    height=2.8,
    alt="Ten gates over 44 letters of a tale. Pale squares are gates that are nearly shut, green ones are open. Each unit"
    " opens at a few letters.",
)

# %% [markdown]
# Follow one row: where it is green the gate is open, where it is pale hardly anything passes. The same letter does not
# always open it, because the gate sees the three letters before as well. So ask each unit: of 20,000 unseen places, which
# five different groups of four letters open your gate widest?

# %%
letters = list(LETTERS)
with torch.no_grad():
    gates = F.silu(mixer.gate(embed(unseen[0]).flatten(1)))  # (P, 128)
for unit in units:
    best = gates[:, unit].argsort(descending=True)[:2000].tolist()
    groups = dict.fromkeys("".join(letters[i] for i in unseen[0][place].tolist()) for place in best)
    five = [group.replace(" ", "␣").replace("\n", "↵") for group in list(groups)[:5]]
    common = [max(set(column), key=column.count) for column in zip(*five)]
    agreed = [letter if column.count(letter) >= 4 else "·" for letter, column in zip(common, zip(*five))]
    print(f"unit {unit:3}: {'   '.join(five)}   in common: {''.join(agreed)}")

# %% [markdown]
# The last column has the letters that at least four of the five share, and a dot where they differ. So you see what a gate
# waits for: a letter, a pair, the beginning of a name. A row of dots is a gate that opens for something that no single
# letter tells. Nobody told the units what to look for.

# %% [markdown]
# ## Try it
#
# silu has a family: $z\,\sigma(\beta z)$. **What lies between a straight line and ReLU?** Move $\beta$.


# %%
def draw_swish(beta):
    """The curve z sigmoid(beta z) between the straight line z / 2 and ReLU."""
    z = torch.linspace(-5, 5, 201)
    return plots.draw_curves(
        {"z/2": (z, z / 2), "ReLU": (z, F.relu(z)), f"β = {beta:g}": (z, z * torch.sigmoid(beta * z))},
        xlabel="z",
        ylabel="what passes",
        colors={"z/2": "#6A3D9A", "ReLU": "REFERENCE", f"β = {beta:g}": "LLAMA"},
    )


widgets.explore(
    draw_swish,
    "What lies between a straight line and ReLU?",
    alt="Three curves. The one for beta {beta} lies between the straight line z/2 and ReLU, and dips below zero on its way.",
    beta=([0, 0.25, 0.5, 1, 2, 4, 16], 1, "β"),
)

# %% [markdown]
# At 0 it is a straight line, and the layer would be a plain product of two votes. At 16 you can hardly tell it from ReLU.
# LLaMA's silu is $\beta = 1$.

# %% [markdown]
# ## Exercises
#
# **Exercise 03.2** · implement · ●○○ · 10 min · 2 points · teaches where 11008 comes from · needs "How wide?"
#
# $\tfrac{8}{3} \cdot 4096$ is 10922.67, but LLaMA-7B is 11008 wide. Meta's code takes $\tfrac23$ of $4C$, drops the
# fraction, and rounds **up** to a multiple of 256, a "large power of 2" (its comment at `multiple_of`, `llama/model.py`).
# Matrix kernels work in tiles of such sizes, and a width that fills whole tiles wastes none of them. Write the rule; the
# width is a whole number, an `int`.
#
# <details><summary>Hint 1: drop the fraction</summary>
#
# `8 * d_model // 3` is exact for whole numbers of any size.
#
# </details>
# <details><summary>Hint 2: round up</summary>
#
# `n // m * m` rounds down. With `n + m - 1` instead of `n` it rounds up, and a multiple stays as it is.
#
# </details>


# %% tags=["exercise:03.2"]
def llama_d_ff(d_model, multiple_of=256):
    """LLaMA's inner width for a model of width d_model."""
    ### BEGIN SOLUTION
    two_thirds = 8 * d_model // 3
    return (two_thirds + multiple_of - 1) // multiple_of * multiple_of
    ### END SOLUTION


# %% tags=["check:03.2"]
llama_d_ff = check("03.2", llama_d_ff)

# who follows the rule?
for name, preset in PRESETS.items():
    C, published = preset.config.d_model, preset.config.d_ff
    verdict = "as the rule says" if llama_d_ff(C) == published else f"the rule says {llama_d_ff(C)}"
    print(f"{name:16} d_model {C}  d_ff {published:5} = {published / C:.2f} C   {verdict}")

# %% [markdown] tags=["solution:03.2"]

# %% [markdown]
# LiteLlama kept the old $4C$ and pays half as much again. Llama 2 70B is 1.3 times as wide on purpose: it shares keys and
# values between heads (lesson 05), and spends here what it saves there
# ([Llama 2](https://arxiv.org/abs/2307.09288), appendix A.2.1; it rounds to a multiple of 4096). Mistral chose 3.5 C. And
# `tiny-llama`, this course's own, follows the rule with multiples of 32: beside 128 channels, 256 would be too coarse.

# %% [markdown]
# **Exercise 03.3** · repair · ●●○ · 10 min · 3 points · teaches to distrust equal shapes · needs 03.1
#
# OpenELM stores gate and up as one matrix of $2F$ rows: the first $F$ rows are the gate. So one product does the work of
# two. This layer runs without an error, and the model talks nonsense. See how wrong it is, then repair it. (In the code
# `F` is `torch.nn.functional`: call the number of rows something else.)
#
# <details><summary>Hint 1</summary>
#
# Both halves have the same shape. Which of them goes through silu?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `chunk(2, dim=-1)` returns the first half first.
#
# </details>


# %%
def crossed(x, gate_up, down):
    """(B, T, C), (2F, C), (C, F) -> (B, T, C)."""
    up, gate = (x @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.T


layer, x = SwiGLU(48, 128), torch.randn(2, 5, 48)
stored = torch.cat([layer.gate.weight, layer.up.weight]), layer.down.weight
wrong, right = crossed(x, *stored), layer(x)[0]
print("same shape:", wrong.shape == right.shape)
print(f"size of the error {(wrong - right).norm() / right.norm():.2f} times the size of the result")


# %% tags=["exercise:03.3"]
def fused_swiglu(x, gate_up, down):
    """(B, T, C), (2F, C), (C, F) -> (B, T, C), the first F rows of gate_up being the gate."""
    ### BEGIN SOLUTION
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.T
    ### END SOLUTION


# %% tags=["check:03.3"]
fused_swiglu = check("03.3", fused_swiglu)

# %% [markdown] tags=["solution:03.3"]
# Only the order of two names was wrong. Other models fuse these matrices too, and each author chose which half is the gate.
# So compare numbers with a known implementation, and not shapes alone.

# %% [markdown]
# **Exercise 03.4** · implement · ●●● · 15 min · 4 points · teaches what the gate can do that a bend can't · needs 03.1
#
# Two hidden units are enough to multiply two channels **exactly**, for numbers of any size. A ReLU layer of any width can
# only come near, and only in a limited range, because it is made of flat pieces. Give the three weights of a `SwiGLU(2, 2)`
# that turns $(a, b)$ into $(a\,b,\ 0)$, as tensors of floats.
#
# <details><summary>Hint 1: a surprising sum</summary>
#
# Look at your table of silu: what is silu(4) - silu(-4)? What is silu(z) - silu(-z) for any z?
#
# </details>
# <details><summary>Hint 2: use it</summary>
#
# $\mathrm{silu}(a)\,b - \mathrm{silu}(-a)\,b = a\,b$. That is one unit with gate $a$ and offer $b$, and one with gate $-a$.
#
# </details>
# <details><summary>Hint 3: shapes</summary>
#
# A row of `gate` and of `up` makes one hidden unit: `[1.0, 0.0]` picks $a$. A row of `down` makes one output from both
# units.
#
# </details>


# %% tags=["exercise:03.4"]
def product_weights():
    """The weights gate (2, 2), up (2, 2) and down (2, 2)."""
    ### BEGIN SOLUTION
    gate = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # a and -a
    up = torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # b and b
    down = torch.tensor([[1.0, -1.0], [0.0, 0.0]])  # their difference, and nothing
    return gate, up, down
    ### END SOLUTION


# %% tags=["check:03.4"]
product_weights = check("03.4", product_weights)

# %% [markdown] tags=["solution:03.4"]
# $z\,\sigma(z) + z\,\sigma(-z) = z$, because $\sigma(z) + \sigma(-z) = 1$. This is the right picture above, and it is why
# "depends" is easy for a gated layer: it can compute any product of two channels with two units.

# %% tags=["nbval-check-output"]
gate, up, down = product_weights()
for a, b in ((3.0, 4.0), (-3.0, 4.0), (-300.0, -0.5)):
    x = torch.tensor([a, b], dtype=gate.dtype)
    y = down @ (F.silu(gate @ x) * (up @ x))
    print(f"{a} times {b}: {y[0]:.2f}")

# %% [markdown]
# **Exercise 03.5** · predict · ●○○ · 5 min · 1 point · teaches where a model's parameters are · needs 03.2
#
# LLaMA-7B has 32 layers of width 4,096, each with one SwiGLU. How many parameters are in all of them together? Compute the
# number.
#
# <details><summary>Hint 1</summary>
#
# Three matrices of 4,096 by 11,008 in each layer, no biases.
#
# </details>
# <details><summary>Hint 2</summary>
#
# It is more than half of 6.7 billion.
#
# </details>

# %% tags=["exercise:03.5"]
### BEGIN SOLUTION
swiglu_parameters = 32 * 3 * 4096 * 11008
### END SOLUTION

# %% tags=["check:03.5"]
swiglu_parameters = check("03.5", swiglu_parameters)

# %% tags=["nbval-check-output", "spoiler"]
whole = PRESETS["llama-7b"].n_params
print(f"{swiglu_parameters:,} of {whole:,}: {swiglu_parameters / whole:.0%}")

# %% [markdown] tags=["solution:03.5"]

# %% [markdown]
# ## In the wild
#
# transformers calls the layer `LlamaMLP`, and its matrices `gate_proj`, `up_proj` and `down_proj`. Meta's files call them
# `w1`, `w3` and `w2`, **in this order**: gate, up, down. If you take w1, w2, w3 for gate, up, down, the shapes raise an
# error. If you take w3 for the gate, nothing warns you. Same weights in, same numbers out:

# %% tags=["nbval-check-output"]
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

theirs = LlamaMLP(LlamaConfig(hidden_size=48, intermediate_size=128, num_attention_heads=4))
theirs.load_state_dict({f"{name}_proj.weight": getattr(layer, name).weight for name in ("gate", "up", "down")})
x = torch.randn(2, 5, 48)
difference = (theirs(x) - layer(x)[0]).abs().max()
print("largest difference to transformers below 1e-6:", bool(difference < 1e-6))

# %% [markdown]
# ## Recap
#
# A linear map adds votes; it can't let one channel decide what another is worth. SwiGLU multiplies an offer by a gate,
# both computed from the same token, and two such units make an exact product. At equal parameters, three matrices of width
# 8/3 C instead of two of 4 C, it beats the ReLU layer by a little, and a gate that is nearly shut can still learn.
#
# ## Read on
#
# - Shazeer, [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202): five pages, the four layers of this
#   lesson and their relatives on a real model, and the best last sentence in the field.
# - Ramachandran, Zoph and Le, [Searching for Activation Functions](https://arxiv.org/abs/1710.05941): how a search over
#   thousands of curves came out at silu.
# - Dauphin et al., [Language Modeling with Gated Convolutional Networks](https://arxiv.org/abs/1612.08083): the first gated
#   linear unit, and why a linear path through the gate keeps gradients alive.
#
# **Next:** [04. Position is an angle](04_rope.ipynb).
