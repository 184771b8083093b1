"""Plots of arrays. `draw_x` returns the figure, `x` shows it and asks for the alt text.

curves, scatter, histogram, bars; from `heatmap` and `diagrams` also heatmap, arrows, blocks.
"""

import textwrap

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from lib.show import theme
from lib.show.diagrams import arrows, blocks, draw_arrows, draw_blocks
from lib.show.heatmap import draw_heatmap
from lib.show.theme import REFERENCE, array

__all__ = ["arrows", "bars", "blocks", "curves", "heatmap", "histogram", "scatter"]
__all__ += ["draw_arrows", "draw_bars", "draw_blocks", "draw_curves", "draw_heatmap", "draw_histogram", "draw_scatter"]
# Keeps a word readable on a line that crosses it.
HALO = (withStroke(linewidth=3, foreground="white"),)


def curves(series, *, alt, **options):
    """Show `draw_curves`."""
    theme.show(draw_curves(series, **options), alt)


def scatter(series, *, alt, **options):
    """Show `draw_scatter`."""
    theme.show(draw_scatter(series, **options), alt)


def histogram(series, *, alt, **options):
    """Show `draw_histogram`."""
    theme.show(draw_histogram(series, **options), alt)


def bars(values, *, alt, **options):
    """Show `draw_bars`."""
    theme.show(draw_bars(values, **options), alt)


def heatmap(matrix, *, alt, **options):
    """Show `draw_heatmap`."""
    theme.show(draw_heatmap(matrix, **options), alt)


@theme.styled
def draw_curves(series, *, xlabel="", ylabel="", xlog=False, ylog=False, floors=None, bands=None, point=None,
                colors=None, marks=False, xlim=None, ylim=None, title="", height=3.0, alt=None):  # fmt: skip
    """Return a figure of lines, each with its name at its end.

    series: {name: ys} or {name: (xs, ys)}. floors: {name: y}, dashed horizontal lines. bands: {name: (low, high)},
    the spread around a series. point: (x, y) or {label: (x, y)}, marked. colors: {name: "LLAMA" or any colour};
    without, the name decides. marks: dots at the measured points.
    """
    fig, ax = theme.figure(height)
    palette, ends = theme.colors_of(series, colors), []
    for name, values in series.items():
        x, y = points_of(values)
        color = palette[name]
        ax.plot(x, y, color=color, linestyle=theme.dashes_of(color), marker="o" if marks else None)
        if name in (bands or {}):
            low, high = bands[name]
            ax.fill_between(x, array(low), array(high), color=color, alpha=0.15, linewidth=0)
        good = np.flatnonzero(np.isfinite(y))
        if len(good):
            ends.append((name, x[good[-1]], y[good[-1]], color))
    for name, y in (floors or {}).items():
        ax.axhline(y, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
        ends.append((name, None, y, REFERENCE))
    mark(ax, point)
    theme.finish(ax, xlabel, ylabel, title, xlog, ylog)
    ax.margins(x=0.02)
    ax.set(**{key: value for key, value in (("xlim", xlim), ("ylim", ylim)) if value is not None})
    label_ends(fig, ax, ends)
    fig.alt_text, fig.in_words = alt, curves_in_words(title, series, floors)
    return fig


def curves_in_words(title, series, floors=None):
    """Return what the lines say, for a widget whose author gave no words: where each begins and ends."""
    parts = []
    for name, (x, y) in ((name, points_of(values)) for name, values in series.items()):
        good = np.flatnonzero(np.isfinite(y))
        ends = [f"{theme.tick(float(f'{v[i]:.3g}'))}" for i in (good[[0, -1]] if len(good) else ()) for v in (x, y)]
        parts.append(
            f"{name} goes from {ends[1]} at {ends[0]} to {ends[3]} at {ends[2]}" if ends else f"{name} is empty"
        )
    parts += [f"{name} is a dashed line at {float(y):.3g}" for name, y in (floors or {}).items()]
    return f"{title}: {'; '.join(parts)}.".removeprefix(": ")


def points_of(values):
    """Return (xs, ys) of a series that may lack its xs."""
    if isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) == 1:
        return array(values[0]), array(values[1])
    ys = array(values)
    return np.arange(len(ys), dtype=float), ys


def mark(ax, point):
    """Mark one point, or several with labels."""
    for label, (x, y) in ({"": point} if isinstance(point, tuple) else point or {}).items():
        ax.plot([float(x)], [float(y)], "o", color=theme.YOURS, markersize=9, markeredgecolor="white", zorder=5)
        if label:
            ax.annotate(label, (float(x), float(y)), (8, 6), textcoords="offset points", color=theme.YOURS)


def label_ends(fig, ax, ends):
    """Write each line's name right of the axes at the height of its end, moved apart where they would overlap."""
    renderer, inch = fig.canvas.get_renderer(), fig.dpi
    texts = [fig.text(0, 0, textwrap.fill(name, 19), color=color, va="center") for name, _, _, color in ends]
    sizes = [text.get_window_extent(renderer) for text in texts]
    theme.fit(fig, ax, right=max((size.width for size in sizes), default=0) * 1.03 / inch + 0.16 if texts else 0.0)
    box, to_figure = ax.get_window_extent(renderer), fig.transFigure.inverted()
    starts = [(box.x1 if x is None else ax.transData.transform((x, y))[0], ax.transData.transform((1, y))[1])
              for _, x, y, _ in ends]  # fmt: skip
    wanted = [float(np.clip(start[1], box.y0, box.y1)) for start in starts]
    heights = spread(wanted, [size.height + 0.03 * inch for size in sizes], box.y0 - 6, box.y1 + 6)
    for text, start, height, (_, _, _, color) in zip(texts, starts, heights, ends, strict=True):
        (x0, y0), (x1, y1) = to_figure.transform([start, (box.x1 + 0.11 * inch, height)])
        early = start[0] < box.x1 - 0.08 * box.width  # what leads to its name must not look like more of it
        look = {"linestyle": (0, (1, 3)), "alpha": 0.9} if early else {"alpha": 0.6}
        fig.add_artist(Line2D([x0, x1], [y0, y1], color=color, linewidth=0.9 if early else 0.7, **look))
        if early:
            ax.plot(*ax.transData.inverted().transform(start), "|", color=color, markersize=9, markeredgewidth=2)
        text.set_position(to_figure.transform((box.x1 + 0.15 * inch, height)))


def spread(wanted, sizes, low, high):
    """Return the positions nearest to the wanted ones so that things of these sizes don't overlap, in [low, high].

    Without the sizes it is a regression that must not fall: neighbours that would cross share their mean.
    """
    if not wanted:
        return []
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    before = np.cumsum([0.0] + [(sizes[i] + sizes[k]) / 2 for i, k in zip(order, order[1:], strict=False)])
    pools = []  # of [sum, count]
    for place, offset in zip(order, before, strict=True):
        pools.append([wanted[place] - offset, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1] = [pools[-1][0] + total, pools[-1][1] + count]
    level = np.repeat([total / count for total, count in pools], [count for _, count in pools])
    low, high = low + sizes[order[0]] / 2, high - sizes[order[-1]] / 2 - before[-1]
    result = np.empty(len(wanted))
    result[order] = np.clip(level, low, max(low, high)) + before
    return result.tolist()


@theme.styled
def draw_scatter(series, *, xlabel="", ylabel="", equal=True, colors=None, size=14, title="", height=3.2, alt=None):
    """Return a figure of points in the plane. series: {name: (n, 2) array}; equal: both axes have one scale."""
    fig, ax = theme.figure(height)
    palette = theme.colors_of(series, colors)
    for (name, values), marker in zip(series.items(), "osD^vP*X" * 3, strict=False):
        x, y = array(values).reshape(-1, 2).T
        few = len(x) <= 20  # a few points must be seen on top of many
        look = (
            {"s": 5 * size, "edgecolors": "white", "zorder": 4} if few else {"s": size, "alpha": 0.7, "linewidths": 0}
        )
        ax.scatter(x, y, color=palette[name], marker=marker, label=name, **look)
    if equal:
        ax.set_aspect("equal", adjustable="datalim")
    theme.finish(ax, xlabel, ylabel, title)
    if len(series) > 1:
        legend(ax, palette)
    theme.fit(fig, ax)
    fig.alt_text = alt
    return fig


def legend(ax, palette):
    """Put the names right of the axes, each in its colour."""
    box = ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handletextpad=0.4)
    for text, handle in zip(box.get_texts(), box.legend_handles, strict=True):
        text.set_color(palette[text.get_text()])
        handle.set_alpha(1.0)
        handle.set_sizes([45])


@theme.styled
def draw_histogram(series, *, bins=40, xlabel="", ylabel="share", xlog=False, ylog=False, colors=None, title="",
                   height=3.0, alt=None):  # fmt: skip
    """Return a figure of outlines: which share of each series' values falls into each bin. series: {name: values}."""
    fig, ax = theme.figure(height)
    flat = {name: array(values).ravel() for name, values in series.items()}
    flat = {name: values[np.isfinite(values)] for name, values in flat.items()}
    low, high = min(v.min() for v in flat.values()), max(v.max() for v in flat.values())
    edges = np.geomspace(low, high, bins + 1) if xlog else np.linspace(low, high if high > low else low + 1, bins + 1)
    palette = theme.colors_of(series, colors)
    for name, values in flat.items():
        shares = np.histogram(values, edges)[0] / len(values)
        color = palette[name]
        ax.stairs(shares, edges, fill=True, color=color, alpha=0.15)
        ax.stairs(shares, edges, color=color, linewidth=1.8, label=name, linestyle=theme.dashes_of(color))
    theme.finish(ax, xlabel, ylabel, title, xlog, ylog)
    if len(series) > 1:
        handles, names = ax.get_legend_handles_labels()
        ax.legend(handles, names, loc="best", labelcolor=[palette[name] for name in names])
    theme.fit(fig, ax)
    fig.alt_text = alt
    return fig


@theme.styled
def draw_bars(values, *, xlabel="", log=False, xlim=None, floors=None, colors=None, form="{:,.4g}", title="",
              height=None, alt=None):  # fmt: skip
    """Return a figure of horizontal bars with their numbers. values: {name: number} or {group: {name: number}}.

    `xlim`: fixed ends of the axis, for a widget. floors: {name: number}, dashed vertical lines. form: how a number is
    written.
    """
    grouped = all(isinstance(value, dict) for value in values.values())
    groups = values if grouped else {name: {name: value} for name, value in values.items()}
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    palette = theme.colors_of(names, colors) if grouped or colors else {name: theme.color_of(name, 3) for name in names}
    count = sum(len(group) for group in groups.values()) + (0.6 * len(groups) if grouped else 0)
    fig, ax = theme.figure(height or float(np.clip(0.75 + 0.3 * count, 1.2, 3.5)))
    y, ticks = 0.0, {}
    for group, members in groups.items():
        ticks[group] = y + (len(members) - 1) / 2
        for name, value in members.items():
            ax.barh(y, float(value), 0.78, color=palette[name], label=name)
            words = form.format(float(value)) + (f"  {name}" if grouped else "")
            ax.annotate(words, (float(value), y), (4, 0), textcoords="offset points", va="center", color=palette[name],
                        path_effects=HALO)  # fmt: skip
            y += 1
        y += 0.6 if grouped else 0
    ax.set_yticks(list(ticks.values()), list(ticks))
    ax.invert_yaxis()
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    for name, value in (floors or {}).items():
        ax.axvline(value, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
        ax.annotate(
            name, (value, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center"
        )
    ax.set_xlabel(xlabel)
    if title:
        ax.set_title(title, pad=18 if floors else None)
    if log:
        ax.set_xscale("log")
    else:
        ax.xaxis.set_major_formatter(lambda value, _: theme.tick(value))
    if xlim is not None:
        ax.set_xlim(xlim)
    theme.fit(fig, ax)
    told = [f"{name} {form.format(float(value))}" for group in groups.values() for name, value in group.items()]
    fig.alt_text, fig.in_words = alt, f"{title}: {', '.join(told)}.".removeprefix(": ")
    return fig
