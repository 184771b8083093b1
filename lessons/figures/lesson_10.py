"""Figures of lesson 10: layers of different width as towers, where parameters lie, and runs compared seed by seed."""

import numpy as np

from lib.run.paired import t_interval
from lib.show import theme
from lib.show.theme import LLAMA, MUTED, OTHERS, REFERENCE, YOURS, array

HEADS, MLP = OTHERS[0], LLAMA
# The three models of the comparison, in all figures.
MODELS = {"uniform": MUTED, "scaled": OTHERS[1], "reversed": OTHERS[2]}


def towers(configs, *, alt, **options):
    """Show `draw_towers`."""
    theme.show(draw_towers(configs, **options), alt)


def pairs(outcomes, *, alt, **options):
    """Show `draw_pairs`."""
    theme.show(draw_pairs(outcomes, **options), alt)


def costs(costs_of, *, alt, **options):
    """Show `draw_costs`."""
    theme.show(draw_costs(costs_of, **options), alt)


@theme.styled
def draw_towers(configs, height=3.3):
    """Return a panel for each model: a row a layer, the first below; query heads to the left, MLP width to the right.

    configs: {name: config with lists n_heads, d_ff, and d_model, d_head}. Both sides are in units of d_model.
    """
    fig, axes = theme.figure(height, panels=len(configs))
    axes = [axes] if len(configs) == 1 else axes
    for ax, (name, config) in zip(axes, configs.items(), strict=True):
        rows = np.arange(1, len(config.n_heads) + 1)
        left = array(config.n_heads) * config.d_head / config.d_model
        right = array(config.d_ff) / config.d_model
        ax.barh(rows, -left, 0.82, color=HEADS)
        ax.barh(rows, right, 0.82, color=MLP)
        ax.axvline(0, color="white", linewidth=1.5)
        ax.set_title(name)
        ax.set(xlim=(-1.35, 4.25), ylim=(0.3, len(rows) + 0.7), xticks=[-1, 0, 2, 4])
        ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        step = 1 if len(rows) <= 8 else 4 if len(rows) <= 24 else 8
        ax.set_yticks([1, *range(step, len(rows) + 1, step)] if step > 1 else rows.tolist())
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
    axes[0].set_ylabel("layer")
    fig.subplots_adjust(0.085, 0.6 / height, 0.995, 1 - 0.3 / height, wspace=0.24)
    fig.text(0.5, 0.05 / height, "query heads", color=HEADS, ha="right", va="bottom", fontsize=10.5)
    fig.text(0.515, 0.05 / height, "MLP width, both in units of d_model", color=MLP, va="bottom", fontsize=10.5)
    return fig


@theme.styled
def draw_tilt(attention, mlp, equal, title=""):
    """Return a figure of the parameters of each layer, the first below: attention and norms, then the MLP.

    attention, mlp: a number of parameters for each layer; equal: what each would have if all were alike, dashed.
    """
    fig, ax = theme.figure(2.6)
    rest, mlp, equal = array(attention) / 1000, array(mlp) / 1000, equal / 1000
    rows = np.arange(1, len(rest) + 1)
    ax.barh(rows, rest, 0.78, color=HEADS)
    ax.barh(rows, mlp, 0.78, left=rest, color=MLP)
    ax.axvline(equal, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    ax.annotate("all layers alike", (equal, 0), (5, 4), xycoords=("data", "axes fraction"), textcoords="offset points")
    for x, (name, color) in zip((0.012, 0.15), {"attention": HEADS, "MLP": MLP}.items(), strict=True):
        ax.text(x, 4 / 72 / (0.8 * fig.get_figheight()), name, color=color, transform=ax.transAxes)
    ax.set(xlim=(0, 1.08 * max((rest + mlp).max(), equal)), ylim=(-0.3, len(rows) + 0.6), yticks=rows)
    ax.set(xlabel="thousand parameters", ylabel="layer")
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_title(title)
    theme.fit(fig, ax)
    shares = (rest + mlp) / (rest + mlp).sum()
    fig.alt_text = (
        f"Parameters of {len(rows)} layers. The first has {shares[0]:.0%} of them, the last {shares[-1]:.0%};"
        f" the MLPs have {mlp.sum() / (rest + mlp).sum():.0%}."
    )
    return fig


@theme.styled
def draw_costs(costs_of, xlabel="loss when it is left out, minus the loss as it is", height=2.6):
    """Return what leaving out a part of a layer costs: a row a layer, the first below, a dot for each part.

    costs_of: {part: [cost of layer 1, 2, ...]}; the axis is logarithmic.
    """
    fig, ax = theme.figure(height)
    for (name, values), color, marker in zip(costs_of.items(), (HEADS, MLP), "so", strict=False):
        values = np.maximum(array(values), 1e-3)
        rows = np.arange(1, len(values) + 1)
        ax.plot(values, rows, marker, color=color, markersize=9)
        ax.plot([], [], marker, color=color, markersize=8, label=name)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, labelcolor="linecolor", handletextpad=0.1)
    ax.set(xscale="log", ylim=(0.5, len(rows) + 0.5), yticks=rows, xlabel=xlabel, ylabel="layer")
    ax.xaxis.set_major_formatter(lambda value, _: theme.decade(value))
    ax.tick_params(axis="y", length=0)
    theme.fit(fig, ax)
    return fig


@theme.styled
def draw_pairs(outcomes, height=2.9, ylabel="loss, nats a token"):
    """Return two panels: the losses of each seed, joined from model to model; and the differences to the first model.

    outcomes: {model: [loss of each seed]}, the seeds in one order. The bar is the mean with its 95 % interval, by
    Student's t.
    """
    fig, (ax, gaps) = theme.figure(height, panels=2, width_ratios=[1.25, 1])
    names, losses = list(outcomes), np.array([array(values) for values in outcomes.values()])
    places = np.arange(len(names))
    ax.plot(places, losses, color="#BDBDBD", linewidth=1.2, zorder=1)
    palette = theme.colors_of(names, MODELS)
    for place, name, values in zip(places, names, losses, strict=True):
        ax.plot([place] * len(values), values, "o", color=palette[name], markersize=6.5)
    ax.set(xticks=places, xticklabels=names, xlim=(-0.4, len(names) - 0.6), ylabel=ylabel)
    ax.set_title("new text, each seed")
    for place, name, values in zip(places[1:], names[1:], losses[1:] - losses[0], strict=True):
        n = len(values)
        gaps.plot(place + np.linspace(-0.16, 0.02, n), values, "o", color=palette[name], markersize=6.5, alpha=0.75)
        mean, half = t_interval(values)
        gaps.errorbar(place + 0.2, mean, half, fmt="_", color=YOURS, capsize=5, markersize=16, linewidth=2)
    gaps.axhline(0, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    gaps.set(xticks=places[1:], xlim=(0.5, len(names) - 0.4))
    gaps.set_xticklabels(names[1:])
    gaps.set_title(f"minus {names[0]}, 95 %")
    for panel in (ax, gaps):
        panel.grid(False, axis="x")
        panel.yaxis.set_major_formatter(lambda value, _: theme.tick(round(value, 3)))
    fig.subplots_adjust(0.115, 0.11, 0.99, 0.9, wspace=0.28)
    return fig
