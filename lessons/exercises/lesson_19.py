"""The exercises of lesson 19: what is asked of a row, LoRA, DoRA, DPO, and what LoRA leaves to learn."""

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lib.models.presets import PRESETS

checks = Checks("19")
check = checks.check


def targets(ids, n_prompt):
    """Return x and y, each (T - 1,): y is the next token, and -100 where that one is of the prompt."""
    return cut(ids, n_prompt)


def cut(ids, n_prompt, shift=1, first=1, nothing=-100, last=0):
    """Return x and y with one of the parts changed: how far y is moved, how much of the prompt is asked."""
    x, y = ids[: len(ids) - 1], ids[shift : len(ids) - 1 + shift].clone()
    y[: max(0, n_prompt - first)] = nothing
    if last:
        y[-last:] = nothing
    return x, y


@checks.exercise("19.1", targets, points=4, kind="repair", gradients=False)
def asked(e):
    """Short rows, long prompts, an answer of one token."""
    e.case("a prompt of 3, an answer of 4", torch.tensor([0, 7, 8, 21, 22, 23, 0]), 3)
    e.case("a prompt of 1", torch.tensor([9, 5, 6, 0]), 1, hint="nothing is masked: the prompt's only token asks.")
    e.case("an answer of one token", torch.tensor([0, 4, 5, 6, 3]), 4)
    e.case("some row", e.randint(90, 12), e.size(2, 9))
    e.case("a long row", e.randint(900, 60), 25)
    e.mistake("y is not moved: each token is asked for itself, and the model has only to repeat it.",
              lambda ids, n: cut(ids, n, shift=0))  # fmt: skip
    e.mistake("the prompt is not masked: the model also learns to write instructions.", lambda ids, n: (
        ids[:-1], ids[1:]
    ))  # fmt: skip
    e.mistake("neither moved nor masked.", lambda ids, n: (ids[:-1], ids[:-1]))
    e.mistake("the answer's first token is masked, too: it is the target of the prompt's last.",
              lambda ids, n: cut(ids, n, first=0))  # fmt: skip
    e.mistake("one token of the prompt is still asked for.", lambda ids, n: cut(ids, n, first=2))
    e.mistake("the last target is masked: then nobody learns to stop.", lambda ids, n: cut(ids, n, last=1))
    e.mistake("what is not asked is -100, since 0 is a token.", lambda ids, n: cut(ids, n, nothing=0))
    e.mistake("the answer is masked, and the prompt is asked.", _answer_masked)
    e.mistake("x is masked, and a model can't read -100: mask y alone.", _x_masked)
    e.mistake("y is moved the other way: it is the token after, not the one before.", _backwards)


def _answer_masked(ids, n):
    y = ids[1:].clone()
    y[max(0, n - 1) :] = -100
    return ids[:-1], y


def _x_masked(ids, n):
    x, y = cut(ids, n)
    return torch.where(y == -100, -100, x), y


def _backwards(ids, n):
    y = ids[:-1].clone()
    y[: max(0, n - 1)] = -100
    return ids[1:], y


def lora(x, weight, down, up, alpha):
    """Return x W^T + alpha / R (x down^T) up^T, (..., C_out)."""
    return beside(x, weight, down, up, alpha / len(down))


def beside(x, weight, down, up, scale):
    """Return the layer with a product that counts `scale` times."""
    return F.linear(x, weight) + scale * F.linear(F.linear(x, down), up)


@checks.exercise("19.2", lora, points=4)
def low_rank(e):
    """Several ranks; all dimensions different."""
    sizes = {"rank 2": (5, 7, 2, 6.0), "rank 1": (4, 6, 1, 3.0), "rank 3, alpha below it": (9, 5, 3, 1.0)}
    for name, (C_in, C_out, R, alpha) in sizes.items():
        e.case(name, e.randn(2, 4, C_in), e.randn(C_out, C_in), e.randn(R, C_in), e.randn(C_out, R), alpha)
    C_in, C_out, R = e.size(5, 9), e.size(10, 13), e.size(2, 4)
    e.case("some sizes", e.randn(3, C_in), e.randn(C_out, C_in), e.randn(R, C_in), e.randn(C_out, R), 7.0)
    e.case("up is zero, as at the start", e.randn(3, 5), e.randn(6, 5), e.randn(2, 5), torch.zeros(6, 2), 4.0)
    for hint, scale in {
        "the product counts once: it counts alpha / R times.": lambda alpha, R: 1.0,
        "alpha is not divided by the rank.": lambda alpha, R: alpha,
        "multiplied by the rank: alpha / R.": lambda alpha, R: alpha * R,
        "upside down: alpha / R, not R / alpha.": lambda alpha, R: R / alpha,
        "divided by the root of the rank; that is rsLoRA, a later paper.": lambda alpha, R: alpha / R**0.5,
        "divided by R alone: alpha is missing.": lambda alpha, R: 1 / R,
    }.items():
        e.mistake(hint, lambda x, W, down, up, alpha, scale=scale: beside(x, W, down, up, scale(alpha, len(down))))
    e.mistake("the frozen matrix is missing: this is what is added to it.", lambda x, W, down, up, alpha: (
        lora(x, 0 * W, down, up, alpha)
    ))  # fmt: skip
    e.mistake("the whole layer is scaled, not the product alone.", lambda x, W, down, up, alpha: (
        alpha / len(down) * beside(x, W, down, up, 1.0)
    ))  # fmt: skip
    e.mistake("alpha is divided by the width of x: the rank is len(down).", lambda x, W, down, up, alpha: (
        beside(x, W, down, up, alpha / x.shape[-1])
    ))  # fmt: skip
    e.mistake("divided by the rows of `up`, C_out of them: the rank is len(down).", lambda x, W, down, up, alpha: (
        beside(x, W, down, up, alpha / len(up))
    ))  # fmt: skip


def dora(weight, down, up, length, scale):
    """Return length * V / |V| with V = W + scale up down, each row by its own length, (C_out, C_in)."""
    V = weight + scale * up @ down
    return directed(V, length)


def directed(V, length, of=None, dim=1):
    """Return V, its rows divided by those of `of`, by default its own, times the lengths."""
    return length[:, None] * V / (V if of is None else of).norm(dim=dim, keepdim=True)


@checks.exercise("19.4", dora, points=4)
def direction_and_length(e):
    """The matrix that DoRA merges to."""
    for name, (C_out, C_in, R) in {"tall": (6, 4, 2), "wide": (3, 8, 2), "square": (5, 5, 1)}.items():
        e.case(name, e.randn(C_out, C_in), e.randn(R, C_in), e.randn(C_out, R), e.randn(C_out).abs() + 0.5, 2.0)
    C = e.size(5, 9)
    e.case("some square", e.randn(C, C), e.randn(3, C), e.randn(C, 3), e.randn(C).abs() + 0.1, 0.5)
    e.case("up is zero: W's directions", e.randn(4, 6), e.randn(2, 6), torch.zeros(4, 2), e.randn(4).abs() + 1, 1.0)
    e.mistake("the length is that of the whole matrix: each row has its own.", lambda W, down, up, length, s: (
        length[:, None] * (W + s * up @ down) / (W + s * up @ down).norm()
    ))  # fmt: skip
    e.mistake("divided by the lengths of W's rows: it is V whose direction counts.", lambda W, down, up, length, s: (
        directed(W + s * up @ down, length, of=W)
    ))  # fmt: skip
    e.mistake("each column is divided by its length: a row is one output.", lambda W, down, up, length, s: (
        directed(W + s * up @ down, length, dim=0)
    ))  # fmt: skip
    e.mistake("V is not divided by its lengths.", lambda W, down, up, length, s: (
        length[:, None] * (W + s * up @ down)
    ))  # fmt: skip
    e.mistake("the learned lengths are missing: all rows have length one.", lambda W, down, up, length, s: (
        F.normalize(W + s * up @ down, dim=1)
    ))  # fmt: skip
    e.mistake("this is LoRA: the row's length is not taken out.", lambda W, down, up, length, s: W + s * up @ down)
    e.mistake("`scale` is missing.", lambda W, down, up, length, s: dora(W, down, up, length, 1.0))
    e.mistake("divided by the square of the length: take the root.", lambda W, down, up, length, s: (
        length[:, None] * (W + s * up @ down) / (W + s * up @ down).square().sum(1, keepdim=True)
    ))  # fmt: skip
    e.mistake("the direction is W's: the product is added after the division.", lambda W, down, up, length, s: (
        directed(W, length) + s * up @ down
    ))  # fmt: skip
    e.mistake("the product alone has the direction: W is missing in V.", lambda W, down, up, length, s: (
        directed(W * 0 + s * up @ down, length)
    ))  # fmt: skip


def dpo(better, worse, better_before, worse_before, beta):
    """Return -log sigmoid(beta margin), (B,): the margin is what the better answer gained more than the worse one."""
    return -F.logsigmoid(beta * gained(better, worse, better_before, worse_before))


def gained(better, worse, better_before, worse_before):
    """Return by how much more the better answer has gained, (B,)."""
    return (better - better_before) - (worse - worse_before)


@checks.exercise("19.5", dpo, points=4)
def preferred(e):
    """Log-probabilities of answers, as long as stories are."""
    e.case("three pairs", *(e.randn(3) - 5 for _ in range(4)), 0.5)
    e.case("as at the start", *(z := (e.randn(4) - 9, e.randn(4) - 7)), *z, 0.1, hint="nothing gained: ln 2 for each.")
    e.case("one pair", e.randn(1), e.randn(1), e.randn(1), e.randn(1), 2.0)
    e.case("stories of 150 tokens", *(30 * e.randn(5) - 300 for _ in range(4)), 0.3)
    e.case("the worse one gained a lot", torch.tensor([-900.0]), torch.tensor([-100.0]), torch.tensor([-100.0]),
           torch.tensor([-900.0]), 1.0, hint="log(sigmoid(-1600)) is the log of zero: take F.logsigmoid.")  # fmt: skip
    for hint, wrong in {
        "the model before is missing: it is about what each answer gained.": lambda m, b: -F.logsigmoid(b * m(0)),
        "the minus sign is missing.": lambda m, b: F.logsigmoid(b * m(1)),
        "the worse answer is preferred: swap the two.": lambda m, b: -F.logsigmoid(-b * m(1)),
        "beta is missing.": lambda m, b: -F.logsigmoid(m(1)),
        "beta stands outside of the sigmoid.": lambda m, b: -b * F.logsigmoid(m(1)),
        "divided by beta.": lambda m, b: -F.logsigmoid(m(1) / b),
        "the sigmoid is a product's last step: its log is missing.": lambda m, b: -torch.sigmoid(b * m(1)),
        "this is the hinge.": lambda m, b: F.relu(1 - b * m(1)),
        "one number: return one for each pair.": lambda m, b: -F.logsigmoid(b * m(1)).mean(),
        "the sign of the model before is wrong: it is taken away.": lambda m, b: -F.logsigmoid(b * m(-1)),
    }.items():
        e.mistake(hint, lambda w, l, w0, l0, beta, wrong=wrong: (
            wrong(lambda k: gained(w, l, k * w0, k * l0), beta)
        ))  # fmt: skip
    e.mistake("for large margins it is infinite: sigmoid first, then log, goes through zero.", lambda *z: (
        -torch.log(torch.sigmoid(z[4] * gained(*z[:4])))
    ))  # fmt: skip
    e.mistake("only the better answer counts here: the worse one must lose.", lambda w, l, w0, l0, beta: (
        -F.logsigmoid(beta * (w - w0))
    ))  # fmt: skip


SIZES = PRESETS["llama-7b"].config
LEARN = 2 * SIZES.n_layers * 8 * (SIZES.d_model + SIZES.n_heads * SIZES.d_head)


@checks.exercise("19.3", LEARN, points=2, kind="predict")
def how_many(e):
    """LoRA of rank 8 on queries and values of LLaMA-7B."""
    C, L = SIZES.d_model, SIZES.n_layers
    e.mistake(
        "half is missing: there are two thin matrices, down and up, beside each of two large ones, query and value.",
        LEARN // 2,
    )
    e.mistake("this is one layer of 32.", LEARN // L)
    e.mistake("four matrices of each layer: only two are adapted, query and value.", 2 * LEARN)
    e.mistake("this is the number of weights in the two large matrices.", 2 * L * C * C)
    e.mistake("the rank counts once, for each of both thin matrices: not squared.", 8 * LEARN)
    e.mistake("the rank is missing.", LEARN // 8)
