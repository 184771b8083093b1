"""The cards of the exercises, read from the lessons' sources; `python3 -m lib exercises` prints them as a table.

A card is the line that begins an exercise in a lesson:

    **Exercise 04.2** · implement · ●●○ · 10 min · 3 points · teaches the table and its offset · needs `speeds`
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

from lessons.tools.notebook import write_text

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("implement", "repair", "predict", "measure", "explain")
CARD = re.compile(
    r"\*\*Exercise (?P<id>\d\d\.\d+)\*\* · (?P<kind>\w+) · (?P<difficulty>[●○]{3}) · (?P<minutes>\d+) min"
    r" · (?:(?P<points>\d+) points? · )?teaches (?P<teaches>[^·]+?)(?:\s·\s+needs\s+(?P<needs>.+?))?\s*(?:\n\s*\n|$)",
    re.S,
)
BEGIN, END = "<!-- exercises: made by python3 -m lib exercises --write -->", "<!-- end of the exercises -->"
LESSONS = "<!-- lessons: made by python3 -m lib exercises --write -->", "<!-- end of the lessons -->"
# The parts of the course, and the first lesson of each.
PARTS = {"00": "Begin", "02": "Build a LLaMA", "11": "Build an RWKV", "16": "Measure, teach, carry on"}
MINUTES = re.compile(r"\*\*Time:\*\* (\d+) minutes")


class Card(NamedTuple):
    """What a card says. difficulty: 1 to 3; points: 0 where the card says none; minutes and points are whole."""

    id: str
    kind: str
    difficulty: int
    minutes: int
    points: int
    teaches: str
    needs: str


def cards(text):
    """Return the cards in a lesson's text, in order. A line of a percent source may begin with `# `."""
    found = CARD.finditer(re.sub(r"^# ?", "", text, flags=re.M))
    return [_card({name: " ".join((value or "").split()) for name, value in one.groupdict().items()}) for one in found]


def _card(parts):
    numbers = {name: int(parts[name] or 0) for name in ("minutes", "points")}
    return Card(**(parts | numbers | {"difficulty": parts["difficulty"].count("●")}))


def sources(root=ROOT):
    """Return the lessons' sources, in order."""
    return sorted((root / "lessons" / "source").glob("[0-9][0-9]_*.py"))


def all_cards(root=ROOT):
    """Return {source: its cards} for all lessons."""
    return {source: cards(source.read_text(encoding="utf-8")) for source in sources(root)}


def title(source):
    """Return a lesson's title: its claim, without the number."""
    first = next(line for line in source.read_text(encoding="utf-8").split("\n") if line.startswith("# # "))
    return first.removeprefix(f"# # {source.stem[:2]}. ")


def table(root=ROOT):
    """Return the table of all exercises in markdown: a line of sums, then a table for each lesson."""
    found = all_cards(root)
    every = [card for mine in found.values() for card in mine]
    kinds = [f"{sum(card.kind == kind for card in every)} {kind}" for kind in KINDS]
    head = f"{len(every)} exercises in {len(found)} lessons: {', '.join(kinds)}. {_sums(every)}."
    return "\n\n".join([head, *(_lesson(source, mine) for source, mine in found.items())])


def _sums(some):
    return f"{sum(card.points for card in some)} points, {sum(card.minutes for card in some)} minutes"


def _lesson(source, mine):
    head = f"**{source.stem[:2]}. {title(source)}** ({_sums(mine)})"
    lines = ["| exercise | kind | difficulty | minutes | points | teaches | needs |", "|---|---|---|---|---|---|---|"]
    for card in mine:
        stars = "●" * card.difficulty + "○" * (3 - card.difficulty)
        cells = (card.id, card.kind, stars, card.minutes, card.points, card.teaches, card.needs or "nothing")
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([head, "", *lines])


def lessons(root=ROOT):
    """Return the table of the lessons in markdown: its name, its claim, and the minutes that its first cell says."""
    lines = ["| lesson | what it shows | minutes |", "|---|---|---|"]
    for source in sources(root):
        if (number := source.stem[:2]) in PARTS:
            lines.append(f"| **{PARTS[number]}** | | |")
        minutes = MINUTES.search(source.read_text(encoding="utf-8"))
        if minutes is None:
            raise ValueError(f"{source.name} says no time: write **Time:** N minutes into its first cell")
        link = f"[`{source.stem}`](lessons/{source.stem}.ipynb)"
        lines.append(f"| {link} | {title(source)} | {minutes[1]} |")
    return "\n".join(lines)


def filled(text, root=ROOT, marks=(BEGIN, END), made=table):
    """Return a page with what is made between its marks. Raises ValueError where the marks are missing."""
    begin, end = marks
    if begin not in text or end not in text:
        raise ValueError(f"the page needs the lines {begin} and {end}: the table stands between them")
    head, rest = text.split(begin, 1)
    return f"{head}{begin}\n\n{made(root)}\n\n{end}{rest.split(end, 1)[1]}"


def main(argv=None, root=ROOT):
    """Print the table, or write it, and the lessons, into their pages. Returns 0, or 1 where a page has no place."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib exercises", description="Print the table of all exercises, made from their cards."
    )
    parser.add_argument("--write", action="store_true", help="put it into INSTRUCTORS.md, the lessons into README.md")
    if not parser.parse_args(argv).write:
        print(table(root))
        return 0
    for page, *how in pages(root):
        try:
            write_text(page, filled(page.read_text(encoding="utf-8"), root, *how))
        except (OSError, ValueError) as error:
            print(f"{page.name} is left as it was: {error}", file=sys.stderr)
            return 1
        print(f"The table stands in {page.name}.")
    return 0


def pages(root=ROOT):
    """Return each page with its marks, and what is made between them."""
    return [
        (root / "lessons" / "INSTRUCTORS.md", (BEGIN, END), table),
        (root / "README.md", LESSONS, lessons),
    ]
