"""The builder, on a sample lesson in a course of its own with a `lib` of three small files."""

import ast
import os
import shutil
from pathlib import Path

import nbformat
import pytest

from lessons.tools import build, notebook

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = (ROOT / "tests" / "data" / "99_sample.py").read_text(encoding="utf-8")
WIDGET = "application/vnd.jupyter.widget-view+json"
CHECK = """
def check(id, answer):
    try:
        open_yet = answer is ... or callable(answer) and not answer(1)
    except NotImplementedError:
        open_yet = True
    print(id, "not attempted" if open_yet else "right")
    return answer if not open_yet else (lambda x: 2 * x) if id == "99.1" else 6
"""


@pytest.fixture
def course(tmp_path):
    """A course with the sample as its one lesson; its check and start need no torch."""
    teach, show, exercises = (tmp_path / name for name in ("lib/teach", "lib/show", "lessons/exercises"))
    for folder in (teach, show, exercises, teach.parent, exercises.parent):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()  # else the course's own packages would come first
    (teach / "setup.py").write_text("def start(number):\n    print('Lesson', number)\n", encoding="utf-8")
    (exercises / "lesson_99.py").write_text(CHECK, encoding="utf-8")
    for name in ("predict.py", "screen.py"):
        shutil.copy(ROOT / "lib" / "show" / name, show)
    source = tmp_path / "lessons" / "source" / "99_sample.py"
    source.parent.mkdir(parents=True)
    source.write_text(SAMPLE, encoding="utf-8")
    return source


def short_lesson(course, *cells):
    """Replace the lesson by one with these code cells alone: quick to run."""
    cells = ['# %% tags=["setup"]\nstart("99")', *(f"# %%\n{cell}" for cell in cells)]
    course.write_text("\n\n".join(["# %% [markdown]\n# # 99. Short", *cells]), encoding="utf-8")


def test_stub_in_a_function_raises_where_the_block_stood():
    head, tail = 'def f(x):\n    """Doc."""\n    if x:\n', "\n    return 2"
    code = f"{head}        ### BEGIN SOLUTION\n        y = 1\n\n        ### END SOLUTION{tail}"
    assert notebook.stub(code, "04.1") == f'{head}        raise NotImplementedError("04.1: your turn"){tail}'


def test_stub_outside_a_function_keeps_the_names():
    block = "a, b = 1, 2\nfor i in range(3):\n    a += i\nb = 3\nc: int = 4"
    code = f"### BEGIN SOLUTION\n{block}\n### END SOLUTION\nprint(a)"
    assert notebook.stub(code, "04.1") == "a = ...\nb = ...\nc = ...\nprint(a)"


def test_stub_opens_each_of_several_blocks():
    block = "    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION"
    opened = notebook.stub(f"class A:\n  def f(self):\n{block}\n\n  def g(self):\n{block}", "04.1")
    assert opened.count("NotImplementedError") == 2 and "return" not in opened
    ast.parse(opened)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("### BEGIN SOLUTION\nx = 1", "needs one"),
        ("### END SOLUTION\nx = 1\n### BEGIN SOLUTION", "needs one"),
        ("### BEGIN SOLUTION\nprint(1)\n### END SOLUTION", "must assign"),
        ("### BEGIN SOLUTION\ndef f():\n    return 1\n### END SOLUTION", "put it above"),
    ],
)
def test_stub_refuses_what_it_cannot_open(code, says):
    with pytest.raises(notebook.SourceError, match=says):
        notebook.stub(code, "04.1")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("# # 99. A sample", "# # 98. A sample", "begin with a markdown cell"),
        ('start("99")', 'start("98")', r'must say start\("99"\)'),
        ('tags=["setup"]', "", "tag the first code cell"),
        ('"exercise:99.2"', '"exercise:99.3"', "check cells are"),
        ('# %% tags=["check:99.1", "nbval-check-output"]', "# %%\n\n# %% [markdown]", "check cells are"),
        ('# %% tags=["check:99.1"', '# %%\n1\n\n# %% tags=["check:99.1"', "the cell after it must be its check"),
        ("        ### BEGIN SOLUTION\n        secret", "        secret", "needs one"),
        ("guess = predict(", "### BEGIN SOLUTION\nguess = 1\n### END SOLUTION\nguess = predict(", "belongs in"),
        ('# %% [markdown] tags=["solution:99.1"]\n# Twice is once more.', "", "solution cells are"),
        ("        return secret", "        return ) secret", "cell 3"),
    ],
)  # fmt: skip
def test_a_source_that_breaks_a_rule_is_refused(course, old, new, says):
    assert old in SAMPLE
    course.write_text(SAMPLE.replace(old, new), encoding="utf-8")
    with pytest.raises(notebook.SourceError, match=says):
        notebook.forms(course)


def test_a_file_name_without_number_is_refused(course):
    with pytest.raises(notebook.SourceError, match="NN_name"):
        notebook.forms(course.rename(course.with_name("sample.py")))


def test_the_two_forms_differ_in_marked_blocks_and_links_alone(course):
    stub, solved = notebook.forms(course)
    assert notebook.compare(stub, solved) == []
    changed = [i for i, (a, b) in enumerate(zip(stub.cells, solved.cells, strict=True)) if a.source != b.source]
    assert changed == [0, 3, 7]
    assert "](solutions/99_sample.ipynb)" in stub.cells[0].source and "](../README.md)" in stub.cells[0].source
    assert "](../99_sample.ipynb)" in solved.cells[0].source and "](../../README.md)" in solved.cells[0].source
    assert "](98_other.ipynb)" in solved.cells[0].source
    assert "secret" not in "".join(cell.source for cell in stub.cells if cell.cell_type == "code")
    assert "SOLUTION" not in "".join(cell.source for cell in [*stub.cells, *solved.cells])


@pytest.mark.parametrize(
    ("cell", "old", "new"),
    [
        (2, "teaches", "teach"),
        (3, "return 0", "return 1"),
        (3, '"""Return twice x."""', ""),
        (3, 'raise NotImplementedError("99.1: your turn")', "secret = x + x"),
        (8, "99.2", "99.1"),
    ],
)
def test_compare_finds_a_change_outside_the_block(course, cell, old, new):
    stub, solved = notebook.forms(course)
    assert old in stub.cells[cell].source
    stub.cells[cell].source = stub.cells[cell].source.replace(old, new)
    assert notebook.compare(stub, solved) == [f"cell {cell} ({stub.cells[cell].id}) differs outside a marked block"]


def test_the_solution_is_folded_with_the_authors_text(course):
    for form in notebook.forms(course):
        fold = next(cell for cell in form.cells if cell.id == "solution-99-1").source
        assert fold.startswith("<details><summary>Solution</summary>\n\n```python\nfrom lessons")
        assert fold.endswith("Twice is once more.\n\n</details>") and "secret = x + x" in fold


def test_ids_stay_where_a_cell_is_put_in(course):
    before = [cell.id for cell in notebook.forms(course)[0].cells]
    course.write_text(SAMPLE.replace("# %%\nimport sys", "# %%\n1\n\n# %%\n1\n\n# %%\nimport sys"), encoding="utf-8")
    after = [cell.id for cell in notebook.forms(course)[0].cells]
    assert [id for id in after if id in before] == before and len(set(after)) == len(after) == len(before) + 2


def test_build_executes_both_forms_and_keeps_what_a_reader_should_see(course, capsys):
    assert build.main([], course.parents[2]) == 0
    stub, solved = (nbformat.read(file, as_version=4) for file in build.places(course))
    for nb, verdicts in ((stub, ["not attempted", "not attempted"]), (solved, ["right", "right"])):
        code = [cell for cell in nb.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        assert set(nb.metadata) == {"kernelspec", "language_info", "course"}
        assert all(set(cell.metadata) <= {"tags", "jupyter"} for cell in nb.cells)
        checks = [cell.outputs[0].text for cell in code if notebook.tagged(cell, "check")]
        assert checks == [f"99.{i + 1} {verdict}\n" for i, verdict in enumerate(verdicts)]
        predict, reveal, bars, picture, last = code[-5:]
        assert set(predict.outputs[0].data) == {"text/html", "text/plain"}
        assert predict.outputs[0].data["text/plain"] == "Predict 99.a: What is `2 < 3`?\n  ( ) true\n  ( ) false"
        assert "<code>2 &lt; 3</code>" in predict.outputs[0].data["text/html"]
        said = [output.data["text/plain"] for output in reveal.outputs]
        assert said == ([] if nb is stub else ['The answer to 99.a: It is "true". two is less.']), said
        assert [(o.name, o.text) for o in bars.outputs] == [("stdout", "0\n1\n2\n")]
        assert set(picture.outputs[0].data) == {"image/png", "text/plain"}
        assert picture.outputs[0].metadata == {"image/png": {"alt": "one pixel"}}
        folder = "lessons" if nb is stub else "solutions"
        assert last.outputs[0].data["text/plain"] == f"('{folder}', 8, 6)"
    before = [file.read_bytes() for file in build.places(course)]
    assert build.main(["99"], course.parents[2]) == 0 and "current" in capsys.readouterr().out
    assert build.main(["--all", "--workers", "2"], course.parents[2]) == 0
    assert [file.read_bytes() for file in build.places(course)] == before
    assert b"\r" not in before[0] and not list(course.parents[1].glob(".*"))
    _edit_is_noticed(course, capsys)


def test_a_lesson_alone_runs_as_a_learners_and_several_share_the_cores(course, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    short_lesson(course, "import os\n[os.environ.get('OMP_WAIT_POLICY'), os.environ.get('OMP_NUM_THREADS')]")
    shown = []
    for workers in (1, 2):
        build.build_lesson(course, everything=True, workers=workers)
        nb = nbformat.read(build.places(course)[0], as_version=4)
        shown.append(nb.cells[-1].outputs[0].data["text/plain"])
    assert shown == ["[None, None]", f"['PASSIVE', '{max(1, os.cpu_count() // 2)}']"]


def _edit_is_noticed(course, capsys):
    file, _ = build.places(course)
    nb = nbformat.read(file, as_version=4)
    nb.cells[-1].source = "1"
    nbformat.write(nb, file)
    assert build.main(["--check"], course.parents[2]) == 1
    assert "stale: 99_sample.ipynb: run python3 -m lib build 99" in capsys.readouterr().out
    course.write_text(SAMPLE + "\n# %%\n1\n", encoding="utf-8")
    assert [file for file, _ in build.stale(course)] == list(build.places(course))


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (
            ["1", "def f():\n    raise KeyError('lost')\nf()"],
            ["99_short (stub), cell 3", "KeyError: 'lost'", "def f():"],
        ),
        (["import warnings\nwarnings.warn('old')"], ["cell 2", "stderr", "old"]),
        (["import os\nprint(os.getcwd())"], ["cell 2", "this machine alone"]),
        (["object()"], ["at 0x", "this machine alone"]),
        ([f"from IPython.display import display\ndisplay({{{WIDGET!r}: {{}}}}, raw=True)"], ["still picture"]),
        (["import os\nos._exit(1)"], ["cell 2", "the kernel died"]),
    ],
)
def test_a_lesson_that_fails_leaves_the_old_notebook(course, capsys, cells, says):
    course = course.rename(course.with_name("99_short.py"))
    short_lesson(course, *cells)
    for file in build.places(course):
        file.parent.mkdir(exist_ok=True)
        file.write_text("old", encoding="utf-8")
    assert build.main([], course.parents[2]) == 1
    out = capsys.readouterr().out
    for text in ["not built", *says]:
        assert text in out
    assert "\x1b" not in out
    for file in build.places(course):
        assert file.read_text(encoding="utf-8") == "old"


def test_an_endless_cell_is_stopped(course):
    short_lesson(course, "while True:\n    pass")
    with pytest.raises(build.BuildError, match="cell 2.*still running after 1 s"):
        build.build_lesson(course, timeout=1)


def test_an_unknown_lesson_lists_those_there_are(course, capsys):
    assert build.main(["04"], course.parents[2]) == 1
    assert "no lesson 04: there are 99" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("saved in /home/ada/x.pt.", "/home/ada/x.pt."),
        (r"C:\Users\ada\x.pt", r"C:\Users\ada\x.pt"),
        ("<Thing at 0x7f00aa11bb>", "at 0x7f00aa11bb"),
        ("lib/python3.11/site-packages/torch/nn.py:3", "lib/python3.11/site-packages/torch/nn.py:3"),
        (f"in {ROOT}/lessons", str(ROOT)),
        ("lib/home/x, https://host.org/tmp/x, at 0x1f, and/or", None),
    ],
)
def test_machine_trace(text, found):
    assert build.machine_trace(text) == found


QUESTION = 'guess = predict("99.a", "Which?", ["a", "b"])'
ASKED = [QUESTION, "print('experiment')", 'print("so")\nguess.reveal("a")', "print('after')"]


def test_a_learners_notebook_keeps_no_answer_to_a_prediction(course):
    short_lesson(course, "from lib.show.predict import predict", *ASKED)
    build.build_lesson(course)
    stub, solved = (nbformat.read(file, as_version=4) for file in build.places(course))
    shown = [[bool(cell.outputs) for cell in nb.cells if cell.cell_type == "code"] for nb in (stub, solved)]
    assert shown == [[True, False, True, False, False, True], [True, False, True, True, True, True]]
    assert "reveal" in stub.cells[5].source and "so" not in str(stub.cells[5].outputs)
    assert notebook.compare(stub, solved) == [] and build.stale(course) == []


def test_a_question_in_between_stays_and_so_does_what_was_shown_before_an_exercise():
    def cell(source, kind="code", **tags):
        return nbformat.from_dict({"cell_type": kind, "source": source, "metadata": tags})

    cells = [cell('a = predict("?")'), cell("1"), cell('b = predict("?")'), cell("2"), cell("b.reveal(2)")]
    assert notebook.answers([*cells, cell("a.reveal(1)")]) == [1, 3, 4, 5]
    check = [cell("", tags=["exercise:99.1"]), cell("", tags=["check:99.1"])]
    assert notebook.answers([*cells[:2], *check, cell("", "markdown"), cell("3"), cell("a.reveal(1)")]) == [5, 6]


def test_what_only_imports_asks_or_draws_is_folded():
    folded = [
        "import torch\nfrom lib.show import plots",
        QUESTION,
        'guess.reveal("a")',
        "plots.curves(x)",
        "w = widgets.explore(f)",
    ]
    shown = ["x = 1", "import torch\nx = torch.ones(3)", "def f():\n    plots.curves(x)", "print(plots.ends)", ""]
    assert all(map(notebook.is_furniture, folded)) and not any(map(notebook.is_furniture, shown))


@pytest.mark.parametrize(
    "bar", [" 40%|####      | 4/10 [00:01<00:02,  2.90it/s]", "  0%|          | 0/10 [00:00<?, ?it/s]"]
)
def test_a_progress_bar_that_is_a_widget_goes(bar):
    output = nbformat.v4.new_output("display_data", data={WIDGET: {}, "text/plain": bar})
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    build.tidy(cell, 1)
    assert cell.outputs == []
