"""The checks of lesson 02, RMSNorm. Also the pattern for all lessons: cases, mistakes, other right answers."""

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lib.layers.norm import rms_norm

checks = Checks("02")
check = checks.check

HALF = (torch.float64, torch.bfloat16, torch.float16)


@checks.exercise("02.1", rms_norm, points=4, dtypes=HALF, time=(0, 1), batch=(0,))
def norm(e):
    """The norm itself. Every wrong version changes one thing."""
    e.case("random numbers", e.randn(2, 5, 8), 1 + e.randn(8), 1e-5)
    e.case("numbers with a mean", 3 + e.randn(2, 3, 6), e.randn(6), 1e-5)
    e.case("tiny numbers", 1e-3 * e.randn(2, 3, 8), e.randn(8), 1e-5)
    e.case("large eps", e.randn(3, 4, 8), e.randn(8), 0.25)
    e.case("eps left out of the call", 0.01 * e.randn(1, 3, 8), e.randn(8))
    e.case("two axes", e.randn(5, 8), e.randn(8), 1e-5)
    e.case("float16, 300 squared is infinite", 300 * torch.ones(1, 2, 8).half(), torch.ones(8).half(), 1e-5)
    for hint, root in WRONG_ROOTS.items():
        e.mistake(hint, with_root(root))
    for hint, wrong in SLIPS.items():
        e.mistake(hint, wrong)


def wide(x):
    """Return half precision as float32, the rest as it is."""
    return x if x.dtype == torch.float64 else x.float()


def mean(x, dim=-1):
    """Return the mean of the squares."""
    return x.pow(2).mean(dim, keepdim=True)


def with_root(root):
    """Return a norm that divides by root(x, eps), right or wrong."""
    return lambda x, weight, eps=1e-5: (wide(x) / root(wide(x), eps)).to(x.dtype) * weight


def in_place(x, weight, eps=1e-5):
    """A right result, but x is spoiled."""
    x /= (mean(wide(x)) + eps).sqrt().to(x.dtype)
    return x * weight


WRONG_ROOTS = {
    "divided by the standard deviation, which subtracts the mean first.": lambda x, eps: (
        x.var(-1, correction=0, keepdim=True) + eps
    ).sqrt(),
    "divided by the standard deviation of a sample: nothing is subtracted here, take the mean of the squares.": (
        lambda x, eps: (x.var(-1, keepdim=True) + eps).sqrt()
    ),
    "the mean is squared: square first, then take the mean.": lambda x, eps: (
        x.mean(-1, keepdim=True).pow(2) + eps
    ).sqrt(),
    "divided by a fixed number of channels: `.mean(-1)` counts them.": lambda x, eps: (
        x.pow(2).sum(-1, keepdim=True) / 64 + eps
    ).sqrt(),
    "eps outside the root. It belongs inside: sqrt(mean + eps).": lambda x, eps: mean(x).sqrt() + eps,
    "eps is forgotten.": lambda x, eps: mean(x).sqrt(),
    "eps is squared: add it as it is.": lambda x, eps: (mean(x) + eps**2).sqrt(),
    "eps is always 1e-5: use the argument.": lambda x, eps: (mean(x) + 1e-5).sqrt(),
    "the sum of the squares, not their mean.": lambda x, eps: (x.pow(2).sum(-1, keepdim=True) + eps).sqrt(),
    "the root is missing.": lambda x, eps: mean(x) + eps,
    "multiplied by the root, not divided by it.": lambda x, eps: (mean(x) + eps).rsqrt(),
    "the mean of the absolute values: square first, root last.": lambda x, eps: x.abs().mean(-1, keepdim=True) + eps,
    "the mean runs over time too, so that a token sees later ones: last axis only.": lambda x, eps: (
        mean(x, (-2, -1)) + eps
    ).sqrt(),
    "the mean runs over time, not over the channels.": lambda x, eps: (mean(x, -2) + eps).sqrt(),
    "the mean runs over everything, the batch too: last axis only.": lambda x, eps: (mean(x, None) + eps).sqrt(),
    "the mean runs over the first axis, the batch.": lambda x, eps: (mean(x, 0) + eps).sqrt(),
}

SLIPS = {
    "an axis is lost: `mean(-1, keepdim=True)` keeps one number a token, as a column.": lambda x, weight, eps=1e-5: (
        x * torch.rsqrt(x.pow(2).mean(-1) + eps) * weight
    ),
    "the mean is subtracted. That is LayerNorm; RMSNorm only divides.": lambda x, weight, eps=1e-5: (
        F.layer_norm(wide(x), x.shape[-1:], None, None, eps).to(x.dtype) * weight
    ),
    "the weight is forgotten.": lambda x, weight, eps=1e-5: rms_norm(x, torch.ones_like(weight), eps),
    "the weight is added: it multiplies.": lambda x, weight, eps=1e-5: (
        rms_norm(x, torch.ones_like(weight), eps) + weight
    ),
    "divided by the weight: it multiplies.": lambda x, weight, eps=1e-5: rms_norm(x, 1 / weight, eps),
    "`@` adds the channels up: each is multiplied by its own weight, `*`.": lambda x, weight, eps=1e-5: (
        rms_norm(x, torch.ones_like(weight), eps) @ weight
    ),
    "multiplied by 1 + weight, as Gemma does, not LLaMA.": lambda x, weight, eps=1e-5: rms_norm(x, 1 + weight, eps),
    "the weight comes before the norm: it belongs after.": lambda x, weight, eps=1e-5: rms_norm(
        x * weight, torch.ones_like(weight), eps
    ),
    "it works on x in place: make a new tensor.": in_place,
    "the gradient misses the scale: it is detached.": lambda x, weight, eps=1e-5: (
        (wide(x) * (mean(wide(x)) + eps).rsqrt().detach()).to(x.dtype) * weight
    ),
    "the result is detached, so that nothing before it can learn.": lambda x, weight, eps=1e-5: rms_norm(
        x, weight, eps
    ).detach(),
    "half precision is squared as it is, and 300 squared is infinite in float16: use x.float().": (
        lambda x, weight, eps=1e-5: x * torch.rsqrt(mean(x) + eps) * weight
    ),
    "float64 is squared in float32 and loses half its digits.": lambda x, weight, eps=1e-5: (
        (x.float() * (mean(x.float()) + eps).rsqrt()).to(x.dtype) * weight
    ),
    "the result stays float32: give it the type of x before the weight.": lambda x, weight, eps=1e-5: (
        wide(x) * (mean(wide(x)) + eps).rsqrt() * weight.to(wide(x).dtype)
    ),
    "the result is always float64.": lambda x, weight, eps=1e-5: rms_norm(x.double(), weight.double(), eps),
}


def alone(x):
    """(B, T, C) -> (B, T, C): RMSNorm without weight, each token by itself."""
    return rms_norm(x, torch.ones_like(x[0, 0]))


@checks.exercise("02.2", alone, points=3, kind="repair", time=(0, 1), batch=(0,))
def repaired(e):
    """The norm of a tutorial, which takes the mean over time too."""
    e.case("random numbers", e.randn(2, 5, 8))
    e.case("one long token among short ones", e.randn(1, 4, 6) * torch.tensor([1.0, 1.0, 100.0, 1.0])[:, None])
    e.case("tiny numbers", 1e-3 * e.randn(3, 2, 8))
    e.mistake("this is the broken one: the mean runs over time.", lambda x: x / (mean(x, (1, 2)) + 1e-5).sqrt())
    e.mistake("over time alone is no better: the channels of one token.", lambda x: x / (mean(x, 1) + 1e-5).sqrt())
    for dim in (0, (0, 2)):
        e.mistake(
            "over the batch: one story would change another.", lambda x, dim=dim: x / (mean(x, dim) + 1e-5).sqrt()
        )
    e.mistake("over everything: only the channels of one token.", lambda x: x / (x.pow(2).mean() + 1e-5).sqrt())
    e.mistake("an axis is lost: keepdim=True keeps it as a column.", lambda x: x / (x.pow(2).mean(-1) + 1e-5).sqrt())
    e.mistake("the mean is subtracted: that is LayerNorm.", lambda x: F.layer_norm(x, x.shape[-1:], None, None, 1e-5))
    e.mistake("over the tokens before it, too: only its own channels.", so_far)
    e.mistake("eps is gone.", lambda x: x / mean(x).sqrt())
    e.mistake("the root is gone.", lambda x: x / (mean(x) + 1e-5))
    e.mistake("eps outside the root: it was inside.", lambda x: x / (mean(x).sqrt() + 1e-5))
    e.mistake("eps is another one: it was 1e-5.", lambda x: x / (mean(x) + 1e-6).sqrt())
    e.mistake(
        "all tokens are divided by the first one's size: each by its own.", lambda x: x / (mean(x[:, :1]) + 1e-5).sqrt()
    )
    e.mistake("a sum, not a mean.", lambda x: x / (x.pow(2).sum(-1, keepdim=True) + 1e-5).sqrt())


def so_far(x):
    """A wrong one: the mean runs over all channels up to this token."""
    count = torch.arange(1, x.shape[1] + 1)[:, None]
    return x / (mean(x).cumsum(1) / count + 1e-5).sqrt()


@checks.exercise("02.3", (2 * 32 + 1) * 4096, points=1)
def norm_parameters(e):
    """How many parameters LLaMA-7B has in norms."""
    e.mistake("the norm before the head is forgotten.", 64 * 4096)
    e.mistake("each layer has two norms.", 33 * 4096)
    e.mistake("each layer has two norms, and one more stands before the head.", 32 * 4096)
    e.mistake("RMSNorm has no bias.", 2 * 65 * 4096)
    e.mistake("this counts the norms: each has a weight a channel.", 65)
    e.mistake("a norm has one weight a channel, no matrix.", 65 * 4096**2)
    e.mistake("one norm too many: none stands after the embedding.", 66 * 4096)
    e.mistake("a layer has two norms, one before each half, not three.", 97 * 4096)
    e.mistake("a norm runs over all 4,096 channels, not over the 128 of a head.", 65 * 128)
    e.mistake(
        "both norms of a layer are as wide as the model, 4,096: none is inside the MLP.", 32 * (4096 + 11008) + 4096
    )


def fold(weight, matrix):
    """(C,), (C, D) -> (C, D): the matrix with the norm's weight inside."""
    return weight[:, None] * matrix


@checks.exercise("02.4", fold, points=3)
def folded(e):
    """Put the norm's weight into the matrix after it."""
    e.case("a wide matrix", e.randn(6), e.randn(6, 9))
    e.case("a square matrix", e.randn(8), e.randn(8, 8))
    e.case("one channel", e.randn(1), e.randn(1, 4))
    for columns in (lambda w, m: m * w, lambda w, m: w * m, lambda w, m: m @ torch.diag(w)):
        e.mistake("the columns are multiplied: each channel meets one row.", columns)
    for product in (lambda w, m: w @ m, lambda w, m: m @ w):
        e.mistake("multiply each row by its own weight; a product with a vector adds the rows up.", product)
    e.mistake("the matrix comes back as it was: the weight is not in it.", lambda w, m: m)
    e.mistake("the weight is multiplied twice: once is enough.", lambda w, m: w[:, None] ** 2 * m)
    e.mistake("divided: it multiplies.", lambda w, m: m / w[:, None])
    e.mistake("the weight is added: it multiplies.", lambda w, m: m + w[:, None])
    e.mistake("the result is transposed.", lambda w, m: (w[:, None] * m).T)
    e.mistake("the matrix itself was changed: make a new one.", lambda w, m: m.mul_(w[:, None]))


def backward(x, d, eps=1e-5):
    """x, d: (..., C), d = dL/dy -> dL/dx, (..., C)."""
    r = (mean(x) + eps).sqrt()
    return d / r - x / r**3 * (d * x).mean(-1, keepdim=True)


@checks.exercise("02.5", backward, points=4)
def by_hand(e):
    """The backward pass of the norm."""
    e.case("random numbers", e.randn(2, 5, 8), e.randn(2, 5, 8), 1e-5)
    e.case("large eps", e.randn(3, 6), e.randn(3, 6), 0.5)
    e.case("eps left out of the call", 0.01 * e.randn(3, 2, 6), e.randn(3, 2, 6))
    x = e.randn(3, 8, dtype=torch.float64)  # hardly anything is left here: float32 has too few digits
    e.case("d along x", x, 2 * x, 1e-5)
    for hint, wrong in {
        "r is taken as a constant: it depends on x, too.": lambda x, d, r, m: d / r,
        "the second part has the wrong sign.": lambda x, d, r, m: d / r + x / r**3 * m,
        "r to the power 3: 1/r^2, and 1/r from the root.": lambda x, d, r, m: d / r - x / r**2 * m,
        "r to the power 3: the root brings 1/r, and the division 1/r^2.": lambda x, d, r, m: d / r - x / r * m,
        "r is the root: this is its square.": lambda x, d, r, m: d / r**2 - x / r**6 * m,
        "a factor 2 is left: that of x squared and the half of the root cancel.": lambda x, d, r, m: (
            d / r - 2 * x / r**3 * m
        ),
        "the first part is missing, d / r.": lambda x, d, r, m: -x / r**3 * m,
        "x and d have changed places.": lambda x, d, r, m: x / r - d / r**3 * m,
        "an axis is lost: `.mean(-1, keepdim=True)`.": lambda x, d, r, m: d / r - x / r**3 * m.squeeze(-1),
        "the mean of the product d x, not of d alone.": lambda x, d, r, m: d / r - x / r**3 * d.mean(-1, keepdim=True),
        "the mean of the product d x: x belongs under the mean, not before it.": lambda x, d, r, m: (
            d / r - x**2 / r**3 * d.mean(-1, keepdim=True)
        ),
        "the mean of d x runs over tokens, not over channels.": lambda x, d, r, m: (
            d / r - x / r**3 * (d * x).mean(0, keepdim=True)
        ),
        "d x was divided by C, but not added up over the channels.": lambda x, d, r, m: (
            d / r - x / r**3 * d * x / x.shape[-1]
        ),
        "the part along x is removed, but nothing is divided by r.": lambda x, d, r, m: d - x * m / mean(x),
        "all of the part along x is removed: with eps a little of it stays, x / r^3.": lambda x, d, r, m: (
            (d - x * m / mean(x)) / r
        ),
        "the mean of d x became a sum.": lambda x, d, r, m: d / r - x / r**3 * m * x.shape[-1],
        "d x was not averaged: each channel moves all of them.": lambda x, d, r, m: d / r - x / r**3 * d * x,
        "the first part lacks 1/r.": lambda x, d, r, m: d - x / r**3 * m,
        "this is the norm itself, not its gradient.": lambda x, d, r, m: x / r,
        "the mean of d x runs over all tokens: last axis only.": lambda x, d, r, m: d / r - x / r**3 * m.mean(),
        "the mean of the product d x, not the product of two means.": lambda x, d, r, m: (
            d / r - x / r**3 * d.mean(-1, keepdim=True) * x.mean(-1, keepdim=True)
        ),
        "the second part points along x, not along d.": lambda x, d, r, m: d / r - d / r**3 * m,
        "divided by C twice: the mean has done it.": lambda x, d, r, m: d / r - x / r**3 * m / x.shape[-1],
        "eps is forgotten in r.": lambda x, d, r, m: d / mean(x).sqrt() - x / mean(x).sqrt() ** 3 * m,
    }.items():
        e.mistake(hint, with_parts(wrong))
    e.mistake("eps is always 1e-5: use the argument.", lambda x, d, eps=1e-5: backward(x, d))
    e.mistake("eps outside the root: r = sqrt(mean + eps).", eps_outside)


def eps_outside(x, d, eps=1e-5):
    """A wrong one: eps is added to the root."""
    r = mean(x).sqrt() + eps
    return d / r - x / r**3 * (d * x).mean(-1, keepdim=True)


def with_parts(formula):
    """Return a backward pass by formula(x, d, r, mean of d x)."""
    return lambda x, d, eps=1e-5: formula(x, d, (mean(x) + eps).sqrt(), (d * x).mean(-1, keepdim=True))
