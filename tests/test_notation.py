"""One symbol, one meaning: the glossary's table of symbols is held to the lessons, to lib, and to others' code."""

import inspect
import re
from functools import cache
from pathlib import Path

import jupytext
import pytest
import torch
from transformers.models.rwkv import modeling_rwkv

from lib.layers import linear_attention, rwkv5, rwkv6, rwkv7
from lib.layers.shift import lean, mix
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.weights.rwkv import to_rwkv

ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = (ROOT / "lessons" / "GLOSSARY.md").read_text(encoding="utf-8")
COLUMNS = ["here", "what it is", "lessons", "papers", "RWKV-LM", "Hugging Face"]
LESSONS = ("11", "12", "13", "14")
RANKS = {4: (), 5: (), 6: (4, 4), 7: (4, 4, 4, 4)}
# w is the share that is kept, in (0, 1): no sign, no bars, and in an exponent only its logarithm.
FORBIDDEN = {
    "a negative w": re.compile(r"(?<![\w\\{])(?<!\\log )w(?:_\w|_\{\w+\})?\s*(?:=\s*-|<\s*0)"),
    "w in an exponent": re.compile(r"e\^(?:w\b|\{(?![^}]*\\log)[^}]*(?<![\w\\])w(?![\w(]))"),
    "the size of a negative w": re.compile(r"(?<!\\log )\|w(?:_\w)?\||\\l?vert\s*w"),
    "another letter for w": re.compile(r"\\lambda|\\gamma"),
}


def table():
    """The rows of the glossary's first table as {here: {column: text}}."""
    lines = GLOSSARY.split("# Symbols of lessons 11 to 14")[1].split("# Names in code")[0].splitlines()
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("|")]
    assert rows[0] == COLUMNS and all(len(row) == len(COLUMNS) for row in rows[2:])
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows[2:]}


@cache
def lesson(number, kind):
    """The text of a lesson's cells of one kind, "markdown" or "code"."""
    (path,) = (ROOT / "lessons" / "source").glob(f"{number}_*.py")
    return "\n\n".join(cell.source for cell in jupytext.read(path, fmt="py:percent").cells if cell.cell_type == kind)


def formulas(text):
    """The formulas of a markdown text."""
    found = re.findall(r"\$\$(.+?)\$\$|(?<![\\$])\$([^$]+?)\$", re.sub(r"`[^`]*`", "", text), flags=re.S)
    return [" ".join((display or inline).split()) for display, inline in found]


def said(symbol, number):
    """Say whether a lesson's formulas have a symbol, `$q$`, or its text and code a name, "`log_w`"."""
    if symbol.startswith("$"):
        letter = re.escape(symbol.strip("$"))
        return any(re.search(rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])", f) for f in formulas(lesson(number, "markdown")))
    name = symbol.strip("`")
    return any(re.search(rf"\b{name}(?:_\w+)?\b", lesson(number, kind)) for kind in ("markdown", "code"))


def test_the_table_has_the_symbols_of_the_recurrences():
    here = " ".join(table())
    assert [s for s in "w u k v r S a b g".split() if f"${s}$" not in here] == []
    assert [s for s in "log_w rate lean mix".split() if f"`{s}`" not in here] == []


@pytest.mark.parametrize("here", table())
def test_each_symbol_is_said_in_the_lessons_that_its_row_names(here):
    numbers = table()[here]["lessons"].split(", ")
    assert set(numbers) <= set(LESSONS) and numbers == sorted(numbers)
    for number in numbers:
        assert any(said(symbol, number) for symbol in re.findall(r"\$[^$]+\$|`[^`]+`", here)), (here, number)


@pytest.mark.parametrize("number", [*LESSONS, "15", "16"])
@pytest.mark.parametrize("rule", FORBIDDEN)
def test_w_is_the_share_that_is_kept_in_all_formulas(number, rule):
    assert [f for f in formulas(lesson(number, "markdown")) if FORBIDDEN[rule].search(f)] == []


@pytest.mark.parametrize("number", [*LESSONS, "15", "16"])
def test_w_is_the_share_that_is_kept_in_all_code(number):
    assert re.findall(r"\bw = -.*|\bw(?:_t)?\.exp\(\).*|math\.exp\(w\).*", lesson(number, "code")) == []


@pytest.mark.parametrize(
    ("formula", "rule"),
    [
        ("w = -e^{d} < 0", "a negative w"), ("w < 0", "a negative w"), ("w_t = -e^d", "a negative w"),
        ("e^w", "w in an exponent"), ("e^{n w}", "w in an exponent"), ("e^{(t-1-i)\\,w + k_i}", "w in an exponent"),
        ("\\ln 2 / |w|", "the size of a negative w"), ("\\lambda S", "another letter for w"),
    ],
)  # fmt: skip
def test_what_lessons_once_wrote_is_found(formula, rule):
    assert FORBIDDEN[rule].search(formula)


@pytest.mark.parametrize(
    "formula",
    ["w = e^{-e^d}", "w^{t-1-i} e^{k_i}", "\\log w = -e^d", "|\\log w|", "e^{\\ell_t}", "e^{n \\log w}", "e^{W_k x}"],
)
def test_what_they_may_write_is_not(formula):
    assert not any(rule.search(formula) for rule in FORBIDDEN.values())


def test_axes_of_the_state_are_as_the_table_says():
    text = table()["$S$"]["what it is"]
    assert "keys by values" in text and text.index("keys by values") < text.index("RWKV-7 alone **values by keys**")
    k, v, nothing = torch.randn(1, 1, 1, 4), torch.randn(1, 1, 1, 4), torch.zeros(1, 1, 1, 4)
    outer = k[0, 0, 0][:, None] * v[0, 0, 0]
    by_keys = [linear_attention.linear_recurrent(k, k, v)[1]]
    by_keys += [form.wkv(k, k, v, nothing, torch.ones(1, 4))[1] for form in (rwkv5, rwkv6)]
    assert all(torch.allclose(S[0, 0], outer) for S in by_keys)
    assert torch.allclose(rwkv7.wkv(k, k, v, nothing, nothing, nothing)[1][0, 0], outer.T)


def test_mix_and_lean_are_what_their_rows_say():
    x, before, share = torch.randn(3, 2, 5, 4)
    told = {here: row["what it is"] for here, row in table().items()}
    assert "$\\mu \\odot x_t + (1 - \\mu) \\odot x_{t-1}$" in told["$\\mu$, `mix`"]
    assert "$x_t + (x_{t-1} - x_t) \\odot \\mu$" in told["`lean`"]
    assert torch.allclose(mix(x, before, share)[0], share * x + (1 - share) * before, atol=1e-6)
    assert torch.allclose(lean(x, before, share)[0], x + (before - x) * share, atol=1e-6)
    assert torch.allclose(lean(x, before, 1 - share)[0], mix(x, before, share)[0], atol=1e-6)


def names_in(cell):
    """The names of a cell, each with the generations that stand before it: [(name, [4, 5])]."""
    found = []
    for part in cell.split(";"):
        generations = re.match(r"\s*((?:\d, )*\d):", part)
        numbers = [int(number) for number in generations[1].split(", ")] if generations else list(RANKS)
        found += [(name, numbers) for name in re.findall(r"`([^`]+)`", part)]
    return found


def test_names_of_rwkv_lm_are_those_of_its_files():
    """The weights' names are checked; those of variables inside its functions stand in no file."""
    tensors = {}
    for generation, ranks in RANKS.items():
        model = Rwkv(RwkvConfig(generation, 20, n_layers=2, d_model=8, d_ff=8, d_head=4, ranks=ranks))
        tensors[generation] = {name.split(".")[3] for name in to_rwkv(model) if ".att." in name}
    checked = 0
    for row in table().values():
        for name, generations in names_in(row["RWKV-LM"]):
            if re.fullmatch(r"time_\w+|[a-z]\d|[rxk]_k|key|value|receptance|gate", name):
                for generation in generations:
                    assert name in tensors[generation], (row["here"], name, generation)
                    checked += 1
    assert checked > 20


def test_names_of_hugging_face_are_in_its_code():
    source, checked = inspect.getsource(modeling_rwkv), 0
    for row in table().values():
        for name, _ in names_in(row["Hugging Face"]):
            assert re.search(rf"\b{name}\b", source), (row["here"], name)
            checked += 1
    assert checked > 8
