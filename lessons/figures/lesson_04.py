"""Figures of lesson 04: arrows that turn with the position, and clocks with a hand for each pair of channels."""

import math

import numpy as np
from matplotlib.patches import Circle

from lib.show import theme
from lib.show.theme import LLAMA, MUTED, OTHERS, array

QUERY, KEY = LLAMA, OTHERS[0]


def rotation(query, key, *, alt):
    """Show `draw_rotation`."""
    theme.show(draw_rotation(query, key), alt)


def clocks(positions, speeds, *, alt):
    """Show `draw_clocks`."""
    theme.show(draw_clocks(positions, speeds), alt)


@theme.styled
def draw_rotation(query, key):
    """Return three planes: a query at positions 0 to 6, and the query with a key at two places, equally far apart.

    query, key: pairs of numbers; one radian a position.
    """
    fig, axes = theme.figure(2.5, panels=3)
    size = 1.25 * max(math.hypot(*query), math.hypot(*key))
    for position in range(7):
        arrow(axes[0], turned(query, position), QUERY, str(position), 1 if position == 0 else 0.55)
    corner(axes[0], {"one query, at 0 to 6": QUERY})
    for ax, shift in ((axes[1], 0), (axes[2], 100)):
        a, b = turned(query, 3 + shift), turned(key, 1 + shift)
        arrow(ax, a, QUERY)
        arrow(ax, b, KEY)
        between(ax, a, b)
        corner(ax, {f"query at {3 + shift}": QUERY, f"key at {1 + shift}": KEY})
    for ax in axes:
        plane(ax, size)
    fig.subplots_adjust(0.01, 0.02, 0.99, 0.84, wspace=0.04)
    return fig


def turned(pair, angle):
    """Return a pair turned by an angle in radians."""
    a, b = pair
    return a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle)


def arrow(ax, end, color, label="", alpha=1.0):
    """Draw an arrow from the middle with a label beyond its tip."""
    style = dict(arrowstyle="-|>", color=color, linewidth=2, shrinkA=0, shrinkB=0, alpha=alpha)
    ax.annotate("", end, (0, 0), arrowprops=style)
    length = math.hypot(*end)
    if label:
        beyond = 1 + 0.45 / length
        ax.text(end[0] * beyond, end[1] * beyond, label, color=color, ha="center", va="center", fontsize=9.5)


def corner(ax, lines):
    """Write coloured lines over the axes. lines: {text: colour}."""
    for row, (text, color) in enumerate(reversed(lines.items())):
        ax.text(0.02, 1.02 + 0.1 * row, text, color=color, transform=ax.transAxes, fontsize=10.5)


def between(ax, a, b):
    """Draw the arc from arrow b to arrow a."""
    first, last = math.atan2(b[1], b[0]), math.atan2(a[1], a[0])
    last += 2 * math.pi * (last < first)
    t = np.linspace(first, last, 60)
    ax.plot(1.2 * np.cos(t), 1.2 * np.sin(t), color=MUTED, linewidth=1.2)


def plane(ax, size):
    """Make axes a bare plane with its two axes through the middle."""
    ax.axhline(0, color=theme.GRID, linewidth=0.8, zorder=0)
    ax.axvline(0, color=theme.GRID, linewidth=0.8, zorder=0)
    bare(ax)
    ax.set(xlim=(-size, size), ylim=(-size, size))


def bare(ax):
    """Remove frame, ticks and grid; one unit is as long to the right as upward."""
    ax.set_aspect("equal")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)


def hand(ax, x, y, angle, color, radius=0.4, width=2.2):
    """Draw a clock's hand from its middle; angle 0 points right and angles grow against the clock, as in the plane."""
    tip = (x + radius * math.cos(angle), y + radius * math.sin(angle))
    style = dict(arrowstyle="-|>", color=color, linewidth=width, shrinkA=0, shrinkB=0, mutation_scale=9)
    ax.annotate("", tip, (x, y), arrowprops=style)


def face(ax, x, y):
    """Draw a clock's face with a mark where its hand stands at position 0."""
    ax.add_patch(Circle((x, y), 0.42, facecolor="white", edgecolor=MUTED, linewidth=0.9))
    ax.plot([x + 0.36, x + 0.42], [y, y], color=MUTED, linewidth=1.5)


def period(speed):
    """Return how many tokens a hand takes for one round, in words."""
    return f"{2 * math.pi / speed:,.0f}"


@theme.styled
def draw_clocks(positions, speeds):
    """Return clocks: a column for each position, a row for each pair of channels, the fastest on top.

    speeds: radians a token.
    """
    fig, ax = theme.figure(3.4)
    for row, speed in enumerate(array(speeds)):
        y = -row
        ax.text(-0.75, y, f"pair {row}, round in\n{period(speed)} tokens", ha="right", va="center", fontsize=10)
        for column, position in enumerate(positions):
            face(ax, 1.25 * column, y)
            hand(ax, 1.25 * column, y, position * speed, QUERY)
    for column, position in enumerate(positions):
        ax.text(1.25 * column, 0.62, f"{position:,}", ha="center", va="bottom")
    ax.text(-0.75, 0.62, "position", ha="right", va="bottom")
    bare(ax)
    ax.set(xlim=(-2.7, 1.25 * (len(positions) - 1) + 0.6), ylim=(-len(speeds) + 0.5, 1.0))
    fig.subplots_adjust(0, 0, 1, 1)
    return fig


@theme.styled
def draw_two_hands(position, distance, speeds):
    """Return a clock for each pair with the hands of a key and of a query `distance` later, and what each adds.

    Query and key are 1 in the first channel of each pair, 0 in the second: each pair adds the cosine of its angle.
    """
    fig, ax = theme.figure(2.1)
    speeds = array(speeds)
    parts = np.cos(distance * speeds)
    for j, speed in enumerate(speeds):
        face(ax, j, 0)
        hand(ax, j, 0, position * speed, KEY, width=4.5)
        hand(ax, j, 0, (position + distance) * speed, QUERY)
        ax.text(j, 0.56, period(speed), ha="center", va="bottom", fontsize=9, color=MUTED)
        ax.text(j, -0.56, f"{parts[j]:+.2f}".replace("-", "\u2212"), ha="center", va="top", fontsize=10)
    ax.text(-0.6, 0.56, "round in", ha="right", va="bottom", fontsize=9, color=MUTED)
    ax.text(-0.6, -0.56, "adds", ha="right", va="top", fontsize=10)
    ax.text(-0.4, 1.25, f"key at {position}", color=KEY, fontweight="bold")
    ax.text(1.35, 1.25, f"query at {position + distance}", color=QUERY, fontweight="bold")
    ax.text(len(speeds) - 0.5, 1.25, f"score {parts.sum():.2f}".replace("-", "\u2212"), ha="right", fontweight="bold")
    bare(ax)
    ax.set(xlim=(-1.6, len(speeds) - 0.45), ylim=(-1.0, 1.6))
    fig.subplots_adjust(0, 0, 1, 1)
    fig.alt_text = (
        f"{len(speeds)} clocks with two hands each: the key at position {position}, the query at {position + distance}."
        f" The score is {parts.sum():.2f}."
    )
    return fig
