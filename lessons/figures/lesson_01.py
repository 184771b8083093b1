"""Tokens as coloured pieces of text, and what languages cost. Tokens are bytes, drawn as text where they are text."""

import html

import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.patches import Rectangle

from lib.show import theme
from lib.show.plots import label_ends
from lib.show.theme import LLAMA, MUTED, REFERENCE

WHITE, GREY = "#FFFFFF", "#D9D9D9"
CHARACTER = 0.0843  # inches: the width of a character of the fixed-width font at 10 points
LINE = 0.3  # inches from a line of tokens to the next


def text_of(token):
    """Return a token as it is shown: a space as a dot, bytes that are no whole characters as hexadecimal numbers."""
    try:
        return token.decode("utf-8").replace(" ", "\u00b7").replace("\n", "\u21b5")
    except UnicodeDecodeError:
        return token.hex(" ").upper()


def _broken(token):
    try:
        token.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def tint(color, share):
    """Return a colour mixed with white; `share` of the colour is left."""
    parts = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (part - 255) * share):02X}" for part in parts)


def tokens(rows, color=None):
    """Show tokens as coloured pieces, a line for each row. rows: {name: list of bytes}; color: one for all rows.

    Neighbours differ in shade; grey pieces are bytes that only together make a character. As text for whoever can't
    see it: the name, the number of tokens, and the pieces with bars between.
    """
    plain = [f"{name}, {_count(row)}: {'|'.join(map(text_of, row))}" for name, row in rows.items()]
    if get_ipython() is None:
        return
    palette = theme.colors_of(rows, dict.fromkeys(rows, color) if color else None)
    lines = "".join(_line(name, row, palette[name]) for name, row in rows.items())
    page = f'<div style="{theme.CARD};padding:4px 10px">{lines}</div>'
    display({"text/html": page, "text/plain": "\n".join(plain)}, raw=True)


def _count(row):
    return f"{len(row)} token{'s' * (len(row) != 1)}"


def _line(name, row, color):
    box = "color:#1A1A1A;padding:1px 3px;margin:1px;border-radius:3px;white-space:pre;font-size:13px"
    pieces = []
    for i, token in enumerate(row):
        ground = GREY if _broken(token) else tint(color, 0.2 + 0.18 * (i % 2))
        pieces.append(f'<code style="background-color:{ground};{box}">{html.escape(text_of(token))}</code>')
    label = f'<b style="color:{color}">{html.escape(name)}</b>, {_count(row)}'
    return f'<p style="margin:6px 0 2px 0">{label}</p><p style="margin:0;line-height:1.9">{" ".join(pieces)}</p>'


@theme.styled
def draw_tokens(row, title="", color=LLAMA, height=2.4, alt=None):
    """Return a figure of tokens (a list of bytes) as boxes, line by line: for widgets, and for Latin letters alone."""
    fig, ax = theme.figure(height)
    ax.set_position((0, 0, 1, 1))
    ax.set(xlim=(0, theme.WIDTH), ylim=(0, height))
    ax.axis("off")
    ax.text(0.08, height - 0.2, title, weight="bold", va="center")
    x, y = 0.08, height - 0.62
    for i, token in enumerate(row):
        words = text_of(token) if token.isascii() else token.hex(" ").upper()
        wide = CHARACTER * len(words)
        if x + wide > theme.WIDTH - 0.08:
            x, y = 0.08, y - LINE
        if y < 0.1:
            ax.text(x, y + LINE / 2, "...", color=MUTED)
            break
        ax.add_patch(Rectangle((x, y - 0.1), wide, 0.24, color=tint(color, 0.2 + 0.2 * (i % 2)), linewidth=0))
        ax.text(x + wide / 2, y, words, family="DejaVu Sans Mono", size=10, va="center_baseline", ha="center")
        x += wide + 0.015
    fig.alt_text = alt or f"{title}: {'|'.join(map(text_of, row))}"
    return fig


def prices(costs, names, marked, *, alt, **options):
    """Show `draw_prices`."""
    theme.show(draw_prices(costs, names, marked, **options), alt)


@theme.styled
def draw_prices(costs, names, marked, ylabel="", height=3.5, alt=None):
    """Return a figure of what each language costs under each tokenizer: a dot a language, on a logarithmic axis.

    costs: {tokenizer: {language: number}}; names: {language: name}, those that get a line and their name at its end;
    marked: languages whose dots are filled and blue.
    """
    fig, ax = theme.figure(height)
    for place, (_, of) in enumerate(costs.items()):
        languages = sorted(of, key=of.get)
        spots = swarm(np.log([of[code] for code in languages]), 0.035)
        for code, spot in zip(languages, spots, strict=True):
            inside = code in marked
            style = dict(color=LLAMA, zorder=3) if inside else dict(markerfacecolor=WHITE, color="#9A9A9A", zorder=2)
            ax.plot([place + spot], [of[code]], "o", markersize=3.6, markeredgewidth=0.8, **style)
    others = [code for code in names if code not in marked]
    shades = dict(zip(others, theme.OTHERS + [MUTED] * len(others), strict=False))
    ends = []
    for code, name in names.items():
        values = [of[code] for of in costs.values()]
        color = shades.get(code, REFERENCE)
        ax.plot(range(len(values)), values, "-", color=color, linewidth=1.4, zorder=4, alpha=0.9)
        ends.append((name, len(values) - 1, values[-1], color))
    ax.set_yscale("log")
    ax.set_xticks(range(len(costs)), list(costs))
    ax.set(ylabel=ylabel, xlim=(-0.4, len(costs) - 0.6))
    low, high = ax.get_ylim()
    steps = [step for step in (500, 1000, 2000, 3000, 5000, 10000) if low <= step <= high]
    ax.set_yticks(steps, [f"{step:,}" for step in steps])
    ax.set_yticks([], minor=True)
    ax.grid(False, axis="x")
    label_ends(fig, ax, ends)
    fig.alt_text = alt
    return fig


def swarm(heights, size, most=0.38):
    """Return sideways places for sorted heights so that dots of one height lie side by side, from the middle out."""
    places, bins = [], {}
    for height in heights:
        n = bins[round(height / size)] = bins.get(round(height / size), -1) + 1
        places.append(float(np.clip((n + 1) // 2 * (1 if n % 2 else -1) * 0.028, -most, most)))
    return places
