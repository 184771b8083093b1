"""A story as it is told: word by word, in type that is made for reading; a word opens to what else could have come."""

import html
import re
import time

from IPython import get_ipython

from lib.show.screen import Screen
from lib.show.theme import LLAMA

PAGE = "max-width:38em;font:17px/1.6 Georgia,'Times New Roman',serif;margin:.5em 0"
# Fields a word can take the focus of, so that Tab and a click both open it. `:focus-within` keeps it open.
STYLE = """<style>
.story .w {{cursor:pointer;position:relative;border-radius:3px}}
.story .w:hover,.story .w:focus {{background:{hue}22;outline:none}}
.story .w .pop {{display:none;position:absolute;z-index:9;left:0;top:1.6em;white-space:pre;padding:.4em .7em;
  background:var(--jp-layout-color1,#fff);color:var(--jp-ui-font-color1,#222);border:1px solid {hue};border-radius:4px;
  font:13px/1.5 ui-monospace,Menlo,Consolas,monospace;box-shadow:0 2px 8px #0003}}
.story .w:hover .pop,.story .w:focus .pop {{display:block}}
</style>"""


def story(pieces, hue=LLAMA, pace=0.015):
    """Show a text as its pieces come, and return it.

    pieces: yields (text, choices); choices: [(what could have come, its chance)], [] for a text that was given. hue: of
    the marks; pace: seconds to wait after each piece, for the eye. Point at a word or click on it, or go there by Tab,
    to see the choices. Outside of a notebook the text is printed.
    """
    screen, seen = Screen(), []
    for text, choices in pieces:
        seen.append((text, choices))
        screen.show(_page("".join(_plain(one) for one, _ in seen)))
        time.sleep(pace if get_ipython() is not None else 0)
    whole = "".join(text for text, _ in seen)
    if get_ipython() is None:
        print(whole)
    screen.finish(_page("".join(_titled(*one) for one in seen)), whole, live_page(seen, hue))
    return whole


def live_page(seen, hue=LLAMA):
    """Return the story as HTML in which each piece opens to its choices, without a script."""
    return STYLE.format(hue=hue) + _page("".join(_opening(*one) for one in seen))


def _page(inner):
    return f'<div class="story" style="{PAGE}">{inner}</div>'


def _plain(text):
    return html.escape(text).replace("\n", "<br>")


def _titled(text, choices):
    # What a browser shows when the mouse rests on it; where attributes are stripped the word alone is left.
    return f'<span title="{html.escape(_table(choices))}">{_plain(text)}</span>' if choices else _plain(text)


def _opening(text, choices):
    if not choices:
        return _plain(text)
    # The blank stands before the mark, so that lines break there.
    blank, word = re.fullmatch(r"(\s*)(.*)", text, re.S).groups()
    pop = f'<span class="pop" role="note">{html.escape(_table(choices))}</span>'
    return f'{_plain(blank)}<span class="w" tabindex="0">{_plain(word) or "&nbsp;"}{pop}</span>'


def _table(choices):
    """Return the choices as lines: a chance in per cent, and the piece."""
    return "\n".join(f"{chance:6.1%}  {repr(text)[1:-1]}" for text, chance in choices)
