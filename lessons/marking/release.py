"""`python3 -m lib release`: an nbgrader course of the lessons chosen, or a copy of the course without solutions."""

import argparse
import ast
import json
import re
import secrets
import shutil
import sys
from pathlib import Path

import jupytext
import nbformat

from lessons.marking.course_folder import furnish, nbgrader
from lessons.tools.cards import cards, sources
from lessons.tools.cells import badge, setup_cell
from lessons.tools.handout import hand_out
from lessons.tools.notebook import cell_ids, check_structure, tagged, write_text
from lib.teach.address import Address

ROOT = Path(__file__).resolve().parents[2]
PLAN, HAND_OUT, HANDED_OUT = "marking.json", "hand-out", "{}-assignment"
MARK = "# Marked here: exercise {id}, {points} point{s}. Leave this cell as it is."


class ReleaseError(ValueError):
    """A course that can't be made; the message says what to do."""


def assignment(source, only=(), place=None):
    """Return a lesson's notebook as an instructor keeps it: solved, in nbgrader's marks, not executed.

    After each exercise comes a cell that marks it. Solutions in folds are left out, and so is the link to them. An
    `explain` exercise has no such cell: its own is marked by hand. only: the exercises that carry points, ["04.1"];
    none means all. place: the Address of the class's copy of the course, for Colab. Raises ReleaseError, where a card
    has no points, or the lesson has no such exercise.
    """
    cells = jupytext.reads(source.read_text(encoding="utf-8"), fmt="py:percent").cells
    check_structure(cells, source.name, source.stem[:2])
    known = {card.id: card for card in cards(source.read_text(encoding="utf-8"))}
    if missing := [id for id in only if id not in known]:
        raise ReleaseError(f"{source.name} has no exercise {', '.join(missing)}: there are {', '.join(known)}")
    if only:
        known = {id: card if id in only else card._replace(points=None) for id, card in known.items()}
    nb = nbformat.v4.new_notebook()
    for cell, id in zip(cells, cell_ids(cells), strict=True):
        if tagged(cell, "solution"):
            continue
        if check := tagged(cell, "check"):
            nb.cells += _mark(cell.source, _card(known, check[0], source))
        nb.cells.append(_cell(cell, id, known, source, place))
    if place:
        title, *rest = nb.cells[0].source.split("\n")
        nb.cells[0].source = "\n".join([title, "", badge(HANDED_OUT.format(source.stem), place=place), *rest])
    nb.metadata.course = {"assignment": source.stem}  # what `collect` knows it by, whatever the file is called
    nb.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nb.metadata.language_info = {"name": "python"}
    return nb


def _card(known, id, source):
    if id not in known or known[id].points == 0:  # None: it is not to be marked
        raise ReleaseError(f"{source.name}: the card of exercise {id} needs points, such as `· 3 points ·`")
    return known[id]


def _cell(cell, id, known, source, place=None):
    new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    setup = "setup" in cell.metadata.get("tags", [])
    made = new(setup_cell(source.stem[:2], place) if setup else cell.source, id=id)
    made.metadata.update({key: cell.metadata[key] for key in ("tags", "jupyter") if key in cell.metadata})
    if name := tagged(cell, "exercise"):
        card = _card(known, name[0], source)
        by_hand = {"grade": True, "points": card.points} if card.kind == "explain" and card.points else {}
        made.metadata.nbgrader = _marks(f"exercise-{name[0]}", solution=True, **by_hand)
    if name := tagged(cell, "check"):
        made.metadata.nbgrader = _marks(f"check-{name[0]}", locked=True)
    return made


def _mark(check, card):
    # The cell that marks an exercise, in a list; none for one that is marked by hand.
    if card.kind == "explain" or not card.points:
        return []
    calls = [node for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Call)]
    answers = [call.args[1] for call in calls if getattr(call.func, "id", "") == "check" and len(call.args) == 2]
    if len(answers) != 1 or not isinstance(answers[0], ast.Name):
        raise ReleaseError(f'the check cell of {card.id} must say answer = check("{card.id}", answer) once')
    code = MARK.format(id=card.id, points=card.points, s="s" * (card.points > 1))
    cell = nbformat.v4.new_code_cell(code, id=f"mark-{card.id}".replace(".", "-"))
    cell.metadata.nbgrader = _marks(f"mark-{card.id}", grade=True, locked=True, points=card.points)
    return [cell]


def _secret():
    return 1 + secrets.randbelow(2**31)


def _marks(id, grade=False, solution=False, locked=False, **more):
    flags = {"grade": grade, "solution": solution, "locked": locked, "task": False}
    return {"grade_id": id.replace(".", "-"), "schema_version": 3, **flags, **more}


def release(chosen, to, root=ROOT, again=False, place=None):
    """Make or extend the nbgrader course in the folder `to` by these sources; return the lines that say what there is.

    chosen: {source: the exercises that carry points, none for all}. place: the Address of the class's copy, for Colab.

    Raises ReleaseError: nothing is written then, unless nbgrader itself fails.
    """
    made = {source.stem: assignment(source, only, place) for source, only in chosen.items()}
    there = [name for name in made if (to / "source" / name).exists()]
    if there and not again:
        raise ReleaseError(
            f"{to} has {', '.join(there)} already: give --again to make it anew, with other secret numbers"
        )
    if to.exists() and any(to.iterdir()) and not (to / "nbgrader_config.py").is_file():
        raise ReleaseError(f"{to} holds something else: give an empty folder, or a course made by this command")
    furnish(to, root, place)
    plan = _plan(to)
    for name, nb in made.items():
        (to / "source" / name).mkdir(parents=True, exist_ok=True)
        _write(nb, to / "source" / name / f"{name}.ipynb")
        for picture in (root / "lessons").glob("*.png"):
            shutil.copy(picture, to / "source" / name)
        plan[name] = _marked(nb)
        write_text(to / PLAN, json.dumps(plan, indent=1) + "\n")
        nbgrader(to, "generate_assignment", name, "--force")
        (to / HAND_OUT).mkdir(exist_ok=True)
        shutil.copy(to / "release" / name / f"{name}.ipynb", to / HAND_OUT / f"{HANDED_OUT.format(name)}.ipynb")
    return [_line(name, nb) for name, nb in made.items()]


def _plan(to):
    # What is marked in each assignment so far, and on which random numbers: nobody but the instructor has this file.
    return json.loads((to / PLAN).read_text(encoding="utf-8")) if (to / PLAN).is_file() else {}


def _marked(nb):
    marks = [cell.metadata.nbgrader for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    ids = {mark.grade_id.split("-", 1)[1].replace("-", "."): mark.points for mark in marks if not mark.solution}
    return {id: {"points": points, "seed": _secret()} for id, points in ids.items()}


def _write(nb, file):
    nbformat.validate(nb)
    write_text(file, nbformat.writes(nb) + "\n")


def _line(name, nb):
    marks = [cell.metadata.nbgrader for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    by_hand = sum(mark.points for mark in marks if mark.solution)
    total = sum(mark.points for mark in marks)
    return f"{name}: {len(marks)} exercises, {total} points" + (
        f", {by_hand} of them marked by hand" if by_hand else ""
    )


def main(argv=None, root=ROOT):
    """Make what argv asks for. Returns 0, or 1 where that can't be done, with a sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib release",
        description="Make an nbgrader course (source, release, gradebook, header) of the lessons chosen; or, with "
        "--without-solutions, a copy of the whole course that holds no solved notebook.",
    )
    which = "numbers, such as 04 05; or exercises, such as 04.1 04.2: these alone carry points then"
    parser.add_argument("lessons", nargs="*", metavar="NN", help=which)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to make it in")
    parser.add_argument("--again", action="store_true", help="make a lesson anew that the course has already")
    parser.add_argument(
        "--colab",
        metavar="OWNER/NAME@TAG",
        help="the class's own copy on GitHub, which the first cell fetches in Colab",
    )
    parser.add_argument("--without-solutions", action="store_true", help="copy the course, without its solutions")
    args = parser.parse_args(argv)
    try:
        lines = _asked(args, root)
    except (ValueError, OSError) as error:
        print(f"python3 -m lib release: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _asked(args, root):
    to, known = args.to.absolute(), {source.stem[:2]: source for source in sources(root)}
    if args.without_solutions:
        return hand_out(to, args.lessons, root)
    asked = list(dict.fromkeys(args.lessons))
    unknown = [word for word in asked if word.split(".")[0] not in known]
    if unknown or not asked:
        what = f"no lesson {', '.join(unknown)}" if unknown else "say which lessons"
        raise ReleaseError(f"{what}: there are {', '.join(known)}")
    chosen = {known[number]: [] for number in dict.fromkeys(word.split(".")[0] for word in asked)}
    for word in asked:
        chosen[known[word.split(".")[0]]] += [word] * ("." in word)
    lines = release(chosen, to, root, args.again, _place(args.colab))
    return [
        *lines,
        f"Hand out {HAND_OUT}/NAME-assignment.ipynb. Collect what comes back, a zip or a folder:",
        f"  python3 -m lib collect ZIP --to {args.to}",
        f"Then, in {args.to}:",
        *(f"  {sys.executable} -m nbgrader {step} NAME" for step in ("autograde", "generate_feedback")),
    ]


def _place(words):
    # "https://github.com/owner/name@tag" or "owner/name@tag"
    if words is None:
        return None
    found = re.fullmatch(
        r"(?:https://github\.com/)?([\w.-]+/[\w.-]+?)(?:\.git)?(?:@|/tree/)([\w.-]+)", words.rstrip("/")
    )
    if not found:
        raise ReleaseError(f"{words}: say where the class's copy is, OWNER/NAME@TAG, such as my-school/llm@autumn")
    return Address(*found.groups())
