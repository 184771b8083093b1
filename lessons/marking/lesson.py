"""What marking takes from the instructor's own notebook: the lesson's own cells, and what its solutions lean on."""

from functools import cached_property

from lessons.marking.answers import candidates, course_parts, needs, steps_of
from lessons.tools.notebook import tagged

BEFORE = -100_000  # the lesson's own cells count as standing before all of a learner's


def exercise_of_cell(cell):
    """Return the exercise that a cell is for, by nbgrader's mark, by its tag, or by its id; None for others."""
    marks = cell.metadata.get("nbgrader", {}).get("grade_id", ""), cell.get("id", ""), cell.metadata.get("id", "")
    found = [mark.split("-", 1)[1].replace("-", ".") for mark in marks if str(mark).startswith("exercise-")]
    return (found + tagged(cell, "exercise") + [None])[0]


class Lesson:
    """The instructor's notebook of one lesson: solved, as `release` makes it."""

    def __init__(self, nb):
        self.cells = dict(enumerate(nb.cells, BEFORE))
        self.own = {}
        for number, cell in self.cells.items():
            if id := exercise_of_cell(cell):
                self.own.setdefault(id, []).append(number)

    @cached_property
    def every(self):
        """All statements of its code cells."""
        return steps_of({number: cell.source for number, cell in self.cells.items() if cell.cell_type == "code"})[0]

    @cached_property
    def steps(self):
        """The statements that a learner is given: all but the solutions."""
        solved = {number for numbers in self.own.values() for number in numbers}
        return [step for step in self.every if step.place[0] not in solved]

    @cached_property
    def imported(self):
        """What the lesson imports from the course: {(module, name)}."""
        return {(module, name) for step in self.every if step.is_import for module, name, *_ in course_parts(step, [])}

    @cached_property
    def names(self):
        """What each answer is called: {"04.1": "rotate_half_split"}."""
        return {step.checked: min(step.binds) for step in self.every if step.checked}

    @cached_property
    def honest(self):
        """The Needs of the lesson's own solution of each exercise."""
        others = dict.fromkeys(self.names, False)
        found = {id: candidates(self.every, name, self.own.get(id, ())) for id, name in self.names.items()}
        found = {id: next(step for step in steps if step.place[0] in self.own[id]) for id, steps in found.items()}
        return {id: needs(self.every, step, others) for id, step in found.items()}
