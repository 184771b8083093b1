"""A copy of the course for learners who should not see the solutions: no solved notebooks, no sources, no folds."""

import shutil

import nbformat

from lessons.tools.notebook import tagged, write_text

KEPT = ("lib", "data", "lessons/__init__.py", "lessons/checker", "lessons/exercises", "lessons/figures")
KEPT += ("requirements.txt", "pyproject.toml", "LICENSE")
LEFT_OUT = "*The solution of {id} is not part of this copy.*"
# Of the README, a copy has these parts, without the lines that name what it lacks.
PARTS = ("Begin", "The lessons")
LACKS = ("git clone", "python3 -m lib test", "lessons/solutions", "publish")
CLOSING = """## Licence

Apache-2.0, see [LICENSE](LICENSE). The texts that the course uses, and their licences: [SOURCES](data/SOURCES.md).
"""


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
    for pattern in ("*.png", "*.gif", "*.svg", "GLOSSARY.md", "CLAIMS.md", "MEASURED.md", "TROUBLESHOOTING.md"):
        for path in (root / "lessons").glob(pattern):
            shutil.copy(path, to / "lessons")
    for name in KEPT:
        _copy(root / name, to / name)
    if (root / "README.md").is_file():
        gone = (*LACKS, *(path.name for path in lessons if path not in chosen))
        write_text(to / "README.md", shortened((root / "README.md").read_text(encoding="utf-8"), gone))
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


def shortened(readme, names):
    """Return the README of a copy: its beginning and two of its parts, without lines and paragraphs that name these."""
    head, *parts = readme.split("\n## ")
    kept = [head, *(f"## {part}" for part in parts if part.split("\n")[0] in PARTS)]
    paragraphs = [paragraph for part in kept for paragraph in part.strip().split("\n\n")]
    left = []
    for paragraph in paragraphs:
        lines = paragraph.split("\n")
        if paragraph.startswith(("```", "|")):
            paragraph = "\n".join(line for line in lines if not any(name in line for name in names))
        elif any(name in paragraph for name in names):
            continue
        left.append(paragraph)
    return "\n\n".join([*left, CLOSING])
