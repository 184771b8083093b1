"""`python3 -m lib claims`: put what the lessons found of the sources' claims into lessons/CLAIMS.md.

A lesson calls `claim(key, verdict, number)` in the cell that has just computed the number. The table is read from the
outputs of the solved notebooks, so nothing in it is typed.
"""

import argparse
import re
from pathlib import Path

import nbformat

from lessons.tools.notebook import write_text
from lib.teach.claims import CLAIMS

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- the claims: python3 -m lib claims -->", "<!-- end of the claims -->"
LINE = re.compile(r"^Claim ([\w-]+): .*\n  here: ([^;\n]+); (.+)$", re.M)


def found(root=ROOT):
    """Read the solved notebooks; return {key: (lesson's file name, verdict, number)}."""
    answers = {}
    for file in sorted((Path(root) / "lessons" / "solutions").glob("*.ipynb")):
        for cell in nbformat.read(file, as_version=4).cells:
            text = "".join(output.get("text", "") for output in cell.get("outputs", []))
            answers |= {key: (file.name, verdict, number) for key, verdict, number in LINE.findall(text)}
    return answers


def table(root=ROOT):
    """Return the table in Markdown, a row for each claim that a lesson has looked at."""
    rows = ["| claimed | by | here | the number | lesson |", "|---|---|---|---|---|"]
    for key, (file, verdict, number) in sorted(found(root).items(), key=lambda item: list(CLAIMS).index(item[0])):
        text, source = CLAIMS[key]
        rows.append(f"| {text} | {source} | **{verdict}** | {number} | [{file[:2]}]({file}) |")
    return "\n".join(rows)


def with_table(page, root=ROOT):
    """Return the page's text with the table between its two marks."""
    head, rest = page.split(BEGIN, 1)
    return f"{head}{BEGIN}\n\n{table(root)}\n\n{END}{rest.split(END, 1)[1]}"


def main(argv=None, root=ROOT):
    """Write the table into lessons/CLAIMS.md; return 0."""
    description = "Read what the solved lessons printed of the sources' claims; write lessons/CLAIMS.md anew."
    argparse.ArgumentParser(prog="python3 -m lib claims", description=description).parse_args(argv)
    page = Path(root) / "lessons" / "CLAIMS.md"
    text = with_table(page.read_text(encoding="utf-8"), root)
    write_text(page, text)
    n = sum(claimed.text in text for claimed in CLAIMS.values())
    print(f"{n} of {len(CLAIMS)} claims stand in lessons/CLAIMS.md")
    return 0
