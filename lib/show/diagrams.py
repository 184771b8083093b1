"""Diagrams: arrows in the plane, and boxes with connectors (layers upward, time to the right)."""

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from lib.show import theme
from lib.show.theme import GRID, MUTED, REFERENCE, array

# In inches: a column's and a row's pitch, a box's least size, the room that a bent line takes.
PITCH, BOX, BEND = (1.55, 0.5), (1.1, 0.32), 0.3


def arrows(vectors, *, alt, **options):
    """Show `draw_arrows`."""
    theme.show(draw_arrows(vectors, **options), alt)


def blocks(boxes, connectors, *, alt, **options):
    """Show `draw_blocks`."""
    theme.show(draw_blocks(boxes, connectors, **options), alt)


@theme.styled
def draw_arrows(vectors, *, circles=(), limit=None, xlabel="", ylabel="", colors=None, labels=True, title="",
                height=3.2, alt=None):  # fmt: skip
    """Return a figure of arrows in the plane, both axes of one scale.

    vectors: {name: (x, y)} from the origin, or {name: ((x0, y0), (x1, y1))}. circles: radii of thin circles. limit:
    half the height of the plane shown.
    """
    fig, ax = theme.figure(height)
    ends = {name: array(v).reshape(-1, 2) for name, v in vectors.items()}
    ends = {name: v if len(v) == 2 else np.vstack([np.zeros(2), v]) for name, v in ends.items()}
    reach = limit or 1.15 * max([np.abs(v).max() for v in ends.values()] + list(circles))
    for radius in circles:
        ax.add_patch(Circle((0, 0), radius, fill=False, color=MUTED, linewidth=0.8, linestyle=(0, (3, 3))))
    palette = theme.colors_of(vectors, colors)
    for name, (start, end) in ends.items():
        arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, linewidth=2.2, shrinkA=0, shrinkB=0,
                                color=palette[name])  # fmt: skip
        ax.add_patch(arrow)
        if labels:
            away = end - start
            away = away / (np.linalg.norm(away) or 1.0)
            side = "left" if away[0] > 0.3 else "right" if away[0] < -0.3 else "center"
            level = "bottom" if away[1] > 0.3 else "top" if away[1] < -0.3 else "center"
            ax.annotate(name, end, 6 * away, textcoords="offset points", ha=side, va=level, color=palette[name])
    ax.axhline(0, color=GRID, zorder=0)
    ax.axvline(0, color=GRID, zorder=0)
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=xlabel, ylabel=ylabel)
    if title:
        ax.set_title(title)
    theme.fit(fig, ax)
    box = ax.get_window_extent(fig.canvas.get_renderer())
    ax.set_xlim(-reach * box.width / box.height, reach * box.width / box.height)  # one scale: an angle looks like one
    fig.alt_text = alt
    return fig


@theme.styled
def draw_blocks(boxes, connectors, *, colors=None, pitch=PITCH, title="", alt=None):
    """Return a block diagram: labelled boxes on a grid, joined by arrows.

    boxes: {key: (column, row)} or {key: (column, row, label)}; rows count upward and may be fractions. A label of one
    character ("+") makes a circle. connectors: [(from, to)] or [(from, to, label)]; the label "left" or "right" bends
    the line around that side, as a residual goes. colors: {key: "LLAMA" or a colour}. pitch: inches from column to
    column and from row to row; what does not fit into 6.5 x 3.5 inches is drawn smaller.
    """
    placed = {key: Box(np.array(at[:2]) * pitch, str(at[2] if len(at) > 2 else key)) for key, at in boxes.items()}
    corners = np.array([box.at + sign * (box.half + (0.1, 0.1)) for box in placed.values() for sign in (-1, 1)])
    bent = {label[0] for _, _, *label in connectors if label}
    low = corners.min(0) - (BEND * ("left" in bent), 0)
    high = corners.max(0) + (BEND * ("right" in bent), 0.25 * bool(title))
    scale = max(1.0, *((high - low) / (theme.WIDTH, 3.5)))
    fig, ax = theme.figure(max(0.5, (high[1] - low[1]) / scale))
    fig.subplots_adjust(0, 0, 1, 1)
    ax.set_axis_off()
    colors = {key: theme.COLORS.get(color, color) for key, color in (colors or {}).items()}
    for key, box in placed.items():
        box.draw(ax, colors.get(key, MUTED), max(8.5, 10.5 / scale))
    for start, end, *label in connectors:
        connect(ax, placed[start], placed[end], label[0] if label else "", max(7.5, 9.5 / scale))
    x, half = (low[0] + high[0]) / 2, theme.WIDTH / 2 * scale
    ax.set(xlim=(x - half, x + half), ylim=(high[1] - fig.get_figheight() * scale, high[1]))
    if title:
        ax.text(low[0] + 0.1, high[1] - 0.02, title, va="top", weight="bold")
    fig.alt_text = alt
    return fig


class Box:
    """A label at a place, in inches, and half of the width and height that it takes."""

    def __init__(self, at, label):
        self.at, self.label = at, label
        # DejaVu's letters are about 0.09 inches wide at this size.
        self.half = (
            np.array([0.13, 0.13]) if len(label) == 1 else np.array([max(BOX[0], 0.09 * len(label) + 0.2), BOX[1]]) / 2
        )

    def draw(self, ax, color, size):
        """Draw it, or a circle for one character."""
        look = {"edgecolor": color, "linewidth": 1.5, "zorder": 3}
        if len(self.label) == 1:
            ax.add_patch(Circle(self.at, self.half[0], facecolor="white", **look))
        else:
            tint = [1 - 0.12 * (1 - share) for share in to_rgb(color)]
            shape = "round,pad=0,rounding_size=0.08"
            ax.add_patch(FancyBboxPatch(self.at - self.half, *(2 * self.half), boxstyle=shape, facecolor=tint, **look))
        ax.text(*self.at, self.label, ha="center", va="center_baseline", zorder=4, color=REFERENCE, fontsize=size)


def connect(ax, start, end, label, size):
    """Draw an arrow from one box's edge to the next one's; "left" and "right" go around that side."""
    look = {
        "arrowstyle": "-|>",
        "mutation_scale": 11,
        "color": MUTED,
        "linewidth": 1.4,
        "shrinkA": 0,
        "shrinkB": 0,
        "zorder": 2,
    }
    a, b = start.at, end.at
    if label in ("left", "right"):
        side = -1 if label == "left" else 1
        # It leaves the stream above its box, so that a residual that ends there stays apart.
        y, x = a[1] + start.half[1] + 0.07, a[0] + side * (BOX[0] / 2 + 0.25)
        ax.plot([a[0], x, x], [y, y, b[1]], color=MUTED, linewidth=1.4, zorder=2, solid_joinstyle="round")
        ax.add_patch(FancyArrowPatch((x, b[1]), (b[0] + side * end.half[0], b[1]), **look))
        return
    upward = abs(b[1] - a[1]) >= abs(b[0] - a[0])
    axis = np.array([0, 1]) if upward else np.array([1, 0])
    away = axis * np.sign(b - a)
    begin, stop = a + away * start.half, b - away * end.half
    ax.add_patch(FancyArrowPatch(begin, stop, **look))
    if label:
        place = {"ha": "left" if upward else "center", "va": "center" if upward else "bottom"}
        offset = (5, 0) if upward else (0, 4)
        ax.annotate(label, (begin + stop) / 2, offset, textcoords="offset points", fontsize=size, color=MUTED, **place)
