"""Figures of lesson 21: a block of weights on its few levels."""

import numpy as np

from lib.show import theme
from lib.show.theme import GRID, REFERENCE, YOURS, array


@theme.styled
def draw_levels(weights, kept, levels, *, title="", height=3.0, alt=None):
    """Return a figure of a block: each weight as it was and as it is kept, and the levels that there are as lines.

    weights, kept: the numbers of one block; levels: what a number can be.
    """
    fig, ax = theme.figure(height)
    before, after = array(weights), array(kept)
    place = np.arange(len(before))
    for level in array(levels):
        ax.axhline(level, color=GRID, linewidth=0.8, zorder=0)
    ax.vlines(place, before, after, color=YOURS, linewidth=1.2, zorder=2)
    ax.scatter(
        place, before, s=26, facecolors="white", edgecolors=REFERENCE, linewidths=1.2, label="as it was", zorder=3
    )
    ax.scatter(place, after, s=16, color=YOURS, marker="s", label="as it is kept", zorder=4)
    ax.grid(False)
    theme.finish(ax, "place in the block", "weight", title)
    reach = 1.12 * max(np.abs(before).max(), np.abs(after).max())
    ax.set(ylim=(-reach, reach))
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), handletextpad=0.3)
    theme.fit(fig, ax)
    fig.alt_text = alt
    return fig
