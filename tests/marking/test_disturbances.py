"""Points never vanish without a word: honest work in notebooks, treated as learners and programs treat them."""

import copy
import json

import nbformat
import pytest

from lessons.marking import release
from tests.marking.course_99 import NAME, RIGHT, handed_in, make, nbgrader, points, submit

ALL = (4, 3, 1)


def at(nb, grade_id):
    """Return the place of a cell."""
    return next(i for i, cell in enumerate(nb.cells) if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def deleted(*ids):
    """Return an edit that deletes cells."""

    def edit(nb):
        for id in ids:
            del nb.cells[at(nb, id)]

    return edit


def with_cell(code, before="exercise-99-1"):
    """Return an edit that puts a cell of code before another."""
    return lambda nb: nb.cells.insert(at(nb, before), nbformat.v4.new_code_cell(code))


def copied(id, text, below):
    """Return an edit that copies a cell, with its marks, and writes another text into the copy."""

    def edit(nb):
        twin = copy.deepcopy(nb.cells[at(nb, id)])
        twin.source, twin.id = twin.source if text is None else text, "a-copy"
        nb.cells.insert(at(nb, id) + (2 if below else 0), twin)

    return edit


def merged(nb):
    """Jupyter's "merge cells": the first cell's marks, both texts."""
    first, second = at(nb, "exercise-99-1"), at(nb, "exercise-99-2")
    nb.cells[first].source += "\n\n" + nb.cells[second].source
    del nb.cells[second]


def moved(nb):
    """An exercise at the end of the notebook."""
    nb.cells.append(nb.cells.pop(at(nb, "exercise-99-1")))


def text_cell(id):
    """Return an edit that turns a cell into markdown."""

    def edit(nb):
        cell = nb.cells[at(nb, id)]
        nb.cells[at(nb, id)] = nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata)

    return edit


def colab(nb):
    """What Colab writes: ids of its own in the metadata, another head, an older minor version."""
    for i, cell in enumerate(nb.cells):
        cell.metadata.id = f"x{i}Tq"
        cell.metadata.colab = {}
    nb.metadata = {"colab": {"provenance": []}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
    for cell in nb.cells:
        del cell["id"]
    nb.nbformat_minor = 0


def no_marks(nb):
    """A program that keeps nothing of a cell's metadata but its tags."""
    for cell in nb.cells:
        cell.metadata.pop("nbgrader", None)


def renamed(nb):
    """Another name for a function."""
    cell = nb.cells[at(nb, "exercise-99-1")]
    cell.source = cell.source.replace("softmax", "my_softmax")


def elsewhere(nb):
    """The answer in words in a cell of its own, its cell deleted."""
    del nb.cells[at(nb, "exercise-99-4")]
    nb.cells.append(nbformat.v4.new_code_cell(RIGHT["99.4"]))


# name: (edit, points, what the instructor reads)
DISTURBED = {
    "marks-deleted": (deleted("mark-99-1", "mark-99-2", "mark-99-3"), ALL, "mark-99-1 was deleted, and is put back"),
    "exercise-deleted": (deleted("exercise-99-1"), (0, 3, 1), "nothing in the notebook is called `softmax`"),
    "words-deleted": (deleted("exercise-99-4"), ALL, "deleted with its answer: 2 points are lost"),
    "words-elsewhere": (elsewhere, ALL, "its answer stands in another cell, and counts"),
    "copied-below": (copied("exercise-99-1", "def softmax(z):\n    return z", True), ALL, "is there 2 times"),
    "copied-above": (copied("exercise-99-1", "def softmax(z):\n    return z", False), ALL, "is there 2 times"),
    "mark-copied": (copied("mark-99-1", None, True), ALL, "mark-99-1 is there 2 times"),
    "split": (copied("exercise-99-1", "import math", False), ALL, "is there 2 times"),
    "merged": (merged, ALL, "exercise-99-2 was deleted; its answer counts"),
    "moved": (moved, ALL, ""),
    "mark-as-text": (text_cell("mark-99-1"), ALL, "turned into text"),
    "exercise-as-text": (text_cell("exercise-99-1"), ALL, "turned into text"),
    "renamed-function": (renamed, ALL, "`my_softmax`, which stands in its cell, was marked"),
    "exits": (with_cell("exit()\nimport os\nos._exit(1)"), ALL, ""),
    "no-gradients": (with_cell("torch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)"), ALL, ""),
    "endless": (with_cell("while True:\n    pass"), ALL, ""),
    "asks": (with_cell("who = input('your name? ')"), ALL, ""),
    "colab": (colab, ALL, ""),
    "no-marks": (no_marks, ALL, ""),
    "broken-cell": (with_cell("def f(:"), ALL, ""),
}


@pytest.mark.slow
def test_points_never_vanish_without_a_word(tmp_path, capsys):
    made = tmp_path / "graded"
    assert release.main(["99", "--to", str(made)], make(tmp_path / "course")) == 0
    for who, (edit, _, _) in DISTURBED.items():
        nb = handed_in(made, RIGHT)
        edit(nb)
        if who == "colab":
            nb = nbformat.from_dict(json.loads(json.dumps(nb)))
        submit(made, who, nb, f"{NAME} (1).ipynb" if who == "moved" else f"{NAME}.ipynb")
    said = nbgrader(made, "autograde", NAME)
    for who, (_, expected, note) in DISTURBED.items():
        found = points(made, who)
        assert tuple(found[f"mark-99-{i}"][0] for i in (1, 2, 3)) == expected, who
        notes = (made / "notes" / NAME / f"{who}.txt").read_text(encoding="utf-8")
        assert note in notes and bool(note) == bool(notes), (who, notes)
        assert not note or f"{who}, {NAME}: {notes.splitlines()[0]}" in said
        assert found["exercise-99-4"] == ((0, False) if who == "words-deleted" else (None, True)), who
