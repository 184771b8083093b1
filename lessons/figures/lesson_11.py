"""Figures of lesson 11: which part of a matrix goes through a state, and the weights that a query gives."""

import numpy as np
from matplotlib.patches import Polygon

from lib.show import theme
from lib.show.heatmap import pairs, stairs
from lib.show.theme import LLAMA, RWKV, array


def chunks(**options):
    """Show `draw_chunks`."""
    theme.show(draw_chunks(**options))


@theme.styled
def draw_chunks(n_tokens=12, chunk=4):
    """Return a figure of three ways to one sum: all pairs, a state alone, and pairs within a chunk plus a state."""
    T = n_tokens
    fig, axes = theme.figure(2.6, panels=3)
    for ax, name, L in zip(axes, ("matrix", "recurrence", "chunks"), (T, 0, chunk), strict=True):
        pairs(ax, T, name, effort(T, L))
        ax.add_patch(Polygon(stairs(range(T), T), facecolor=RWKV, alpha=0.75, linewidth=0))
        for s in range(0, T, L) if L else ():
            ax.add_patch(Polygon(stairs(range(s, min(s + L, T)), min(s + L, T)), facecolor=LLAMA, linewidth=0))
        if L < T:
            ax.text(0.24 * T, 0.76 * T, "S", color="white", weight="bold", ha="center", va="center", fontsize=15)
        ax.set(xlim=(-1, T + 1), ylim=(1.3 * T, -0.2 * T))
    axes[0].text(-0.8, T / 2, "queries", rotation=90, ha="right", va="center", fontsize=9.5)
    fig.subplots_adjust(0.03, 0.0, 0.995, 1.0, wspace=0.02)
    fig.alt_text = (
        f"Three squares of {T} queries by {T} keys, the lower triangle filled. Matrix: all of it by products of queries"
        f" and keys. Recurrence: all of it by way of the state S. Chunks: small triangles of {chunk} along the diagonal"
        " by products, all that lies left below them by way of S."
    )
    return fig


def effort(T, L):
    """Return in words what T tokens in chunks of L need; L = 0 is the recurrence."""
    sizes = [min(L, T - s) for s in range(0, T, L)] if L else []
    count, steps = sum(n * (n + 1) // 2 for n in sizes), len(sizes) if L else T
    return f"{count} pairs" if L == T else f"{steps} steps of S" if not L else f"{count} pairs, {steps} steps of S"


@theme.styled
def draw_weights(rows, wanted, *, ylabel="weight"):
    """Return bars of the weights that one query gives to its keys, a panel for each {name: weights}.

    wanted: the number of the key that the query asks for.
    """
    fig, axes = theme.figure(2.5, panels=len(rows), sharey=True)
    palette, told = theme.colors_of(rows), []
    for ax, (name, weights) in zip(np.atleast_1d(axes), rows.items(), strict=True):
        weights = array(weights)
        bars = ax.bar(np.arange(len(weights)), weights, 0.8, color=palette[name], alpha=0.45)
        bars[wanted].set_alpha(1.0)
        ax.annotate(f"{weights[wanted]:.2f}", (wanted, weights[wanted]), (0, 3), textcoords="offset points",
                    ha="center", color=palette[name], weight="bold")  # fmt: skip
        ax.set(xlabel="key", ylim=(0, 1.08))
        ax.set_title(name, color=palette[name])
        ax.grid(False, axis="x")
        told.append(f"{name} gives key {wanted} the weight {weights[wanted]:.2f}, the next one {second(weights):.2f}.")
    np.atleast_1d(axes)[0].set_ylabel(ylabel)
    theme.fit(fig, *np.atleast_1d(axes))
    fig.alt_text = " ".join(told)
    return fig


def second(weights):
    """Return the second largest number."""
    return np.sort(weights)[-2]
