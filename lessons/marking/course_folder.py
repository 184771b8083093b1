"""The folder of an nbgrader course: its settings, and the copy of this course's programs that marks the work in it."""

import shutil
import subprocess
import sys

import nbformat

from lessons.tools.notebook import write_text

CONFIG = '''\
"""The settings of nbgrader, made by `python3 -m lib release`. Call nbgrader in this folder."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
# nbgrader starts alembic, which lies beside this Python.
os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ.get("PATH", "")

import nbgrader
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader import preprocessors as p

from lessons.marking import nbgrader_steps as steps

c = get_config()
c.CourseDirectory.root = str(HERE)
# What lies beside a notebook in source/ goes out as it is: no Python file may.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback", ".*", "*.py"]
c.IncludeHeaderFooter.header = str(HERE / "source" / "header.ipynb")
c.GenerateAssignment.preprocessors = [
    p.IncludeHeaderFooter, p.LockCells, steps.OpenExercises, p.ClearOutput, p.CheckCellMetadata, p.ComputeChecksums,
    p.SaveCells, p.CheckCellMetadata,
]  # fmt: skip
c.ClearSolutions.enforce_metadata = True
# No learner's notebook is run: each answer is, in a process of its own.
c.Autograde.pre_convert_hook = steps.settle_names
c.Autograde.sanitize_preprocessors = [
    p.ClearOutput, steps.PutBack, p.DeduplicateIds, p.OverwriteKernelspec, p.OverwriteCells, p.CheckCellMetadata,
]  # fmt: skip
c.Autograde.autograde_preprocessors = [
    steps.MarkAnswers, ClearMetadataPreprocessor, p.LimitOutput, p.SaveAutoGrades, steps.AskForPerson,
    p.AssignLatePenalties, p.CheckCellMetadata,
]  # fmt: skip
theirs = Path(nbgrader.__file__).parent / "server_extensions" / "formgrader" / "templates"
c.HTMLExporter.template_name = "numbered"
c.HTMLExporter.template_file = "numbered.html.j2"
c.HTMLExporter.extra_template_basedirs = [str(HERE / "lessons" / "marking" / "pages"), str(theirs)]
'''
HEADER = """\
**Before you hand this in:** restart the kernel, run all cells, save, and hand in this file. Leave the cells that begin
with `# Marked here` as they are. The card of each exercise says its points. Your answers alone are marked, each one by
itself and on other numbers than `check` takes. Of the course's own parts, an answer may use what the lesson imports.
What calls the part that you are to write earns nothing.

{where}"""
NAMES = 'NAME = ""\nWITH = ""  # whom you worked with'
BESIDE = "Put the notebook into the folder `lessons` of your copy of the course: it needs `lib` beside it."
IN_COLAB = "In Colab, the first cell with code fetches the course. Elsewhere, put the notebook beside the folder `lib`."


def furnish(to, root, place=None):
    """Make or renew what every course needs: settings, a header, and the lib and data that mark it."""
    (to / "source").mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", "cache")
    for name in (
        "lib",
        "data",
        "lessons/checker",
        "lessons/exercises",
        "lessons/figures",
        "lessons/tools",
        "lessons/marking",
    ):
        if (root / name).is_dir():
            shutil.copytree(root / name, to / name, ignore=ignore, dirs_exist_ok=True)
    for name in ("requirements.txt", "pyproject.toml", "lessons/__init__.py"):  # the set-up cell reads the first two
        if (root / name).is_file():
            shutil.copy(root / name, to / name)
    write_text(to / "nbgrader_config.py", CONFIG)
    if not (to / "source" / "header.ipynb").exists():  # it may be the instructor's own by now
        write_text(to / "source" / "header.ipynb", nbformat.writes(header(place)) + "\n")


def header(place=None):
    """Return the cells that stand on top of each released notebook. place: of the class's copy."""
    nb = nbformat.v4.new_notebook()
    text = HEADER.format(where=IN_COLAB if place else BESIDE)
    nb.cells = [nbformat.v4.new_markdown_cell(text, id="header"), nbformat.v4.new_code_cell(NAMES, id="names")]
    return nb


def nbgrader(to, *arguments):
    """Call nbgrader in a course's folder. Raises ValueError with its last lines, where it fails."""
    done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=to, capture_output=True, text=True)
    if done.returncode:
        last = "\n  ".join((done.stderr or done.stdout).strip().split("\n")[-8:])
        raise ValueError(f"nbgrader {' '.join(arguments)} failed:\n  {last}")
