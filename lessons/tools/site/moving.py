"""Widgets that move in the reading copy too: their pictures are drawn in advance, and a slider goes through them."""

import html
import itertools
import json
import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from lessons.figures import lesson_04, lesson_12
from lib.run.checkpoint import load_bundle
from lib.show import plots, theme

SPEEDS = [10000.0 ** (-j / 8) for j in range(8)]  # of lesson 04's clocks, radians a token: 16 channels


class Slider(NamedTuple):
    """What one slider goes through: its label, the values that were drawn, and the place of the first one shown."""

    label: str
    values: list
    first: int


class Strip(NamedTuple):
    """A widget drawn in advance: draw(*values) returns a figure; alt says what one sees, with the values in it."""

    draw: Callable
    sliders: list[Slider]
    alt: str


def strips(root):
    """Return the widgets that are drawn in advance, by lesson: {"04_rope": Strip}."""
    return {
        "00_start_here": temperature(root / "data/checkpoints/llama-tales"),
        "04_rope": Strip(
            lambda position, distance: lesson_04.draw_two_hands(position, distance, SPEEDS),
            [
                Slider("position of the key", [0, 1, 10, 100, 1000], 3),
                Slider("distance to the query", [0, 1, 3, 10, 100], 2),
            ],
            "Clocks with the hand of a key at {} and of a query {} later; below each what it adds to the score.",
        ),
        "12_rwkv4": Strip(
            lambda decay, bonus: lesson_12.draw_memory(-math.exp(decay), bonus, 10),
            [
                Slider("decay d, as it is learned", [-5, -4, -3, -2, -1, 0, 1, 2, 3], 3),
                Slider("bonus u", [-3, 0, 5], 1),
            ],
            "What is left of a token after 0 to 200 others at decay {}, and the weights in the mean at bonus {}.",
        ),
    }


def temperature(folder):
    """Return lesson 00's widget: the chances of the eight likeliest next tokens, at each temperature."""
    model, tokenizer = load_bundle(folder)
    with torch.no_grad():
        scores = model(torch.tensor([[tokenizer.eot, *tokenizer.encode("Every Monday, Little")]]))[0][0, -1]
    top = scores.topk(8).indices.tolist()

    def draw(temperature):
        chances = (scores / temperature).softmax(0)[top].tolist()
        words = [tokenizer.decode([token]).strip() for token in top]
        xlabel, alt = f"chance at temperature {temperature:.1f}", "Bars of the chances of eight tokens."
        return plots.draw_bars(
            dict(zip(words, chances, strict=True)), xlabel=xlabel, xlim=(0, 1), form="{:.3f}", alt=alt
        )

    steps = [round(0.2 * step, 1) for step in range(1, 16)]
    return Strip(
        draw, [Slider("temperature", steps, steps.index(1.0))], "The chances of eight tokens at temperature {}."
    )


def write(name, strip, folder):
    """Draw a strip's pictures into `folder`; return the HTML that shows them, for a page in a folder of the book."""
    places = [range(len(slider.values)) for slider in strip.sliders]
    alts = {}
    for place in itertools.product(*places):
        values = [slider.values[i] for slider, i in zip(strip.sliders, place, strict=True)]
        file = "_".join([name[:2], *map(str, place)]) + ".png"
        (folder / file).write_bytes(theme.png(strip.draw(*values)))
        alts[file] = strip.alt.format(*values)
    first = "_".join([name[:2], *(str(slider.first) for slider in strip.sliders)]) + ".png"
    rows = "".join(slider_row(slider, f"{name}-{i}") for i, slider in enumerate(strip.sliders))
    return (
        f'<div class="moving" data-alts="{html.escape(json.dumps(alts), quote=True)}" data-name="{name[:2]}">'
        f'<img src="../_static/frames/{first}" alt="{html.escape(alts[first])}">{rows}</div>'
    )


def slider_row(slider, name):
    """Return the HTML of one slider."""
    values = html.escape(json.dumps(slider.values), quote=True)
    return (
        f'<p><label for="{name}">{html.escape(slider.label)}</label> <input type="range" id="{name}" min="0" '
        f'max="{len(slider.values) - 1}" value="{slider.first}" data-values="{values}"> '
        f"<output>{slider.values[slider.first]}</output></p>"
    )
