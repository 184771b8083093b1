"""`python3 -m lib release`: an nbgrader course of the lessons chosen, or a copy of the course without solutions."""

import argparse
import ast
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat

from lessons.tools.cards import cards, sources
from lessons.tools.cells import setup_cell
from lessons.tools.handout import hand_out
from lessons.tools.notebook import cell_ids, check_structure, tagged, write_text

ROOT = Path(__file__).resolve().parents[2]
CONFIG = '''\
"""The settings of nbgrader, made by `python3 -m lib release`. Call nbgrader in this folder."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# nbgrader starts alembic, which lies beside this Python.
os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")

from nbgrader import preprocessors as p

from lessons.tools.open_exercises import OpenExercises

c = get_config()
c.CourseDirectory.root = str(HERE)
# What lies beside a notebook in source/ goes out as it is: no Python file may.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", ".*", "*.py"]
c.IncludeHeaderFooter.header = str(HERE / "source" / "header.ipynb")
c.GenerateAssignment.preprocessors = [
    p.IncludeHeaderFooter, p.LockCells, OpenExercises, p.ClearOutput, p.CheckCellMetadata, p.ComputeChecksums,
    p.SaveCells, p.ClearHiddenTests, p.ClearMarkScheme, p.ComputeChecksums, p.CheckCellMetadata,
]  # fmt: skip
c.Execute.timeout = 300  # seconds for a cell
c.ClearSolutions.enforce_metadata = True
'''
HEADER = """\
**Before you hand this in:** restart the kernel, run all cells, save. Leave the cells that begin with `# Marked here` as
they are: they are put back before your work is marked. The card of each exercise says its points. An exercise is marked
on other numbers than `check` takes, and what calls the course's own part earns nothing.

Put the notebook into the folder `lessons` of your copy of the course: it needs `lib` beside it."""
NAMES = 'NAME = ""\nWITH = ""  # whom you worked with'
MARK = """\
# Marked here: exercise {id}, {points} point{s}. Leave this cell as it is.
### BEGIN HIDDEN TESTS
import pathlib, runpy

here = next(p for p in pathlib.Path("_").absolute().parents if (p / "lessons/tools/grade.py").is_file())
runpy.run_path(str(here / "lessons/tools/grade.py"))["grade"]("{id}", {answer}, {points}, seed={seed})
### END HIDDEN TESTS"""


class ReleaseError(ValueError):
    """A course that can't be made; the message says what to do."""


def assignment(source, only=()):
    """Return a lesson's notebook as an instructor keeps it: solved, in nbgrader's marks, not executed.

    After each exercise comes a cell that marks it. Solutions in folds are left out, and so is the link to them. An
    `explain` exercise has no such cell: its own is marked by hand. only: the exercises that carry points, ["04.1"];
    none means all. Raises ReleaseError, where a card has no points, or the lesson has no such exercise.
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
        nb.cells.append(_cell(cell, id, known, source))
    nb.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nb.metadata.language_info = {"name": "python"}
    return nb


def _card(known, id, source):
    if id not in known or known[id].points == 0:  # None: it is not to be marked
        raise ReleaseError(f"{source.name}: the card of exercise {id} needs points, such as `· 3 points ·`")
    return known[id]


def _cell(cell, id, known, source):
    new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
    setup = "setup" in cell.metadata.get("tags", [])
    made = new(setup_cell(source.stem[:2]) if setup else cell.source, id=id)
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
    if len(answers) != 1:
        raise ReleaseError(f'the check cell of {card.id} must call check("{card.id}", answer) once')
    code = MARK.format(
        id=card.id, points=card.points, s="s" * (card.points > 1), answer=ast.unparse(answers[0]), seed=_secret()
    )
    cell = nbformat.v4.new_code_cell(code, id=f"mark-{card.id}".replace(".", "-"))
    cell.metadata.nbgrader = _marks(f"mark-{card.id}", grade=True, locked=True, points=card.points)
    return [cell]


def _secret():
    return 1 + secrets.randbelow(2**31)


def _marks(id, grade=False, solution=False, locked=False, **more):
    flags = {"grade": grade, "solution": solution, "locked": locked, "task": False}
    return {"grade_id": id.replace(".", "-"), "schema_version": 3, **flags, **more}


def release(chosen, to, root=ROOT, again=False):
    """Make or extend the nbgrader course in the folder `to` by these sources; return the lines that say what there is.

    chosen: {source: the exercises that carry points, none for all}.

    Raises ReleaseError: nothing is written then, unless nbgrader itself fails.
    """
    made = {source.stem: assignment(source, only) for source, only in chosen.items()}
    there = [name for name in made if (to / "source" / name).exists()]
    if there and not again:
        raise ReleaseError(
            f"{to} has {', '.join(there)} already: give --again to make it anew, with other secret numbers"
        )
    if to.exists() and any(to.iterdir()) and not (to / "nbgrader_config.py").is_file():
        raise ReleaseError(f"{to} holds something else: give an empty folder, or a course made by this command")
    _furnish(to, root)
    for name, nb in made.items():
        (to / "source" / name).mkdir(parents=True, exist_ok=True)
        _write(nb, to / "source" / name / f"{name}.ipynb")
        for picture in (root / "lessons").glob("*.png"):
            shutil.copy(picture, to / "source" / name)
        _nbgrader(to, "generate_assignment", name, "--force")
    return [_line(name, nb) for name, nb in made.items()]


def _furnish(to, root):
    # What every course needs: settings, header, and the lib and data that mark it.
    (to / "source").mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "cache")
    for name in ("lib", "data", "lessons/checker", "lessons/exercises", "lessons/figures", "lessons/tools"):
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=ignore, dirs_exist_ok=True)
    for name in ("requirements.txt", "pyproject.toml", "lessons/__init__.py"):  # the set-up cell reads the first two
        if (root / name).is_file():
            shutil.copy(root / name, to / name)
    write_text(to / "nbgrader_config.py", CONFIG)
    header = nbformat.v4.new_notebook()
    header.cells = [
        nbformat.v4.new_markdown_cell(HEADER, id="header"),
        nbformat.v4.new_code_cell(NAMES, id="names"),
    ]
    if not (to / "source" / "header.ipynb").exists():  # it may be the instructor's own by now
        _write(header, to / "source" / "header.ipynb")


def _write(nb, file):
    nbformat.validate(nb)
    write_text(file, nbformat.writes(nb) + "\n")


def _nbgrader(to, *arguments):
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=to, capture_output=True, text=True)
    if done.returncode:
        last = "\n  ".join((done.stderr or done.stdout).strip().split("\n")[-8:])
        raise ReleaseError(f"nbgrader {' '.join(arguments)} failed:\n  {last}")


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
    lines = release(chosen, to, root, args.again)
    return [
        *lines,
        f"Hand out release/NAME/NAME.ipynb, put what comes back into submitted/STUDENT/NAME/, then, in {args.to}:",
        *(f"  {sys.executable} -m nbgrader {step} NAME" for step in ("autograde", "generate_feedback")),
    ]
