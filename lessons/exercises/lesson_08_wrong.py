"""Wrong forms of lesson 08's functions, one slip each, and the parts to make them."""

import math
from itertools import accumulate

import torch
import torch.nn.functional as F

from lessons.checker.limits import InWords
from lib.models.llama import Llama, LlamaConfig

SMALL = LlamaConfig(31, n_layers=2, d_model=24, n_heads=6, n_kv_heads=2, d_head=4, d_ff=40, context_length=20)


def clip(gradients, max_norm):
    """Return the gradients, shrunk together to max_norm where their global norm is larger, and that norm."""
    norm = norm_of(gradients)
    return [g * min(1.0, float(max_norm / norm)) if norm > 0 else g for g in gradients], norm


def norm_of(gradients):
    """Return the root of the sum of all squares, a tensor."""
    return sum(g.pow(2).sum() for g in gradients).sqrt()


def with_factor(factor):
    """Make a wrong clip: factor(gradients, max_norm) for all tensors."""
    return lambda gradients, max_norm: ([g * factor(gradients, max_norm) for g in gradients], norm_of(gradients))


def with_norm(norm, told=True):
    """Make a clip with another norm(gradients), which is returned, too, where it is `told`."""

    def wrong(gradients, max_norm):
        length = torch.as_tensor(norm(gradients))
        shorter = [g * (max_norm / length) if length > max_norm else g for g in gradients]
        return shorter, length if told else norm_of(gradients)

    return wrong


WRONG_NORMS = {
    "the norm is the largest tensor's: add the squares of all.": lambda z: max(norm_of([g]) for g in z),
    "the norms are added: add the squares, and take the root at the end.": lambda z: sum(norm_of([g]) for g in z),
    "the root is missing: the squares are added up, but no root is taken.": lambda z: norm_of(z) ** 2,
    "absolute values are added: squares, and the root at the end.": lambda z: sum(g.abs().sum() for g in z),
    "the largest number is taken for the norm: add all squares.": lambda z: max(g.abs().max() for g in z),
    "these are means of squares: add the squares up.": lambda z: sum(g.pow(2).mean() for g in z).sqrt(),
    "the tensors have different shapes and can't be stacked: square and sum each one.": lambda z: torch.stack(z).norm(),
}


def _each_alone(gradients, max_norm):
    return [clip([g], max_norm)[0][0] for g in gradients], norm_of(gradients)


def _by_value(gradients, max_norm):
    return [g.clamp(-max_norm, max_norm) for g in gradients], norm_of(gradients)


def _always(gradients, max_norm):
    norm = norm_of(gradients)
    return [g * (max_norm / norm) if norm > 0 else g for g in gradients], norm


def _to_one(gradients, max_norm):
    norm = norm_of(gradients)
    return 1.0 if norm <= max_norm else 1 / norm


def _upside_down(gradients, max_norm):
    norm = norm_of(gradients)
    return norm / max_norm if norm > max_norm else 1.0


def _norm_after(gradients, max_norm):
    clipped, _ = clip(gradients, max_norm)
    return clipped, norm_of(clipped)


def _in_place(gradients, max_norm):
    norm = norm_of(gradients)
    return [g.mul_(min(1.0, float(max_norm / norm)) if norm > 0 else 1.0) for g in gradients], norm


WRONG_CLIPS = [
    *((hint, with_norm(norm, told)) for hint, norm in WRONG_NORMS.items() for told in (True, False)),
    ("each tensor is clipped by itself: that changes the direction. One norm for all.", _each_alone),
    ("each number is cut by itself: that changes the direction.", _by_value),
    ("short gradients are made longer: the factor is never above 1.", _always),
    ("divided by the norm, so that max_norm is always 1.", with_factor(_to_one)),
    ("the factor is upside down: max_norm / norm.", with_factor(_upside_down)),
    ("where all are zero, 0/0 makes NaN: divide only where the norm is above max_norm.", with_factor(
        lambda z, m: torch.clamp(m / norm_of(z), max=1.0) * (norm_of(z) / norm_of(z)))),
    ("the factor is upside down: max_norm / norm.", with_factor(lambda z, m: min(1.0, float(norm_of(z) / m)))),
    ("the root of the mean of squares: of their sum.", with_norm(
        lambda z: torch.cat([g.flatten() for g in z]).square().mean().sqrt())),
    ("the norm that is returned is the one after clipping: return the one before.", _norm_after),
    ("the gradients come back as they were.", lambda z, m: (z, norm_of(z))),
    ("the inputs were changed in place: make new tensors here.", _in_place),
    ("where they are too long, they are dropped: shrink them.", with_factor(lambda z, m: float(norm_of(z) <= m))),
]  # fmt: skip


def bits_per_byte(nats, texts):
    """Return total nats / ln 2 / total UTF-8 bytes."""
    return nats / math.log(2) / n_bytes(texts)


def n_bytes(texts):
    """Return the UTF-8 bytes of all texts."""
    return sum(len(text.encode("utf-8")) for text in texts)


WRONG_BITS = {
    "characters are counted: bytes.": lambda n, t: n / math.log(2) / len("".join(t)),
    "these are nats per byte: divide by ln 2.": lambda n, t: n / n_bytes(t),
    "multiplied by ln 2: a bit is smaller than a nat.": lambda n, t: n * math.log(2) / n_bytes(t),
    "divided by the number of texts, too: `nats` is a sum.": lambda n, t: bits_per_byte(n, t) / len(t),
    "each text is divided by its own bytes: count the bytes of all, and divide once.": lambda n, t: (
        sum(n / math.log(2) / max(1, len(x.encode())) for x in t) / len(t)
    ),
    "nats and bytes are averaged over the texts: divide once, all nats by all bytes.": lambda n, t: (
        sum(n / len(t) / math.log(2) / max(1, len(x.encode())) for x in t) / len(t)
    ),
    "these are the bytes of a mean text, but the nats of all: count the bytes of all.": lambda n, t: (
        bits_per_byte(n, t) * len(t)
    ),
    "log10(2) is for powers of ten: a bit is ln 2 nats, `math.log(2)`.": lambda n, t: n / math.log10(2) / n_bytes(t),
    "this is bits per text: divide by bytes.": lambda n, t: n / math.log(2) / len(t),
    "words are counted: bytes.": lambda n, t: n / math.log(2) / sum(len(x.split()) for x in t),
    "only the first text's bytes are counted.": lambda n, t: n / math.log(2) / len(t[0].encode() or b"x"),
    "something stands between the texts: join them by nothing.": lambda n, t: (
        n / math.log(2) / len(" ".join(t).encode())
    ),
    "`texts` is a list: encode each text in it.": lambda n, t: n / math.log(2) / len(t.encode()),
    "these are bytes of another encoding: `utf-8`.": lambda n, t: (
        n / math.log(2) / sum(len(x.encode("utf-16")) for x in t)
    ),
    "divided by 8, too: this is per bit of text, not per byte.": lambda n, t: bits_per_byte(n, t) / 8,
    "nats become bits by dividing by ln 2, not by 2.": lambda n, t: n / 2 / n_bytes(t),
    "nats are a logarithm already: divide by ln 2, and take no logarithm of them.": lambda n, t: (
        math.log2(n) / n_bytes(t)
    ),
    "`//` cuts the result down to a whole number: `/`.": lambda n, t: n / math.log(2) // n_bytes(t),
    "upside down: nats are above, bytes below.": lambda n, t: n_bytes(t) * math.log(2) / n,
    "the base is 10: a bit is ln 2 nats.": lambda n, t: n / math.log(10) / n_bytes(t),
}


def added(model, x, y, rows, clear=True, weigh=None, keep=True, back=True, ignored=-100):
    """Add up with one thing changed. weigh(loss sum, counted here, counted in all, parts) gives a part's share.

    back: call backward for each part. ignored: the target that is not scored; what lies below 0 is scored as 0 then.
    """
    if clear:
        model.zero_grad()
    counted, total, parts = (y != -100).sum(), 0.0, -(-len(x) // rows)
    for part_x, part_y in zip(x.split(rows), y.split(rows), strict=True):
        logits = model(part_x)[0].flatten(0, 1)
        target = part_y.flatten() if ignored == -100 else part_y.flatten().clamp(min=0)
        loss = F.cross_entropy(logits, target, reduction="sum", ignore_index=ignored)
        loss = (weigh or (lambda s, here, all, parts: s / all))(loss, (part_y != -100).sum(), counted, parts)
        if not keep:
            model.zero_grad()
        if back:
            loss.backward()
        total += loss.item()
    return total


def call_accumulate(answer, x, y, rows):
    """Run an answer on a model with old gradients; return the loss, some gradients, the most rows at a time.

    Where all tokens count, also whether each part's backward came before the next part: else all graphs are in memory.
    """
    held = torch.random.get_rng_state()
    torch.manual_seed(3)
    model = Llama(SMALL)
    torch.random.set_rng_state(held)
    for weight in model.parameters():
        weight.grad = torch.full_like(weight, 0.01)
    most, waiting = [], []
    model.embed.register_forward_pre_hook(lambda module, inputs: most.append(len(inputs[0])))
    if (y != -100).all():
        model.embed.register_forward_pre_hook(lambda module, inputs: waiting.append(1))
        model.embed.weight.register_hook(lambda gradient: waiting.append(-1))
    loss = answer(model, x, y, rows)
    if loss is None:
        raise InWords("it returns nothing: return the batch's loss")
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        raise InWords("the loss that it returns holds on to the graph of the model: return a float, `.item()`")
    if max(accumulate(waiting), default=0) > 1:
        raise InWords("a part's backward must come before the next part: else the graphs of all parts are in memory")
    found = {name: weight.grad for name, weight in model.named_parameters() if "1.mix" in name or "norm" in name}
    return {"loss": torch.as_tensor(loss).detach().float(), "rows at a time": max(most), "gradients": found}


def changed(**change):
    """Make a wrong answer."""
    return lambda model, x, y, rows: added(model, x, y, rows, **change)


def _by_rows(model, x, y, rows):
    shares = iter([len(part) / len(x) for part in x.split(rows)])
    return added(model, x, y, rows, weigh=lambda s, here, all, parts: s / here.clamp(min=1) * next(shares))


def _last_loss(model, x, y, rows):
    added(model, x, y, rows)
    with torch.no_grad():
        logits, last = model(x.split(rows)[-1])[0].flatten(0, 1), y.split(rows)[-1].flatten()
        return (F.cross_entropy(logits, last, reduction="sum") / (y != -100).sum()).item()


def _cleared_at_the_end(model, x, y, rows):
    total = added(model, x, y, rows)
    model.zero_grad()
    return total


def _lost_end(model, x, y, rows):
    whole, counted = len(x) // rows * rows, (y != -100).sum()
    return added(model, x[:whole], y[:whole], rows, weigh=lambda s, here, all, parts: s / counted)


WRONG_PARTS = {
    "the last part is lost where it has fewer rows.": _lost_end,
    "the sum is divided by the rows: divide by the counted tokens.": lambda model, x, y, rows: added(
        model, x, y, rows, weigh=lambda s, here, all, parts: s / len(x)
    ),
    "the loss is divided, but only after `backward`: the gradients are those of the sum.": lambda model, x, y, rows: (
        added(model, x, y, rows, weigh=lambda s, here, all, parts: s) / (y != -100).sum().item()
    ),
    "token 0 is a token, too: `y != -100`, not `y > 0`.": lambda model, x, y, rows: added(
        model, x, y, rows, weigh=lambda s, here, all, parts: s / (y > 0).sum()
    ),
    "still the mean of the parts' means: a part with fewer counted tokens must count less.": changed(
        weigh=lambda s, here, all, parts: s / here.clamp(min=1) / parts
    ),
    "the old gradients are still in there: `model.zero_grad()` first.": changed(clear=False),
    "the parts' means are added, but not weighed.": changed(weigh=lambda s, here, all, parts: s / here.clamp(min=1)),
    "a part without a counted token has no mean, 0/0: sum its losses, and divide by the whole batch's count.": changed(
        weigh=lambda s, here, all, parts: s / here * here / all
    ),
    "each part's mean is weighed by its rows: weigh it by its counted tokens.": _by_rows,
    "the sum is not divided by the number of counted tokens.": changed(weigh=lambda s, here, all, parts: s),
    "each part clears the gradients of the one before: clear once, before the loop.": changed(keep=False),
    "divided by the number of parts, too.": changed(weigh=lambda s, here, all, parts: s / all / parts),
    "all tokens are counted, those with -100 too: `(y != -100).sum()`.": lambda model, x, y, rows: added(
        model, x, y, rows, weigh=lambda s, here, all, parts: s / x.numel()
    ),
    "tokens with -100 are scored like others: they do not count.": changed(ignored=-1),
    "no gradients: `backward` is missing.": changed(back=False),
    "the gradients are cleared at the end: clear them before the loop.": _cleared_at_the_end,
    "this is the last part's loss: add up the parts' losses.": _last_loss,
    "the loss that is returned is divided by the number of parts, too.": lambda model, x, y, rows: (
        added(model, x, y, rows) / len(x.split(rows))
    ),
    "all rows go through at once: memory forbids it.": lambda model, x, y, rows: added(model, x, y, len(x)),
}
