"""Which assignment a notebook belongs to, told by its own marks and not by its file's name; and what it lacks."""

import re

from lessons.marking.lesson import exercise_of_cell
from lessons.tools.notebook import tagged


class CollectError(ValueError):
    """A file that can't be marked; the message says why, and what to ask the learner for."""


def grade_ids(nb):
    """Return nbgrader's names of a notebook's cells, in order."""
    return [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in nb.cells if cell.metadata.get("nbgrader")]


def which(nb, plan):
    """Return the name of the assignment that a notebook was released as. plan: {assignment: {exercise: ...}}.

    Raises CollectError for the solved form, the lesson's own notebook, one of another course, or none of ours.
    """
    course = nb.metadata.get("course", {})
    lessons = {id[:2] for cell in nb.cells if (id := exercise_of_cell(cell))}
    lesson = course.get("lesson") or min(lessons, default=None)
    names = [name for name in plan if name[:2] == lesson or name == course.get("assignment")]
    ask = f"ask for {names[0]}-assignment.ipynb, which you handed out" if names else "nothing of it was released"
    head = "\n".join(cell.source for cell in nb.cells[:3])
    if course.get("form") == "solved" or "This is the solved form" in head:
        raise CollectError(f"it is the course's solved notebook: {ask}")
    if course.get("assignment") in plan:
        return course["assignment"]
    ours = [id for id in grade_ids(nb) if re.fullmatch(r"(exercise|mark|check)-\d\d-\d+", str(id))]
    if names and ours:  # Colab drops what it does not know of a notebook's head
        return names[0]
    if lesson and not ours and any(tagged(cell, "exercise") for cell in nb.cells):
        raise CollectError(f"it is the lesson's own notebook, not the one that you handed out: {ask}")
    if lesson:
        raise CollectError(f"it belongs to lesson {lesson}: {ask}")
    raise CollectError("it has no cell of a released notebook")


def missing(nb, released):
    """Return a sentence on the cells that a learner deleted, or "". Raises CollectError, where no answer is left."""
    there, wanted = set(grade_ids(nb)), [id for id in grade_ids(released) if not id.startswith("check-")]
    own = {exercise_of_cell(cell) for cell in nb.cells} - {None}
    lost = [id for id in wanted if id not in there]
    lost = [id for id in lost if not (id.startswith("exercise-") and id[9:].replace("-", ".") in own)]
    if not own:
        raise CollectError("all cells of its exercises were deleted: ask for the notebook again")
    if not lost:
        return ""
    return (
        f"{', '.join(lost)} {'was' if len(lost) == 1 else 'were'} deleted; what stands elsewhere is marked all the same"
    )
