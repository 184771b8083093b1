"""In a real browser every hint and every solution of a lesson stands there folded, and opens by a click."""

import re
from pathlib import Path

import nbformat
import pytest

LESSONS = sorted((Path(__file__).resolve().parents[2] / "lessons").glob("*.ipynb"))
EVERY = """folds => folds.map(fold => ({
    words: fold.querySelector("summary").innerText, open: fold.open,
    heading: fold.querySelector("summary").getBoundingClientRect().height,
    inside: fold.getBoundingClientRect().height }))"""


@pytest.fixture(scope="module")
def page(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


@pytest.mark.browser
@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.stem)
def test_hints_and_solutions_are_folded_and_open(file, page, tmp_path):
    from nbconvert.filters import markdown2html

    cells = [cell.source for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "markdown"]
    n_folds = sum(source.count("<details>") for source in cells)
    n_cards = sum(len(re.findall(r"^\*\*Exercise ", source, re.M)) for source in cells)
    shown = tmp_path / "lesson.html"
    shown.write_text("<meta charset='utf-8'>" + "\n".join(map(markdown2html, cells)), encoding="utf-8")
    page.goto(shown.as_uri())
    folds = page.eval_on_selector_all("details", EVERY)
    assert len(folds) == n_folds >= 2 * n_cards > 0, "some fold was not seen as one: mind the empty line behind it"
    for fold in folds:
        words = fold["words"]
        assert words and not fold["open"], words
        assert 0 < fold["heading"] <= fold["inside"] < 2 * fold["heading"], f"{words} shows more than its heading"
    page.locator("details > summary").first.click()
    opened = page.eval_on_selector_all("details", EVERY)[0]
    assert opened["open"] and opened["inside"] > folds[0]["inside"]
