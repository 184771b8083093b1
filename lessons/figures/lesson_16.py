"""Figures of lesson 16: how a cost grows with the length of a text, and which model fits into which card."""

import numpy as np
from matplotlib.patches import Patch

from lib.show import plots, theme
from lib.show.theme import LLAMA, MUTED, REFERENCE, array

# Of one colour, the second series has a lighter line with open marks.
LOOKS = (("o", "full", "-"), ("s", "none", (0, (4, 1.5))))
CARDS = (4, 16, 24, 80)


def growth(series, exponents, *, alt, **options):
    """Show `draw_growth`."""
    theme.show(draw_growth(series, exponents, **options), alt)


@theme.styled
def draw_growth(series, exponents, last=None, xlabel="tokens", ylabel="", height=3.3, alt=None):
    """Return measured points on logarithmic axes with the fitted power law of each through them.

    series: {name: (lengths, costs)}; exponents: {name: (exponent, what stands behind ±)}, written behind the names. On
    such axes y = c x^p is a straight line of slope p; it goes through the `last` points alone, None for all.
    """
    fig, ax = theme.figure(height)
    ends, seen = [], {}
    for name, (x, y) in series.items():
        x, y, color = array(x), array(y), theme.color_of(name)
        marker, fill, dashes = LOOKS[seen.get(color, 0) % len(LOOKS)]
        seen[color] = seen.get(color, 0) + 1
        slope, error = exponents[name]
        long, high = (x, y) if last is None else (x[-last:], y[-last:])
        middle = np.exp(np.log(high).mean() - slope * np.log(long).mean())
        ax.plot(long, middle * long**slope, color=color, linestyle=dashes, linewidth=1.4)
        ax.plot(x, y, color=color, marker=marker, fillstyle=fill, linestyle="none")
        words = f"{slope:.2f}\u00a0\u00b1\u00a0{error:.2f}".replace("-", "\u2212")  # stays in one line
        ends.append((f"{name}: {words}", x[-1], y[-1], color))
    theme.finish(ax, xlabel, ylabel, "", True, True)
    plots.label_ends(fig, ax, ends)
    fig.alt_text = alt
    return fig


def shares(weights, state, **options):
    """Show `draw_shares`."""
    theme.show(draw_shares(weights, state, **options))


@theme.styled
def draw_shares(weights, state, name="", recurrent=False, cards=CARDS, height=2.4):
    """Return a bar for each card, in shares of its memory: weights, then the state or the cache of all texts.

    weights, state: bytes; cards: GiB, as a card of "24 GB" has them. What goes beyond the card's end does not fit.
    """
    fig, ax = theme.figure(height)
    color = theme.color_of(name) if recurrent else LLAMA
    told = []
    for row, card in enumerate(cards):
        a, b = weights / 2**30 / card, state / 2**30 / card
        fits = a + b <= 1
        ax.barh(row, 1, 0.62, color="none", edgecolor=MUTED, linewidth=1.0, zorder=3)
        ax.barh(row, min(a, 1.6), 0.62, color=color, alpha=1.0 if fits else 0.35)
        ax.barh(
            row, max(0.0, min(a + b, 1.6) - a), 0.62, left=a, color=color, alpha=0.55 if fits else 0.2, hatch="////"
        )
        free = (1 - a - b) * card
        words = f"fits, {free:,.1f} GiB free" if fits else f"{-free:,.1f} GiB too much"
        ax.text(1.63, row, words, va="center", color=REFERENCE if fits else MUTED)
        told.append(f"{card} GiB: {words}")
    ax.set_yticks(range(len(cards)), [f"{card} GiB" for card in cards])
    ax.set(xlim=(0, 2.35), xticks=[0, 0.5, 1, 1.5], xticklabels=["0", "50 %", "100 %", "150 %"])
    ax.set_xlabel("share of the card's memory", loc="left")
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)
    past = "state" if recurrent else "KV cache"
    ax.set_title(f"{name}: weights {weights / 2**30:,.1f} GiB, {past} {state / 2**30:,.2f} GiB")
    handles = [Patch(color=color), Patch(facecolor=color, alpha=0.55, hatch="////")]
    ax.legend(handles, ["weights", past], loc="upper right", bbox_to_anchor=(1.0, -0.1), ncols=2)
    theme.fit(fig, ax)
    fig.alt_text = f"{name}, a bar for each card. " + ". ".join(told) + "."
    return fig
