"""Attention that one can point at: the marks say the weights, sliders change them, a still is there."""

import base64
import re

import pytest
import torch

from lib.show import attention_map as module
from lib.show import widgets
from lib.show.attention_map import attention_map, page

WORDS = ["Ada", " has", " the", " <key>"]
WEIGHTS = torch.randn(2, 3, 4, 4).masked_fill(torch.ones(4, 4).triu(1).bool(), -torch.inf).softmax(-1)


@pytest.fixture
def shown(monkeypatch):
    sent = []
    monkeypatch.setattr(module, "get_ipython", lambda: True)
    monkeypatch.setattr(widgets, "display", lambda data, metadata=None, raw=False: sent.append((data, metadata)))
    return sent


def marks(html, reader):
    """Return {word: opacity} of what is marked when a word is pointed at."""
    found = re.findall(rf":has\(\.w{reader}:hover\) \.w(\d+)[^{{]*{{background:rgba\(\d+,\d+,\d+,([\d.]+)\)", html)
    return {int(word): float(share) for word, share in found}


def test_what_is_marked_is_what_is_read():
    rows = WEIGHTS[1, 2]
    html = page(WORDS, rows.numpy())
    for reader in range(4):
        wanted = {s: 0.75 * rows[reader, s].item() for s in range(reader + 1) if rows[reader, s] >= module.LEAST}
        assert marks(html, reader) == pytest.approx(wanted, abs=0.006)
    assert html.count('tabindex="0"') == 4 and "&lt;key&gt;" in html and "<script" not in html


def test_nobody_points_and_the_last_word_is_shown():
    at_rest = re.findall(
        r":not\(:has\(\.w:hover\)\):not\(:has\(\.w:focus\)\) \.w(\d)", page(WORDS, WEIGHTS[0, 0].numpy(), at=2)
    )
    assert set(map(int, at_rest)) == {s for s in range(3) if WEIGHTS[0, 0, 2, s] >= module.LEAST}


def test_one_output_holds_the_live_view_and_the_still(shown):
    attention_map(WORDS, WEIGHTS, "Who holds the key?")
    ((data, metadata),) = shown
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert metadata["image/png"]["alt"].startswith('Layer 1, head 1: "<key>" reads mostly "')


def test_the_still_of_a_long_text_is_the_text_with_what_its_word_reads(shown):
    words = [*WORDS, "\n", *[" word"] * 40]
    row = torch.linspace(0, 1, 45).numpy()
    fig = module.marked(words, row, 44)
    texts, (under,) = fig.axes[0].texts, fig.axes[0].lines
    assert [text.get_text() for text in texts] == [word.strip() for word in words]
    assert [text.get_bbox_patch().get_facecolor()[3] for text in texts] == pytest.approx(0.75 * row)
    boxes = [text.get_window_extent(fig.canvas.get_renderer()) for text in texts]
    assert all(0 <= box.x0 and box.x1 <= fig.bbox.width and box.y0 >= 0 and box.y1 <= fig.bbox.height for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i] if one.width * other.width)
    assert under.get_xdata()[0] == pytest.approx(texts[44].get_position()[0])
    attention_map(words, torch.eye(45).expand(1, 1, 45, 45), "Who?")
    assert shown[0][1]["image/png"]["alt"].startswith('Layer 1, head 1: "word" reads mostly "word" (100%)')


def test_sliders_choose_the_head():
    view = module._view(WORDS, WEIGHTS.numpy(), "Who?", -1, 0, 0)
    _, layer, head, sentence = view.children
    layer.value, head.value = 2, 3
    assert marks(sentence.value, 3) == pytest.approx(marks(page(WORDS, WEIGHTS[1, 2].numpy()), 3))
    one = module._view(WORDS, WEIGHTS[:1, :1].numpy(), "Who?", -1, 0, 0)
    assert len(one.children) == 2, "nothing to choose, no slider"


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="3 words, weights of 4 readers"):
        attention_map(WORDS[:3], WEIGHTS, "Who?")
    with pytest.raises(ValueError, match="and ask"):
        attention_map(WORDS, WEIGHTS, "No question.")
