"""Figures of lesson 17: who still answers right with how many bytes of state, and within how many."""

import statistics

import numpy as np

from lib.show import plots, theme
from lib.show.theme import REFERENCE

# One colour a mixer, and a mark of its own, so that nothing depends on the colour alone.
COLORS = {
    "attention": theme.LLAMA,
    "hybrid": theme.OTHERS[0],
    "linear attention": theme.OTHERS[1],
    "RWKV-5": theme.GENERATIONS[5],
    "RWKV-7": theme.GENERATIONS[7],
}
MARKS = {"attention": "o", "hybrid": "D", "linear attention": "v", "RWKV-5": "s", "RWKV-7": "^"}
RIGHT = 0.9  # who answers so many of ten questions counts as right


def by_size(runs, n_pairs):
    """Return {mixer: {bytes of state: [accuracy of each seed]}} at so many pairs, sizes in rising order."""
    found = {}
    for run in runs:
        sizes = found.setdefault(run["mixer"], {})
        sizes.setdefault(run["state_bytes"][str(n_pairs)], []).append(run["accuracy"][str(n_pairs)])
    return {mixer: dict(sorted(sizes.items())) for mixer, sizes in found.items()}


def accuracy(runs, n_pairs, least, **options):
    """Show `draw_accuracy`."""
    theme.show(draw_accuracy(runs, n_pairs, least, **options))


@theme.styled
def draw_accuracy(runs, n_pairs, least, height=3.4):
    """Return a figure of accuracy against bytes of state: the mean of the seeds, and a bar from the worst to the best.

    runs: those of the record; least: bytes that the counting bound asks for, a dashed line.
    """
    fig, ax = theme.figure(height)
    found, ends, told = by_size(runs, n_pairs), [], []
    for mixer, sizes in found.items():
        x, means = list(sizes), [statistics.fmean(seeds) for seeds in sizes.values()]
        color = COLORS[mixer]
        ax.plot(x, means, color=color, linestyle=theme.dashes_of(color), marker=MARKS[mixer])
        ax.vlines(x, [min(seeds) for seeds in sizes.values()], [max(seeds) for seeds in sizes.values()], color=color)
        ends.append((mixer, x[-1], means[-1], color))
        words = ", ".join(f"{mean:.0%} with {size:,} bytes" for size, mean in zip(x, means, strict=True))
        told.append(f"{mixer}: {words}.")
    ax.axvline(least, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    ax.text(least * 1.12, 0.5, f"{least:,.0f} bytes:\nby counting", va="center")
    theme.finish(ax, "bytes of state when the questions begin", "share of right answers", "", xlog=True)
    ax.set(xlim=(least / 1.4, 1.25 * max(size for sizes in found.values() for size in sizes)), ylim=(-0.03, 1.06))
    plots.label_ends(fig, ax, ends)
    fig.alt_text = (
        f"Share of right answers with {n_pairs} pairs against bytes of state, logarithmic. {' '.join(told)} A dashed"
        f" line at {least:,.0f} bytes is what counting asks for."
    )
    return fig


@theme.styled
def draw_budget(runs, n_pairs, most):
    """Return bars: how well each mixer answers with its largest state that fits into `most` bytes, 90 % marked."""
    fig, ax = theme.figure(2.6)
    rows, told = by_size(runs, n_pairs), []
    for row, (mixer, sizes) in enumerate(rows.items()):
        fitting = [size for size in sizes if size <= most]
        color = COLORS[mixer]
        if not fitting:
            words = f"has {min(sizes):,} bytes at its smallest"
            ax.text(0.01, row, words, va="center", color=theme.MUTED)
            told.append(f"{mixer} {words}")
            continue
        mean = statistics.fmean(sizes[fitting[-1]])
        ax.barh(row, mean, 0.7, color=color, alpha=1.0 if mean >= RIGHT else 0.35)
        words = f"{mean:.0%}, {fitting[-1]:,} bytes"
        inside = mean >= RIGHT
        look = {"color": "white"} if inside else {"color": REFERENCE, "path_effects": plots.HALO}
        ax.annotate(words, (0 if inside else mean, row), (6, 0), textcoords="offset points", va="center", zorder=4,
                    **look)  # fmt: skip
        told.append(f"{mixer} {words}")
    ax.set_yticks(np.arange(len(rows)), list(rows))
    ax.set(xlim=(0, 1.02), ylim=(len(rows) - 0.4, -0.6), xlabel="share of right answers")
    ax.axvline(RIGHT, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.2)
    ax.annotate(
        f"{RIGHT:.0%}",
        (RIGHT, 1),
        (0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        fontsize=9.5,
    )
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_title(f"{n_pairs} pairs, at most {most:,} bytes of state")
    theme.fit(fig, ax)
    fig.alt_text = f"{n_pairs} pairs, at most {most:,} bytes of state: {'; '.join(told)}. A dashed line marks 90 %."
    return fig
