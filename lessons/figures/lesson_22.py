"""Figures of lesson 22: a board with its intervals, two settings seed by seed, what a number of seeds can see."""

import math
import statistics

import numpy as np

from lib.run.paired import t_interval, t_value
from lib.show import theme
from lib.show.theme import REFERENCE


def board(entries):
    """Show `draw_board`."""
    theme.show(draw_board(entries))


@theme.styled
def draw_board(entries):
    """Return a row an entry, the best on top: its runs as rings, their mean, and the t interval of 95 %.

    entries: dicts with name, bits_above, half and runs, each of which has bits_above.
    """
    fig, ax = theme.figure(min(3.5, 1.1 + 0.3 * len(entries)))
    told = []
    for row, entry in enumerate(entries):
        color = theme.color_of(entry["name"], row)
        runs = [run["bits_above"] for run in entry["runs"]]
        ax.plot(runs, [row] * len(runs), "o", color=color, fillstyle="none", markersize=6)
        ax.errorbar(entry["bits_above"], row, xerr=entry["half"], color=color, fmt="|", markersize=14, capsize=3)
        told.append(f"{entry['name']} {entry['bits_above']:.3f} ± {entry['half']:.3f}")
    low = min(entry["bits_above"] - entry["half"] for entry in entries)
    high = max(entry["bits_above"] + entry["half"] for entry in entries)
    near = low < 2 * (high - low)  # else the floor would press all entries into one corner
    if near:
        ax.axvline(0, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    ax.set_yticks(range(len(entries)), [entry["name"] for entry in entries])
    ax.set(ylim=(len(entries) - 0.5, -0.5), xlim=(-0.02 if near else low - 0.05 * (high - low), None))
    ax.set_xlabel("bits a byte above the floor" + ("" if near else ", which lies far to the left"))
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    theme.fit(fig, ax, pad=0.12)
    floor = "is dashed" if near else "lies far to the left"
    fig.alt_text = f"The board, with intervals of 95 %; the floor, zero, {floor}. {'; '.join(told)}."
    return fig


def pairs(base, ideas):
    """Show `draw_pairs`."""
    theme.show(draw_pairs(base, ideas))


@theme.styled
def draw_pairs(base, ideas):
    """Return a panel an idea: a line a seed, from the base's score to the idea's; thick is the mean.

    base: a score each seed; ideas: {name: the scores of the same seeds}.
    """
    fig, axes = theme.figure(3.0, panels=len(ideas))
    told = []
    for ax, (name, scores) in zip(np.atleast_1d(axes), ideas.items(), strict=True):
        for a, b in zip(base, scores, strict=True):
            ax.plot([0, 1], [a, b], color=theme.MUTED, marker="o", linewidth=1, markersize=4)
        middle = [statistics.fmean(base), statistics.fmean(scores)]
        ax.plot([0, 1], middle, color=theme.YOURS, marker="s", linewidth=3, linestyle=theme.DASHES[theme.YOURS])
        ax.set_xticks([0, 1], ["base", name])
        ax.set(xlim=(-0.2, 1.2))
        lower = sum(b < a for a, b in zip(base, scores, strict=True))
        told.append(f"{name}: mean {middle[0]:.3f} to {middle[1]:.3f}, lower with {lower} of {len(base)} seeds")
    np.atleast_1d(axes)[0].set_ylabel("bits a byte above the floor")
    theme.fit(fig, *np.atleast_1d(axes), pad=0.12)
    fig.alt_text = f"A line a seed, thick the mean. {'; '.join(told)}."
    return fig


@theme.styled
def draw_seeds(effect, spread, seeds):
    """Return what 12 studies of so many seeds find, each with its t interval, where the truth is `effect`.

    effect, spread: in thousandths of a bit. The draws are the same for all values, so that a slider moves the picture
    and not the luck. The title says how many studies see the effect: their interval leaves zero out.
    """
    fig, ax = theme.figure(3.0)
    rng, n_studies = np.random.default_rng(0), 12
    draws = rng.standard_normal((n_studies, 40))[:, :seeds]
    seen = 0
    for row, luck in enumerate(draws):
        found = t_interval(-effect + spread * luck)
        clear = found.clear and found.mean < 0
        seen += clear
        color = theme.YOURS if clear else theme.MUTED
        ax.errorbar(found.mean, row, xerr=found.half, color=color, fmt="s" if clear else "o", capsize=2, markersize=5)
    ax.axvline(0, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    ax.axvline(-effect, color=theme.OTHERS[0], linewidth=1)
    half = t_value(seeds - 1) * spread / math.sqrt(seeds)
    ax.set(ylim=(n_studies - 0.5, -0.5), yticks=[], xlabel="idea minus base, thousandths of a bit a byte",
           xlim=(-120, 120))  # fmt: skip
    ax.grid(False, axis="y")
    ax.set_title(f"{seeds} seeds: {seen} of {n_studies} studies see it")
    theme.fit(fig, ax, pad=0.12)
    fig.alt_text = (
        f"Twelve studies of {seeds} seeds, of an effect of {effect:g} thousandths with a spread of {spread:g}. Their "
        f"intervals reach {half:.0f} to each side in the mean, and {seen} of them leave zero out on the right side."
    )
    return fig
