"""Colours that everybody tells apart, pictures with words, the same bytes for the same figure."""

import base64
import io
import itertools

import numpy as np
import pytest
import torch
from IPython.testing.globalipapp import start_ipython
from matplotlib.colors import to_rgb
from PIL import Image

from lib.teach import plots, theme

# Machado, Oliveira and Fernandes 2009, severity 1: what linear RGB becomes for each colour blindness.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color):
    rgb = np.array(to_rgb(color))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    x, y, z = np.cbrt(TO_XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", BLIND)
def test_meanings_stay_apart(eyes):
    seen = {name: lab(np.array(BLIND[eyes]) @ linear(color)) for name, color in theme.COLORS.items()}
    for one, other in itertools.combinations(seen, 2):
        distance = np.linalg.norm(seen[one] - seen[other])
        families = {one, other} == {"LLAMA", "RWKV"}
        assert distance > (40 if families else 15), (one, other, distance)


def test_text_in_each_colour_is_readable_on_white():
    for color in [*theme.COLORS.values(), *theme.OTHERS, theme.MUTED]:
        luminance = linear(color) @ np.array([0.2126, 0.7152, 0.0722])
        assert 1.05 / (luminance + 0.05) >= 3.3, color


def test_no_two_meanings_share_a_line_style():
    styles = [str(theme.dashes_of(color)) for color in theme.COLORS.values()]
    assert len(set(styles)) == 4


def test_names_choose_colours_and_no_two_are_equal():
    colors = theme.colors_of(["LLaMA", "RWKV-7", "published", "yours", "uniform", "narrow", "TinyLlama"])
    assert [colors[n] for n in ("LLaMA", "RWKV-7", "published", "yours")] == list(theme.COLORS.values())
    assert len(set(colors.values())) == 7
    assert theme.colors_of(["a", "b"], {"a": "RWKV", "b": "#123456"}) == {"a": theme.RWKV, "b": "#123456"}


def test_too_high_a_figure_is_refused():
    with pytest.raises(ValueError, match="4 inches high.* 3.5"):
        theme.figure(4)


def figure(scale=1.0):
    return plots.draw_curves({"LLaMA": [1.0, scale * 2.0, 4.0]})


@pytest.mark.parametrize("small", [True, False])
def test_the_same_figure_gives_the_same_bytes(small):
    assert theme.png(figure(), small=small) == theme.png(figure(), small=small)
    assert theme.png(figure(), small=small) != theme.png(figure(1.5), small=small)


def test_the_small_picture_looks_like_the_large_one_and_is_white():
    large, small = (
        np.asarray(Image.open(io.BytesIO(theme.png(figure(), small=s))).convert("RGB"), float) for s in (0, 1)
    )
    assert large.shape == (600, 1300, 3) and np.abs(large - small).max() < 45
    assert (large[0, 0] == 255).all() and len(theme.png(figure())) < 100_000


def test_the_looks_do_not_depend_on_what_a_learner_set():
    import matplotlib

    before = theme.png(figure())
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30, "savefig.facecolor": "black"}):
        assert theme.png(figure()) == before


def test_a_figure_needs_its_words():
    with pytest.raises(ValueError, match="no alt text"):
        theme.show(figure())
    with pytest.raises(TypeError, match="alt"):
        plots.curves({"a": [1, 2]})


def test_outside_of_a_notebook_nothing_happens(capsys, monkeypatch):
    monkeypatch.setattr(theme, "get_ipython", lambda: None)
    theme.show(figure(), "A line.")
    assert capsys.readouterr().out == ""


def test_what_a_notebook_gets(monkeypatch):
    start_ipython()
    sent = []
    monkeypatch.setattr(theme, "get_ipython", lambda: True)
    monkeypatch.setattr(theme, "display", lambda data, metadata=None, raw=False: sent.append((data, metadata)))
    theme.show(figure(), 'A line, "LLaMA" & up.')
    (data, metadata), (words, _) = sent
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG") and data["text/plain"] == 'A line, "LLaMA" & up.'
    assert metadata == {"image/png": {"alt": 'A line, "LLaMA" & up.', "width": 650, "height": 300}}
    assert "A line, &quot;LLaMA&quot; &amp; up." in words["text/html"]


@pytest.mark.parametrize(
    "values", [torch.ones(3, dtype=torch.bfloat16, requires_grad=True), [1, 1, 1], [torch.ones(())] * 3]
)
def test_arrays_of_any_kind(values):
    assert theme.array(values).tolist() == [1.0, 1.0, 1.0]
