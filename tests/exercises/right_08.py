"""Right answers to the exercises of lesson 08, written in other ways: the check must let them through."""

import math

import torch
import torch.nn.functional as F

from lessons.exercises.lesson_08_wrong import norm_of, with_factor
from lib.run.train import schedule
from tests.exercises.rights import right


def weighed_means(model, x, y, rows):
    """Return the same by means, each weighed by its counted tokens."""
    model.zero_grad(set_to_none=False)
    total, counted = 0.0, int((y != -100).sum())
    for i in range(0, len(x), rows):
        part = y[i : i + rows]
        if not (part != -100).any():
            continue
        mean = F.cross_entropy(model(x[i : i + rows])[0].transpose(1, 2), part)
        share = mean * int((part != -100).sum()) / counted
        share.backward()
        total += share.item()
    return total


def _with_stack(gradients, max_norm):
    norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))
    return tuple(g if norm <= max_norm else g * max_norm / norm for g in gradients), norm


@right("08.1")
def by_half_angle(step, recipe):
    """(1 + cos x) / 2 is cos^2 (x / 2)."""
    after = recipe.steps - recipe.warmup
    if step >= recipe.warmup:
        share = math.cos(math.pi / 2 * (step - recipe.warmup) / (after if after > 0 else 1)) ** 2
        return recipe.final_ratio * (1 - share) + share
    return (1 + step) / recipe.warmup


@right("08.1")
def by_tensors(step, recipe):
    """Both parts by torch, and the smaller one counts while it climbs."""
    if step < recipe.warmup:
        return float(torch.linspace(1 / recipe.warmup, 1.0, recipe.warmup, dtype=torch.float64)[step])
    x = torch.tensor(math.pi * (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup), dtype=torch.float64)
    return float(torch.lerp(torch.ones((), dtype=torch.float64), x.cos() / 2 + 0.5, 1 - recipe.final_ratio))


@right("08.2")
def by_one_vector(gradients, max_norm):
    """All numbers in one vector."""
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    factor = min(1.0, max_norm / float(norm)) if norm > 0 else 1.0
    return [gradient * factor for gradient in gradients], norm


@right("08.3")
def by_filter(model):
    """What is no vector."""
    return [name for name, weight in model.named_parameters() if weight.dim() not in (0, 1)]


@right("08.3")
def by_exclusion(model):
    """All names but those of vectors."""
    names = dict(model.named_parameters())
    for name in [name for name, weight in names.items() if weight.squeeze().shape == weight.shape[:1]]:
        if names[name].dim() == 1:
            del names[name]
    return list(names)


@right("08.4")
def byte_by_byte(nats, texts):
    """Count bytes one at a time."""
    count = 0
    for text in texts:
        for _ in bytes(text, "utf-8"):
            count += 1
    return nats * (1 / math.log(2)) / count


@right("08.4")
def by_base_two(nats, texts):
    """e^nats as a power of two."""
    return math.log2(math.exp(1)) * nats / len("".join(texts).encode("utf-8"))


@right("08.5")
def loss_first(model, x, y, rows):
    """One sum of losses a part, by hand."""
    for weight in model.parameters():
        weight.grad = None
    counted, total = int((y >= 0).sum()), 0.0
    for first in range(0, len(x), rows):
        here = y[first : first + rows].flatten()
        scores = model(x[first : first + rows])[0].flatten(0, 1).log_softmax(-1)[here >= 0]
        loss = -scores.gather(-1, here[here >= 0][:, None]).sum() / counted
        loss.backward()
        total += float(loss.detach())
    return total


@right("08.5")
def by_token(model, x, y, rows):
    """A loss for each token, those that do not count times 0."""
    model.zero_grad(set_to_none=True)
    share = (y != -100) / (y != -100).sum()
    parts = zip(x.split(rows), y.split(rows), share.split(rows), strict=True)
    total = 0.0
    for part, expected, weights in parts:
        each = F.cross_entropy(model(part)[0].transpose(1, 2), expected, ignore_index=-100, reduction="none")
        (each * weights).sum().backward()
        total += (each * weights).sum().item()
    return total


right("08.1")(lambda step, z: min(1.0, (step + 1) / max(1, z.warmup)) if step < z.warmup else schedule(step, z))
right("08.2")(with_factor(lambda gradients, m: 1 / torch.clamp(norm_of(gradients) / m, min=1.0)))
right("08.2")(_with_stack)
right("08.3")(lambda model: {name for name, weight in model.named_parameters() if len(weight.shape) > 1})
right("08.4")(lambda n, t: n * math.log2(math.e) / len("".join(t).encode()))
right("08.5")(weighed_means)
