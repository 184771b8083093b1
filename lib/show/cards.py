"""What is found, as cards: a verdict in green, amber or grey, and what is done as a grid. The plain text goes along.

A card tints the notebook's ground, and its words take the notebook's colour: it is read in light themes and dark ones.
"""

import html
import re
import sys

# White on each of these has a contrast of 4.8 to 1 or more.
GREEN, AMBER, GREY = "#1A7F37", "#9A6700", "#59636E"
SIGNS = {GREEN: "\u2713", AMBER: "\u2026", GREY: "\u25cb"}
TONES = {"right": GREEN, "noted": GREEN, "not yet": AMBER, "not attempted": GREY}
CARD = (
    "border:1px solid {tone};border-left:5px solid {tone};background:{tone}1F;border-radius:5px;padding:.45em .9em;"
    "margin:.3em 0;max-width:50em;line-height:1.5;overflow-wrap:anywhere"
)
PILL = "background:{tone};color:#fff;border-radius:9px;padding:1px 9px;font-weight:600;white-space:nowrap"
BOX = (
    "display:inline-block;width:1.3em;height:1.3em;line-height:1.3em;text-align:center;border-radius:3px;margin:1px;"
    "border:1px solid {tone};"
)


def show_verdict(text, printed):
    """Show what a check says, "04.1 not yet: ...", as a card; outside of a notebook print `printed`, its plain form."""
    _show(verdict_page(text), printed)


def show_progress(found, printed):
    """Show which exercises are done as a grid with links. found: {lesson: {exercise: "done", "tried" or "open"}}."""
    _show(progress_page(found), printed)


def _show(page, printed):
    # Nothing is imported for it: what is done can be asked before any package is installed.
    python = sys.modules.get("IPython")
    if python is None or python.get_ipython() is None:
        print(printed)
    else:
        python.display.display({"text/html": page, "text/plain": printed}, raw=True)


def verdict_page(text):
    """Return the card of a verdict: its first words say the tone; lines that begin with a blank are a table."""
    head, *lines = text.split("\n")
    said = re.match(rf"(\S+) ({'|'.join(TONES)})\b[:.]? ?(.*)", head, re.S)
    id, word, rest = said.groups() if said else ("", "not checked", head)
    tone = TONES.get(word, AMBER)
    sign = f'<span style="{PILL.format(tone=tone)}">{SIGNS[tone]} {word}</span>'
    parts = [f"<div><b>{html.escape(id)}</b> {sign} {_inline(rest)}</div>"]
    rows = [re.match(r"\s+(\w+): (.*)", line) for line in lines]
    table = "".join(
        f'<tr><td style="text-align:left;vertical-align:top">{row[1]}</td><td style="text-align:left"><code>'
        f"{html.escape(row[2])}</code></td></tr>"
        for row in rows
        if row
    )
    parts += [f'<table style="margin:.3em 0">{table}</table>'] * bool(table)
    parts += [f"<div>{_inline(line)}</div>" for line, row in zip(lines, rows, strict=True) if not row]
    return f'<div role="status" style="{CARD.format(tone=tone)}">{"".join(parts)}</div>'


def progress_page(found):
    """Return the grid: a row for each lesson, with a link, and a box for each exercise that says its state."""
    tones = {"done": GREEN, "tried": AMBER, "open": GREY}
    rows = []
    for name, mine in found.items():
        boxes = []
        for id, status in mine.items():
            tone = tones[status]
            filled = "" if status == "open" else f"background:{tone};color:#fff"
            sign = "" if status == "open" else SIGNS[tone]
            label = f'title="{id} {status}" aria-label="{id} {status}"'
            boxes.append(f'<span role="img" {label} style="{BOX.format(tone=tone)}{filled}">{sign}</span>')
        done = sum(status == "done" for status in mine.values())
        title = html.escape(name[:2] + " " + name[3:].replace("_", " "))
        link = f'<a href="{html.escape(name)}.ipynb">{title}</a>'
        cells = (link, "".join(boxes), f"{done} of {len(mine)}")
        rows.append(
            "<tr>"
            + "".join(f'<td style="text-align:left;padding:0 12px 0 4px">{cell}</td>' for cell in cells)
            + "</tr>"
        )
    every = [status for mine in found.values() for status in mine.values()]
    key = ", ".join(f"{SIGNS[tones[status]]} {words}" for status, words in
                    (("done", "done"), ("tried", "not yet right"), ("open", "open")))  # fmt: skip
    return f"<table>{''.join(rows)}</table><p>{every.count('done')} of {len(every)} ({key})</p>"


def _inline(text):
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
