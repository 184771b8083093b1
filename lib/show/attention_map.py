"""Attention that one can point at: a sentence, and for each word how much it reads of every word before it."""

import html
import itertools
import sys

from IPython import get_ipython
from IPython.display import display

from lib.show import theme
from lib.show.heatmap import draw_heatmap
from lib.show.theme import LLAMA, array

LINE = "max-width:44em;font:17px/2 Georgia,'Times New Roman',serif;background:#fff;color:#222;padding:8px 12px"
LEAST = 0.03  # of a word's attention: what is read less is not marked
_numbers = itertools.count()


def attention_map(words, weights, question, at=-1, layer=0, head=0, alt=None):
    """Show a sentence; point at a word, or go there by Tab, and what it reads is marked, the darker the more.

    words: T pieces of text; weights: (L, H, T, T), a row for each reader. at, layer, head: what is marked at first.
    Sliders choose the layer and the head. GitHub and printed pages show the weights of that head as a picture.
    Raises ValueError for a question that asks nothing, or weights of another shape.
    """
    weights = array(weights)
    L, H, T, S = weights.shape
    if not question.endswith("?") or (T, S) != (len(words), len(words)):
        raise ValueError(
            f"{len(words)} words, weights of {T} readers and {S} read, '{question}': they must fit, and ask"
        )
    if get_ipython() is None:
        return None
    reader = words[at].strip()
    read = sorted(range(T), key=lambda s: -weights[layer, head, at, s])[:2]
    most = " and ".join(f'"{words[s].strip()}" ({weights[layer, head, at, s]:.0%})' for s in read)
    alt = alt or f'Layer {layer + 1}, head {head + 1}: "{reader}" reads mostly {most}. Rows are readers.'
    data, metadata = theme.bundle(theme.png(still(words, weights[layer, head])), alt)
    view = _view(words, weights, question, at, layer, head)
    if view is not None and "google.colab" in sys.modules:
        return display(view)
    if view is not None:
        link = {"version_major": 2, "version_minor": 0, "model_id": view.model_id}
        data["application/vnd.jupyter.widget-view+json"] = link
    display(data, metadata=metadata, raw=True)
    return None


@theme.styled
def still(words, weights):
    """Return the weights of one head as a figure: readers down, words read to the right."""
    return draw_heatmap(weights, rows=[word.strip() for word in words], columns=[word.strip() for word in words])


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
