"""Tokens as pieces: nothing is lost, bytes are told from text, and figures keep inside their page."""


import pytest
from IPython.core.interactiveshell import InteractiveShell

from lessons.figures import lesson_01 as figures
from lib.show import theme
from lib.text.bpe import BPE
from lib.text.languages import LLAMA_LANGUAGES


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(figures, "get_ipython", lambda: InteractiveShell)
    monkeypatch.setattr(figures, "display", lambda data, raw: outputs.append(data))
    return outputs


def test_a_token_is_text_where_it_is_text():
    assert figures.text_of(b" the") == "\u00b7the"
    assert figures.text_of("한".encode()) == "한"
    assert figures.text_of(b"\xed\x95") == "ED 95"


def test_tokens_are_shown_as_pieces_and_said_as_text(shown):
    figures.tokens({"LLaMA type": [b"<b>", b"\xed\x95", b"\x9c"], "RWKV World": ["한".encode()]})
    page, plain = shown[0]["text/html"], shown[0]["text/plain"]
    assert page.count("<code") == 4 and page.count(figures.GREY) == 2
    assert "&lt;b&gt;" in page and "<b><" not in page
    assert theme.LLAMA in page and theme.RWKV in page
    assert plain == "LLaMA type, 3 tokens: <b>|ED 95|9C\nRWKV World, 1 token: 한"


def test_boxes_stay_inside_the_page():
    text = "low lower lowest, new newer newest; " * 9
    bpe = BPE.train(text, 270)
    row = [bpe.vocab[i] for i in bpe.encode(text)]
    fig = figures.draw_tokens(row, "a title")
    theme.png(fig, dpi=100, small=False)
    (ax,) = fig.axes
    assert all(0 <= box.get_x() and box.get_x() + box.get_width() <= theme.WIDTH for box in ax.patches)
    assert all(0 <= box.get_y() <= fig.get_figheight() for box in ax.patches)
    assert fig.alt_text.startswith("a title: ")


def test_prices_have_a_dot_for_each_language_and_a_name_for_those_asked_for():
    codes = [*LLAMA_LANGUAGES, "ko", "ja", *(f"x{i}" for i in range(50))]
    costs = {name: {code: 600 + 37 * i * step for i, code in enumerate(codes)} for step, name in enumerate("abc", 1)}
    fig = figures.draw_prices(costs, {"en": "English", "ko": "Korean"}, LLAMA_LANGUAGES)
    ax = fig.axes[0]
    assert sum(line.get_marker() == "o" for line in ax.lines) == 3 * len(codes)
    assert {"English", "Korean"} <= {text.get_text() for text in (*ax.texts, *fig.texts)}
    assert max(abs(place) for place in figures.swarm([1.0] * 100, 0.1)) <= 0.38
