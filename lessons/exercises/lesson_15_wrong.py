"""Answers to the exercises of lesson 15 on fading and on noise, right and with one thing changed."""

import torch

from lib.run.train import schedule


def faded(value, recipe, multiple=1.0):
    """Return what weight decay alone leaves of a value: times 1 - rate * weight_decay at each step."""
    for step in range(recipe.steps):
        value = value * (1 - multiple * recipe.learning_rate * schedule(step, recipe) * recipe.weight_decay)
    return value


def left_at(recipe, multiple, step):
    """Return the factor of one step."""
    return 1 - multiple * recipe.learning_rate * schedule(step, recipe) * recipe.weight_decay


def fading(share=schedule, every=None, join=None):
    """Return a wrong `faded`: share(step, recipe); every(recipe, multiple); join(value, factor)."""

    def wrong(value, recipe, multiple=1.0):
        start = value
        for step in range(recipe.steps):
            size = every(recipe, multiple) if every else multiple * recipe.learning_rate * recipe.weight_decay
            value = join(value, size * share(step, recipe), start) if join else value * (1 - size * share(step, recipe))
        return value

    return wrong


def gap(a, b):
    """Return the mean of a_i - b_i, pair by pair, and its standard error: the root of their variance / n."""
    return in_pairs(a, b)


def in_pairs(a, b, part=lambda d: d.var() / len(d), root=True):
    """Return the mean of the differences, and the root of part(differences)."""
    d = differences(a, b)
    return d.mean().item(), float(part(d) ** (0.5 if root else 1))


def differences(a, b):
    """Return a_i - b_i, in float64."""
    return torch.tensor([x - y for x, y in zip(a, b, strict=True)], dtype=torch.float64)


def unpaired(part=lambda x: x.var() / len(x), join=lambda x, y: (x + y) ** 0.5):
    """Return an answer that forgets the pairs: join(part(a), part(b))."""

    def wrong(a, b):
        x, y = (torch.as_tensor(z, dtype=torch.float64) for z in (a, b))
        return (x.mean() - y.mean()).item(), float(join(part(x), part(y)))

    return wrong
