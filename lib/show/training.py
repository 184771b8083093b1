"""Pictures of training: a loss on its way to the floor."""

import numpy as np

from lib.show import theme
from lib.show.theme import LLAMA, REFERENCE, YOURS, array


def descent(curve, floor, **options):
    """Show `draw_descent`."""
    theme.show(draw_descent(curve, floor, **options))


def smooth(values, share=0.1):
    """Return running means that end at each value: over the last `share` of all steps so far, at least one.

    The window grows with the step, so that on a logarithmic axis the early fall stays and the late noise goes.
    """
    values = array(values)
    ends = np.arange(1, len(values) + 1)
    begins = ends - np.maximum(1, (share * ends).astype(int))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[ends] - sums[begins]) / (ends - begins)


@theme.styled
def draw_descent(curve, floor, start=None, notes=None, ylabel="loss, nats a token", height=3.2, alt=None):
    """Return a figure of one run's loss over its steps, counted in powers of ten, with the floor dashed.

    curve: [(step, loss)], each loss a mean since the point before; floor: the entropy in the same unit. start: the loss
    of ignorance, dashed too. notes: {words: step}, written above the curve at that step.
    """
    steps, losses = array(curve).T
    fig, ax = theme.figure(height)
    ax.plot(steps, losses, color=LLAMA)
    dashed = dict(color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    ax.axhline(floor, **dashed)
    ax.annotate(f"the floor, {floor:.2f}", (steps[0], floor), (0, 4), textcoords="offset points")
    if start is not None:
        ax.axhline(start, **dashed)
        ax.annotate(f"knows nothing, {start:.2f}", (steps[-1], start), (0, 4), textcoords="offset points", ha="right")
    for words, step in (notes or {}).items():
        at = (step, np.interp(step, steps, losses))
        ax.plot(*at, "o", color=YOURS, markersize=7, markeredgecolor="white", zorder=5)
        ax.annotate(words, at, (7, 7), textcoords="offset points", color=YOURS)
    ax.set(xscale="log", xlabel="step", ylabel=ylabel, ylim=(0, 1.12 * max(losses.max(), start or 0.0)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    theme.fit(fig, ax)
    fig.alt_text = alt or (
        f"Loss over {steps[-1]:,.0f} steps, counted in powers of ten: from {losses[0]:.2f} it falls, bends, and "
        f"falls again to {losses[-1]:.2f}, near the dashed floor at {floor:.2f}."
    )
    return fig
