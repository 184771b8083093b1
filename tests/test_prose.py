"""What is to be read: spelling, plain words, one spelling of English, short sentences, and a glossary that is true."""

import ast
import importlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import jupytext
import pytest
from spellchecker import SpellChecker

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "lessons" / "source").glob("*.py"))
PAGES = [ROOT / "README.md", ROOT / "data" / "SOURCES.md", *sorted((ROOT / "lessons").glob("*.md"))]
CODE = ("lib", "lessons/checker", "lessons/exercises", "lessons/figures", "lessons/tools")
MODULES = sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))
OWN_WORDS = ROOT / "tests" / "data" / "words.txt"
GLOSSARY = (ROOT / "lessons" / "GLOSSARY.md").read_text(encoding="utf-8")
LINK = re.compile(r"GLOSSARY\.md#([a-z-]+)")
# British in this course. These are the American forms of what it says.
AMERICAN = re.compile(
    r"[a-z]{3,}(?<!s)(?:iz(?:e|es|ed|er|ers|ing)|ization|izations)|[a-z]*(?:color|behavior|neighbor|favor(?!it)|modeling|"
    r"modeled|labeled|traveled|canceled|analyze|catalog|fulfill)[a-z]*|centers?|centered|gray|artifacts?|meager|defense|honor"
)
BRITISH_TOO = {"prize", "prizes", "seize", "seized", "tokenizer", "tokenizers", "optimizer", "optimizers"}
FILLERS = re.compile(
    r"\b(?:simply|basically|obviously|of course|clearly|actually|in order to|utili[sz]e\w*|leverag\w+|seamless\w*|"
    r"delv\w+|crucial\w*|powerful|let's|note that|it is important|as we all know|easy to see|needless)\b",
    re.I,
)
ADVICE = "mend it, put it in backticks where it is code, or add it to tests/data/words.txt where it is a word"
SLIPS_THAT_ARE_NONE = "caf,derails,lama,thre"  # thre: the beginning of a word, in lesson 01
ENGLISH_IN_CHINESE = "bonus|logit|softmax|token shift|FlashAttention"
SAME_IN_ALL = {"SwiGLU", "GGUF", "min-p", "half-split and interleaved"}
LONGEST = 40  # words from one stop, colon or semicolon to the next


@cache
def prose(path):
    """The paragraphs of a file that are text: the markdown of a lesson or page, a module's docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        parts = [text]
    elif path in SOURCES:
        parts = [cell.source for cell in jupytext.reads(text, fmt="py:percent").cells if cell.cell_type == "markdown"]
    else:
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        parts = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, kinds)]
    return [paragraph for part in parts for paragraph in plain(part)]


def plain(text):
    """Cut a text into paragraphs, without code, formulas, addresses and tags; a formula leaves an x."""
    text = re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M)
    text = re.sub(r"^( {4}|>>>).*$", "", text, flags=re.M)
    text = re.sub(r"\$\$.*?\$\$", ".", text, flags=re.S)
    text = re.sub(r"\$[^$]+\$|``[^`]+``|`[^`]+`", "x", text)
    text = re.sub(r"\[[^\]]*\]\(https?:[^)]*\)", "x", text)  # a title in others' words
    text = re.sub(r"\]\([^)]*\)|https?://\S+|<[^>]+>", " ", text)
    pieces = re.split(r"\n\s*\n|\n(?= *[-*|#])", text)
    return [" ".join(piece.split()) for piece in pieces if piece.strip()]


def words(paragraph):
    """The English words of a paragraph that can be misspelled: three letters or more, none but the first a capital."""
    found = re.findall(r"(?<![\w.{\\/@#-])[A-Za-z][a-z]*(?:'[a-z]+)?(?![\w(/\\=]|\.\w|-\d)", paragraph)
    return [word for word in found if len(word) > 2]


def unknown(found):
    """Those words that neither the dictionary nor the course's own list knows, in small letters."""
    own = set(OWN_WORDS.read_text(encoding="utf-8").split())
    small = {word.lower().removesuffix("'s") for word in found}
    return sorted(dictionary().unknown(small - own))


@cache
def dictionary():
    return SpellChecker(language="en", distance=1)


each_page = pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.stem)


@each_page
def test_every_word_of_a_page_is_one(path):
    assert unknown(word for paragraph in prose(path) for word in words(paragraph)) == [], ADVICE


def test_every_word_of_a_docstring_is_one():
    found = {path: unknown(word for text in prose(path) for word in words(text)) for path in MODULES}
    assert {path.name: wrong for path, wrong in found.items() if wrong} == {}, ADVICE


def test_a_misspelled_word_is_seen():
    text = "It wil be seen, but `not_hre` and not $tht$, nor [here](thre.md)."
    assert unknown(words(plain(text)[0])) == ["wil"]


def test_our_own_words_are_sorted_and_needed():
    own = OWN_WORDS.read_text(encoding="utf-8").split()
    assert own == sorted(set(own))
    assert sorted(dictionary().known(own)) == [], "the dictionary knows these: take them out"


def test_codespell_finds_no_slip():
    """It knows slips that are words, and it reads comments and strings, which the dictionary does not."""
    folders = ["README.md", "lessons/source", *CODE, "tests", "requirements.txt", "data/SOURCES.md", ".ci/run"]
    pages = [str(path.relative_to(ROOT)) for path in PAGES]
    skip = "*.pyc,*/words.txt,*/test_prose.py,*/bench*,*/data/*"
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list", SLIPS_THAT_ARE_NONE, "--skip", skip]
    done = subprocess.run([*command, *folders, *pages], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each_page
def test_english_is_british_and_plain_and_sentences_are_short(path):
    wrong = [problem for paragraph in prose(path) for problem in problems(paragraph)]
    assert not wrong, "\n".join(wrong)


def test_docstrings_are_british():
    wrong = [f"{path.name}: {word}" for path in MODULES for text in prose(path) for word in americanisms(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text", ["The color is gray.", "It is normalized.", "You simply add.", "And so " + "on and " * 25 + "on."]
)
def test_a_paragraph_that_is_not_plain_is_seen(text):
    assert problems(text)


def test_a_plain_paragraph_passes():
    assert problems("The size of a tokenizer's prize: one colour. " * 30) == []


def americanisms(text):
    """The words of a text in American spelling, but for what is quoted, a path, a name in code or of an argument."""
    own = re.sub(r'"[^"]*"|\S*[/_]\S*', "x", text)
    found = re.findall(r"(?<!\w)[A-Za-z][a-z]+(?![\w:])", own)
    return [word for word in found if AMERICAN.fullmatch(word.lower()) and word.lower() not in BRITISH_TOO]


def problems(paragraph):
    """What is wrong with a paragraph, in words."""
    found = [f"American spelling: {word}" for word in americanisms(paragraph)]
    found += [f"a word that says nothing: {word}" for word in FILLERS.findall(paragraph)]
    if not paragraph.startswith("|"):
        sentences = re.split(r"(?<=[.:;?!])[*_)\"]*\s", paragraph)
        found += [f"{len(s.split())} words: {s[:80]} ..." for s in sentences if len(s.split()) > LONGEST]
    return found


def entries():
    """The glossary as {slug: (title, line of names, definition)}."""
    found = {}
    for part in re.split(r"^## ", GLOSSARY, flags=re.M)[1:]:
        title, names, definition = (" ".join(line.split()) for line in re.split(r"\n\n|\n(?=Korean)", part.strip()))
        found[title.lower().replace(" ", "-")] = (title, names, definition)
    return found


def test_the_glossary_is_sorted_and_each_term_has_its_names_and_one_sentence():
    titles = [title for title, _, _ in entries().values()]
    assert titles == sorted(titles, key=str.lower)
    for title, names, definition in entries().values():
        form = r"Korean \S.* · Chinese \S.* · (here `lib\.[\w.]+` · )?lesson \[\d\d\]\(\d\d_\w+\.ipynb\)"
        assert re.fullmatch(form, names), f"{title}: {names}"
        assert definition.endswith(".") and ". " not in definition, f"{title} needs one sentence"
        if title not in SAME_IN_ALL:
            foreign = re.search(r"Korean (.*) · Chinese ([^·]*)", names)
            assert re.search("[가-힣]", foreign[1]) and re.search(f"[一-鿿]|{ENGLISH_IN_CHINESE}", foreign[2]), title


@pytest.mark.parametrize("slug", entries())
def test_a_term_of_the_glossary_is_in_the_code_and_in_its_lesson(slug):
    title, names, _ = entries()[slug]
    if path := re.search(r"`(lib\.[\w.]+)`", names):
        module, name = path[1].rsplit(".", 1)
        assert hasattr(importlib.import_module(module), name), f"{title}: there is no {path[1]}"
    lesson = ROOT / "lessons" / re.search(r"\]\((\w+)\.ipynb\)", names)[1]
    source = (ROOT / "lessons" / "source" / f"{lesson.name}.py").read_text(encoding="utf-8")
    words_of_it = re.split(r" and | ", title.lower())
    assert any(word.rstrip("s")[:8] in source.lower() for word in words_of_it), (
        f"lesson {lesson.name} never says {title}"
    )


def test_every_term_is_linked_where_a_learner_meets_it_and_every_link_has_its_term():
    linked = {slug: path.stem for path in reversed(SOURCES) for slug in LINK.findall(path.read_text(encoding="utf-8"))}
    assert linked.keys() == entries().keys()
    for slug, (title, names, _) in entries().items():
        assert linked[slug][:2] <= re.search(r"lesson \[(\d\d)\]", names)[1], f"{title} is linked too late"


def test_every_lesson_has_terms_in_the_glossary():
    without = [path.stem for path in SOURCES if not LINK.search(path.read_text(encoding="utf-8"))]
    assert without == []


def test_no_lesson_links_a_term_twice():
    for path in SOURCES:
        found = LINK.findall(path.read_text(encoding="utf-8"))
        assert len(found) == len(set(found)) <= 8, path.stem
