"""The reading copy: all lessons, every picture described, nothing from the network, no dead link, solutions folded."""

import ast
import html
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import nbformat
import pytest

from lessons.tools import book
from lessons.tools.site import house, lessons

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "lessons" / "source").glob("*.py"))


class Page(HTMLParser):
    """What a page loads and links: images (src, alt), resources, links, ids."""

    def __init__(self, text):
        super().__init__()
        self.images, self.resources, self.links, self.ids = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.update(filter(None, (found.get("id"), found.get("name"))))
        if tag == "img":
            self.images.append((found.get("src"), found.get("alt")))
        if tag in ("img", "script", "iframe", "source", "video", "audio") and found.get("src"):
            self.resources.append(found["src"])
        if tag == "link" and found.get("rel") not in ("index", "search", "next", "prev", "canonical"):
            self.resources.append(found.get("href", ""))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The book, built once, without the live models: {path within it: Page}, and its folder."""
    out = tmp_path_factory.mktemp("book") / "site"
    assert book.build(out, live=False) == len(NAMES)
    return out, {path: Page(path.read_text(encoding="utf-8")) for path in sorted(out.rglob("*.html"))}


def test_all_lessons_and_pages_are_there_and_in_the_navigation(site):
    out, pages = site
    wanted = {f"lessons/{name}.html" for name in NAMES} | {"lessons/GLOSSARY.html", "lessons/TROUBLESHOOTING.html"}
    wanted |= {"house.html"}
    assert wanted <= {path.relative_to(out).as_posix() for path in pages}
    assert wanted <= set(pages[out / "index.html"].links)
    assert (out / "search.html").is_file() and (out / "searchindex.js").is_file()


def test_the_house_has_a_line_for_every_file_and_a_heading_for_every_folder(site):
    """As a reader sees it, without tags: a line begins as the file does."""
    out, _ = site
    parts = (out / "house.html").read_text(encoding="utf-8").split("<h2>")[1:]
    shown = {part.split("<")[0]: words_of(html.unescape(re.sub(r"<[^>]+>", "", part))) for part in parts}
    files = [path for part in ("lib", "tests") for path in (ROOT / part).rglob("*.py")]
    files += [path for path in (ROOT / "lessons").glob("*/*.py") if path.parent.name != "source"]
    assert len(files) > 200
    for path in files:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "a file of examples"
        line = words_of(f"{path.name} {' '.join(text.split('. ')[0].split()[:4])}")
        assert path.name == "__init__.py" or line in shown[path.parent.relative_to(ROOT).as_posix()], path


def words_of(text):
    """A text's words alone, since a site sets other quotation marks."""
    return " ".join(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('"""One: a 2.5\nand more. Two."""', "One: a 2.5 and more."),
        ('"""One, without a stop\n\nTwo."""', "One, without a stop"),
        ('"""Is it? Yes."""', "Is it?"),
        ("x = 1", "a file of examples"),
    ],
)
def test_the_first_sentence_of_a_file(tmp_path, text, sentence):
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    assert house.first_sentence(tmp_path / "a.py") == sentence


def test_every_picture_says_what_it_shows(site):
    out, pages = site
    shown = [alt for page in pages.values() for _, alt in page.images]
    assert len(shown) > 3 * len(NAMES)
    assert [alt for alt in shown if not alt or len(alt.split()) < 3 or alt.endswith(".png")] == []


def test_nothing_is_loaded_from_the_network(site):
    out, pages = site
    loaded = [address for page in pages.values() for address in page.resources]
    assert [
        address for address in loaded if urlparse(address).scheme not in ("", "data") or address.startswith("//")
    ] == []
    sheets = "".join(path.read_text(encoding="utf-8") for path in out.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:https?:)?//|@import", sheets) == []
    assert (out / "_static" / "mathjax" / book.MATHJAX).stat().st_size > 10**6


def test_every_link_inside_leads_somewhere(site):
    out, pages = site
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *(src for src, _ in page.images)]:
            address = urlparse(link)
            if address.scheme:
                continue
            to = (path.parent / unquote(address.path)).resolve() if address.path else path
            known = pages.get(to)
            if not to.is_file() or (known and address.fragment and unquote(address.fragment) not in known.ids):
                dead.append(f"{path.relative_to(out)}: {link}")
    assert dead == []


def test_each_lesson_links_the_glossary(site):
    out, pages = site
    for name in NAMES:
        assert any("GLOSSARY.html#" in link for link in pages[out / "lessons" / f"{name}.html"].links), name


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_shows_its_exercises_open_and_the_solved_outputs(name):
    solved, stub = (
        nbformat.read(ROOT / "lessons" / part / f"{name}.ipynb", as_version=4) for part in ("solutions", "")
    )
    page = book.lesson(solved, stub)
    tags = {tag for cell in page.cells for tag in cell.metadata.get("tags", [])}
    assert "setup" not in tags and "](solutions/" not in "".join(cell.source for cell in page.cells)
    by_id = {cell.id: cell.source for cell in stub.cells}
    for cell in page.cells:
        if cell.cell_type == "code":
            assert cell.source == by_id[cell.id]
            assert not any("not attempted" in output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_does_not_contradict_itself(name):
    """An open exercise is not passed, what stands still is not told to move, furniture is folded."""
    solved, stub = (
        nbformat.read(ROOT / "lessons" / part / f"{name}.ipynb", as_version=4) for part in ("solutions", "")
    )
    page = book.lesson(solved, stub)
    said = [cell for cell in page.cells if any(tag.startswith("check:") for tag in cell.metadata.get("tags", []))]
    assert said and all(cell.cell_type == "markdown" and "With the solution" in cell.source for cell in said)
    text = "\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")
    widgets = sum("widgets.explore(" in cell.source for cell in page.cells if cell.cell_type == "code")
    assert text.count(lessons.STILL) == widgets
    for before, cell in zip(page.cells, page.cells[1:], strict=False):
        if cell.source == lessons.STILL:
            assert not re.search(r"^(Move|Drag|Slide)\b|[.?*] (Move|Drag|Slide)\b", before.source, re.M), before.source
    for cell in page.cells:
        hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert ("hide-input" in cell.metadata.get("tags", [])) == hidden


def test_orders_to_move_go_and_the_question_stays():
    text = "**Who wins?** Move n, then\nk. Then set $d$ to 0.5, and look. They find it. Moved ones stay. Make it 2."
    assert lessons.ORDERS.sub("", text).strip() == "**Who wins?** They find it. Moved ones stay."


def test_the_first_page_has_a_card_for_each_lesson_with_its_minutes(site):
    out, _ = site
    page = (out / "index.html").read_text(encoding="utf-8")
    cards = re.findall(r'<li><a href="lessons/(\w+)\.html"><b>(\d\d)</b><span>(.+?)</span>\s*<small>(\d+) min', page)
    assert [name for name, *_ in cards] == NAMES
    for name, _, claim, minutes in cards:
        source = (ROOT / "lessons/source" / f"{name}.py").read_text(encoding="utf-8")
        assert f"**Time:** {minutes} minutes" in source and html.unescape(claim) in source.replace("`", "")
    assert "front.gif" in page and "Try the models, live" not in page


@pytest.mark.parametrize("name", sorted(book.moving.strips(ROOT)))
def test_pictures_that_move_are_drawn_for_each_value(site, name):
    out, _ = site
    page = (out / "lessons" / f"{name}.html").read_text(encoding="utf-8")
    assert "moving.js" in page and page.count('class="moving"') == 1
    alts = json.loads(html.unescape(re.search(r'data-alts="(.*?)"', page)[1]))
    frames = {(out / "_static/frames" / file).read_bytes() for file in alts}
    counts = [int(most) + 1 for most in re.findall(r'type="range"[^>]* max="(\d+)"', page)]
    assert len(alts) == math.prod(counts) >= 15 and len(set(alts.values())) == len(alts)
    assert len(frames) >= 0.9 * len(alts), "a slider that changes nothing"


def test_a_picture_without_words_and_a_folder_of_others_are_refused(tmp_path):
    output = nbformat.v4.new_output("display_data", {"image/png": "aGk="})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    with pytest.raises(book.BookError, match="04_rope has a picture without alt text"):
        lessons.alt_texts({"04_rope": notebook})
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(book.BookError, match="holds something that is no book"):
        book.replace(tmp_path, tmp_path / "made")
    assert (tmp_path / "thesis.txt").is_file()
    with pytest.raises(book.BookError, match="there are no solved lessons"):
        book.lay_out(tmp_path, tmp_path / "source")
