"""The cards are read as they stand, agree with the checks, and fill the instructors' page."""

import re
from pathlib import Path

import pytest

from lessons.tools import cards
from lessons.tools.all_exercises import exercises

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "lessons" / "INSTRUCTORS.md"
CARDS = {card.id: card for mine in cards.all_cards().values() for card in mine}


def test_a_card_is_read():
    text = (
        "# **Exercise 04.2** · implement · ●●○ · 10 min · 3 points · teaches the table ·\n"
        "# needs `speeds`\n#\n# Words.\n"
        "# **Exercise 04.3** · explain · ●○○ · 5 min · 1 point · teaches to say why\n#\n# needs no more"
    )
    assert cards.cards(text) == [
        ("04.2", "implement", 2, 10, 3, "the table", "`speeds`"), ("04.3", "explain", 1, 5, 1, "to say why", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("found", exercises(), ids=lambda found: found.id)
def test_the_card_and_the_check_agree(found):
    card = CARDS[found.id]
    assert (card.kind, card.points) == (found.kind, found.points)
    assert card.kind in cards.KINDS and 1 <= card.difficulty <= 3 and 5 <= card.minutes <= 30


def test_each_card_has_its_check():
    assert sorted(CARDS) == sorted(found.id for found in exercises())


def test_there_are_sixty_exercises_of_all_kinds():
    assert len(CARDS) >= 60
    assert {card.kind for card in CARDS.values()} == set(cards.KINDS)


@pytest.mark.parametrize("page", cards.pages(), ids=lambda page: page[0].name)
def test_what_is_made_of_the_cards_is_current(page):
    file, *how = page
    text = file.read_text(encoding="utf-8")
    assert cards.filled(text, ROOT, *how) == text, "run python3 -m lib exercises --write"


def test_a_lesson_takes_the_time_of_its_exercises_and_of_its_reading():
    for source, mine in cards.all_cards().items():
        minutes = int(cards.MINUTES.search(source.read_text(encoding="utf-8"))[1])
        reading = minutes - sum(card.minutes for card in mine)
        assert 15 <= reading <= 60, f"{source.name}: {minutes} minutes, of which {reading} for reading"


def test_every_exercise_that_a_plan_names_is_there():
    plans = PAGE.read_text(encoding="utf-8").split(cards.BEGIN)[0].split("## Three plans")[1].split("## Hand out")[0]
    named = set(re.findall(r"\b\d\d\.\d\b", plans))
    assert len(named) > 30 and named <= set(CARDS)


def test_a_page_without_marks_is_left_as_it_was(tmp_path, capsys):
    (tmp_path / "lessons").mkdir()
    page = tmp_path / "lessons" / "INSTRUCTORS.md"
    page.write_text("no marks", encoding="utf-8")
    (tmp_path / "README.md").write_text("\n".join(cards.LESSONS), encoding="utf-8")
    assert cards.main(["--write"], tmp_path) == 1 and page.read_text(encoding="utf-8") == "no marks"
    page.write_text(f"a\n{cards.BEGIN}\nold\n{cards.END}\nb", encoding="utf-8")
    assert cards.main(["--write"], tmp_path) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("a\n") and text.endswith("\nb") and "old" not in text and "0 exercises in 0 lessons" in text
    assert cards.main([], ROOT) == 0 and "| 04.2 | implement |" in capsys.readouterr().out
