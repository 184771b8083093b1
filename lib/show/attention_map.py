"""Attention that one can point at: a sentence, and for each word how much it reads of every word before it."""

import html
import itertools

from IPython import get_ipython
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties

from lib.show import theme
from lib.show.heatmap import draw_heatmap
from lib.show.theme import LLAMA, REFERENCE, array
from lib.show.widgets import show_beside

LINE = f"max-width:44em;font:17px/2 Georgia,'Times New Roman',serif;padding:8px 12px;{theme.CARD}"
LEAST = 0.03  # of a word's attention: what is read less is not marked
MOST_NAMES = 24  # words that can stand at the two sides of a matrix
_numbers = itertools.count()


def attention_map(words, weights, question, at=-1, layer=0, head=0, alt=None):
    """Show a sentence; point at a word, or go there by Tab, and what it reads is marked, the darker the more.

    words: T pieces of text; weights: (L, H, T, T), a row for each reader. at, layer, head: what is marked at first.
    Sliders choose the layer and the head. GitHub and printed pages show the weights of that head as a picture, or, for
    a long text, the text with what the word `at` reads.
    Raises ValueError for a question that asks nothing, or weights of another shape.
    """
    weights = array(weights)
    L, H, T, S = weights.shape
    if not question.endswith("?") or (T, S) != (len(words), len(words)):
        raise ValueError(
            f"{len(words)} words, weights of {T} readers and {S} read, '{question}': they must fit, and ask"
        )
    if get_ipython() is None:
        return
    reader = words[at].strip()
    read = sorted(range(T), key=lambda s: -weights[layer, head, at, s])[:2]
    most = " and ".join(f'"{words[s].strip()}" ({weights[layer, head, at, s]:.0%})' for s in read)
    alt = alt or f'Layer {layer + 1}, head {head + 1}: "{reader}" reads mostly {most}.'
    one = weights[layer, head]
    fig = still(words, one) if T <= MOST_NAMES else marked(words, one[at], at % T)
    show_beside(_view(words, weights, question, at, layer, head), fig, alt)


@theme.styled
def still(words, weights):
    """Return the weights of one head as a figure: readers down, words read to the right."""
    return draw_heatmap(weights, rows=[word.strip() for word in words], columns=[word.strip() for word in words])


@theme.styled
def marked(words, row, at):
    """Return a text as a figure: behind each word how much of it the word `at`, underlined, reads; row: (T,)."""
    fig, ax = theme.figure()
    renderer, font = fig.canvas.get_renderer(), FontProperties(size=10.5)
    em, wide = 10.5 / 72 * fig.dpi, fig.get_figwidth() * fig.dpi
    places, x, line = [], 0.3 * em, 1
    for word in words:
        width = renderer.get_text_width_height_descent(word.strip(), font, False)[0]
        x += 0.3 * em * word.startswith(" ")
        if "\n" in word or x + width > wide - 0.3 * em:
            x, line = 0.3 * em, line + 1
        places.append((x, -1.75 * em * line, width))
        x += width
    fig.set_size_inches(fig.get_figwidth(), min(3.5, 1.75 * em * (line + 0.6) / fig.dpi))
    ax.set_axis_off()
    ax.set(position=(0, 0, 1, 1), xlim=(0, wide), ylim=(-fig.get_figheight() * fig.dpi, 0))
    for word, share, (x, y, _) in zip(words, row, places, strict=True):
        ground = {"facecolor": (*to_rgb(LLAMA), 0.75 * share), "linewidth": 0, "boxstyle": "square,pad=0.15"}
        ax.text(x, y, word.strip(), fontproperties=font, color=REFERENCE, bbox=ground, va="baseline")
    x, y, width = places[at]
    ax.plot([x, x + width], [y - 0.25 * em] * 2, color=LLAMA, linewidth=2)
    return fig


def page(words, weights, at=-1, hue=LLAMA):
    """Return the sentence as HTML without a script; weights: (T, T), of one head."""
    name = f"map{next(_numbers)}"
    red, green, blue = (int(hue[i : i + 2], 16) for i in (1, 3, 5))
    rules = [
        f"#{name} .w{{border-radius:3px;cursor:pointer;padding:2px 1px}}",
        f"#{name} .w:hover,#{name} .w:focus{{outline:2px solid {hue}}}",
    ]
    at %= len(words)
    for reader, row in enumerate(weights):
        # The word that is pointed at; and the one of the beginning, as long as nobody points.
        pointed = [f"#{name}:has(.w{reader}:hover)", f"#{name}:not(:has(.w:hover)):has(.w{reader}:focus)"]
        if reader == at:
            pointed.append(f"#{name}:not(:has(.w:hover)):not(:has(.w:focus))")
        for s in range(reader + 1):
            if row[s] >= LEAST:
                where = ",".join(f"{selector} .w{s}" for selector in pointed)
                rules.append(f"{where}{{background:rgba({red},{green},{blue},{0.75 * row[s]:.2f})}}")
    titles = [html.escape(_most(words, row, t)) for t, row in enumerate(weights)]
    spans = "".join(
        f'<span class="w w{t}" tabindex="0" title="{title}">{html.escape(word)}</span>'
        for t, (word, title) in enumerate(zip(words, titles, strict=True))
    )
    return f'<style>{"".join(rules)}</style><div id="{name}" style="{LINE}">{spans}</div>'


def _most(words, row, t):
    ordered = sorted(range(t + 1), key=lambda s: -row[s])[:5]
    return "\n".join(f"{row[s]:6.1%}  {words[s].strip()}" for s in ordered)


def _view(words, weights, question, at, layer, head):
    try:
        import ipywidgets as widgets
    except ImportError:
        return None
    wide, (L, H) = widgets.Layout(width="440px"), weights.shape[:2]
    choose = [
        widgets.IntSlider(value=first + 1, min=1, max=n, description=name, layout=wide)
        for name, n, first in (("layer", L, layer), ("head", H, head))
        if n > 1
    ]
    sentence = widgets.HTML(page(words, weights[layer, head], at))

    def moved(change):
        chosen = {slider.description: slider.value - 1 for slider in choose}
        sentence.value = page(words, weights[chosen.get("layer", 0), chosen.get("head", 0)], at)

    for slider in choose:
        slider.observe(moved, names="value")
    return widgets.VBox([widgets.HTML(f"<b>{html.escape(question, quote=False)}</b>"), *choose, sentence])
