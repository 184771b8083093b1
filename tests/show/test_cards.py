"""Cards: a verdict in its colour with all its words, on any ground; the plain text goes along, and is printed."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from lessons.exercises.lesson_00 import check
from lib.show import cards
from lib.teach import progress

LONG = """05.2 not yet: case "a <whole> text": largest difference 0.48 at [0, 3]: yours 0.05, expected 0.53.
  input: z float32 (2, 3, 7)
  got: float32 (2, 3, 7), first different at [0, 0]: 0.05
  expected: float32 (2, 3, 7), there: 0.53
It looks like: the sum runs over all numbers (`.sum(-1)`).
The lesson goes on with the course's version."""


class Page(HTMLParser):
    """The text of a page, its styles, its links, and whether each tag was closed."""

    def __init__(self, page):
        super().__init__()
        self.words, self.styles, self.links, self.open, self.labels = [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.open.append(tag)
        self.styles.append(found.get("style", ""))
        self.links += [found["href"]] if "href" in found else []
        self.labels += [found["aria-label"]] if "aria-label" in found else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would be sent."""
    sent = []
    display = SimpleNamespace(display=lambda data, raw: sent.append(data))
    python = SimpleNamespace(get_ipython=lambda: True, display=display)
    monkeypatch.setitem(cards.sys.modules, "IPython", python)
    return sent


@pytest.mark.parametrize(
    ("text", "tone"),
    [
        ("05.1 right (7 cases, all exact).", cards.GREEN),
        ("05.1 noted: compare it with the solution.", cards.GREEN),
        (LONG, cards.AMBER),
        ("05.1 could not be checked: a fault.", cards.AMBER),
        ("05.1 not attempted: the lesson goes on with the course's version.", cards.GREY),
    ],
)
def test_a_card_has_its_colour_and_every_word_of_the_verdict(text, tone):
    page = Page(cards.verdict_page(text))
    assert page.open == [] and f"5px solid {tone}" in page.styles[0]
    said = re.findall(r"[\w.]+", " ".join(page.words))
    assert [word for word in re.findall(r"[\w.]+", text.replace("`", "")) if word not in said] == []


def test_input_got_and_expected_stand_in_a_table():
    rows = re.findall(r"<td[^>]*>(\w+)</td><td[^>]*><code>(.*?)</code>", cards.verdict_page(LONG))
    assert [name for name, _ in rows] == ["input", "got", "expected"] and rows[0][1] == "z float32 (2, 3, 7)"
    assert "&lt;whole&gt;" in cards.verdict_page(LONG) and "<whole>" not in cards.verdict_page(LONG)


def luminance(color):
    """W3C's, of #RRGGBB."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_signs_are_read_on_their_ground_and_words_take_the_notebooks_colour():
    for tone in (cards.GREEN, cards.AMBER, cards.GREY):
        assert 1.05 / (luminance(tone) + 0.05) > 4.8
    for style in Page(cards.verdict_page(LONG)).styles:
        if "background" in style and "color:#fff" not in style:  # a tint: what lies below decides
            assert re.search(r"background:#[0-9A-F]{6}1F", style) and not re.search(r"(^|;)color", style)


def test_a_notebook_gets_card_and_text_and_elsewhere_it_is_printed(shown, monkeypatch, capsys):
    check("00.2", 3.0)
    (data,) = shown
    assert data["text/plain"].startswith("00.2 not yet: 3 is too small.") and "not yet" in data["text/html"]
    assert capsys.readouterr().out == ""
    monkeypatch.delitem(cards.sys.modules, "IPython")
    check("00.2", 3.0)
    assert capsys.readouterr().out == data["text/plain"] + "\n"


def test_the_grid_links_each_lesson_and_names_each_box(shown, tmp_path, capsys):
    found = {"04_rope": {"04.1": "done", "04.2": "tried"}, "05_attention": {"05.1": "open"}}
    cards.show_progress(found, progress.table(found))
    page = Page(shown[0]["text/html"])
    assert page.links == ["04_rope.ipynb", "05_attention.ipynb"] and page.open == []
    assert page.labels == ["04.1 done", "04.2 tried", "05.1 open"]
    assert {"1 of 2", "0 of 1"} <= set(page.words) and shown[0]["text/plain"] == progress.table(found)


def test_words_for_a_verdict_are_those_that_progress_reads():
    assert set(cards.TONES) == set(progress.WORDS)
