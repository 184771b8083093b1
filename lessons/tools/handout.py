"""A copy of the course for learners who should not see the solutions: no solved notebooks, no sources, no folds."""

import re
import shutil

import nbformat

from lessons.tools.notebook import tagged, write_text

KEPT = ("lib", "data", "lessons/__init__.py", "lessons/checker", "lessons/exercises", "lessons/figures")
KEPT += ("requirements.txt", "pyproject.toml", "LICENSE")
LEFT_OUT = "*The solution of {id} is not part of this copy.*"
# What the README says of folders that the copy lacks: whole sentences, and lines of the map.
MISSING = ("lessons/solutions", "lessons/source", "lessons/tools", "lessons/INSTRUCTORS", "tests/")


def hand_out(to, numbers, root):
    """Copy the course to `to`, an empty or new folder, with these lessons (none means all); return what to say.

    What stays: `lib`, since every lesson needs the parts of those before it. Raises ValueError, before it writes.
    """
    lessons = sorted((root / "lessons").glob("[0-9][0-9]_*.ipynb"))
    if unknown := [number for number in numbers if number not in {path.stem[:2] for path in lessons}]:
        raise ValueError(f"no lesson {', '.join(unknown)}: there are {', '.join(path.stem[:2] for path in lessons)}")
    if to.exists() and any(to.iterdir()):
        raise ValueError(f"{to} is not empty: give a new folder")
    if root in [to, *to.parents]:
        raise ValueError(
            f"{to} lies inside the course: give a folder outside, else the copy finds the course's own lib"
        )
    chosen = [path for path in lessons if not numbers or path.stem[:2] in numbers]
    (to / "lessons").mkdir(parents=True)
    for path in chosen:
        nb = without_solutions(nbformat.read(path, as_version=4))
        write_text(to / "lessons" / path.name, nbformat.writes(nb) + "\n")
    for pattern in ("*.png", "*.svg", "GLOSSARY.md", "TROUBLESHOOTING.md"):
        for path in (root / "lessons").glob(pattern):
            shutil.copy(path, to / "lessons")
    for name in KEPT:
        _copy(root / name, to / name)
    if (root / "README.md").is_file():
        write_text(to / "README.md", without_mention((root / "README.md").read_text(encoding="utf-8"), MISSING))
    kept = "What a lesson builds stays in lib: the next ones need it."
    return [f"{len(chosen)} lesson{'s' * (len(chosen) != 1)} without solutions in {to}. {kept}"]


def _copy(path, to):
    if path.is_dir():
        shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", "cache"))
    elif path.is_file():
        shutil.copy(path, to)


def without_solutions(nb):
    """Return a lesson's notebook without the folded solutions and without the link to the solved form."""
    for cell in nb.cells:
        if name := tagged(cell, "solution"):
            cell.source = LEFT_OUT.format(id=name[0])
    nb.cells[0].source = "\n".join(line for line in nb.cells[0].source.split("\n") if not line.startswith("<small>"))
    nb.metadata.pop("course", None)  # it is no longer what the source builds
    return nb


def without_mention(text, names):
    """Return a text without the sentences, and in code and tables without the lines, that name one of these.

    >>> without_mention("Look at it. The rest is in lessons/solutions. Go on.", ["lessons/solutions"])
    'Look at it. Go on.'
    """

    def named(piece):
        return any(name in piece for name in names)

    parts = []
    for part in text.split("\n\n"):
        if not named(part):
            parts.append(part)
        elif "```" in part or part.startswith("|"):
            parts.append("\n".join(line for line in part.split("\n") if not named(line)))
        else:
            parts.append(" ".join(piece for piece in re.split(r"(?<=[.!?:])\s+", part) if not named(piece)))
    return "\n\n".join(parts)
