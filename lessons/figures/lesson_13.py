"""Figures of lesson 13: which pairs of tokens meet within a chunk, and what a matrix memory holds as a text is read."""

import matplotlib
import numpy as np
from matplotlib.patches import Rectangle

from lib.show import theme
from lib.show.theme import MUTED, REFERENCE, RWKV, array

# Through the memory; within a chunk; the token itself; nothing.
PALE, GREY = "#F3C9A8", "#ECECEC"


def chunks(**options):
    """Show `draw_chunks`."""
    theme.show(draw_chunks(**options))


@theme.styled
def draw_chunks(n_tokens=16, chunk=4):
    """Return a figure of all pairs of tokens, who asks down and who wrote across: by the loop, and in chunks."""
    fig, axes = theme.figure(2.6, panels=2)
    T = n_tokens
    for ax, L, title in (
        (axes[0], 1, f"the loop: {T} steps"),
        (axes[1], chunk, f"chunks of {chunk}: {T // chunk} steps"),
    ):
        for t in range(T):
            for s in range(T):
                ax.add_patch(Rectangle((s, t), 1, 1, facecolor=pair_color(t, s, L), edgecolor="white", linewidth=0.7))
        ax.set(xlim=(0, T), ylim=(T, 0), aspect="equal", xlabel="token that wrote", ylabel="token that asks")
        ticks = range(0, T, chunk)
        ax.set_xticks([tick + 0.5 for tick in ticks], ticks)
        ax.set_yticks([tick + 0.5 for tick in ticks], ticks)
        ax.tick_params(length=0)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        ax.set_title(title)
    key = {"the token itself": REFERENCE, "within a chunk": RWKV, "through the memory S": PALE, "not yet written": GREY}
    for row, (words, color) in enumerate(key.items()):
        y = 0.72 - 0.11 * row
        fig.patches.append(Rectangle((0.715, y), 0.022, 0.05, facecolor=color, transform=fig.transFigure, figure=fig))
        fig.text(0.748, y + 0.025, words, va="center", fontsize=10)
    fig.subplots_adjust(0.075, 0.17, 0.69, 0.9, wspace=0.3)
    fig.alt_text = (
        f"Two squares of {T} by {T} pairs, askers down, writers across. Left, the loop: all pairs below the diagonal go"
        f" through the memory. Right, chunks of {chunk}: small triangles along the diagonal are products of matrices"
        " within a chunk, and only what lies left of them goes through the memory."
    )
    return fig


def pair_color(t, s, chunk):
    """Return the colour of the pair: t asks, s wrote."""
    if s > t:
        return GREY
    if s == t:
        return REFERENCE
    return RWKV if t // chunk == s // chunk else PALE


@theme.styled
def draw_state(S, answers, words, names, things):
    """Return a figure of one memory after some words: its numbers, and what each name would get if it asked now.

    S: (N, N), keys by values; answers: (len(names), len(things)), rows sum to one; words: those read so far.
    """
    S, answers = array(S), array(answers)
    fig, (left, right) = theme.figure(3.1, panels=2, width_ratios=(1, 1.25))
    limit = float(np.abs(S).max()) or 1.0
    left.imshow(S, cmap=matplotlib.colormaps["PRGn"], vmin=-limit, vmax=limit, interpolation="nearest")
    left.set(xlabel="value channel", ylabel="key channel", title=f"the memory, up to ±{limit:.1f}")
    right.imshow(answers, cmap=theme.share_map(theme.GENERATIONS[5]), vmin=0, vmax=1, interpolation="nearest")
    right.set_title("if a name asked now")
    right.set_xticks(range(len(things)), things, rotation=60, ha="right", rotation_mode="anchor")
    right.set_yticks(range(len(names)), names)
    for (i, j), share in np.ndenumerate(answers):
        if share >= 0.1:
            ink = "white" if share > 0.6 else REFERENCE
            right.text(j, i, f"{share:.1f}", ha="center", va="center", color=ink, fontsize=8.5)
    for ax in (left, right):
        ax.grid(False)
        ax.tick_params(length=0)
        ax.spines[:].set_edgecolor(MUTED)
    read = " ".join(words)
    fig.text(0.015, 0.985, f"read: {read}", va="top", fontsize=10.5, color=theme.GENERATIONS[5])
    fig.subplots_adjust(0.085, 0.2, 0.985, 0.82, wspace=0.32)
    sure = [f"{names[i]} {things[int(row.argmax())]}" for i, row in enumerate(answers) if row.max() > 0.5]
    fig.alt_text = (
        f"After the words: {read}. Left the memory, {len(S)} rows of {len(S)} numbers. Right what each name would get;"
        f" with more than half of the weight: {', '.join(sure) or 'none'}."
    )
    return fig


@theme.styled
def draw_trained(S, words, sizes, half):
    """Return a figure of one head of a trained model: its memory, and for each word what it wrote and what is left.

    S: (N, N), keys by values; words: those read so far; sizes: (written, left) for each; half: the median half-life of
    the head's rows, in tokens.
    """
    S = array(S)
    fig, (left, right) = theme.figure(3.4, panels=2, width_ratios=(1, 1))
    limit = float(np.abs(S).max()) or 1.0
    left.imshow(S, cmap=matplotlib.colormaps["PRGn"], vmin=-limit, vmax=limit, interpolation="nearest")
    left.set(xlabel="value channel", ylabel="key channel", title=f"S, up to ±{limit:.0f}")
    left.grid(False)
    left.tick_params(length=0)
    places, color = np.arange(len(words)), theme.GENERATIONS[5]
    right.barh(places, [written for written, _ in sizes], 0.8, facecolor="none", edgecolor=color, linewidth=0.8)
    right.barh(places, [rest for _, rest in sizes], 0.8, color=color)
    right.set_yticks(places, words, fontsize=8.5)
    right.set(xlabel="size", ylim=(max(len(words), 4) - 0.4, -0.6), title=f"half-life {half:,.0f} tokens")
    right.grid(False, axis="y")
    right.tick_params(axis="y", length=0)
    theme.fit(fig, left, right)
    most = sorted(zip(words, sizes, strict=True), key=lambda pair: -pair[1][1])[:3]
    told = ", ".join(f"{word} {rest:.0f} of {written:.0f}" for word, (written, rest) in most)
    fig.alt_text = (
        f"After the words: {' '.join(words)}. Left the memory of one head, {len(S)} rows of {len(S)} numbers; the rows"
        f" have a half-life of {half:,.0f} tokens. Right a bar for each word; most is left of: {told}."
    )
    return fig
