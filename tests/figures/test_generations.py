"""A generation of RWKV has one colour in the whole course: no lesson's figures give it another."""

import importlib
from pathlib import Path

import pytest

from lib.show import theme

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "lessons" / "figures").glob("lesson_*.py"))


def others(module):
    """Return {name: colour} of a module's tables that give a generation a colour which is not its own."""
    tables = [value for value in vars(module).values() if isinstance(value, dict)]
    found = {key: color for table in tables for key, color in table.items() if str(color).startswith("#")}
    known = {key: color for key, color in found.items() if theme.GENERATION_NAMES.search(str(key).lower())}
    return {key: color for key, color in known.items() if color != theme.color_of(key)}


@pytest.mark.parametrize("name", NAMES)
def test_a_generation_keeps_its_colour(name):
    assert others(importlib.import_module(f"lessons.figures.{name}")) == {}


def test_another_colour_is_seen():
    module = type("Figures", (), {"COLORS": {"RWKV-5": theme.RWKV, "Goose": theme.RWKV, "LLaMA": "#000000"}})
    assert others(module) == {"RWKV-5": theme.RWKV}
