"""The steps of nbgrader's that this course does in its own way: open exercises, put back cells, mark, ask a person."""

import copy
import functools
import json
import os
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.preprocessors import ClearSolutions, NbGraderPreprocessor

from lessons.marking.answers import candidates, steps_of
from lessons.marking.lesson import Lesson, exercise_of_cell
from lessons.marking.mark import Work, mark
from lessons.tools.notebook import blocks, stub, tagged, write_text

HERE = Path(__file__).resolve().parents[2]
NOTES = "course_notes"  # of the notebook's metadata: from one step to the next
FLAGS = ("grade", "solution", "locked", "points", "task")


class OpenExercises(ClearSolutions):
    """Puts the lesson's stub where nbgrader's own would stand: a notebook with open exercises runs to its end."""

    def _replace_solution_region(self, cell, language):
        if cell.cell_type != "code" or not blocks(cell.source):
            return False
        cell.source = stub(cell.source, tagged(cell, "exercise")[0])
        return True


def settle_names(assignment, student, notebooks):
    """Before a submission is marked: a notebook that stands alone gets the name that nbgrader looks for."""
    if len(notebooks) == 1 and Path(notebooks[0]).stem != Path(notebooks[0]).parent.name:
        found = Path(notebooks[0])
        os.replace(found, right := found.with_name(f"{found.parent.name}.ipynb"))
        notebooks[:] = [str(right)]


class PutBack(NbGraderPreprocessor):
    """Gives back what marking needs and a learner moved, copied or deleted: one cell for each of nbgrader's names."""

    def preprocess(self, nb, resources):
        """Change the notebook, and say in its metadata what was changed."""
        name, self.notes = resources["nbgrader"]["assignment"], []
        nb.metadata.pop("course", None)
        kept = nbformat.read(HERE / "release" / name / f"{name}.ipynb", as_version=4)
        kept = {cell.metadata.nbgrader.grade_id: cell for cell in kept.cells if "nbgrader" in cell.metadata}
        for cell in nb.cells:
            self.settle(cell, kept)
        for grade_id, cell in kept.items():
            self.put_back(nb, grade_id, cell)
        nb.metadata[NOTES] = self.notes
        return nb, resources

    def settle(self, cell, kept):
        """Give a cell the mark that its tag or its id names, where it has lost that, and the flags that it had."""
        cell.metadata.pop("deletable", None)
        marks = cell.metadata.get("nbgrader", {})
        grade_id = marks.get("grade_id") or next((id for id in names_of(cell) if id in kept), None)
        if grade_id not in kept:
            cell.metadata.pop("nbgrader", None)
            return
        right = kept[grade_id].metadata.nbgrader
        if marks and any(marks.get(flag) != right.get(flag) for flag in FLAGS):
            self.notes.append(f"what nbgrader keeps in the cell {grade_id} was changed, and is put back.")
        cell.metadata.nbgrader = copy.deepcopy(right)
        if cell.cell_type != kept[grade_id].cell_type:
            self.notes.append(f"the cell {grade_id} was turned into text; it is taken for code.")
            cell.cell_type = kept[grade_id].cell_type
            cell.outputs, cell.execution_count = [], None
            cell.pop("attachments", None)

    def put_back(self, nb, grade_id, kept):
        """Leave one cell with a mark, or make one."""
        found = [cell for cell in nb.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id]
        best = max(found, key=lambda cell: (cell.source.strip() not in ("", kept.source.strip()), nb.cells.index(cell)),
                   default=None)  # fmt: skip
        for cell in found:
            if cell is not best:
                del cell.metadata["nbgrader"]
        if len(found) > 1:
            self.notes.append(f"the cell {grade_id} is there {len(found)} times.")
        marks = kept.metadata.nbgrader
        if found or not (marks.grade or marks.solution):
            return
        if not marks.grade:
            self.notes.append(f"the cell {grade_id} was deleted; its answer counts, if it stands elsewhere.")
            return
        made = copy.deepcopy(kept)
        if not marks.solution:
            self.notes.append(f"the cell {grade_id} was deleted, and is put back.")
        elif text := elsewhere(nb, kept):
            made.source = text
            self.notes.append(f"the cell {grade_id} was deleted; its answer stands in another cell, and counts.")
        else:
            self.notes.append(f"the cell {grade_id} was deleted with its answer: {marks.points} points are lost.")
        nb.cells.insert(place_for(nb, grade_id), made)


def names_of(cell):
    """Return the names that a cell may have had for nbgrader: its tags say them, and its id, also in Colab."""
    tags = [f"{kind}-{id}".replace(".", "-") for kind in ("exercise", "check") for id in tagged(cell, kind)]
    return [*tags, cell.get("id", ""), str(cell.metadata.get("id", ""))]


def elsewhere(nb, kept):
    """Return the statement of another cell that gives the name of an answer in words, or None."""
    (step, *_), _ = steps_of({0: kept.source})
    name = min(step.binds)
    steps, _ = steps_of({i: cell.source for i, cell in enumerate(nb.cells) if cell.cell_type == "code"})
    found = [each for each in candidates(steps, name, ()) if not each.is_open(name)]
    return found[0].text if found else None


def place_for(nb, grade_id):
    """Return where a cell belongs: behind the one of its exercise, else at the end."""
    id = grade_id.split("-", 1)[1].replace("-", ".")
    after = [i + 1 for i, cell in enumerate(nb.cells) if exercise_of_cell(cell) == id]
    return (after or [len(nb.cells)])[-1]


@functools.cache
def plan_of(name):
    """Return (what `release` wrote about an assignment, its Lesson)."""
    plan = json.loads((HERE / "marking.json").read_text(encoding="utf-8"))[name]
    return plan, Lesson(nbformat.read(HERE / "source" / name / f"{name}.ipynb", as_version=4))


def marks_of(nb, name):
    """Return {exercise: Mark} of a learner's notebook, for the exercises of the assignment `name`."""
    plan, lesson = plan_of(name)
    codes = {i: cell.source for i, cell in enumerate(nb.cells) if cell.cell_type == "code" or exercise_of_cell(cell)}
    own = {}
    for i in codes:
        if id := exercise_of_cell(nb.cells[i]):
            own.setdefault(id, []).append(i)
    work, found = Work(*steps_of(codes), own), {}
    verdicts = dict.fromkeys(lesson.names, False)
    for id, each in plan.items():
        found[id] = mark(work, id, lesson.names[id], each["seed"], lesson, verdicts)
        verdicts[id] = found[id].right
    return found


class MarkAnswers(NbGraderPreprocessor):
    """Marks each answer in a process of its own. Stands where nbgrader would run the notebook, which nobody runs."""

    def preprocess(self, nb, resources):
        """Write into each marked cell what its exercise earned."""
        name, student = resources["nbgrader"]["assignment"], resources["nbgrader"]["student"]
        notes, plan = list(nb.metadata.pop(NOTES, [])), plan_of(name)[0]
        found, self.log_as = marks_of(nb, name), f"{student}, {name}"
        cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in nb.cells}
        resources["persons"] = []
        for id, given in found.items():
            cell = cells[grade_id := f"mark-{id}".replace(".", "-")]
            cell.outputs, cell.execution_count = [output(given, plan[id]["points"])], None
            notes += given.notes
            resources["persons"] += [grade_id] * given.person
        for note in notes:
            self.log.warning("%s, %s: %s", student, name, note)
        file = HERE / "notes" / name / f"{student}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "".join(f"{note}\n" for note in notes))
        return nb, resources


def output(mark, points):
    """Return the output of a marked cell: nbgrader takes an error for no points, anything else for all."""
    noted = "".join(f"\n{note}" for note in mark.notes)
    if mark.right:
        text = f"{mark.id}: {points} of {points} points.{noted}\n"
        return nbformat.v4.new_output("stream", name="stdout", text=text)
    text = f"{mark.id}: 0 of {points} points.\n{mark.text}{noted}"
    return nbformat.v4.new_output("error", ename="NotYet", evalue="", traceback=text.split("\n"))


class AskForPerson(NbGraderPreprocessor):
    """Leaves to a person what the machine could not compute."""

    def preprocess(self, nb, resources):
        """Note in the gradebook which exercises a person looks at."""
        about = resources["nbgrader"]
        with Gradebook(about["db_url"]) as book:
            for grade_id in resources.get("persons", []):
                grade = book.find_grade(grade_id, about["notebook"], about["assignment"], about["student"])
                grade.needs_manual_grade = True
            book.db.commit()
        return nb, resources
