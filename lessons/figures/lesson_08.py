"""Figures of lesson 08: a descent into a narrow valley."""

import numpy as np

from lib.show import theme
from lib.show.theme import LLAMA, MUTED, REFERENCE, YOURS, array


@theme.styled
def draw_valley(path, curvatures=(1.0, 25.0), limit=5.0, title="", height=3.0, alt=None):
    """Return a figure of a descent: a path over the lines of equal height of (a x^2 + b y^2) / 2.

    path: (n, 2) points, the first is the start; what lies outside of the picture is cut off.
    """
    path = np.clip(array(path), -1e6, 1e6)
    x, y = np.meshgrid(np.linspace(-limit, limit, 121), np.linspace(-limit / 2, limit / 2, 61))
    fig, ax = theme.figure(height)
    levels = np.array([0.05, 0.3, 1, 3, 8, 20, 50, 110]) * curvatures[1] / 25
    ax.contour(x, y, (curvatures[0] * x**2 + curvatures[1] * y**2) / 2, levels, colors=MUTED, linewidths=0.8)
    ax.plot(path[:, 0], path[:, 1], "o-", color=LLAMA, linewidth=1.3, markersize=3.5)
    ax.plot(*path[0], "o", color=REFERENCE, markersize=8)
    ax.plot(0, 0, "+", color=YOURS, markersize=14, markeredgewidth=2.5)
    ax.annotate("start", path[0], (6, 8), textcoords="offset points")
    ax.annotate("bottom", (0, 0), (8, -16), textcoords="offset points", color=YOURS)
    ax.set(xlim=(-limit, limit), ylim=(-limit / 2, limit / 2), xlabel="first weight", ylabel="second weight")
    ax.grid(False)
    if title:
        ax.set_title(title)
    theme.fit(fig, ax)
    fig.alt_text = alt
    return fig
