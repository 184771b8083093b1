"""Each lesson: its notebooks are what its source builds, and what it builds equals lib's.

What a notebook's cells do when they run is nbval's part.
"""

import ast
import importlib
import re
from collections import Counter
from functools import cache
from pathlib import Path

import jupytext
import lesson_cases
import nbformat
import pytest
import torch
from later_names import changed_later

from lessons.tools import build, notebook
from lib.teach import progress

LESSONS = Path(__file__).resolve().parents[1] / "lessons"
FILES = sorted((LESSONS / "source").glob("*"))
SOURCES = [file for file in FILES if re.fullmatch(r"\d\d_[a-z0-9_]+\.py", file.name)]
KIND = r"(implement|predict|repair|measure|explain)"
CARD = rf"\*\*Exercise %s\*\* · {KIND} · (●○○|●●○|●●●) · \d+ min · (\d+ points? · )?teaches \S"
TOUR = "00"  # shows what is coming: shorter, and nothing to build
each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda file: file.stem)


@cache
def forms(source):
    """Return what the source builds, (stub, solved); nothing changes them."""
    return notebook.forms(source)


@cache
def cells_of(source):
    """Return the cells of a source; nothing changes them."""
    return jupytext.read(source, fmt="py:percent").cells


@cache
def read(source):
    """Return the committed notebooks, (stub, solved); nothing changes them."""
    files = build.places(source)
    absent = [str(file.relative_to(LESSONS)) for file in files if not file.is_file()]
    assert not absent, f"{absent} are not there: run python3 -m lib build {source.stem[:2]}"
    return [nbformat.read(file, as_version=4) for file in files]


def code_cells(nb):
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def outputs(source):
    for nb in read(source):
        for cell in code_cells(nb):
            for output in cell.outputs:
                yield f"{nb.metadata.course.form}, cell {cell.id}", output


def built():
    """Return (source, index of the cell, lib's path) for each `builds:` tag."""
    found = []
    for source in SOURCES:
        for index, cell in enumerate(cells_of(source)):
            found += [(source, index, path) for path in notebook.tagged(cell, "builds")]
    return found


def test_every_source_is_a_lesson_and_every_notebook_has_a_source():
    names = {file.name for file in FILES if not file.name.startswith((".", "__"))}
    assert names == {source.name for source in SOURCES}, "lessons/source holds NN_name.py files alone"
    for folder in (LESSONS, LESSONS / "solutions"):
        assert {file.stem for file in folder.glob("*.ipynb")} == {source.stem for source in SOURCES}
    numbers = [source.stem[:2] for source in SOURCES]
    assert len(set(numbers)) == len(numbers)


@each_lesson
def test_the_notebooks_are_what_the_source_builds(source):
    for committed, made, file in zip(read(source), forms(source), build.places(source), strict=True):
        do = f"run python3 -m lib build {source.stem[:2]} (what was typed into {file.name} is lost then)"
        for here, there in zip(committed.cells, made.cells, strict=False):
            assert (here.id, here.source, here.metadata) == (there.id, there.source, there.metadata), do
        assert build.is_current(file, made), do
        assert committed.metadata == made.metadata, do
        nbformat.validate(committed)
        assert file.read_text(encoding="utf-8") == nbformat.writes(committed) + "\n", do


@each_lesson
def test_a_stub_differs_in_the_marked_blocks_alone_and_holds_no_solution(source):
    stub, solved = read(source)
    assert notebook.compare(stub, solved) == []
    hidden, shown = Counter(), Counter()
    for cell in cells_of(source):
        lines = [line.strip() for line in cell.source.split("\n")] if cell.cell_type == "code" else []
        inside = {i for first, last in notebook.blocks(cell.source) for i in range(first + 1, last)}
        hidden.update(line for i, line in enumerate(lines) if i in inside)
        shown.update(line for i, line in enumerate(lines) if i not in inside)
    there = Counter(line.strip() for cell in code_cells(stub) for line in cell.source.split("\n"))
    assert [line for line in hidden if len(line) > 3 and there[line] > shown[line]] == []


@each_lesson
def test_the_cells_are_few_and_short_and_plain_python(source):
    code = code_cells(forms(source)[1])
    assert (5 if source.stem.startswith(TOUR) else 15) <= len(code) <= 40
    for index, cell in enumerate(code):
        assert len(cell.source.split("\n")) <= 25, f"code cell {index} is over 25 lines"
        ast.parse(cell.source)
    text = "\n".join(cell.source for cell in code)
    assert len(re.findall(r"\bpredict\(", text)) == text.count(".reveal("), "each predict needs its reveal"


@each_lesson
def test_each_exercise_has_card_hints_check_and_solution(source):
    cells = forms(source)[0].cells
    names = [name for cell in cells for name in notebook.tagged(cell, "exercise")]
    least = 0 if source.stem.startswith(TOUR) else 2
    assert least <= len(names) <= 8, f"{source.stem} has {len(names)} exercises: {least} to 8, or replace one of them"
    last = 0
    for index, cell in enumerate(cells):
        for name in notebook.tagged(cell, "exercise"):
            before = [other.source for other in cells[last:index] if other.cell_type == "markdown"]
            cards = [i for i, text in enumerate(before) if re.search(CARD % re.escape(name), text)]
            assert len(cards) == 1, f"{name} has {len(cards)} cards between the last exercise and its cell"
            text = "\n".join(before[cards[0] :])
            hints = re.findall(r"<details><summary>Hint (\d)\b[^<]*</summary>\s+\S", text)
            assert hints in (["1", "2"], ["1", "2", "3"]), f"{name} has hints {hints}"
            assert text.count("<details>") == text.count("</details>"), name
            last = index
            assert notebook.tagged(cells[index + 1], "check") == [name]
            after = [other for other in cells[index:] if notebook.tagged(other, "solution") == [name]]
            assert len(after) == 1 and "```python" in after[0].source, name


@each_lesson
def test_solutions_pass_their_checks_and_stubs_are_not_attempted(source):
    # A text that is to be explained is noted: nobody but a person can say whether it is right.
    for nb, words in zip(read(source), ("not attempted", "right|noted"), strict=True):
        for cell in code_cells(nb):
            for name in notebook.tagged(cell, "check"):
                said = progress.said(cell.outputs[0])
                assert re.match(rf"{re.escape(name)} ({words})\b", said), f"{name}: {said}"


@each_lesson
def test_a_learners_notebook_answers_no_prediction(source):
    """What the reveal says, and what the cells before it measured, stand in the solved notebook alone."""
    stub, solved = read(source)
    spoilers = [i for i, cell in enumerate(stub.cells) if notebook.SPOILER in notebook.tagged_words(cell)]
    assert {i for i, cell in enumerate(stub.cells) if ".reveal(" in cell.source} <= set(spoilers)
    assert [i for i in spoilers if stub.cells[i].outputs] == []
    text = "\n".join(str(output) for cell in code_cells(stub) for output in cell.outputs)
    told = [output for i in spoilers for output in solved.cells[i].outputs if "The answer to" in str(output)]
    assert len(told) == sum(cell.source.count(".reveal(") for cell in code_cells(stub))
    assert "The answer to" not in text and "You made no guess" not in text


@each_lesson
def test_a_widget_still_works_when_all_cells_have_run(source):
    assert changed_later([cell.source for cell in code_cells(forms(source)[1])]) == []


def test_a_name_that_a_later_cell_changes_is_seen():
    cells = ["x = 1", "def f(n):\n    return n + x\ndef draw(n):\n    return f(n)", "widgets.explore(draw, '?')"]
    assert changed_later([*cells, "y = [x for x in range(3)]"]) == []
    assert changed_later([*cells, "for x in range(3):\n    pass"]) == [("draw", ["x"])]


@each_lesson
def test_outputs_hold_no_error_no_machine_and_no_picture_without_words(source):
    for where, output in outputs(source):
        assert output.output_type != "error" and output.get("name") != "stderr", where
        assert build.machine_trace(build.shown_text(output)) is None, where
        assert build.WIDGET not in output.get("data", {}), where
        for kind in {"image/png", "image/svg+xml"} & set(output.get("data", {})):
            words = output.metadata.get(kind, {}).get("alt") or output.metadata.get("alt")
            words = words or output.data.get("text/plain", "")
            assert len(words) > 20 and not words.startswith("<"), f"{where}: the picture has no alt text"


@each_lesson
def test_links_within_the_course_lead_somewhere(source):
    for file, nb in zip(build.places(source), read(source), strict=True):
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                for link in re.findall(r"\]\(([^)\s#]+)[^)]*\)", cell.source):
                    assert ":" in link or (file.parent / link).exists(), f"{file.name}, {cell.id}: {link}"


def definitions(source, last):
    """Run the imports, definitions and literal constants of a lesson up to its cell `last`; return the names.

    Nothing else runs: what a lesson builds must not lean on a result that another cell computed.
    """
    names = {"__name__": source.stem}
    for cell in cells_of(source)[: last + 1]:
        if cell.cell_type == "code":
            kept = [node for node in ast.parse(notebook.solved(cell.source)).body if _defines(node)]
            exec(compile(ast.Module(kept, []), source.name, "exec"), names)
    return names


def _defines(node):
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
    return isinstance(node, ast.Assign | ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef)


def fetch(path):
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize(("source", "cell", "path"), built(), ids=lambda value: getattr(value, "stem", str(value)))
def test_what_a_lesson_builds_equals_libs(source, cell, path):
    assert path in lesson_cases.CASES, f"write a case for {path} in tests/lesson_cases.py"
    name = path.rsplit(".", 1)[1]
    names = definitions(source, cell)
    assert name in names, f"{source.name} says that it builds {path}, but defines no {name} in that cell or before"
    assert names[name] is not fetch(path), f"{source.name} imports {name} from lib, and does not build it"
    lesson_cases.CASES[path](names[name], fetch(path))


@pytest.mark.parametrize("path", lesson_cases.CASES)
def test_every_case_runs(path):
    lesson_cases.CASES[path](fetch(path), fetch(path))


class Shifted(torch.nn.Module):
    """Wraps a module: its result is right, its gradients are not."""

    def __init__(self, d_model, eps):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x):
        """Return RMSNorm's result, with no gradient through the root."""
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps).detach() * self.scale


WRONG = {
    "mean over all": ("rms_norm", lambda x, w, eps=1e-5: x * torch.rsqrt(x.pow(2).mean() + eps) * w),
    "no eps": ("rms_norm", lambda x, w, eps=1e-5: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)) * w),
    "float32": ("rms_norm", lambda x, w, eps=1e-5: fetch("lib.layers.norm.rms_norm")(x.float(), w.float(), eps)),
    "no gradient": ("rms_norm", lambda x, w, eps=1e-5: fetch("lib.layers.norm.rms_norm")(x, w, eps).detach()),
    "wrong gradient": ("RMSNorm", Shifted),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_answer_is_refused(wrong):
    name, answer = WRONG[wrong]
    with pytest.raises(AssertionError):
        lesson_cases.CASES[f"lib.layers.norm.{name}"](answer, fetch(f"lib.layers.norm.{name}"))


def test_weights_of_other_names_are_copied_in_order():
    class Renamed(Shifted):
        def forward(self, x):
            return fetch("lib.layers.norm.rms_norm")(x, self.scale, self.eps)

    lesson_cases.CASES["lib.layers.norm.RMSNorm"](Renamed, fetch("lib.layers.norm.RMSNorm"))
