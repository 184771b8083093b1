"""Widgets: moving a control changes the picture and its words; an error is seen; a still picture is always there."""

import base64
import gc
import sys
import time
import weakref

import pytest

from lib.show import plots, widgets
from lib.show.widgets import explore


def draw(n, kind="linear"):
    if n == 13:
        raise ArithmeticError("thirteen <brings> bad luck")
    return plots.draw_curves({kind: [k ** (n / 5) for k in range(10)]}, xlabel="k", alt="A rising line.")


@pytest.fixture
def notebook(monkeypatch):
    sent = []
    monkeypatch.setattr(widgets, "get_ipython", lambda: True)
    monkeypatch.setattr(widgets, "display", lambda data, metadata=None, raw=False: sent.append((data, metadata)))
    return sent


def make(**more):
    return explore(draw, "How <steep> is it?", n=(1, 20, 1, 5, "power"), kind=["linear", "other"], **more)


def test_one_output_holds_the_live_view_and_the_still_picture(notebook):
    explorer = make()
    ((data, metadata),) = notebook
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert metadata["image/png"]["alt"] == explorer.alt == "A rising line. Here power = 5, kind = linear."


def test_moving_a_slider_changes_the_picture_and_its_words(notebook, capsys):
    explorer = make()
    slider, screen = explorer._inputs["n"], explorer._screen
    seen = {screen.value}
    for value in (6, 7, 11):
        start = time.perf_counter()
        slider.value = value  # what the browser sends
        with capsys.disabled():
            print(f" redrawn in {1000 * (time.perf_counter() - start):.0f} ms", end="")
        assert f"power = {value}" in screen.value and 'src="data:image/png;base64,' in screen.value
        seen.add(screen.value)
    assert len(seen) == 4
    before = explorer.picture
    assert explorer.set(kind="other").picture != before and explorer.values == {"n": 11, "kind": "other"}


def test_no_move_waits_for_a_search_through_all_that_python_holds(notebook):
    """A search of the oldest generation goes through torch too: 0.2 s. Nor may the figures pile up without it."""
    explorer, moving, deep, figures = make(), [False], [], []

    def watch(phase, info):
        if moving[0] and phase == "start" and info["generation"] == 2:
            deep.append(explorer.values["n"])

    gc.collect()  # what earlier tests left to be looked through would otherwise be due in the first move
    gc.callbacks.append(watch)
    try:
        for value in [6, 7, 8, 9, 10, 11, 12, 14] * 4:
            moving[0] = True
            explorer._inputs["n"].value = value
            moving[0] = False
            figures.append(weakref.ref(explorer.figure))
            assert gc.isenabled()
    finally:
        gc.callbacks.remove(watch)
    assert not deep, "a search through all in the middle of a move"
    assert sum(figure() is not None for figure in figures) <= 3, "figures that nobody looks at stay in memory"


def test_controls_have_labels_readouts_and_whole_numbers(notebook):
    inputs = make()._inputs
    assert inputs["n"].description == "power" and inputs["n"].readout and isinstance(inputs["n"].value, int)
    assert inputs["n"].continuous_update and [label for label, _ in inputs["kind"].options] == ["linear", "other"]
    explorer = explore(lambda x_y: draw(5), "?", x_y=(0, 1, 0.5, 0.5))
    assert explorer._inputs["x_y"].description == "x y" and explorer._inputs["x_y"].value == 0.5


def test_an_error_is_shown_in_the_browser_and_raised_in_a_cell(notebook):
    explorer = make()
    explorer._inputs["n"].value = 13
    assert (
        "ArithmeticError: thirteen &lt;brings&gt; bad luck" in explorer._screen.value
        and "alert" in explorer._screen.value
    )
    explorer._inputs["n"].value = 12
    assert "<img" in explorer._screen.value and explorer.error is None
    with pytest.raises(RuntimeError, match="ArithmeticError: thirteen"):
        explorer.set(n=13)


def test_a_figure_that_cannot_be_drawn_at_first_is_an_error():
    with pytest.raises(ArithmeticError):
        explore(draw, "?", n=(1, 20, 1, 13))


@pytest.mark.parametrize("live", [True, False])
def test_without_ipywidgets_there_is_a_still_picture(notebook, monkeypatch, live):
    if not live:
        monkeypatch.setitem(sys.modules, "ipywidgets", None)
    explorer = make()
    ((data, _),) = notebook
    assert ("application/vnd.jupyter.widget-view+json" in data) == live and "image/png" in data
    before = explorer.picture
    assert explorer.set(n=9).picture != before and "power = 9" in explorer.alt


def test_outside_of_a_notebook_it_is_silent(capsys, monkeypatch):
    monkeypatch.setattr(widgets, "get_ipython", lambda: None)
    explorer = make()
    assert capsys.readouterr().out == "" and explorer.set(n=3).picture.startswith(b"\x89PNG")


def test_alt_text_with_the_values(notebook):
    assert make(alt="A line of power {n}/5.").set(n=7).alt == "A line of power 7/5."


def test_a_figure_without_words_tells_its_numbers_or_is_refused(notebook):
    curves = explore(lambda n: plots.draw_curves({"cache": [1.0, n]}, floors={"weights": 3}), "?", n=(1, 9, 1, 5))
    assert curves.alt == "cache goes from 1 at 0 to 5 at 1; weights is a dashed line at 3. Here n = 5."
    bars = explore(lambda n: plots.draw_bars({"a": n, "b": 2}, title="Two"), "?", n=(1, 9, 1, 5))
    assert bars.alt == "Two: a 5, b 2. Here n = 5."
    with pytest.raises(ValueError, match="has no words"):
        explore(lambda n: plots.draw_scatter({"a": [[n, 1]]}), "?", n=(1, 9, 1, 5))
    with pytest.raises(ValueError, match="asks nothing"):
        explore(draw, "Steepness", n=(1, 20, 1, 5))


def test_what_a_browser_sends_is_put_on_the_grid(notebook):
    explorer = explore(lambda x: draw(abs(x)), "?", x=(-6, 3, 0.5, -3))
    explorer._inputs["x"].value = -2.4999999999999996
    assert explorer.values == {"x": -2.5} and "x = -2.5." in explorer.alt


def test_numbers_are_chosen_on_a_slider_and_words_on_buttons(notebook):
    """JupyterLab takes a menu's arrow keys for itself, so there is none."""
    inputs = explore(lambda a, b: draw(a, b), "?", a=([1, 4, 16], 4, "size"), b=["one", "two"])._inputs
    assert {name: type(widget).__name__ for name, widget in inputs.items()} == {
        "a": "SelectionSlider",
        "b": "ToggleButtons",
    }
    assert inputs["a"].value == 4 and [label for label, _ in inputs["a"].options] == ["1", "4", "16"]
    assert inputs["b"].value == "one" and inputs["b"].description == "b"


def test_impossible_controls_are_named():
    with pytest.raises(ValueError, match="control n is 3"):
        explore(draw, "?", n=3)
    with pytest.raises(ValueError, match="n = 30 is outside of 1 to 20"):
        explore(draw, "?", n=(1, 20, 1, 30))
    explorer = make()
    with pytest.raises(ValueError, match="no control m; there are n, kind"):
        explorer.set(m=1)
    with pytest.raises(ValueError, match="not among its choices"):
        explorer.set(kind="third")
