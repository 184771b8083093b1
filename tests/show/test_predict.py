"""A guess, clicked and not clicked, with widgets and without."""

import builtins

import pytest

from lib.show import predict as module
from lib.show.predict import Guess, predict

CHOICES = ["double", "half", "the same"]


@pytest.fixture
def shown(monkeypatch):
    """What `predict` displays, as if it ran in a notebook."""
    bundles = []
    monkeypatch.setattr(module, "get_ipython", lambda: object())
    monkeypatch.setattr(module, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def test_live_nothing_is_pressed_and_a_click_is_the_guess(shown, capsys):
    guess = predict("04.a", "How long?", CHOICES)
    assert guess.toggle.value is None and guess.choice is None and guess.said.value == ""
    guess.toggle.value = "half"
    assert guess.choice == "half" and "half" in guess.said.value
    guess.toggle.index = 0
    assert guess.choice == "double"
    guess.reveal("double")
    assert guess.toggle.disabled
    assert capsys.readouterr().out == 'Right: it is "double".\n'


def test_after_run_all_the_answer_is_in_a_fold_and_the_question_can_still_be_answered(shown, capsys):
    guess = predict("04.a", "How long?", CHOICES)
    guess.reveal("double", because="It is `2 x`.")
    assert capsys.readouterr().out == "" and not guess.toggle.disabled and "double" not in guess.said.value
    html, text = shown[1]["text/html"], shown[1]["text/plain"]
    assert html.startswith("<details><summary>The answer to 04.a</summary>") and "<code>2 x</code>" in html
    assert text == 'The answer to 04.a: It is "double". It is `2 x`.'
    guess.toggle.value = "half"
    assert guess.said.value == 'You said "half", but it is "double". It is <code>2 x</code>.' and guess.toggle.disabled


def test_one_output_holds_the_buttons_and_the_text(shown):
    predict("04.a", "Is `a < b` & $x < y$?", ["yes & no", "no"])
    (bundle,) = shown
    view = bundle.pop("application/vnd.jupyter.widget-view+json")
    assert view["version_major"] == 2 and view["model_id"]
    assert bundle["text/plain"] == "Predict 04.a: Is `a < b` & $x < y$?\n  ( ) yes & no\n  ( ) no"
    assert (
        "<code>a &lt; b</code> &amp; $x &lt; y$?" in bundle["text/html"]
        and "<li>yes &amp; no</li>" in bundle["text/html"]
    )


def test_without_ipywidgets_the_text_stands_alone(shown, monkeypatch, capsys):
    real = builtins.__import__

    def no_widgets(name, *args, **kwargs):
        if name.startswith("ipywidgets"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_widgets)
    guess = predict("04.a", "How long?", CHOICES)
    assert set(shown[0]) == {"text/html", "text/plain"}
    guess.choose("half")
    guess.reveal("double", because="It grows.")
    assert capsys.readouterr().out == 'You said "half", but it is "double". It grows.\n'


def test_outside_a_notebook_the_text_is_printed(capsys, monkeypatch):
    monkeypatch.setattr("lib.show.predict.get_ipython", lambda: None)  # another test may have started one
    guess = predict("04.a", "How long?", CHOICES)
    assert capsys.readouterr().out == guess.text() + "\n" and guess.toggle is None


def test_no_guess_is_no_error_and_always_says_the_same(capsys, monkeypatch):
    monkeypatch.setattr(module, "get_ipython", lambda: None)
    for _ in range(2):
        Guess("04.a", "How long?", CHOICES).reveal("the same", because="Nothing moved.")
    assert capsys.readouterr().out == 'It is "the same". Nothing moved.\n' * 2


def test_numbers_are_choices_too(capsys):
    guess = Guess("04.a", "How many?", [2, 4, 8])
    guess.choose(4)
    guess.reveal(8)
    assert capsys.readouterr().out == 'You said "4", but it is "8".\n'


def test_an_answer_that_is_no_choice_names_both():
    with pytest.raises(ValueError, match='"triple" is not among the choices of 04.a, "double", "half", "the same"'):
        Guess("04.a", "How long?", CHOICES).reveal("triple")
    with pytest.raises(ValueError, match="triple"):
        Guess("04.a", "How long?", CHOICES).choose("triple")


@pytest.mark.parametrize("choices", [["one"], ["one", "one"], [1, "1"]])
def test_choices_must_differ(choices):
    with pytest.raises(ValueError, match="at least two, all different"):
        Guess("04.a", "How long?", choices)
