"""Figures of lesson 14: a memory before and after a rewrite, and what it answers to each key."""

import matplotlib
import numpy as np
import torch
from matplotlib.patches import FancyArrowPatch

from lib.show import diagrams, theme
from lib.show.heatmap import color_bar
from lib.show.theme import MUTED, OTHERS, REFERENCE, array

# Of the three values: copper, silver, gold.
COINS = (OTHERS[2], OTHERS[3], OTHERS[1])


def rewrite(states, **options):
    """Show `draw_rewrite`."""
    theme.show(draw_rewrite(states, **options))


def answers(asked, **options):
    """Show `draw_answers`."""
    theme.show(draw_answers(asked, **options))


def decays(kept, words, places):
    """Show `draw_decays`."""
    theme.show(draw_decays(kept, words, places))


def goose():
    """Show `draw_goose`."""
    theme.show(draw_goose())


# Columns and rows of Goose's boxes, upward, and the arrows: from (x, y) to (x, y).
GOOSE = {
    "x": (2.5, 0, "x: each of the six gets its own mix of the token and of the one before it, in learned shares"),
    "decay": (0, 1, "decay w"), "rate": (1, 1, "rate \u03b2"), "key": (2, 1, "key k"),
    "value": (3, 1, "value v"), "receptance": (4, 1, "receptance r"), "gate": (5, 1, "gate g"),
    "removed": (1.3, 2.2, "removed: a, b"), "written": (2.7, 2.2, "written: k, v"),
    "memory": (1.5, 3.4, "S \u2190 S diag(w) + (S a) b\u1d40 + v k\u1d40"), "read": (4, 3.4, "y = S r"),
    "norm": (4, 4.4, "norm by head"), "bonus": (2.7, 5.3, "bonus of r, k, v"), "+": (4, 5.3, "+"),
    "times": (5, 5.3, "\u00d7"), "output": (5, 6.2, "output"),
}  # fmt: skip
GOOSE_ARROWS = [((x, 0.3), (x, 0.7)) for x in range(6)] + [
    ((1, 1.3), (1.2, 1.9)), ((1.9, 1.3), (1.5, 1.9)), ((1.2, 1.3), (2.45, 1.9)), ((2.1, 1.3), (2.65, 1.9)),
    ((2.95, 1.3), (2.8, 1.9)), ((0.2, 1.3), (0.7, 3.1)), ((1.35, 2.5), (1.4, 3.1)), ((2.6, 2.5), (2.2, 3.1)),
    ((2.5, 3.4), (3.62, 3.4)), ((4, 1.3), (4, 3.1)), ((4, 3.7), (4, 4.1)), ((4, 4.7), (4, 5.05)),
    ((3.08, 5.3), (3.9, 5.3)), ((4.1, 5.3), (4.9, 5.3)), ((5, 1.3), (5, 5.05)), ((5, 5.55), (5, 5.9)),
]  # fmt: skip


@theme.styled
def draw_goose():
    """Return a diagram of Goose's time mixer, read upward: what is projected, removed, written, remembered, read."""
    pitch = np.array((1.5, 0.56))
    colors = dict.fromkeys(("removed", "written", "memory", "read"), theme.color_of("RWKV-7"))
    fig = diagrams.draw_blocks(GOOSE, [], colors=colors, pitch=pitch)
    for start, end in GOOSE_ARROWS:
        look = {"arrowstyle": "-|>", "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.2, "color": MUTED}
        fig.axes[0].add_patch(FancyArrowPatch(pitch * start, pitch * end, **look))
    fig.alt_text = (
        "Goose's time mixer, from below upward. The token, mixed with the one before, goes into six projections: decay,"
        " rate, key, value, receptance, gate. Rate and key make what is removed; rate, key and value make what is"
        " written. Decay, removed and written change the memory; the receptance reads it. Then come a norm by head, the"
        " bonus of receptance, key and value, which is added, the gate, which multiplies, and the output."
    )
    return fig


@theme.styled
def draw_rewrite(states, *, keys, values):
    """Return a figure of memories side by side, each a square of numbers: a column for a key, a row for a value.

    states: {title: (values, keys) array}; keys, values: names. Purple is below zero, green above.
    """
    fig, axes = theme.figure(2.3, panels=len(states))
    axes = axes if isinstance(axes, list) else [axes]
    limit = 1.6 * max(float(np.abs(array(state)).max()) for state in states.values()) or 1.0
    for ax, (title, state) in zip(axes, states.items(), strict=True):
        grid = array(state)
        ax.imshow(grid, cmap=matplotlib.colormaps["PRGn"], vmin=-limit, vmax=limit, aspect="auto")
        ax.set_xticks(range(len(keys)), keys)
        ax.set_yticks(range(len(values)), values if ax is axes[0] else [""] * len(values))
        ax.set_xticks(np.arange(len(keys) - 1) + 0.5, minor=True)
        ax.set_yticks(np.arange(len(values) - 1) + 0.5, minor=True)
        ax.grid(False)
        ax.grid(True, which="minor", color="white", linewidth=2)
        ax.tick_params(length=0, which="both")
        ax.spines[:].set_visible(False)
        ax.set_title(title, loc="center", fontsize=10.5)
        for (i, j), number in np.ndenumerate(grid):
            shown = f"{number:.2g}".replace("-", "\u2212") if abs(number) > 1e-9 else "0"
            ink = MUTED if abs(number) < 1e-9 else REFERENCE
            ax.text(j, i, shown, ha="center", va="center", fontsize=10, color=ink)
    theme.fit(fig, *axes)
    fig.alt_text = f"{len(states)} memories, a column for each key and a row for each value. " + " ".join(
        f"{title}: {told(array(state), keys, values)}." for title, state in states.items()
    )
    return fig


def told(grid, keys, values):
    """Say in words which values stand under which key."""
    parts = []
    for j, key in enumerate(keys):
        held = [f"{grid[i, j]:.2g} {value}" for i, value in enumerate(values) if abs(grid[i, j]) > 1e-9]
        parts.append(f"under {key} {' and '.join(held) or 'nothing'}")
    return ", ".join(parts)


@theme.styled
def draw_answers(asked, *, low=-1.0, high=2.0, title=""):
    """Return a figure with a panel for each key: how much of each value comes back when the memory is asked for it.

    asked: {key: {value: share}}. The axis goes from `low` to `high` whatever the numbers, so that a slider shows what
    grows.
    """
    fig, axes = theme.figure(1.9, panels=len(asked), sharey=True)
    for ax, (key, shares) in zip(axes, asked.items(), strict=True):
        for row, (share, color) in enumerate(zip(shares.values(), COINS, strict=False)):
            share = float(share)
            ax.barh(row, float(np.clip(share, low, high)), 0.7, color=color)
            side, away = ("right", -4) if share < 0 else ("left", 4)
            words = f"{share:.2f}".replace("-", "\u2212")
            ax.annotate(words, (float(np.clip(share, low, high)), row), (away, 0), textcoords="offset points",
                        va="center", ha=side, color=color)  # fmt: skip
        ax.set_yticks(range(len(shares)), list(shares))
        ax.set_ylim(len(shares) - 0.5, -0.5)
        ax.set_xlim(low - 0.25 * (high - low), high + 0.25 * (high - low))
        ax.axvline(0, color=MUTED, linewidth=0.8)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
        ax.set_xticks([0, 1], ["0", "1"])
        ax.set_title(f"asked for {key}", fontsize=10.5)
        ax.set_xlabel(title)
    theme.fit(fig, *axes)
    fig.alt_text = " ".join(
        f"Asked for {key}, the memory answers " + ", ".join(f"{share:.2f} {value}" for value, share in shares.items())
        + "."
        for key, shares in asked.items()
    )  # fmt: skip
    return fig


@theme.styled
def draw_decays(kept, words, places):
    """Return a figure of how much each channel keeps at each word: white forgets, full colour keeps all.

    kept: (T, C), each in 0 .. 1; words: the T words; places: those of them to print bold. Channels are sorted by their
    mean, the most forgetful on top.
    """
    grid = array(kept).T
    grid = grid[np.argsort(grid.mean(1))]
    fig, ax = theme.figure(3.0)
    image = ax.imshow(
        grid, cmap=theme.share_map(theme.GENERATIONS[6]), vmin=0, vmax=1, aspect="auto", interpolation="nearest"
    )
    ax.set_xticks(range(len(words)), words, rotation=90)
    for label, word in zip(ax.get_xticklabels(), words, strict=True):
        label.set(weight="bold" if word in places else "normal", color=REFERENCE if word in places else MUTED)
    ax.set_yticks([])
    ax.set_ylabel("channels")
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    color_bar(fig, ax, image, [0, 0.5, 1], "share kept")
    at = [word in places for word in words]
    means = [float(grid[:, np.array(at) == here].mean()) for here in (True, False)]
    fig.alt_text = (
        f"A picture of {len(grid)} channels over {len(words)} words. The mean share that is kept is {means[0]:.2f} at"
        f" the places ({', '.join(word for word, here in zip(words, at, strict=True) if here)}) and {means[1]:.2f} at"
        " all other words."
    )
    return fig


@theme.styled
def draw_erasing(S, words, sizes, left, erased):
    """Return a figure of one head: its memory, what is left of each word's writing, and what the last word erased.

    S: (N, N), values by keys; words: the T read so far; sizes, left: (T,), of each writing and of what is left of it;
    erased: (T,), the share of what was left that the last word erased.
    """
    S, left, erased, T = array(S), array(left), array(erased), len(words)
    fig, (memory, kept, taken) = theme.figure(3.4, panels=3, width_ratios=(1.25, 1.2, 0.8))
    limit, color = float(np.abs(S).max()) or 1.0, theme.GENERATIONS[7]
    memory.imshow(S, cmap=matplotlib.colormaps["PRGn"], vmin=-limit, vmax=limit, interpolation="nearest")
    memory.set(xlabel="key channel", ylabel="value channel", title=f"S, up to \u00b1{limit:.0f}")
    memory.grid(False)
    memory.tick_params(length=0)
    places = np.arange(T)
    kept.barh(places, sizes, 0.8, facecolor="none", edgecolor=color, linewidth=0.8)
    kept.barh(places, left, 0.8, color=color)
    kept.set_yticks(places, words, fontsize=7.5)
    kept.set(xlabel="size", title="written, left")
    taken.barh(places, erased, 0.8, color=REFERENCE)
    for place, share in zip(places, erased, strict=True):
        if share > 0.1:
            taken.text(share + 0.03, place, f"{share:.0%}", va="center", fontsize=7.5)
    taken.set(xlabel="share", xlim=(0, 1), xticks=[0, 0.5, 1], title=f"\u201c{words[-1]}\u201d erased")
    taken.set_yticks([])
    for ax in (kept, taken):
        ax.set_ylim(max(T, 4) - 0.4, -0.6)
        ax.grid(False, axis="y")
        ax.tick_params(axis="y", length=0)
    for ax in (memory, kept, taken):
        ax.title.set_fontsize(10.5)
    theme.fit(fig, memory, kept, taken)
    most = sorted(range(T), key=lambda s: -erased[s])[:3]
    told = ", ".join(f"{words[s]} (word {s + 1}) {erased[s]:.0%}" for s in most if erased[s] > 0.005)
    fig.alt_text = (
        f"After the words: {' '.join(words)}. The memory of one head, {len(S)} rows of {len(S)} numbers; a bar for each"
        f" word; and what the last one, {words[-1]}, has erased: {told or 'nothing'}."
    )
    return fig


def erasures(w, a, b, k, v):
    """Return for each token (S, what is left of each writing so far, the share of it that this token erased).

    w, a, b, k, v: what a layer's memories are given, each (H, T, N). S (H, N, N) is the sum of all writings v k^T, each
    faded and partly erased by the tokens after it; the other two are (H, t).
    """
    writings, history = [], []
    for t in range(w.shape[1]):
        w_t, a_t, b_t = (z[:, t, None, :] for z in (w, a, b))
        erased = [(C * a_t).sum(-1, keepdim=True) * b_t for C in writings]  # (C a) b^T
        shares = [part.norm(dim=(1, 2)) / C.norm(dim=(1, 2)) for part, C in zip(erased, writings, strict=True)]
        writings = [C * w_t + part for part, C in zip(erased, writings, strict=True)]
        writings.append(v[:, t, :, None] * k[:, t, None, :])
        left = torch.stack([C.norm(dim=(1, 2)) for C in writings], 1)
        history.append((sum(writings), left, torch.stack([*shares, left.new_zeros(len(w))], 1)))
    return history
