"""Figures of lesson 19: which tokens of a row are asked for, and how far each method obeys, with its error."""

from matplotlib.patches import Rectangle

from lib.show import theme
from lib.show.theme import GRID, LLAMA, MUTED, REFERENCE


def row(tokens, asked, **options):
    """Show `draw_row`."""
    theme.show(draw_row(tokens, asked, **options))


def obedience(values, **options):
    """Show `draw_obedience`."""
    theme.show(draw_obedience(values, **options))


@theme.styled
def draw_row(tokens, asked, alt=None):
    """Return a figure of a row's tokens, and below each what is asked there: the next token, or nothing.

    tokens: texts, the row; asked: texts or None, one for each token but the last.
    """
    fig, ax = theme.figure(1.5)
    for i, text in enumerate(tokens):
        ax.text(i + 0.5, 1.5, halved(text), ha="center", va="center", fontsize=7.5)
        if i == len(asked):
            break
        answer = asked[i]
        color = GRID if answer is None else LLAMA
        ax.add_patch(Rectangle((i + 0.05, 0.1), 0.9, 0.8, facecolor=color, edgecolor="white"))
        if answer is not None:
            ax.text(i + 0.5, 0.5, halved(answer), ha="center", va="center", fontsize=7.5, color="white")
    ax.text(-0.1, 1.5, "it reads", ha="right", va="center", fontsize=9, color=REFERENCE)
    ax.text(-0.1, 0.5, "is asked for", ha="right", va="center", fontsize=9, color=REFERENCE)
    ax.set(xlim=(-1.6, len(tokens)), ylim=(0, 2.1))
    ax.set_axis_off()
    fig.subplots_adjust(0.01, 0.02, 0.99, 0.98)
    n = sum(text is not None for text in asked)
    fig.alt_text = alt or (
        f"A row of {len(tokens)} tokens. Below each stands what is asked there: nothing, in grey, below the first "
        f"{len(asked) - n}; then, in blue, the next token, {n} times, up to the last."
    )
    return fig


def halved(text, most=8):
    """Return a long text in two lines, so that it fits into its box."""
    half = (len(text) + 1) // 2
    return text if len(text) <= most else f"{text[:half]}\n{text[half:]}"


@theme.styled
def draw_obedience(values, xlabel="share of demands that are met", title="", alt=None):
    """Return a figure of shares, a row each. values: {name: (share, half of its 95 % interval or None)}."""
    fig, ax = theme.figure(min(3.5, 0.8 + 0.27 * len(values)))
    for y, (name, (share, error)) in enumerate(values.items()):
        color = theme.color_of(name, 3)
        if error is not None:
            ax.plot([max(0, share - error), min(1, share + error)], [y, y], color=color, linewidth=5, alpha=0.35)
        ax.plot(share, y, "o", color=color, markersize=7)
        words = f"{share:.0%}" + ("" if error is None else f" ± {error:.0%}")
        ax.text(1.05, y, words, va="center", fontsize=9, color=MUTED)
    ax.set_yticks(range(len(values)), list(values))
    ax.set(xlim=(0, 1.02), ylim=(len(values) - 0.4, -0.6), xlabel=xlabel)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    if title:
        ax.set_title(title)
    theme.fit(fig, ax)
    told = [f"{name} {share:.0%}" for name, (share, _) in values.items()]
    fig.alt_text = alt or f"{title or xlabel}: {', '.join(told)}."
    return fig
