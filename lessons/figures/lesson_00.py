"""Figures of lesson 00: a training and a story side by side, as the moving picture of the first page shows them."""

import math
import textwrap

from lib.show import theme
from lib.show.theme import LLAMA, REFERENCE, array


@theme.styled
def draw_front(curve, floor, story, share):
    """Return one frame: the loss as far as it is by then, and as much of the story as is told by then.

    curve: [(step, bits a byte)]; floor: in the same unit, dashed; share: of the whole, from 0 to 1.
    """
    steps, losses = array(curve).T
    shown = max(2, round(math.sqrt(share) * len(steps)))
    fig, (left, right) = theme.figure(2.7, panels=2)
    left.plot(steps[:shown], losses[:shown], color=LLAMA)
    left.plot(steps[shown - 1], losses[shown - 1], "o", color=LLAMA, markersize=6)
    left.axhline(floor, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    left.annotate("entropy of the text", (steps[0], floor), (0, 4), textcoords="offset points", fontsize=9.5)
    left.set(xscale="log", xlim=(0.9, 1.1 * steps[-1]), ylim=(0, 1.08 * losses.max()), xlabel="step")
    left.set_ylabel("loss, bits a byte")
    left.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    words = story.split(" ")
    told = " ".join(words[: round(share * len(words))])
    lines = [line for part in told.split("\n") for line in textwrap.wrap(part, 43) or [""]]
    right.text(0, 1, "\n".join(lines[-13:]), va="top", fontsize=9, family="serif", linespacing=1.45)
    right.set_axis_off()
    theme.fit(fig, left)
    box = left.get_position()
    left.set_position((box.x0, box.y0, 0.40, box.height))
    right.set_position((0.53, 0.04, 0.46, 0.92))
    fig.alt_text = f"The loss falls over {steps[-1]:,.0f} steps to the entropy of the text; beside it a story is told."
    return fig
