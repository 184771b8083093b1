"""Figures of lesson 03: what one hidden unit makes of two channels."""

import numpy as np
import torch
import torch.nn.functional as F

from lib.show import theme
from lib.show.theme import MUTED, array


def hidden_units():
    """Show over the plane of a and b: a ReLU unit, a gated unit, and the difference of two gated units.

    The maps are relu(a + b), silu(a) b, and silu(a) b - silu(-a) b.
    """
    grid = torch.linspace(-3, 3, 61)
    b, a = torch.meshgrid(grid, grid, indexing="ij")
    planes(
        {
            "one ReLU unit\nrelu(a + b)": F.relu(a + b),
            "one gated unit\nsilu(a) \u00b7 b": F.silu(a) * b,
            "two gated units\ntogether": F.silu(a) * b - F.silu(-a) * b,
        },
        grid,
        alt="Three maps over the plane of a and b. A ReLU unit is zero on one side of a straight line and rises on the"
        " other. A gated unit is near zero for negative a; for positive a it has the sign of b. Two gated units give a"
        " saddle: positive where a and b have the same sign, negative where they differ.",
    )


def planes(maps, grid, *, alt):
    """Show `draw_planes`."""
    theme.show(draw_planes(maps, grid), alt)


@theme.styled
def draw_planes(maps, grid):
    """Return a figure of maps over the plane of a (right) and b (up), side by side, all with the same colours.

    maps: {title: (n, n) matrix, rows are b, columns are a}; grid: the n values of a and of b. The sign in each
    corner says what the colour says.
    """
    x = array(grid)
    limit = max(float(np.abs(array(values)).max()) for values in maps.values())
    fig, axes = theme.figure(2.75, panels=len(maps))
    for ax, (title, values) in zip(axes, maps.items(), strict=True):
        ends = (x[0], x[-1], x[0], x[-1])
        ax.imshow(
            array(values), origin="lower", extent=ends, cmap="PRGn", vmin=-limit, vmax=limit, interpolation="bilinear"
        )
        ax.set_title(title, fontsize=10, loc="center", fontweight="normal")
        ax.grid(False)
        ax.axhline(0, color=MUTED, linewidth=0.6, alpha=0.5)
        ax.axvline(0, color=MUTED, linewidth=0.6, alpha=0.5)
        ax.set(xlabel="a", xticks=[-3, 0, 3], yticks=[-3, 0, 3])
        for row, column in ((0.8, 0.2), (0.8, 0.8), (0.2, 0.2), (0.2, 0.8)):
            value = array(values)[int(row * (len(x) - 1)), int(column * (len(x) - 1))]
            text = "0" if value == 0 else "\u22480" if abs(value) < 0.6 else "+" if value > 0 else "\u2212"
            ax.text(column, row, text, transform=ax.transAxes, ha="center", va="center", fontsize=14, fontweight="bold")
    axes[0].set_ylabel("b", rotation=0, labelpad=8)
    theme.fit(fig, *axes)
    return fig
