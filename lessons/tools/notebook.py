"""A lesson's source, in jupytext's percent format, becomes two notebooks: one with open exercises, one solved.

The notebooks that this file makes are not executed; `lessons.tools.build` does that. A cell's part is said by its tags:

    setup            the first code cell: replaced by the set-up cell of lib.teach.setup
    exercise:04.1    code with a solution between ### BEGIN SOLUTION and ### END SOLUTION
    check:04.1       the code cell right after it
    solution:04.1    a markdown cell, later on: gets the solution, folded; what the author wrote there stands below it
    builds:lib.x.y   on an exercise: the cell makes `y`, and it must agree with lib's
    spoiler          its outputs give an answer away: the learner's notebook is committed without them. Cells between a
                     `predict(` and its `.reveal(` get it by themselves
"""

import ast
import hashlib
import json
import os
import re
import textwrap

import nbformat

from lessons.tools.cells import badge, setup_cell
from lib.teach.address import address

# Part of every notebook's fingerprint: raise it when the same source must give another notebook.
VERSION = 1
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
# On a cell whose outputs answer a question that was asked before: a learner's notebook is committed without them.
SPOILER, CHECKED = "spoiler", "nbval-check-output"
SOLVED_LINK = "<small>[The solved form of this lesson](solutions/{name}.ipynb)</small>"
STUB_LINK = "<small>This is the solved form. [The lesson with its exercises open](../{name}.ipynb)</small>"


class SourceError(ValueError):
    """A lesson's source that can't become a notebook; the message names the file, the cell and what to change."""


def forms(path):
    """Return the two notebooks, (stub, solved), that the source at `path` makes, not executed.

    Both have the same cells with the same ids; they differ in the marked blocks, in two lines of links below the title,
    and in that a link upward (`../`) goes one folder further in the solved form, which lies one folder deeper.
    Raises SourceError, where the source breaks a rule of the format.
    """
    import jupytext  # here: what a lesson imports from lib leads to this file, and Colab has no jupytext

    number = path.stem[:2]
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", path.stem):
        raise SourceError(f"{path.name}: call it NN_name.py, two digits, then small letters: 04_rope.py")
    cells = jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells
    check_structure(cells, path.name, number)
    solutions = {name: solved(cell.source) for cell in cells for name in tagged(cell, "exercise")}
    ids, place = cell_ids(cells), address(path.resolve().parents[2])
    return tuple(_form(cells, ids, solutions, path.stem, place, solve) for solve in (False, True))


def tagged(cell, kind):
    """Return what stands behind `kind:` in the cell's tags: "exercise:04.1" -> ["04.1"]."""
    return [tag.split(":", 1)[1] for tag in cell.metadata.get("tags", []) if tag.startswith(kind + ":")]


def tagged_words(cell):
    """Return all of a cell's tags."""
    return list(cell.metadata.get("tags", []))


def _tags_of_an_answer(tags, solve):
    # In a learner's notebook nothing is there to compare with: the outputs are left out.
    kept = [tag for tag in tags if tag not in (SPOILER, CHECKED)]
    return kept + [SPOILER] + [CHECKED] * (solve and CHECKED in tags)


def cell_ids(cells):
    """Return a stable id for each cell: from its part where it has one, else from a hash of its text.

    A new paragraph changes no other cell's id, so a rebuilt notebook differs where its source differs.
    """
    ids = []
    for cell in cells:
        parts = [f"{kind}-{name}" for kind in ("exercise", "check", "solution") for name in tagged(cell, kind)]
        text = f"{cell.cell_type} {cell.source}"
        ids.append(parts[0].replace(".", "-") if parts else hashlib.sha256(text.encode()).hexdigest()[:8])
    twins = [ids[:i].count(id) for i, id in enumerate(ids)]
    return [f"{id}-{n + 1}" if n else id for id, n in zip(ids, twins, strict=True)]


def solved(code):
    """Return the code of an exercise with its solution, without the marks."""
    return "\n".join(line for line in code.split("\n") if line.strip() not in (BEGIN, END))


def blocks(code):
    """Return the marked blocks as (first, last): the indices of the lines that hold the marks."""
    marks = [(i, line.strip()) for i, line in enumerate(code.split("\n")) if line.strip() in (BEGIN, END)]
    if [mark for _, mark in marks] != [BEGIN, END] * (len(marks) // 2):
        raise SourceError(f"each {BEGIN} needs one {END} after it")
    return [(marks[i][0], marks[i + 1][0]) for i in range(0, len(marks), 2)]


def stub(code, exercise):
    """Return the code of an exercise as the learner gets it.

    A marked block within a function becomes `raise NotImplementedError("04.1: your turn")`; outside, each name that the
    block assigns becomes `name = ...`. What stands around the blocks is left as it is.
    """
    lines, tree = code.split("\n"), ast.parse(code)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [(node.lineno, node.end_lineno) for node in ast.walk(tree) if isinstance(node, kinds)]
    for first, last in reversed(blocks(code)):
        indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
        if any(start < first + 1 <= end for start, end in functions):
            opened = [f'raise NotImplementedError("{exercise}: your turn")']
        else:
            opened = [f"{name} = ..." for name in _assigned("\n".join(lines[first + 1 : last]))]
        lines[first : last + 1] = [indent + line for line in opened]
    ast.parse("\n".join(lines))
    return "\n".join(lines)


def _assigned(block):
    body = ast.parse(textwrap.dedent(block)).body
    if any(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) for node in body):
        raise SourceError(f"a def or class line is the learner's frame: put it above {BEGIN}")
    targets = [node.targets for node in body if isinstance(node, ast.Assign)]
    targets += [[node.target] for node in body if isinstance(node, ast.AnnAssign)]
    names = [n.id for group in targets for target in group for n in ast.walk(target) if isinstance(n, ast.Name)]
    if not names:
        raise SourceError("a block outside a function must assign the name that the check reads: answer = ...")
    return list(dict.fromkeys(names))


def fold(code, text):
    """Return the folded solution of an exercise in markdown: its code, then the author's text."""
    parts = ["<details><summary>Solution</summary>", f"```python\n{code}\n```", text.strip(), "</details>"]
    return "\n\n".join(part for part in parts if part)


def answers(cells):
    """Return the places of the code cells that answer a prediction: from its `predict(` to its `.reveal(`.

    Where an exercise lies between the two, those from its check on: what came before was there to be seen. A cell that
    asks another question in between is no answer.
    """
    found, asked = set(), {}
    for index, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        for name in re.findall(r"(\w+)\.reveal\(", cell.source):
            found.update(range(asked.pop(name, index - 1) + 1, index + 1))
        if tagged(cell, "check"):
            asked = dict.fromkeys(asked, index)
        asked |= dict.fromkeys(re.findall(r"(\w+) = predict\(", cell.source), index)
    theirs = {i for i, cell in enumerate(cells) if tagged(cell, "exercise") or tagged(cell, "check")}
    found = {i for i in found - theirs if cells[i].cell_type == "code" and "= predict(" not in cells[i].source}
    return sorted(found)


def is_furniture(code):
    """Say whether a cell only imports, asks, reveals or draws: it is folded, so that what teaches stands out."""
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return False
    return bool(body) and all(isinstance(node, ast.Import | ast.ImportFrom) or _shows(node) for node in body)


def _shows(node):
    # A call of one of lib's pictures, a question or an answer, whether or not its result has a name.
    call = node.value if isinstance(node, ast.Expr | ast.Assign) else None
    if not isinstance(call, ast.Call):
        return False
    name = ast.unparse(call.func)
    root = name.split(".")[0]
    return root in ("predict", "plots", "figures", "widgets", "attention_map", "memories") or name.endswith(".reveal")


def _form(cells, ids, solutions, name, place, solve):
    nb, spoilers = nbformat.v4.new_notebook(), set(answers(cells))
    for index, (cell, id) in enumerate(zip(cells, ids, strict=True)):
        new = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        made = new(_text(cell, solutions, name, place, solve), id=id)
        made.metadata.update({key: cell.metadata[key] for key in ("tags", "jupyter") if key in cell.metadata})
        if cell.cell_type == "code" and ("setup" in tagged_words(cell) or is_furniture(cell.source)):
            made.metadata["jupyter"] = {**made.metadata.get("jupyter", {}), "source_hidden": True}
        if index in spoilers or "spoiler" in tagged_words(cell):
            made.metadata["tags"] = _tags_of_an_answer(tagged_words(cell), solve)
        nb.cells.append(made)
    title, *rest = nb.cells[0].source.split("\n")
    link = (STUB_LINK if solve else SOLVED_LINK).format(name=name)
    nb.cells[0].source = "\n".join([title, "", link, badge(name, solve, place), *rest])
    nb.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nb.metadata.language_info = {"name": "python"}
    nb.metadata.course = {"lesson": name[:2], "form": "solved" if solve else "stub", "source_sha256": fingerprint(nb)}
    return nb


def _text(cell, solutions, name, place, solve):
    exercise, solution = tagged(cell, "exercise"), tagged(cell, "solution")
    if "setup" in cell.metadata.get("tags", []):
        return setup_cell(name[:2], place)
    if exercise:
        return solutions[exercise[0]] if solve else stub(cell.source, exercise[0])
    text = fold(solutions[solution[0]], cell.source) if solution else cell.source
    return _deeper(text) if solve and cell.cell_type == "markdown" else text


def _deeper(text):
    return text.replace("](../", "](../../").replace('src="../', 'src="../../')


def fingerprint(nb):
    """Return a hash of what a person reads and runs in the notebook: its cells' ids, texts and tags, not outputs."""
    cells = [[c.get("id"), c.cell_type, c.source, c.metadata.get("tags", [])] for c in nb.cells]
    return hashlib.sha256(json.dumps([VERSION, cells]).encode()).hexdigest()


def write_text(file, text):
    """Write a text beside its place, then move it there: a reader sees the old one or the new one, never half."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(text, encoding="utf-8", newline="\n")
    os.replace(beside, file)


def compare(stub_nb, solved_nb):
    """Return in words what differs between the two forms outside of what may differ; an empty list is well."""
    if [cell.id for cell in stub_nb.cells] != [cell.id for cell in solved_nb.cells]:
        return ["the two forms have different cells"]
    wrong = []
    for index, (open_cell, full) in enumerate(zip(stub_nb.cells, solved_nb.cells, strict=True)):
        exercise = tagged(open_cell, "exercise")
        theirs, ours = full.source, open_cell.source
        if exercise:
            same = _fits(ours, theirs, exercise[0])
        else:
            same = _without_link(_deeper(ours) if open_cell.cell_type == "markdown" else ours) == _without_link(theirs)
        if not same or _compared(open_cell) != _compared(full) or open_cell.cell_type != full.cell_type:
            wrong.append(f"cell {index} ({open_cell.id}) differs outside a marked block")
    return wrong


def _compared(cell):
    # Metadata, without the one tag that an answer has in the solved form alone.
    left_out = {CHECKED} if SPOILER in tagged_words(cell) else set()
    return {**cell.metadata, "tags": [tag for tag in tagged_words(cell) if tag not in left_out]}


def _without_link(text):
    return "\n".join(line for line in text.split("\n") if not line.startswith("<small>"))


def _fits(open_code, full_code, exercise):
    # The stub's lines cut the open form into pieces: the full form must hold the same pieces in the same order.
    line = rf'^[ \t]*(?:raise NotImplementedError\("{re.escape(exercise)}: your turn"\)|\w+ = \.\.\.)$'
    pieces = re.split(rf"(?:{line}\n?)+", open_code, flags=re.MULTILINE)
    pattern = r"(?:.|\n)+".join(re.escape(piece) for piece in pieces)
    return len(pieces) > 1 and re.fullmatch(pattern, full_code) is not None


def check_structure(cells, file, number):
    """Raise SourceError, where the cells break a rule that the build relies on."""

    def need(true, index, what):
        if not true:
            start = cells[index].source.split("\n")[0][:60] if cells else ""
            raise SourceError(f'{file}, cell {index} ("{start}"): {what}')

    title = cells and cells[0].cell_type == "markdown" and cells[0].source.startswith(f"# {number}. ")
    need(title, 0, f'begin with a markdown cell "# {number}. The claim"')
    code = [i for i, cell in enumerate(cells) if cell.cell_type == "code"]
    setups = [i for i, cell in enumerate(cells) if "setup" in cell.metadata.get("tags", [])]
    need(setups == code[:1] and setups, (setups or [0])[-1], 'tag the first code cell, and no other, "setup"')
    need(f'start("{number}")' in cells[code[0]].source, code[0], f'the set-up cell must say start("{number}")')
    names = [name for cell in cells for name in tagged(cell, "exercise")]
    for kind in ("exercise", "check", "solution"):
        found = [name for cell in cells for name in tagged(cell, kind)]
        need(found == names, 0, f"exercises are {names}, but the {kind} cells are {found}: one each, in this order")
    need(names == [f"{number}.{i + 1}" for i in range(len(names))], 0, f"number {names} as {number}.1, {number}.2, ...")
    for i, cell in enumerate(cells):
        try:
            marks = blocks(cell.source)
            if exercise := tagged(cell, "exercise"):
                stub(cell.source, exercise[0])
        except (SourceError, SyntaxError) as error:
            raise SourceError(f"{file}, cell {i}: {error}") from error
        need(bool(marks) == bool(exercise), i, f"{BEGIN} belongs in an exercise cell, and each of these needs it")
        after = tagged(cells[min(i + 1, len(cells) - 1)], "check")
        need(not exercise or after == exercise, i, "the cell after it must be its check")
        need(not tagged(cell, "solution") or cell.cell_type == "markdown", i, "a solution cell is markdown")
