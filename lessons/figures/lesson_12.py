"""Figures of lesson 12: the token shift, and what a memory still holds."""

import numpy as np

from lib.show import theme
from lib.show.heatmap import color_bar
from lib.show.plots import HALO
from lib.show.theme import GENERATIONS, OTHERS, REFERENCE, RWKV, array


def shifts(words, **options):
    """Show `draw_shifts`."""
    theme.show(draw_shifts(words, **options))


def fading(shares, *, alt):
    """Show `draw_fading`."""
    theme.show(draw_fading(shares), alt)


@theme.styled
def draw_shifts(words, n_layers=3):
    """Return a figure of token shift: words to the right, layers upward; each place reads itself and the one before.

    Marked is all that reaches the last word on top.
    """
    T, size = len(words), 0.19
    fig, ax = theme.figure(min(3.4, 0.75 + 0.62 * n_layers))
    for layer in range(n_layers + 1):
        for t in range(T):
            seen = t >= T - 1 - (n_layers - layer)
            color = RWKV if seen else "#BDBDBD"
            ax.plot([t], [layer], "o", markersize=13, color=color, zorder=3)
            for before in (0, 1) if layer else ():
                if t >= before:
                    look = {"linewidth": 2.2 if seen else 1.0, "linestyle": (0, (3, 1.5)) if before else "-"}
                    ax.plot([t, t - before], [layer - size, layer - 1 + size], color=color, zorder=2, **look)
        ax.text(-0.55, layer, f"layer {layer}" if layer else "words", ha="right", va="center", fontsize=10)
        reach = n_layers - layer + 1
        ax.text(T - 0.45, layer, f"{reach} of them" if layer < n_layers else "this one", va="center", color=RWKV)
    for t, word in enumerate(words):
        ax.text(t, -0.38, word, ha="center", va="top", fontsize=10)
    ax.set(xlim=(-1.5, T + 0.8), ylim=(-0.85, n_layers + 0.35))
    ax.set_axis_off()
    fig.subplots_adjust(0.005, 0.0, 0.995, 1.0)
    fig.alt_text = (
        f"{T} words from left to right, {n_layers} layers upward. Each place has two lines down: to itself, and dashed"
        f" to the place before. What reaches the last word in layer {n_layers} is marked: {n_layers + 1} words."
    )
    return fig


@theme.styled
def draw_fading(shares):
    """Return maps of what is left, a panel for each {title: (C, n)}: channels down, tokens ago to the right."""
    fig, axes = theme.figure(2.6, panels=len(shares), sharey=True)
    for ax, (title, share) in zip(axes, shares.items(), strict=True):
        C, n = array(share).shape
        image = ax.imshow(array(share), cmap=theme.share_map(GENERATIONS[4]), vmin=0, vmax=1, aspect="auto",
                          interpolation="nearest", extent=(0.5, n + 0.5, C - 0.5, -0.5))  # fmt: skip
        half = ax.contour(np.arange(1, n + 1), np.arange(C), array(share), [0.5], colors=REFERENCE, linewidths=1.2)
        half.set_path_effects(HALO)  # the map behind it is dark, too
        ax.set_title(title, loc="center", fontsize=10.5)
        ax.grid(False)
        ax.set(xlabel="tokens ago", xticks=[1, *range(20, n + 1, 20)])
    axes[0].set_ylabel("channel")
    color_bar(fig, axes, image, [0, 0.5, 1])
    return fig


@theme.styled
def draw_memory(log_w, bonus, ago):
    """Return what one channel keeps: the share that is left by age, and the weights in the mean for equal keys.

    log_w < 0: the logarithm of what one token leaves of the memory; bonus: u, what the token's own key gets on top.
    ago: the age that is marked, 1 or more.
    """
    fig, (left, right) = theme.figure(2.7, panels=2)
    ages = np.arange(1, 301)
    share, half = np.exp((ages - 1) * log_w), np.log(2) / -log_w
    left.plot(ages, share, color=GENERATIONS[4])
    here = float(np.exp((ago - 1) * log_w))
    left.plot([ago], [here], "o", color=OTHERS[0], markersize=8, markeredgecolor="white", zorder=4)
    left.set(xscale="log", xlabel="tokens ago", ylabel="share that is left", ylim=(-0.03, 1.06))
    theme.in_decades(left.xaxis)
    left.set_title(f"{ago} ago: {percent(here)} left")
    shown = 16
    weights = np.exp(np.concatenate([[bonus], (np.arange(1, 301) - 1) * log_w]))
    weights = weights / weights.sum()
    colors = [OTHERS[0]] + [GENERATIONS[4]] * shown
    right.bar(np.arange(shown + 1), weights[: shown + 1], 0.8, color=colors)
    rest = weights[shown + 1 :].sum()
    right.set(xlabel="tokens ago (0: the token itself)", ylabel="weight", ylim=(0, 1.08), xticks=[0, 5, 10, 15])
    right.text(0.97, 0.92, f"older ones\ntogether: {percent(rest)}", transform=right.transAxes, ha="right", va="top",
               fontsize=9.5)  # fmt: skip
    right.grid(False, axis="x")
    right.set_title(f"half is gone after {half:,.3g} tokens")
    theme.fit(fig, left, right)
    fig.alt_text = (
        f"Of a token {ago} back {percent(here)} is left; half is gone after {half:,.3g} tokens. In the mean over 300"
        f" equal keys the token itself has the weight {weights[0]:.2f}, the one before it {weights[1]:.2f}."
    )
    return fig


def percent(share):
    """Return a share in words: 37 %, 0.4 %, under 0.001 %."""
    return f"{100 * share:.3g} %" if share == 0 or share >= 1e-5 else "under 0.001 %"
