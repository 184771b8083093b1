"""A learner's notebook of one lesson, as marking reads it: the lesson's own cells, with some answers in it."""

import functools

import nbformat

from lessons.marking import release
from lessons.marking.answers import steps_of
from lessons.marking.lesson import Lesson, exercise_of_cell
from lessons.marking.mark import Work, mark
from lessons.tools import cards
from lessons.tools.notebook import stub, tagged


@functools.cache
def lesson_of(number):
    """Return (the cells of the lesson's assignment, its Lesson)."""
    source = next(path for path in cards.sources() if path.stem.startswith(number))
    nb = release.assignment(source)
    return nb.cells, Lesson(nb)


def work_of(number, answers, early="", solved=False):
    """Return the Work of a notebook: answers {exercise: code}, an early cell; the others are open, or solved."""
    cells, codes, own = [nbformat.v4.new_code_cell(early), *lesson_of(number)[0]], {}, {}
    for i, cell in enumerate(cells):
        id = exercise_of_cell(cell)
        if cell.cell_type == "code":
            codes[i] = answers.get(
                id, stub(cell.source, id) if id and tagged(cell, "exercise") and not solved else cell.source
            )
        if id:
            own.setdefault(id, []).append(i)
    return Work(*steps_of(codes), own)


def marked(id, answers, early="", seed=77, solved=False):
    """Return the Mark of one exercise of a notebook with these answers."""
    lesson = lesson_of(id[:2])[1]
    answers = answers if isinstance(answers, dict) else {id: answers}
    return mark(
        work_of(id[:2], answers, early, solved), id, lesson.names[id], seed, lesson, dict.fromkeys(lesson.names, False)
    )
