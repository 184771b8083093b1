"""The table of claims says what the lessons printed, and every claim is looked at in one lesson."""

from collections import Counter

import nbformat
import pytest

from lessons.tools import claims
from lib.teach.claims import CLAIMS, claim


def test_the_page_has_what_the_lessons_found():
    page = (claims.ROOT / "lessons" / "CLAIMS.md").read_text(encoding="utf-8")
    assert claims.with_table(page) == page, "run python3 -m lib claims"


def test_every_claim_is_looked_at_once():
    assert claims.found().keys() == CLAIMS.keys()
    sources = [path.read_text(encoding="utf-8") for path in (claims.ROOT / "lessons" / "source").glob("*.py")]
    named = Counter(key for text in sources for key in CLAIMS if f'"{key}"' in text)
    assert named == Counter(CLAIMS.keys())


def test_a_claim_comes_back_from_a_notebook(tmp_path, capsys):
    claim("eagle-size", "holds", "7 | 8")
    said = capsys.readouterr().out
    folder = tmp_path / "lessons" / "solutions"
    folder.mkdir(parents=True)
    cell = nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("stream", text=f"before\n{said}after\n")])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / "99_x.ipynb")
    assert claims.found(tmp_path) == {"eagle-size": ("99_x.ipynb", "holds", "7 | 8")}
    assert "| **holds** | 7 | 8 | [99](99_x.ipynb) |" in claims.table(tmp_path)


@pytest.mark.parametrize(("key", "verdict"), [("eagle", "holds"), ("eagle-size", "is true")])
def test_an_unknown_claim_or_verdict_is_named(key, verdict):
    with pytest.raises(ValueError, match="no .*: there is"):
        claim(key, verdict, "1")
