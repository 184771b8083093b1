"""Right answers that are written in other ways than the reference; they stand in right_NN.py, and never ship."""

import importlib
from pathlib import Path

_known = {}  # exercise -> its right answers


def right(*ids):
    """Register a right answer as a decorator does, or call what it returns with an answer that a function makes."""

    def register(answer):
        for id in ids:
            _known.setdefault(id, []).append(answer)
        return answer

    return register


def rights(id):
    """Return the right answers to an exercise."""
    number = id.partition(".")[0]
    if (Path(__file__).parent / f"right_{number}.py").is_file():
        importlib.import_module(f"tests.exercises.right_{number}")
    return list(_known.get(id, []))
