"""The exercises of all lessons: the one place that finds them by number."""

import importlib
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "exercises"


def numbers():
    """Return the lessons that have exercises: ["00", "01", ...]."""
    return sorted(path.stem[-2:] for path in FOLDER.glob("lesson_[0-9][0-9].py"))


def checks_of(number):
    """Return the Checks of a lesson, "04". Raises ValueError, which says which lessons have exercises."""
    if number not in numbers():
        raise ValueError(f"lesson {number!r} has no exercises; lessons with exercises: {', '.join(numbers())}")
    return importlib.import_module(f"lessons.exercises.lesson_{number}").checks


def find(id, seed=0):
    """Return the exercise with this id, "04.1", filled in. Raises ValueError, which says which exist."""
    return checks_of(str(id).partition(".")[0]).find(id, seed)


def exercises(number=None):
    """Return the exercises of a lesson, or of all: objects with .id, .points and .kind."""
    every = [checks_of(each) for each in ([number] if number else numbers())]
    return [checks.find(id) for checks in every for id in checks.ids]
