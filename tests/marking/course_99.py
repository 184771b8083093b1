"""A course whose only lesson is the one in tests/data, and what an instructor does with it."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"
NAME = "99_marked"
RIGHT = {
    "99.1": "def softmax(z):\n    e = torch.exp(z - torch.logsumexp(z, -1, keepdim=True))\n    return e",
    "99.2": "def countdown(n):\n    return [n - i for i in range(n)]",
    "99.3": "total = 7503",
    "99.4": 'reason = "Because it is so."',
}


def make(root):
    """Make the course in the folder `root`."""
    for name in ("lib", "lessons/checker", "lessons/exercises", "lessons/figures", "lessons/tools", "lessons/marking"):
        ignore = shutil.ignore_patterns("__pycache__", "lesson_??*.py")
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    shutil.copy(ROOT / "lessons" / "__init__.py", root / "lessons")
    shutil.copy(DATA / "lesson_99.py", root / "lessons" / "exercises")
    (root / "lessons" / "source").mkdir(parents=True)
    shutil.copy(DATA / f"{NAME}.py", root / "lessons" / "source")
    return root


def nbgrader(folder, *arguments):
    """Call nbgrader as an instructor does; return what it says."""
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def handed_in(made, edits):
    """Return the notebook that was handed out, with some cells edited: {exercise or kind of cell: its text}."""
    nb = nbformat.read(made / "hand-out" / f"{NAME}-assignment.ipynb", as_version=4)
    for cell in nb.cells:
        kind, _, id = cell.metadata.get("nbgrader", {}).get("grade_id", "").partition("-")
        text = edits.get(id.replace("-", ".") if kind == "exercise" else kind)
        cell.source = cell.source if text is None else text
    return nb


def submit(made, who, nb, name=f"{NAME}.ipynb"):
    """Put a submission into its place."""
    file = made / "submitted" / who / NAME / name
    file.parent.mkdir(parents=True)
    nbformat.write(nb, file)


def points(made, who):
    """Return {grade id: (points by the machine, is a person still needed)}."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{made / 'gradebook.db'}") as book:
        grades = book.find_submission(NAME, who).notebooks[0].grades
        return {grade.name: (grade.auto_score, grade.needs_manual_grade) for grade in grades}
