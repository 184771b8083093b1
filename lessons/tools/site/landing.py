"""The first page of the reading copy: the promise, the moving picture, the lessons as cards, the live models."""

import html
import re

from lessons.tools.cards import MINUTES, PARTS, sources, title
from lessons.tools.site.lessons import BookError

# Parts of the README that stand on this page too, below the cards, and their headings here.
KEPT = {"What no other course has": "What no other course has", "Begin": "Run it on your machine"}
BUTTONS = """\
```{raw} html
<p class="front-buttons"><a class="front-button" href="lessons/FIRST.html">Read lesson 00</a>LIVE</p>
```
"""
# The picture again, for phones, where its halves stand one below the other.
HALVES = """\
```{raw} html
<div class="front-halves" aria-hidden="true"><div></div><div></div></div>
```
"""
LIVE = """\
```{raw} html
<a class="front-live" href="live.html">
  <strong>The trained models, live on your machine</strong>
  <span>Type a beginning, see which words may follow, let the LLaMA and the RWKV tell on, and watch one memory grow
  while the other stays.</span>
  <em>Open the live models</em>
</a>
```
"""


def index(root, names, beside, live):
    """Return the first page in markdown, with the order of all pages. Raises BookError.

    names: of the lessons; beside: the pages beside them, in order; live: whether the page of the live models is there.
    """
    readme = (root / "README.md").read_text(encoding="utf-8")
    head, *parts = re.split(r"^## ", readme, flags=re.M)
    parts = dict(part.split("\n", 1) for part in parts)
    if missing := [name for name in KEPT if name not in parts]:
        raise BookError(
            f"README.md has no part {missing[0]!r}: lessons/tools/site/landing.py names what the first page takes"
        )
    link = '<a class="front-button front-second" href="live.html">Try the models, live</a>' if live else ""
    picture = re.search(r"^!\[.*\]\(.*\)$", head, re.M)
    promise = head[: picture.start()] if picture else head
    first = BUTTONS.replace("FIRST", names[0]).replace("LIVE", link)
    shown = [
        promise.strip(),
        first,
        *([picture[0], HALVES] if picture else []),
        cards(root, names),
        LIVE if live else "",
    ]
    shown += [f"## {heading}\n{linked(parts[name])}".strip() for name, heading in KEPT.items()]
    return "\n\n".join(part for part in shown if part) + "\n\n" + trees(names, beside, live)


def linked(text):
    """Return a part of the README without links to pages that the book lacks."""
    return text.replace("[CONTRIBUTING](.github/CONTRIBUTING.md)", "CONTRIBUTING")


def cards(root, names):
    """Return the lessons in their groups, a card each: its number, what it shows, and the minutes it takes."""
    groups, mine = [], None
    for source in sources(root):
        if source.stem not in names:
            continue
        if source.stem[:2] in PARTS or mine is None:
            mine = []
            groups.append((PARTS.get(source.stem[:2], "Lessons"), mine))
        minutes = MINUTES.search(source.read_text(encoding="utf-8"))
        mine.append(card(source, minutes[1] if minutes else "?"))
    shown = [f'## {name}\n\n```{{raw}} html\n<ol class="cards">\n{"".join(found)}</ol>\n```' for name, found in groups]
    return "\n\n".join(shown)


def card(source, minutes):
    """Return the HTML of a lesson's card."""
    claim = html.escape(title(source)).replace("`", "")
    return (
        f'<li><a href="lessons/{source.stem}.html"><b>{source.stem[:2]}</b><span>{claim}</span>'
        f"<small>{minutes} min</small></a></li>\n"
    )


def trees(names, beside, live):
    """Return the order of all pages, which makes the navigation at the side."""
    parts = [("Live", ["live"])] * live
    parts += [("Lessons", [f"lessons/{name}" for name in names]), ("Beside the lessons", beside)]
    made = []
    for caption, pages in parts:
        listed = "\n".join(page.removesuffix(".md") for page in pages)
        made.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n")
    return "\n".join(made)
