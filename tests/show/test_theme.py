"""Colours that everybody tells apart, pictures with words, the same bytes for the same figure."""

import base64
import io
import itertools
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from IPython.testing.globalipapp import start_ipython
from matplotlib.colors import to_rgb
from PIL import Image

from lessons.figures import lesson_11
from lessons.figures import lesson_16 as figures
from lib.show import plots, theme

# Machado, Oliveira and Fernandes 2009, table 1, severity 1: what linear RGB becomes for each colour blindness.
BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3).tolist(),
}
# A second opinion on the two common ones. Vienot, Brettel and Mollon 1999, equations 4 to 6: linear RGB in terms of the
# cones, long, middle and short; the missing cone takes what the other two say, so that white and blue stay as they are.
CONES = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
MISSING = {
    "protanopia, Vienot": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
    "deuteranopia, Vienot": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
}
BLIND |= {name: (np.linalg.inv(CONES) @ np.array(lost) @ CONES).tolist() for name, lost in MISSING.items()}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # IEC 61966-2-1
NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "lessons").rglob("[0-9][0-9]_*.ipynb"))
FAMILIES = {theme.LLAMA: "LLAMA", theme.RWKV: "RWKV"}


def linear(color):
    """sRGB, a name or three numbers from 0 to 1 (also many: (..., 3)), as linear light (IEC 61966-2-1)."""
    rgb = np.array(to_rgb(color) if isinstance(color, str) else color)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """Linear light as CIE 1976 L*, a*, b* under D65: a distance of 2 is just seen, 40 is another colour."""
    ratio = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(one, other, eyes):
    """The distance of two colours as these eyes see them."""
    first, second = (lab(np.array(BLIND[eyes]) @ linear(color)) for color in (one, other))
    return np.linalg.norm(first - second)


@pytest.mark.parametrize("eyes", BLIND)
def test_simulated_eyes_see_grey_as_grey_and_confuse_what_they_should(eyes):
    for grey in (0.0, 0.5, 1.0):
        seen = np.array(BLIND[eyes]) @ np.full(3, grey)
        assert np.abs(seen - grey).max() < 0.02
    # A red and a green of one lightness, and a blue and a green: far apart for most eyes, near where a cone is missing.
    pairs = {"prot": ("#C03030", "#5C6A1E"), "deut": ("#C84848", "#7E7A30"), "trit": ("#1E88A8", "#2E8B57")}
    if eyes[:4] in pairs:
        assert apart(*pairs[eyes[:4]], eyes) < 0.6 * apart(*pairs[eyes[:4]], "none")


@pytest.mark.parametrize("eyes", BLIND)
def test_meanings_stay_apart(eyes):
    for one, other in itertools.combinations(theme.COLORS, 2):
        families = {one, other} == {"LLAMA", "RWKV"}
        distance = apart(theme.COLORS[one], theme.COLORS[other], eyes)
        assert distance > (40 if families else 15), (one, other, distance)


@pytest.mark.parametrize("eyes", BLIND)
def test_darker_shades_stay_apart_from_the_other_family_and_from_their_own(eyes):
    for color, dark in theme.SECOND.items():
        others = [shade for pair in theme.SECOND.items() for shade in pair if color not in pair]
        assert apart(color, dark, eyes) > 15
        assert min(apart(dark, other, eyes) for other in others) > 25


@pytest.mark.parametrize("eyes", BLIND)
def test_generations_stay_apart_from_each_other_and_from_all_that_is_not_their_family(eyes):
    for one, other in itertools.combinations(theme.GENERATIONS.values(), 2):
        assert apart(one, other, eyes) > 20, (one, other)
    for color, meaning in itertools.product(theme.GENERATIONS.values(), ("LLAMA", "REFERENCE", "YOURS")):
        assert apart(color, theme.COLORS[meaning], eyes) > (25 if meaning == "LLAMA" else 15), (color, meaning)


def test_a_generation_has_one_colour_whatever_it_is_called():
    assert len({str(theme.dashes_of(color)) for color in theme.GENERATIONS.values()}) == 4
    for number, names in {4: ["RWKV-4", "rwkv-4-169m"], 5: ["RWKV-5 Eagle", "Eagle 7B"], 6: ["RWKV-6 Finch", "Finch"],
                          7: ["RWKV-7", "Goose, 64 channels", "RWKV 7, trained"]}.items():  # fmt: skip
        assert [theme.color_of(name) for name in names] == [theme.GENERATIONS[number]] * len(names)
    assert theme.color_of("RWKV") == theme.color_of("RWKV 7B") == theme.RWKV
    assert len(set(theme.colors_of(["LLaMA", "RWKV-4", "RWKV-5", "RWKV-6", "RWKV-7"]).values())) == 5


def families_drawn():
    """Figures that show both families, by every kind of mark: lines, bands, bars, areas, points."""
    steps = np.arange(1, 40)
    both = {"LLaMA": (steps, 5 / steps), "RWKV-7": (steps, 6 / steps)}
    asked = {"LLaMA": 3.0, "RWKV": 4.0}
    return {
        "curves": plots.draw_curves(both, bands={name: (0.8 * y, 1.2 * y) for name, (_, y) in both.items()}),
        "bars": plots.draw_bars({"a": asked, "b": asked}),
        "points": plots.draw_scatter({"LLaMA": np.eye(2), "RWKV": 1 - np.eye(2)}),
        "outlines": plots.draw_histogram({"LLaMA": steps[:20], "RWKV": steps[10:]}),
        "growth": figures.draw_growth(both, dict.fromkeys(both, (-1.0, 0.1))),
        "chunks": lesson_11.draw_chunks(),
    }


@pytest.mark.parametrize("name", ["curves", "bars", "points", "outlines", "growth", "chunks"])
def test_drawn_families_stay_apart_for_all_eyes(name):
    pixels = np.asarray(Image.open(io.BytesIO(theme.png(families_drawn()[name], small=False))).convert("RGB")) / 255
    drawn, counts = np.unique(pixels.reshape(-1, 3).round(3), axis=0, return_counts=True)
    drawn = drawn[counts >= 12]  # what is not the smoothed edge of something
    shades = {color: [] for color in FAMILIES}
    for color in FAMILIES:
        hue = np.array(to_rgb(color))
        share = ((1 - drawn) @ (1 - hue)) / ((1 - hue) @ (1 - hue))  # white at 0, the family's full colour at 1
        near = np.abs(drawn - (1 - share[:, None] * (1 - hue))).max(1) < 0.02
        shades[color] = drawn[near & (share > 0.55) & (share < 1.02)]
        assert len(shades[color]), f"{FAMILIES[color]} is not in the figure"
    for eyes in BLIND:
        least = min(apart(one, other, eyes) for one in shades[theme.LLAMA] for other in shades[theme.RWKV])
        assert least > 20, (eyes, least)


def test_text_in_each_colour_is_readable_on_white():
    palettes = theme.COLORS, theme.SECOND, theme.GENERATIONS
    for color in [*(color for palette in palettes for color in palette.values()), *theme.OTHERS, theme.MUTED]:
        luminance = linear(color) @ np.array([0.2126, 0.7152, 0.0722])
        assert 1.05 / (luminance + 0.05) >= 3.3, color


def test_no_two_meanings_share_a_line_style():
    styles = [str(theme.dashes_of(color)) for color in theme.COLORS.values()]
    assert len(set(styles)) == 4
    for color, dark in theme.SECOND.items():
        assert theme.dashes_of(color) != theme.dashes_of(dark)


def test_names_choose_colours_and_no_two_are_equal():
    colors = theme.colors_of(["LLaMA", "RWKV-7", "published", "yours", "uniform", "narrow", "TinyLlama"])
    assert [colors[n] for n in ("LLaMA", "RWKV-7", "published", "yours")] == list(theme.COLORS.values())
    assert len(set(colors.values())) == 7
    assert theme.colors_of(["LLaMA", "RWKV, chunked", "RWKV"])["RWKV"] == theme.SECOND[theme.RWKV]
    assert theme.color_of("' llama'") == theme.OTHERS[0], "a token is no family"
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


def test_a_still_looks_like_the_live_picture_and_lies_on_a_white_card():
    live = np.asarray(Image.open(io.BytesIO(theme.png(figure(), small=False))).convert("RGB"), float)
    card = np.asarray(Image.open(io.BytesIO(theme.png(figure()))).convert("RGBA"), float)
    assert live.shape == (600, 1300, 3) and card.shape == (640, 1340, 4)
    assert np.abs(card[20:-20, 20:-20, :3] - live).max() < 12 and (card[:20, :, :3] == 255).all()
    assert len(theme.png(figure())) < 100_000


@pytest.mark.parametrize("busy", [False, True], ids=["few colours", "all colours"])
def test_a_card_is_clear_in_its_corners_alone(busy):
    shape = (200, 300, 3)
    values = np.random.default_rng(0).integers(0, 255, shape) if busy else np.full(shape, 90)
    picture = Image.fromarray(values.astype(np.uint8))
    clear = np.asarray(Image.open(io.BytesIO(theme.card(picture))).convert("RGBA"))[..., 3]
    margin = round(theme.MARGIN * theme.DPI)
    assert clear.shape == (200 + 2 * margin, 300 + 2 * margin)
    for turned in (clear, clear[::-1], clear[:, ::-1], clear[::-1, ::-1]):
        assert turned[0, 0] == 0 and 0 < turned[:margin, :margin].mean() < 255
        assert (np.diff(turned[0, :margin].astype(int)) >= 0).all()
    assert (clear[margin:-margin] == 255).all() and (clear[:, margin:-margin] == 255).all()


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


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_figure_of_a_notebook_has_its_words_and_every_widget_a_still_picture(file):
    n_figures = 0
    for index, cell in enumerate(nbformat.read(file, as_version=4).cells):
        outputs = cell.get("outputs", [])
        pictures = [output for output in outputs if any(kind.startswith("image/") for kind in output.get("data", {}))]
        for output in pictures:
            alt = output.metadata.get("image/png", {}).get("alt", "")
            assert len(alt.split()) >= 6 and alt.endswith("."), f"cell {index}: {alt!r} does not say what one sees"
            assert output.data["text/plain"] == alt and "image/png" in output.data
            assert "?" not in alt.split(" Here ")[0][-1:], f"cell {index}: the alt text asks, it must tell: {alt}"
        if "widgets.explore(" in cell.source or re.search(r"^memories\(", cell.source, re.M):
            assert len(pictures) == 1, f"cell {index}: a widget without a still picture"
        n_figures += len(pictures)
    # In a learner's notebook those that answer a prediction are left out.
    assert n_figures >= (1 if file.parent.name == "lessons" else 2)


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
    assert metadata == {"image/png": {"alt": 'A line, "LLaMA" & up.', "width": 670, "height": 320}}
    assert "A line, &quot;LLaMA&quot; &amp; up." in words["text/html"]


@pytest.mark.parametrize(
    "values", [torch.ones(3, dtype=torch.bfloat16, requires_grad=True), [1, 1, 1], [torch.ones(())] * 3]
)
def test_arrays_of_any_kind(values):
    assert theme.array(values).tolist() == [1.0, 1.0, 1.0]
