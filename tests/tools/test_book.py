"""The reading copy: all lessons, every picture described, nothing from the network, no dead link, solutions folded."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import nbformat
import pytest

from lessons.tools import book

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
    """The book, built once: {path within it: Page}, and its folder."""
    out = tmp_path_factory.mktemp("book") / "site"
    assert book.build(out) == len(NAMES)
    return out, {path: Page(path.read_text(encoding="utf-8")) for path in sorted(out.rglob("*.html"))}


def test_all_lessons_and_pages_are_there_and_in_the_navigation(site):
    out, pages = site
    wanted = {f"lessons/{name}.html" for name in NAMES} | {"lessons/GLOSSARY.html", "lessons/TROUBLESHOOTING.html"}
    assert wanted <= {path.relative_to(out).as_posix() for path in pages}
    assert wanted <= set(pages[out / "index.html"].links)
    assert (out / "search.html").is_file() and (out / "searchindex.js").is_file()


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


def test_a_picture_without_words_and_a_folder_of_others_are_refused(tmp_path):
    output = nbformat.v4.new_output("display_data", {"image/png": "aGk="})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=[output])])
    with pytest.raises(book.BookError, match="04_rope has a picture without alt text"):
        book.alt_texts({"04_rope": notebook})
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(book.BookError, match="holds something that is no book"):
        book.replace(tmp_path, tmp_path / "made")
    assert (tmp_path / "thesis.txt").is_file()
    with pytest.raises(book.BookError, match="there are no solved lessons"):
        book.lay_out(tmp_path, tmp_path / "source")
