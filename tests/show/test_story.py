"""A story arrives word by word, opens to its choices, and stays behind as a still."""

import re

import pytest

from lib.show import screen, story

PIECES = [
    ("Little Ada", []),
    (" found", [(" found", 0.75), (" lost", 0.2)]),
    (" <it>", [(" <it>", 0.5)]),
    (".\n", [(".", 1.0)]),
]


class Handle:
    def __init__(self, bundle):
        self.bundles = [bundle]

    def update(self, bundle, raw):
        self.bundles.append(bundle)


@pytest.fixture
def notebook(monkeypatch):
    """What is displayed, and the live widgets, as if it ran in a notebook."""
    handles, live, make = [], [], screen._widget

    def display(bundle, raw, display_id):
        handles.append(Handle(bundle))
        return handles[-1]

    def widget(html):
        live.append(make(html))
        return live[-1]

    for module in (screen, story):
        monkeypatch.setattr(module, "get_ipython", lambda: True)
    monkeypatch.setattr(screen, "display", display)
    monkeypatch.setattr(screen, "_widget", widget)
    return handles, live


def test_outside_a_notebook_the_text_is_printed(monkeypatch, capsys):
    for module in (screen, story):
        monkeypatch.setattr(module, "get_ipython", lambda: None)
    assert story.story(iter(PIECES)) == "Little Ada found <it>.\n"
    assert capsys.readouterr().out == "Little Ada found <it>.\n\n"


def test_one_output_streams_and_stays(notebook):
    (handles, live), seen = notebook, []

    def pieces():
        for piece in PIECES:
            yield piece
            seen.append(live[0].value)

    story.story(pieces(), pace=0)
    assert len(handles) == 1 and len(handles[0].bundles) == 2
    assert "found" not in seen[0] and " found" in seen[1] and len(set(seen)) == len(PIECES)
    still = handles[0].bundles[-1]
    assert still["text/plain"] == "Little Ada found <it>.\n" and "&lt;it&gt;" in still["text/html"]
    assert 'title=" 75.0%   found\n 20.0%   lost"' in still["text/html"] and "<style>" not in still["text/html"]
    assert still["application/vnd.jupyter.widget-view+json"]["model_id"] == live[0].model_id
    assert live[0].value.count('tabindex="0"') == 3 and "script" not in live[0].value


def test_without_ipywidgets_the_still_is_there(notebook, monkeypatch):
    monkeypatch.setattr(screen, "_widget", lambda html: None)
    story.story(iter(PIECES), pace=0)
    assert set(notebook[0][0].bundles[-1]) == {"text/html", "text/plain"}


def test_words_keep_their_blanks_outside_the_marks():
    page = story.live_page(PIECES)
    text = re.sub(r'<span class="pop".*?</span>', "", page, flags=re.S)
    text = re.sub(r"<style>.*?</style>", "", text, flags=re.S)
    assert re.sub(r"<[^>]*>", "", text) == "Little Ada found &lt;it&gt;."
    assert " <span" in page and "> found<span" not in page
