"""A training that shows: the loss on its way to the floor, how far it is, and now and then what the model says."""

import html
import math
import time

from lib.show.screen import Screen
from lib.show.theme import CARD, LLAMA, REFERENCE

WIDTH, HEIGHT, LEFT, FOOT = 560, 170, 44, 22


def follow(records, steps, floor=None, speak=None, every=1.0, speak_every=5.0, hue=LLAMA, clock=time.perf_counter):
    """Yield what `train` yields, and show it at most once in `every` seconds: one picture that changes.

    records: have .step and .loss (nats a token); steps: how many there will be; floor: the entropy, in the same unit,
    dashed. speak: a function without arguments that returns a text of the model's, called every `speak_every` seconds;
    it may take the random state, so give it a seed of its own. When all is done a still stays: the curve is the
    lesson's to draw.
    """
    screen, curve, said, shown, spoke = Screen(), [], "", -math.inf, clock()
    try:
        for record in records:
            curve.append((record.step, record.loss))
            now = clock()
            if speak is not None and now - spoke > speak_every:
                said, spoke = speak(), clock()
            if now - shown > every:
                screen.show(picture(curve, steps, floor, said, hue))
                shown = now
            yield record
    finally:
        if curve:
            if speak is not None:
                said = speak()
            words = in_words(curve, steps, floor, said)
            screen.finish(f"<p>{html.escape(words)}</p>", words, picture(curve, steps, floor, said, hue))


def in_words(curve, steps, floor, said):
    """Return in a sentence or two where the training stands."""
    step, loss = curve[-1]
    known = "" if floor is None else f", the floor is {floor:.2f}"
    words = f"{step:,} of {steps:,} steps; the loss went from {curve[0][1]:.2f} to {loss:.2f} nats a token{known}."
    return words + (f' The model says: "{" ".join(said.split())}"' if said else "")


def picture(curve, steps, floor=None, said="", hue=LLAMA):
    """Return the state of a training as HTML: a bar, the loss over the steps in powers of ten, and a text."""
    step, loss = curve[-1]
    top, low = max(value for _, value in curve), 0.0
    span = math.log(max(steps, 2))

    def place(at, value):
        x = LEFT + (WIDTH - LEFT - 8) * math.log(max(at, 1)) / span
        return f"{x:.1f},{8 + (HEIGHT - FOOT - 8) * (top - value) / (top - low or 1):.1f}"

    line = " ".join(place(*point) for point in thinned(curve))
    parts = [f'<polyline points="{line}" fill="none" stroke="{hue}" stroke-width="2"/>']
    if floor is not None:
        ends = f"{place(1, floor)} {place(steps, floor)}"
        parts.append(f'<polyline points="{ends}" fill="none" stroke="{REFERENCE}" stroke-dasharray="5 4"/>')
        parts.append(_label(LEFT + 4, float(place(1, floor).split(",")[1]) - 4, f"the floor, {floor:.2f}"))
    parts += [_label(0, 14, f"{top:.1f}"), _label(0, HEIGHT - FOOT, "0")]
    parts.append(_label(LEFT, HEIGHT - 4, f"step {step:,} of {steps:,}, loss {loss:.2f} nats a token"))
    svg = f'<svg role="img" aria-label="loss {loss:.2f}" width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>'
    bar = f'<progress max="{steps}" value="{step}" style="width:{WIDTH}px"></progress>'
    words = f'<p style="max-width:38em;font:15px/1.5 Georgia,serif">{html.escape(said)}</p>' if said else ""
    return f'<div style="{CARD};padding:10px;max-width:{WIDTH + 12}px">{bar}<br>{svg}{words}</div>'


def thinned(curve, points=200):
    """Return at most some points of a curve, evenly spaced on a logarithmic axis, each a mean since the one before."""
    ends = sorted({round(len(curve) ** (i / points)) for i in range(points + 1)})
    starts = [0, *ends]
    return [
        (curve[end - 1][0], sum(loss for _, loss in curve[start:end]) / (end - start))
        for start, end in zip(starts, ends, strict=False)
    ]


def _label(x, y, words):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="12" fill="#222">{html.escape(words)}</text>'
