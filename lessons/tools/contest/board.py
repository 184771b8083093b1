"""`python3 -m lib board`: the board of the contest as a table; with --write also in the README and on a page."""

import argparse
from pathlib import Path

from lib.run.command_line import told
from lib.teach.contest import CONTEST, load_entries, load_rules
from lib.weights.files import write_beside

ROOT = Path(__file__).resolve().parents[3]
BEGIN, END = "<!-- board: made by python3 -m lib board --write -->", "<!-- end of the board -->"
FIRST = 4  # rows in the README
HEAD = ["place", "entry", "bits a byte above the floor", "facts hold", "obeys", "parameters", "FLOPs"]


def main(arguments):
    """Print the board, or write it; return the exit code."""
    parser = argparse.ArgumentParser("python3 -m lib board", description="Show the board of the contest.")
    parser.add_argument("--board", type=Path, default=CONTEST, help="its folder (default: the course's)")
    parser.add_argument("--write", action="store_true", help="into BOARD.md; the course's own into the README, too")
    options = parser.parse_args(arguments)
    return told("board", lambda: show(options.board, options.write))


def show(folder, write, root=ROOT):
    """Print the table, and write it where that was asked for."""
    rules, entries = load_rules(folder), load_entries(folder)
    print(table(entries))
    if write and Path(folder).resolve() == CONTEST.resolve():
        write_text(root / "lessons" / "BOARD.md", page(rules, entries))
        readme = root / "README.md"
        write_text(readme, between(readme.read_text(encoding="utf-8"), short(entries)))
    elif write:
        write_text(Path(folder) / "BOARD.md", page(rules, entries))
    return 0


def table(entries):
    """Return the rows of the board as Markdown, with the interval of each score."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    for place, entry in enumerate(entries, 1):
        obeys = "-" if entry["obeys"] is None else f"{entry['obeys']:.0%}"
        cells = [str(place), entry["name"], f"{entry['bits_above']:.4f} ± {entry['half']:.4f}", f"{entry['facts']:.1%}",
                 obeys, f"{entry['parameters']:,}", f"{entry['flops']:.3g}"]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def short(entries):
    """Return the first rows as the README has them."""
    rows = [
        f"| {i} | {e['name']} | {e['bits_above']:.4f} ± {e['half']:.4f} |" for i, e in enumerate(entries[:FIRST], 1)
    ]
    return "\n".join(["| place | entry | bits a byte above the floor |", "|---|---|---|", *rows])  # fmt: skip


def page(rules, entries):
    """Return the page of a board: the rules, the table, each entry's commands."""
    lines = [
        "# The board",
        "",
        f"Made by `python3 -m lib board --write`. The rules: at most {rules['flops']:.3g} counted FLOPs of training "
        f"and {rules['parameters']:,} parameters; text of {rules['corpus']}, public seeds alone; the seeds "
        f"{', '.join(map(str, rules['seeds']))}.",
        "",
        "The score is what a model needs above the true cost of stories that were drawn when it was scored: the mean "
        "over the training seeds, ± its t interval of 95 %. Entries whose intervals overlap are not told apart here.",
        "",
        table(entries),
        "",
        "## How each was made",
        "",
        "The weights are not kept. An entry holds their SHA-256, and the command that makes them anew; on another "
        "processor the last digits differ, and so does the hash.",
    ]
    for entry in entries:
        lines += ["", f"**{entry['name']}**{' by ' + entry['by'] if entry['by'] else ''}", "", "```"]
        lines += [run["command"] for run in entry["runs"]] + ["```"]
    return "\n".join([*lines, *UNPROVEN])


UNPROVEN = [
    "",
    "## What this board can't prove",
    "",
    "- **More training than said.** Whoever trains twice as long and forges a whole record that adds up, curve and "
    "all, is not caught by reading it. `python3 -m lib submit FOLDER --rerun 0.1` trains the first tenth of one run "
    "again and compares the losses; only the whole command, run again, settles it.",
    "- **Seeds that were chosen.** Three seeds are fixed by the rules. What was tried before on other seeds, and how "
    "often, nobody sees: so say it in your plan.",
    "- **Text from elsewhere.** A corpus made with more seeds of the public grammar looks like the allowed one.",
    "- **A small lead.** With three seeds an interval is wide. A place on the board is no proof of an order.",
    "",
]


def between(text, rows):
    """Return the text with the rows between the two marks; ValueError where it has none."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"README.md needs one line {BEGIN} and one {END}: add them where the board belongs")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{rest.split(END)[1]}"


def write_text(path, text):
    """Write a text file, beside its place and then there."""
    write_beside(path, lambda part: part.write_text(text, encoding="utf-8", newline="\n"))
