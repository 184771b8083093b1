"""Which exercises are done, read from the learner's own saved notebooks. Nothing leaves the machine."""

import argparse
import json
import re
import sys
from pathlib import Path

from lib.show.cards import show_progress

ROOT = Path(__file__).resolve().parents[2]
# What `check` prints first, and what it means here. The longer words come first: "not yet" and "not attempted".
WORDS = {"not yet": "tried", "not attempted": "open", "right": "done", "noted": "done"}
SIGNS = {"done": "x", "tried": "/", "open": "."}


def statuses(path):
    """Return {exercise: "done", "tried" or "open"} of one notebook, from the saved outputs of its check cells.

    A notebook that can't be read has none.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return dict(pair for cell in cells for pair in _status(cell))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _status(cell):
    # [(exercise, status)] of a check cell; nothing for any other. Also an nbgrader copy keeps the tags.
    names = [tag.split(":", 1)[1] for tag in cell.get("metadata", {}).get("tags", []) if tag.startswith("check:")]
    text = "".join(said(output) + "\n" * ("data" in output) for output in cell.get("outputs", []))
    for name in names:
        found = re.search(rf"^{re.escape(name)} ({'|'.join(WORDS)})\b", text, re.M)
        yield name, WORDS[found[1]] if found else "open"


def said(output):
    """Return an output's text: a card's plain form, or what was printed, which is how older notebooks have it."""
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))


def progress(root=ROOT):
    """Return {lesson's name: its statuses} of all lessons that have exercises, in order.

    root: a course's folder, or one that holds notebooks. A copy, such as Jupyter's 01_x-Copy1 or a browser's 01_x (1),
    is no lesson of its own: the shortest name counts, but an instructor's 01_x-assignment comes first.
    """
    folder = root / "lessons" if (root / "lessons").is_dir() else root
    handed_out = "-assignment"
    paths = sorted(
        folder.glob("[0-9][0-9]_*.ipynb"), key=lambda path: (handed_out not in path.stem, len(path.stem), path.stem)
    )
    lessons = {path.stem[:2]: path for path in reversed(paths)}
    found = {lessons[number].stem: statuses(lessons[number]) for number in sorted(lessons)}
    return {name: mine for name, mine in found.items() if mine}


def table(found):
    """Return what was found as lines of text: a sign for each exercise, and the sums."""
    lines = []
    for name, mine in found.items():
        done = sum(status == "done" for status in mine.values())
        signs = " ".join(SIGNS[status] for status in mine.values())
        lines.append(f"{name:24} {signs:10} {done} of {len(mine)}")
    every = [status for mine in found.values() for status in mine.values()]
    lines.append(f"{'all':24} {'':10} {every.count('done')} of {len(every)}   (x done, / not yet right, . open)")
    return "\n".join(lines)


def following(found):
    """Return the sentence that says what comes next."""
    for name, mine in found.items():
        for id, status in mine.items():
            if status != "done":
                return f"Next: exercise {id}, in lessons/{name}.ipynb."
    return "All done." if found else "There is no notebook with exercises in this folder, or in its folder lessons."


def show(root=ROOT):
    """Show what is done as a grid, and print what comes next. A notebook counts as it was last saved."""
    found = progress(root)
    show_progress(found, table(found))
    print(following(found))


def main(argv=None, root=ROOT):
    """Print what is done; returns 0, or 1 where there is no such folder."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib progress",
        description="Say which exercises of which lesson are done, as your saved notebooks have it. They are read on "
        "this machine, and nothing is sent anywhere.",
    )
    parser.add_argument("folder", nargs="?", type=Path, default=root, help="where the notebooks are; none: this course")
    folder = parser.parse_args(argv).folder
    if not folder.is_dir():
        print(f"python3 -m lib progress: there is no folder {folder}", file=sys.stderr)
        return 1
    show(folder)
    return 0
