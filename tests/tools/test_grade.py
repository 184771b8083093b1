"""Marking: fresh modules, other numbers, and nothing for whoever calls the course's own part."""

import ast
import contextlib
import re
import subprocess
import sys

import jupytext
import pytest
import torch

from lessons.checker import check as checks
from lessons.exercises.lesson_02 import check
from lessons.tools import cards, notebook, release
from lessons.tools import grade as grading
from lessons.tools.all_exercises import exercises, find
from lessons.tools.grade import NotYet, grade
from lib.layers.norm import RMSNorm, rms_norm
from tests.exercises.eight import mostly_at_night
from tests.exercises.rights import rights

CODE = [found.id for found in exercises() if callable(found.reference)]


def right_here(x, weight, eps=1e-5):
    wide = x.double() if x.dtype == torch.float64 else x.float()
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight).type_as(x)


def test_a_right_answer_earns_its_points(capsys):
    for other in rights("02.1"):
        grade("02.1", other, 4, seed=7)
        assert capsys.readouterr().out == "02.1: 4 of 4 points.\n"


def test_a_wrong_answer_earns_none_and_is_told_why():
    with pytest.raises(NotYet, match="(?s)02.1: 0 of 4 points.\n02.1 not yet: .*largest difference") as caught:
        grade("02.1", lambda x, weight, eps=1e-5: x * weight, 4, seed=7)
    assert "Going on" not in str(caught.value)
    assert caught.value._render_traceback_()[0] == "02.1: 0 of 4 points."


@pytest.mark.parametrize("answer", [..., None], ids=["...", "None"])
def test_an_open_exercise_earns_none(answer):
    with pytest.raises(NotYet, match="not attempted"):
        grade("02.1", answer, 4, seed=7)


def test_the_courses_own_earns_none(capsys):
    handed_back = check("02.1", None)
    assert handed_back is rms_norm
    for borrowed in (handed_back, lambda *a, **k: rms_norm(*a, **k)):
        with pytest.raises(NotYet, match="It calls the course's own"):
            grade("02.1", borrowed, 4, seed=7)


def test_numbers_and_classes_can_be_marked(capsys):
    grade("00.2", 6.93, 1, seed=7)
    with pytest.raises(NotYet):
        grade("00.2", 6.0, 1, seed=7)
    assert grading.codes(3) == set() and len(grading.codes(RMSNorm)) == 1


def test_what_a_learner_did_to_lib_does_not_count(monkeypatch):
    monkeypatch.setattr(checks, "verdict_on", lambda exercise, answer: checks.Verdict("02.1", "right", "right"))
    with pytest.raises(NotYet):
        grade("02.1", lambda x, weight, eps=1e-5: x, 4, seed=7)
    assert sys.modules["lessons.checker.check"] is checks


def test_what_fits_the_visible_numbers_alone_earns_none():
    known = [case.inputs[0] for case in find("02.1").cases]

    def hard_coded(x, weight, eps=1e-5):
        seen = any(x.shape == z.shape and torch.allclose(x.float(), z.float()) for z in known)
        return right_here(x, weight, eps) if seen else x

    with pytest.raises(NotYet, match="not yet"):
        grade("02.1", hard_coded, 4, seed=7)


def test_it_runs_by_its_path_as_a_marked_cell_does():
    code = f"import runpy; runpy.run_path({grading.__file__!r})['grade']('00.2', 6.93, 1, seed=3)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("00.2: 1 of 1 points.\n", "")


@pytest.mark.parametrize("id", mostly_at_night(CODE))
def test_other_numbers_judge_alike(id):
    """Each check holds on numbers that its author never saw: right ones pass, wrong ones do not."""
    found = find(id, seed=1234)
    accepted = [hint for hint, wrong in found.mistakes if checks.verdict_on(found, wrong).right]
    refused = [checks.verdict_on(found, other).text for other in rights(id)]
    assert accepted == [] and [text for text in refused if " right (" not in text] == []


def written():
    """Return (source, index of the cell, exercise) for each exercise of the lessons whose answer is code."""
    found = []
    for source in cards.sources():
        for index, cell in enumerate(jupytext.read(source, fmt="py:percent").cells):
            found += [(source, index, id) for id in notebook.tagged(cell, "exercise") if id in CODE]
    return found


def names_at(source, last):
    """Run the imports and definitions of a lesson up to its cell `last`, those that need no computed value."""
    names = {"__name__": source.stem}
    for cell in jupytext.read(source, fmt="py:percent").cells[: last + 1]:
        for node in ast.parse(notebook.solved(cell.source)).body if cell.cell_type == "code" else []:
            if literal(node) or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
                with contextlib.suppress(NameError):
                    exec(compile(ast.Module([node], []), source.name, "exec"), names)
    return names


def literal(node):
    """Say whether a statement gives a name to a plain value."""
    try:
        return isinstance(node, ast.Assign) and ast.literal_eval(node.value) is not ...
    except ValueError:
        return False


@pytest.mark.parametrize(("source", "cell", "id"), written(), ids=[id for *_, id in written()])
def test_the_lessons_own_solution_earns_the_points(source, cell, id, capsys):
    """No solution leans on the very part that the course would hand back."""
    names = names_at(source, cell)
    answer = next(mark for mark in release.assignment(source).cells if mark.id == f"mark-{id}".replace(".", "-"))
    grade(id, eval(re.search(rf'\("{id}", (.*), \d+, seed=', answer.source)[1], names), 1, seed=11)
    assert capsys.readouterr().out == f"{id}: 1 of 1 points.\n"
