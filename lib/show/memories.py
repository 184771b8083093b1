"""What models keep while they read one text, as areas: attention's cache grows with each token, a state does not.

One cell of the picture is one number of the real memory, so that equal areas are equal numbers of bytes.
"""

import textwrap
from typing import NamedTuple

import numpy as np
import torch

from lib.show import theme
from lib.show.theme import GRID, REFERENCE, array
from lib.show.widgets import explore

LINE = 80  # letters of the text in a line
NUMBERS, CHANGED = "the numbers", "what the last token changed"


class Memory(NamedTuple):
    """What one model keeps after each number of tokens. cells: [(rows, columns)], one for 0, 1, ... T tokens."""

    name: str
    cells: list
    bytes_each: int
    grows: bool

    def kept(self, n):
        """Return the bytes after n tokens."""
        return self.cells[n].size * self.bytes_each


def memories(models, tokenizer, text, question, at=1, tower=1):
    """Show what two or more models keep as they read a text, under a slider of tokens; return the Explorer.

    models: {name: model}, each `model(tokens, state) -> (logits, state)`; at: how many tokens are read at first; tower:
    how many layers stand one above the other, for a long text more than for a sentence.
    """
    tokens = tokenizer.encode(" ".join(text.split()))
    kept = [read(name, model, tokens, tower) for name, model in models.items()]

    def draw(n_tokens, shown):
        lines = textwrap.wrap(tokenizer.decode(tokens[:n_tokens]), LINE)
        return draw_memories(kept, n_tokens, "\n".join(lines[-2:]), shown)

    controls = {"n_tokens": (1, len(tokens), 1, at, "tokens read"), "shown": ([NUMBERS, CHANGED], NUMBERS, "shown")}
    return explore(draw, question, **controls)


@torch.no_grad()
def read(name, model, tokens, tower=1):
    """Return the Memory of a model that reads tokens, a list, one after the other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # steps of one token gain nothing from two, and wait for them where others work
    _, state = model(torch.tensor([tokens[:1]]))
    states, grows = [state], hasattr(state.layers[0][0], "keys")
    # What a cache held before never changes, so the last one tells it all.
    for part in [tokens[1:]] * (len(tokens) > 1) if grows else [[token] for token in tokens[1:]]:
        _, state = model(torch.tensor([part]), state)
        states.append(state)
    torch.set_num_threads(threads)
    last = [_layer(layer) for layer in state.layers]
    scales = [6 * np.median(np.abs(cells)) + 1e-9 for cells in last]  # each layer has its own, the same for all tokens
    if grows:
        whole = _cells(last, scales, tower)
        wide = whole.shape[1] // len(tokens)
        cells = [whole[:, : wide * n] for n in range(len(tokens) + 1)]
    else:
        cells = [_cells([_layer(layer) for layer in state.layers], scales, tower) for state in states]
        cells.insert(0, np.zeros_like(cells[0]))
    time = state.layers[0][0]
    return Memory(name, cells, (time.keys if grows else time[1]).element_size(), grows)


def _layer(layer):
    """Return what a layer keeps as (T, rows, columns): for a cache each token's own, for a state one for all."""
    time, channels = layer
    if hasattr(time, "keys"):
        both = np.stack([array(time.keys)[0], array(time.values)[0]], -1)
        return both.swapaxes(0, 1).reshape(both.shape[1], -1, 2)
    last, S = time
    flat = [array(z)[0].reshape(-1, 1) for z in (last, channels)]
    return np.hstack([flat[0], array(S)[0].reshape(len(flat[0]), -1), flat[1]])[None]


def _cells(layers, scales, tower):
    # The layers in towers, side by side; then the tokens one after the other.
    scaled = [cells / scale for cells, scale in zip(layers, scales, strict=True)]
    towers = [np.concatenate(scaled[i : i + tower], axis=1) for i in range(0, len(scaled), tower)]
    return np.hstack(np.concatenate(towers, axis=2))


@theme.styled
def draw_memories(kept, n, text, shown=NUMBERS):
    """Return a figure of what each model keeps after n tokens. kept: Memories; text: what was read last."""
    widths = [memory.cells[-1].shape[1] for memory in kept]
    rows, gap = max(len(memory.cells[-1]) for memory in kept), 0.4
    inch = min((theme.WIDTH - 0.3 - gap * (len(kept) - 1)) / sum(widths), 2.0 / rows)
    height = rows * inch + 1.08
    fig, axes = theme.figure(height, panels=len(kept))
    x, told = 0.15, []
    for ax, memory, width in zip(axes, kept, widths, strict=True):
        color = theme.color_of(memory.name)
        high = len(memory.cells[-1]) * inch
        ax.set_position(
            (x / theme.WIDTH, (0.12 + rows * inch - high) / height, width * inch / theme.WIDTH, high / height)
        )
        _fill(ax, memory, n, shown, color, width)
        words, now, before = f"{memory.kept(n) / 1024:,.0f} KiB", memory.cells[n], memory.cells[n - 1]
        changed = now.size - before.size if memory.grows else int((now != before).sum())
        # The words over a narrow picture at the right end stretch to the left.
        left = x + 1.9 < theme.WIDTH
        place = {"x": (x if left else x + width * inch) / theme.WIDTH, "ha": "left" if left else "right"}
        name = f"{memory.name}, {'KV cache' if memory.grows else 'state'}"
        more = f"{words}; {changed:,} numbers new" if memory.grows else f"{words}; {changed:,} changed"
        fig.text(y=(rows * inch + 0.36) / height, s=name, color=color, weight="bold", **place)
        fig.text(y=(rows * inch + 0.18) / height, s=more, color=color, fontsize=9.5, **place)
        told.append(f"{memory.name} keeps {words}, and the last token set {changed:,} numbers")
        x += width * inch + gap
    fig.text(0.15 / theme.WIDTH, 1 - 0.06 / height, text, va="top", fontsize=9.5, color=REFERENCE)
    fig.alt_text = f"After {n} tokens {'; '.join(told)}. One cell is one number: equal areas are equal bytes."
    return fig


def _fill(ax, memory, n, shown, color, width):
    now, before = memory.cells[n], memory.cells[n - 1]
    cells = np.full((len(now), width), np.nan)
    cells[:, : now.shape[1]] = np.abs(now)
    if shown == CHANGED:
        if memory.grows:
            cells[:, : before.shape[1]] = 0
        else:
            cells[:] = np.abs(now - before)
    ax.imshow(cells, cmap=theme.share_map(color), vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set(visible=True, edgecolor=GRID)
    edge = now.shape[1] - 0.5
    ax.plot([-0.5, edge, edge, -0.5, -0.5], np.array([0, 0, 1, 1, 0]) * len(now) - 0.5, color=color, linewidth=1.2,
            clip_on=False)  # fmt: skip
