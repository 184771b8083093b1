"""Figures of lesson 18: scores with their errors, what a leak does to a score and to the floor, two scores apart."""

import math

import numpy as np

from lib.show import theme
from lib.show.theme import REFERENCE

SURE = 1.96  # standard errors to each side hold 95 % of a normal distribution
COLORS = {"LLaMA": theme.LLAMA, **{f"RWKV-{n}": color for n, color in theme.GENERATIONS.items()}}
MARKS = ["o", "s", "^", "D", "v", "P"]


def scores(groups, **options):
    """Show `draw_scores`."""
    theme.show(draw_scores(groups, **options))


@theme.styled
def draw_scores(groups, lines=None, line="guessing", xlabel="right answers, %", height=3.2):
    """Return a figure of scores in percent, a row each group, a mark each name, with bars of 95 %.

    groups: {row: {name: (score, standard error)}}, both in percent. lines: {row: percent}, a dashed mark that is
    called `line`.
    """
    fig, ax = theme.figure(height)
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    told = []
    for row, (group, values) in enumerate(groups.items()):
        for name, (value, error) in values.items():
            place = names.index(name)
            y = row + (0 if len(names) == 1 else 0.6 * (place / (len(names) - 1) - 0.5))
            color = COLORS.get(name, theme.OTHERS[place % len(theme.OTHERS)])
            label = name if row == next(i for i, some in enumerate(groups.values()) if name in some) else None
            ax.errorbar(value, y, xerr=SURE * error, color=color, fmt=MARKS[place % len(MARKS)], label=label, capsize=2)
            told.append(f"{group}, {name}: {value:.1f} ± {SURE * error:.1f}")
        if group in (lines or {}):
            ax.vlines(lines[group], row - 0.42, row + 0.42, color=REFERENCE, linestyle=theme.DASHES[REFERENCE])
            ax.text(lines[group] + 0.8, row, line, va="center", fontsize=9, color=theme.MUTED)
    ax.set_yticks(range(len(groups)), list(groups))
    ax.set(ylim=(len(groups) - 0.5, -0.5), xlabel=xlabel)
    ax.set_xlim(right=max(101, ax.get_xlim()[1]))
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    if len(names) > 1:
        ax.legend(ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1, columnspacing=1.0)
    theme.fit(fig, ax)
    dashed = "".join(f" Dashed at {value:.0f} % in the row {row}." for row, value in (lines or {}).items())
    fig.alt_text = f"Scores with intervals of 95 %, {xlabel}. {'; '.join(told)}.{dashed}"
    return fig


def leak(records):
    """Show `draw_leak`."""
    theme.show(draw_leak(records))


@theme.styled
def draw_leak(records):
    """Return two panels over the rounds of a training on the test: right answers, and the distance from the floor.

    records: [(round, {"asked": (share right, excess), "new": (share right, excess)})].
    """
    fig, axes = theme.figure(2.9, panels=2)
    rounds = [n for n, _ in records]
    looks = {"asked": ("the leaked stories", theme.OTHERS[0], "o"), "new": ("new stories", theme.OTHERS[1], "s")}
    told = []
    for part, (ax, ylabel) in enumerate(zip(axes, ("right last words, %", "nats above the floor, %"), strict=True)):
        for name, (label, color, mark) in looks.items():
            values = [100 * found[name][part] for _, found in records]
            ax.plot(rounds, values, color=color, marker=mark, linestyle=theme.dashes_of(color), label=label)
            told.append(f"{ylabel}, {label}: {', '.join(f'{value:.0f}' for value in values)}")
        theme.finish(ax, "rounds", ylabel, "")
    axes[1].axhline(0, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    axes[0].set_ylim(0, 104)
    axes[0].legend(loc="lower right")
    theme.fit(fig, *axes)
    fig.alt_text = f"After {', '.join(map(str, rounds))} rounds. {'; '.join(told)}. The floor, zero, is dashed."
    return fig


@theme.styled
def draw_apart(n, gap, first=50):
    """Return two bell curves: what two models, `gap` points apart in truth, can score on n questions each.

    The title says how often the better one is behind: P(difference < 0), the difference normal.
    """
    fig, ax = theme.figure(2.7)
    shares = [first / 100, (first + gap) / 100]
    errors = [math.sqrt(p * (1 - p) / (n - 1)) for p in shares]
    x = np.linspace(first - 12, first + 22, 600)
    peak = 0.0
    for p, error, name, color in zip(shares, errors, ("A", "B"), (theme.OTHERS[0], theme.OTHERS[1]), strict=True):
        curve = np.exp(-((x / 100 - p) ** 2) / (2 * error**2)) / error
        peak = max(peak, curve.max())
        ax.fill_between(x, curve, color=color, alpha=0.18, linewidth=0)
        ax.plot(x, curve, color=color, linestyle=theme.dashes_of(color), label=f"{name}, {100 * p:g} % in truth")
    behind = 0.5 * math.erfc(gap / 100 / math.hypot(*errors) / math.sqrt(2))
    ax.set(xlim=(x[0], x[-1]), ylim=(0, 1.1 * peak), yticks=[], xlabel="score on these questions, %")
    ax.grid(False, axis="y")
    ax.legend(loc="upper right")
    ax.set_title(f"{n:,} questions: the better one is behind in {behind:.1%} of such tests")
    theme.fit(fig, ax)
    fig.alt_text = (
        f"Two bell curves of possible scores on {n:,} questions, centred on {first} and {first + gap:g} %. In "
        f"{behind:.1%} of such tests the better model has the lower score."
    )
    return fig
