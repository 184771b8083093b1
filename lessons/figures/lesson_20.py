"""Figures of lesson 20: valleys of equal FLOPs, fitted floors beside the truth, a lifetime's cost."""

import math

import numpy as np

from lib.run.scaling import valley
from lib.show import theme
from lib.show.theme import REFERENCE

COLORS = {"LLaMA": theme.LLAMA, "RWKV-5": theme.GENERATIONS[5]}
MARKS = ("o", "s", "^", "D", "v", "P")


def valleys(runs, floor):
    """Show `draw_valleys`."""
    theme.show(draw_valleys(runs, floor))


@theme.styled
def draw_valleys(runs, floor):
    """Return a panel for each family: loss against parameters, a line for each budget, and a ring at its valley.

    runs: {family: {budget: [(parameters, nats)]}}. floor: the entropy, dashed, in nats a token.
    """
    fig, axes = theme.figure(3.3, panels=len(runs), sharey=True)
    told = []
    for ax, (family, budgets) in zip(np.atleast_1d(axes), runs.items(), strict=True):
        for place, (budget, points) in enumerate(sorted(budgets.items())):
            N, losses = zip(*sorted(points), strict=True)
            shade = 0.35 + 0.65 * (place + 1) / len(budgets)
            ax.plot(N, losses, color=COLORS[family], alpha=shade, marker=MARKS[place % len(MARKS)], markersize=3.5)
            ax.annotate(f" {budget:.1e}", (N[-1], losses[-1]), fontsize=7, color=COLORS[family], va="center")
            low = lowest(N, losses)
            told.append(f"{family}, {budget:.1e} FLOPs: {min(losses):.2f} nats at {N[losses.index(min(losses))]:,}")
            if low is not None:
                ax.plot(
                    low.N, low.loss, "o", markerfacecolor="none", color=theme.YOURS, markersize=9, markeredgewidth=1.4
                )
        ax.axhline(floor, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
        theme.finish(ax, "parameters", "", family, xlog=True)
        ax.margins(x=0.16)
    np.atleast_1d(axes)[0].set_ylabel("loss, nats a token (at the end: FLOPs)")
    theme.fit(fig, *np.atleast_1d(axes))
    fig.alt_text = (
        f"Loss after equal FLOPs. {'; '.join(told)}. A ring: the valley. The entropy, {floor:.2f}, is dashed."
    )
    return fig


def lowest(N, losses):
    """Return the valley of the five runs around the lowest one, or None where there is none among them."""
    i = losses.index(min(losses))
    part = slice(max(0, min(i - 2, len(N) - 5)), max(0, min(i - 2, len(N) - 5)) + 5)
    try:
        low = valley(N[part], losses[part])
    except ValueError:
        return None
    return low if low.inside else None


def floors(fits, truth):
    """Show `draw_floors`."""
    theme.show(draw_floors(fits, truth))


@theme.styled
def draw_floors(fits, truth):
    """Return a row for each fit: its E with an interval, beside the entropy that is known, dashed.

    fits: {row: (E, low, high)}, in nats a token.
    """
    fig, ax = theme.figure(min(3.4, 0.9 + 0.33 * len(fits)))
    for row, (name, (E, low, high)) in enumerate(fits.items()):
        color = next((color for family, color in COLORS.items() if name.startswith(family)), theme.OTHERS[3])
        ax.plot([low, high], [row, row], color=color, linewidth=1.6)
        ax.plot(E, row, "o", color=color)
    ax.axvline(truth, color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.4)
    ax.set_yticks(range(len(fits)), list(fits))
    ax.set(ylim=(len(fits) - 0.5, -0.5), xlabel="E of the fit, nats a token (dashed: the entropy)")
    ax.set_xlim(left=min(0.0, *(low for _, low, _ in fits.values())) - 0.04 * truth)
    ax.grid(False, axis="y")
    theme.fit(fig, ax)
    told = "; ".join(f"{name}: {E:.2f}, {low:.2f} to {high:.2f}" for name, (E, low, high) in fits.items())
    fig.alt_text = f"E of each fit with its interval of 95 %. {told}. The entropy, {truth:.3f}, is dashed."
    return fig


@theme.styled
def draw_lifetime(law, loss, served, sizes):
    """Return what models cost that all reach one loss, over their parameters: training, serving, and both.

    served: tokens after training. The title names the cheapest; FLOPs on logarithmic axes.
    """
    fig, ax = theme.figure(3.1)
    pairs = [(N, law.tokens_for(N, loss)) for N in sizes]
    N, D = (np.array(column) for column in zip(*((n, d) for n, d in pairs if math.isfinite(d)), strict=True))
    train, serve = 6 * N * D, 2 * N * served
    both = train + serve
    best = int(both.argmin())
    for values, name, color, style in (
        (train, "to train", theme.OTHERS[0], "--"),
        (serve, "to serve", theme.OTHERS[1], ":"),
        (both, "both", theme.YOURS, "-"),
    ):
        if values.max() > 0:
            ax.plot(N, values, color=color, linestyle=style, label=name)
    ax.plot(N[best], both[best], "o", color=theme.YOURS)
    ax.axvline(N[int(train.argmin())], color=REFERENCE, linestyle=theme.DASHES[REFERENCE], linewidth=1.2)
    ax.set_ylim(0.5 * both.min(), 300 * both.min())
    theme.finish(ax, "parameters (dashed: cheapest to train)", "FLOPs", "", xlog=True, ylog=True)
    ax.legend(loc="upper right")
    ratio = D[best] / N[best]
    ax.set_title(f"cheapest: {N[best] / 1e9:.2f} billion parameters, {ratio:,.0f} tokens each in training")
    theme.fit(fig, ax)
    fig.alt_text = (
        f"FLOPs of models that all reach {loss:.2f} nats, with {served:.0e} tokens served. Cheapest to train: "
        f"{N[int(train.argmin())] / 1e9:.2f} billion parameters. Cheapest in all: {N[best] / 1e9:.2f} billion, "
        f"trained on {D[best]:.1e} tokens."
    )
    return fig
