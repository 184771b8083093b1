"""A matrix as a picture: shares from white to a hue, signed values in purple and green around a white zero."""

import matplotlib
import numpy as np
from matplotlib.patches import Polygon, Rectangle

from lib.show import theme
from lib.show.theme import MUTED, REFERENCE, array

GREY = "#ECECEC"  # in a matrix: what is not there


@theme.styled
def draw_heatmap(matrix, *, kind="share", rows=None, columns=None, xlabel="", ylabel="", hue="LLAMA", limit=None,
                 numbers=None, form="{:.2f}", title="", height=3.2, alt=None):  # fmt: skip
    """Return a figure of a matrix (rows down: queries; columns right: keys).

    kind: "share" (white at 0 to the owner's hue) or "signed" (purple, white at 0, green). rows, columns: labels. limit:
    the value of the full colour. numbers: write them into the cells; without, where they fit.
    """
    values = array(matrix)
    fig, ax = theme.figure(height)
    finite = values[np.isfinite(values)]
    limit = limit or (float(np.abs(finite).max()) if finite.size else 1.0) or 1.0
    cmap = matplotlib.colormaps["PRGn"] if kind == "signed" else theme.share_map(theme.COLORS.get(hue, hue))
    low = -limit if kind == "signed" else 0.0
    narrow = values.shape[1] <= 2.2 * values.shape[0] and values.shape[0] <= 1.2 * values.shape[1]
    image = ax.imshow(
        values, cmap=cmap, vmin=low, vmax=limit, aspect="equal" if narrow else "auto", interpolation="nearest"
    )
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    theme.finish(ax, xlabel, ylabel, title)
    long = columns is not None and max(len(str(label)) for label in columns) * len(columns) > 60
    for axis, labels in ((ax.xaxis, columns), (ax.yaxis, rows)):
        if labels is not None:
            axis.set_ticks(range(len(labels)), [str(label) for label in labels])
        else:
            axis.set_major_locator(matplotlib.ticker.MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
    ax.tick_params(axis="x", rotation=90 if long else 0)
    if numbers or (numbers is None and values.shape[0] <= 8 and values.shape[1] <= 10):
        for (i, j), value in np.ndenumerate(values):
            if kind == "share" and value == 0:
                continue  # masked: an empty cell says it better
            dark = np.isfinite(value) and sum(cmap((value - low) / (limit - low))[:3]) < 1.6
            ink = "white" if dark else REFERENCE
            ax.text(j, i, form.format(value), ha="center", va="center", color=ink, fontsize=9)
    color_bar(fig, ax, image)
    fig.alt_text = alt
    return fig


def color_bar(fig, axes, image, ticks=None, label=""):
    """Put a thin bar right of a heatmap, or of the last of several, as high as it is; all text stays inside."""
    bar, axes = fig.add_axes((0.9, 0.1, 0.02, 0.8)), list(np.atleast_1d(axes))
    fig.colorbar(image, cax=bar, ticks=ticks, label=label)
    bar.grid(False)
    bar.spines[:].set_visible(False)
    bar.tick_params(length=0, labelcolor=MUTED)
    if ticks is None:
        bar.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, steps=[1, 2, 5, 10]))
    renderer, inch = fig.canvas.get_renderer(), fig.dpi
    text = bar.get_tightbbox(renderer).x1 - bar.get_window_extent(renderer).x1
    theme.fit(fig, *axes, right=0.12 + 0.14 + text / inch)
    axes[-1].apply_aspect()
    box, width = axes[-1].get_position(), fig.get_figwidth()
    bar.set_position((box.x1 + 0.12 / width, box.y0, 0.14 / width, box.height))


def pairs(ax, T, title, below, above=0.06):
    """Draw the square of all pairs, T queries down and T keys across: grey where no query may look, without axes.

    title: stands `above` T over it; below: words under it. What is drawn into it comes between the grey and the frame.
    """
    ax.add_patch(Polygon(stairs(range(T), 0), facecolor=GREY, linewidth=0))
    ax.add_patch(Rectangle((0, 0), T, T, fill=False, edgecolor=MUTED, linewidth=0.9, zorder=1.5))
    ax.text(T / 2, -above * T, title, ha="center", va="bottom", weight="bold", fontsize=10.5)
    ax.text(T / 2, 1.06 * T, below, ha="center", va="top", fontsize=9.5)
    ax.set_aspect("equal")
    ax.set_axis_off()


def stairs(keys, edge):
    """Return the corners of the part of some columns that lies between the diagonal and the row `edge`."""
    steps = [corner for s in keys for corner in ((s, s), (s + 1, s))]
    return [*steps, (max(keys) + 1, edge), (min(keys), edge)]
