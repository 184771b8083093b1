"""Each lesson in JupyterLab, in a real browser: formulas, pictures, folds; and live, that it moves and takes answers.

One server and one browser for all of it. Lessons whose widgets differ in kind run live; the others are looked at as
they are committed, and run live in `python3 -m lib test --all`. `--screenshots DIR` leaves pictures of every figure and
widget there, as they look in the page, and how long each widget took to answer: times are told, and decide nothing.
"""

import io
import json
import re
import time

import lab
import nbformat
import pytest
from PIL import Image

from lessons.tools import notebook

LESSONS = lab.ROOT / "lessons"
NAMES = [file.stem for file in sorted(LESSONS.glob("*.ipynb"))]
# Short ones; `--quick` opens these alone.
QUICK = ("02", "04", "06")
# One of each kind: a learner's first, sliders, buttons, numbers on a slider, two widgets, stories.
LIVE = (*QUICK, "00", "09", "13")
FIRST = [name for name in NAMES if name.startswith("02")]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = lab.Server(tmp_path_factory.mktemp("course"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def page(chromium):
    with lab.chromium_page(chromium) as page:
        yield page


def param(name):
    marks = [] if name[:2] in QUICK else [pytest.mark.slow] if name[:2] in LIVE else [pytest.mark.nightly]
    return pytest.param(name, id=name, marks=marks)


@pytest.fixture(scope="module", params=[param(name) for name in NAMES])
def lesson(request, server, page):
    """A lesson, open, with all of its cells run: what fails there fails all tests of this lesson."""
    began = time.monotonic()
    server.end_kernels()
    lesson = lab.Lesson(server, page, request.param)
    lesson.name, lesson.cells_of = request.param, nbformat.read(LESSONS / f"{request.param}.ipynb", 4).cells
    lesson.run_all()
    lesson.seconds = time.monotonic() - began
    yield lesson
    lesson.close()


@pytest.fixture(scope="module", params=[name for name in NAMES if name[:2] not in LIVE])
def page_of(request, server, page):
    """A lesson as it is committed, open, with nothing run."""
    server.end_kernels()
    lesson = lab.Lesson(server, page, request.param)
    lesson.name, lesson.cells_of = request.param, nbformat.read(LESSONS / f"{request.param}.ipynb", 4).cells
    yield lesson
    lesson.close()


@pytest.fixture
def pictures(request):
    """The folder for screenshots, or None."""
    folder = request.config.getoption("--screenshots")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def all_pictures_are_there(lesson, cells, pictures):
    assert lesson.cells.count() == len(cells)
    broken = lesson.cells.locator("img").evaluate_all("all => all.filter(i => !i.naturalWidth).map(i => i.alt)")
    assert not broken
    for index, cell in enumerate(cells):
        figures = lesson.cells.nth(index).locator(".jp-OutputArea-output:has(img)")
        wanted = sum("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))
        assert figures.count() == wanted, f"cell {index}: {figures.count()} pictures for {wanted}"
        for k in range(wanted if pictures else 0):
            figures.nth(k).screenshot(path=pictures / f"{lesson.name[:2]}_cell{index:02}_{k}.png")


def test_all_cells_ran_and_what_they_show_is_there(lesson, pictures, capsys):
    # The solved form keeps the pictures that answer a prediction.
    all_pictures_are_there(lesson, nbformat.read(LESSONS / "solutions" / f"{lesson.name}.ipynb", 4).cells, pictures)
    with capsys.disabled():
        print(f" [{lesson.name}: open and run in {lesson.seconds:.0f} s]", end="")


@pytest.mark.slow
def test_a_committed_notebook_shows_its_pictures_formulas_and_folds(page_of, pictures):
    all_pictures_are_there(page_of, page_of.cells_of, pictures)
    all_formulas_are_rendered(page_of)
    all_folds_open_and_close(page_of)
    assert not page_of.problems()


def test_formulas_are_rendered(lesson):
    all_formulas_are_rendered(lesson)


def all_formulas_are_rendered(lesson):
    wanted = {i: lab.formulas(c.source) for i, c in enumerate(lesson.cells_of) if c.cell_type == "markdown"}
    count = "cells => cells.map(cell => cell.querySelectorAll('mjx-container').length)"
    end = time.monotonic() + 30
    while (made := lesson.cells.evaluate_all(count)) and time.monotonic() < end:
        if all(made[i] == n for i, n in wanted.items()):
            break
        time.sleep(0.2)
    assert {i: made[i] for i in wanted} == wanted
    assert lesson.cells.locator("mjx-merror, [data-mjx-error]").count() == 0


def test_every_control_of_every_widget_moves_the_picture(lesson, pictures, capsys):
    widgets = lesson.widgets()
    n_widgets = sum("widgets.explore(" in cell.source or "memories(" in cell.source for cell in lesson.cells_of)
    assert len(widgets) == n_widgets > 0
    told = []
    for widget in widgets:
        assert widget.question.endswith("?") and widget.controls
        assert widget.tab_order() == list(range(len(widget.controls))), "Tab does not go from control to control"
        for control in widget.controls:
            label = control.locator(".widget-label").inner_text()
            assert label, f"a control without a label under '{widget.question}'"
            keys, mouse = widget.by_keyboard(control), widget.by_mouse(control)
            assert keys is not None, f"'{widget.question}': no key moves '{label}'"
            assert mouse is not None, f"'{widget.question}': the mouse does not move '{label}'"
            told.append([lesson.name, widget.question, label, round(keys), round(mouse)])
        image = widget.box.locator("img")
        assert image.get_attribute("alt") and image.evaluate("i => i.naturalWidth > 0")
        if pictures:
            widget.box.screenshot(path=pictures / f"{lesson.name[:2]}_widget{widgets.index(widget)}.png")
    assert not lesson.problems()
    if pictures:
        with open(pictures / "reactions.jsonl", "a", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in told)
    with capsys.disabled():
        print("".join(f"\n  {label}: {keys} ms by key, {mouse} ms by mouse" for *_, label, keys, mouse in told), end="")


def test_a_guess_is_taken_by_mouse_and_by_key(lesson):
    asked = [i for i, cell in enumerate(lesson.cells_of) if "= predict(" in cell.source][:2]
    for index, act in zip(asked, ("click", "focus"), strict=True):
        lesson.run_cell(index)  # after the answer its buttons were off
        box = lesson.cells.nth(index).locator(".jupyter-widgets.widget-vbox")
        button = box.locator("button").nth(1)
        getattr(button, act)()
        if act == "focus":
            lesson.page.keyboard.press("Enter")
        said = box.get_by_text("You say: ")
        said.wait_for(timeout=10_000)
        assert button.inner_text().split()[0] in said.inner_text()


def test_folds_open_and_close(lesson):
    all_folds_open_and_close(lesson)


def all_folds_open_and_close(lesson):
    folds = lesson.cells.locator(".jp-RenderedMarkdown details")  # a prediction's answer is folded, too
    assert folds.count() == sum(c.source.count("<details>") for c in lesson.cells_of if c.cell_type == "markdown") > 0
    for i in range(folds.count()):
        fold, before = folds.nth(i), folds.nth(i).bounding_box()["height"]
        fold.locator("summary").first.click()
        assert fold.evaluate("fold => fold.open") and fold.bounding_box()["height"] > before + 10
        fold.locator("summary").first.click()
        assert not fold.evaluate("fold => fold.open")


def test_a_solution_typed_in_turns_its_check_to_right(lesson):
    solved = nbformat.read(LESSONS / "solutions" / f"{lesson.name}.ipynb", 4).cells
    places = [(i, name) for i, cell in enumerate(lesson.cells_of) for name in notebook.tagged(cell, "exercise")]
    index, exercise = places[0]
    below = lesson.cells.nth(index + 1).locator(".jp-OutputArea")
    assert re.match(rf"{exercise} \S not attempted", below.inner_text())
    lesson.run_cell(index, solved[index].source)
    said = lesson.run_cell(index + 1)
    assert re.match(rf"{exercise} \S right\b", said), said
    assert not lesson.problems()


@pytest.mark.parametrize("lesson", [param(name) for name in FIRST], indirect=True)
def test_a_new_kernel_runs_all_again(lesson):
    lesson.restart_and_run_all()
    assert len(lesson.widgets()) == 1


@pytest.mark.parametrize("lesson", [param(name) for name in FIRST], indirect=True)
def test_figures_lie_on_a_white_card_in_the_dark(lesson, pictures):
    lesson.theme("JupyterLab Dark")
    figures = lesson.cells.locator(".jp-OutputArea-output:has(img)")
    assert figures.count() >= 2
    for k in range(figures.count()):
        shot = figures.nth(k).locator("img").screenshot()
        image = Image.open(io.BytesIO(shot)).convert("RGB")
        middle = image.width // 2, image.height // 2
        edges = {image.getpixel(at) for at in ((2, middle[1]), (image.width - 3, middle[1]), (middle[0], 2))}
        assert edges == {(255, 255, 255)}, "a dark page shows through the figure"
        assert max(image.getpixel((0, 0))) < 60, "the card's corners are not round"
        if pictures:
            figures.nth(k).screenshot(path=pictures / f"dark_{k}.png")
    if pictures:
        lesson.page.screenshot(path=pictures / "dark_page.png")
    lesson.theme("JupyterLab Light")


def test_the_formulas_of_a_text_are_counted():
    text = "$a$ and $b_1 = `x`$, `$c$`\n\n$$\nd\n$$\n\n```\n$e$\n```\n costs \\$5 or \\$6, $f\\$$"
    assert lab.formulas(text) == 4
