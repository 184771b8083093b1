"""The one step of nbgrader's that this course does in its own way: an exercise is opened as the lessons open it."""

from nbgrader.preprocessors import ClearSolutions

from lessons.tools.notebook import blocks, stub, tagged


class OpenExercises(ClearSolutions):
    """Puts the lesson's stub where nbgrader's own would stand: a notebook with open exercises runs to its end."""

    def _replace_solution_region(self, cell, language):
        if cell.cell_type != "code" or not blocks(cell.source):
            return False
        cell.source = stub(cell.source, tagged(cell, "exercise")[0])
        return True
