"""Figures of lesson 06: which tiles are held, and a softmax that runs over a stream."""

import numpy as np
from matplotlib.patches import Polygon, Rectangle

from lib.show import theme
from lib.show.heatmap import GREY, pairs, stairs
from lib.show.theme import LLAMA, MUTED, REFERENCE, YOURS, array

PALE = "#A9C6DA"  # held or seen, and not any more or for nothing


def tiles(**options):
    """Show `draw_tiles`."""
    theme.show(draw_tiles(**options))


@theme.styled
def draw_tiles(n_tokens=16, block=4):
    """Return a figure of the matrix of scores at four moments: all of it, and three blocks of a pass over the keys."""
    T, last = n_tokens, n_tokens // block - 1
    fig, axes = theme.figure(2.3, panels=4)
    for ax, now in zip(axes, (None, 0, 1, last), strict=True):
        held = f"{T} × {T if now is None else block} scores" + ("" if now is None else "\nand m, ℓ, o")
        pairs(ax, T, "the whole matrix" if now is None else f"block {now + 1} of {last + 1}", held, above=0.106)
        fill(ax, T, range(T) if now is None else range(now * block, (now + 1) * block))
        for past in range(now or 0):
            ax.add_patch(Rectangle((past * block, 0), block, T, fill=False, edgecolor=MUTED, linestyle=(0, (2, 2))))
        if now is not None:
            columns(ax, T)
        ax.set(xlim=(-0.4, T + 6.4), ylim=(T + 5, -3.6))
    axes[0].text(-1, T / 2, "queries", rotation=90, ha="right", va="center", fontsize=9.5)
    fig.subplots_adjust(0.045, 0.0, 0.995, 1.0, wspace=0.02)
    fig.alt_text = (
        f"Four squares of {T} queries by {T} keys. First: the whole square is filled, all of it is held. Then "
        f"three moments of the pass: only a column of {block} keys is filled, the columns left of it are dashed, "
        "and beside the square stand three narrow columns: the maximum, the sum and the weighted sum of each query."
    )
    return fig


def fill(ax, T, held):
    """Fill the part of the matrix of scores that is held: blue, and pale where it is held for nothing."""
    ax.add_patch(Polygon(stairs(held, 0), facecolor=PALE, linewidth=0))
    ax.add_patch(Polygon(stairs(held, T), facecolor=LLAMA, alpha=0.85, linewidth=0))


def columns(ax, T):
    """Draw what each query keeps: a number, a number, a vector."""
    x = T + 0.8
    for name, width in (("m", 1.0), ("ℓ", 1.0), ("o", 2.6)):
        ax.add_patch(Rectangle((x, 0), width, T, facecolor=YOURS, alpha=0.8, linewidth=0))
        ax.text(x + width / 2, -0.3, name, ha="center", va="bottom", fontsize=9, color=YOURS)
        x += width + 0.5


@theme.styled
def draw_stream(scores, block, steps, done, result):
    """Return a figure of a pass over a stream: the scores with the running maximum, and the running result.

    scores: (S,), taken `block` at a time. steps: (maximum, total, mean) after each block, of which `done` are shown.
    result: the mean over the whole row.
    """
    scores, count, shown = array(scores), len(steps), steps[:done]
    fig, (left, right) = theme.figure(2.6, panels=2)
    places = np.arange(len(scores)) // block
    left.bar(np.arange(len(scores)), scores, 0.8, color=[shade(place - done + 1) for place in places])
    edges = np.arange(done + 1) * block - 0.5
    left.stairs([step[0] for step in shown], edges, baseline=None, color=REFERENCE, linewidth=1.8)
    side = "left" if done < count / 2 else "right"
    at, away = (edges[0], 2) if side == "left" else (edges[-1], -2)
    place = (at, shown[0 if side == "left" else -1][0])
    left.annotate("maximum so far", place, (away, 4), textcoords="offset points", fontsize=9.5, ha=side)
    high, low = scores.max(), scores.min()
    left.set(xlabel="key", ylabel="score", ylim=(low - 0.1 * (high - low), high + 0.2 * (high - low)))
    left.set_xlim(-1, len(scores))
    left.grid(False, axis="x")
    left.set_title(f"block {done} of {count}")
    right.axhline(result, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    right.plot(np.arange(1, done + 1), [step[2] for step in shown], "o-", color=LLAMA)
    right.set(xlabel="blocks taken in", ylabel="weighted mean", xlim=(0.6, count + 0.4), xticks=range(1, count + 1))
    room = 1.2 * max([1.4, *(abs(step[2] - result) for step in steps)])
    right.set_ylim(result - room, result + room)
    right.set_title(f"so far {shown[-1][2]:.2f}, whole row {result:.2f}")
    theme.fit(fig, left, right)
    fig.alt_text = (
        f"After {done} of {count} blocks the largest score is {shown[-1][0]:.2f}, the sum of the powers "
        f"{shown[-1][1]:.2f}, and the result {shown[-1][2]:.2f}; over the whole row it is {result:.2f}."
    )
    return fig


def shade(age):
    """Return a bar's colour: of the block that comes in now (0), of one before (below 0), of one to come (above)."""
    return LLAMA if age == 0 else PALE if age < 0 else GREY
