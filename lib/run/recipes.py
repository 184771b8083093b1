"""The settings that were found to work, as data: for a corpus of short documents and a few minutes on two cores."""

from lib.run.train import Recipe

# Rows begin at a document's beginning, and hold about one story: 8 x 192 tokens a step. Small batches, many steps.
BATCH_SIZE, LENGTH = 8, 192
RECIPES = {
    "adamw": {"learning_rate": 2.5e-3, "final_ratio": 0.02},
    "muon": {"optimizer": "muon", "learning_rate": 3e-3, "matrix_rate": 0.02, "final_ratio": 0.02},
}


def recipe(name, steps, **changes):
    """Return the `Recipe` of that name for a number of steps; `changes` are other values of its fields."""
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}: there is {', '.join(RECIPES)}")
    return Recipe(**{"steps": steps, "warmup": min(100, steps // 10), **RECIPES[name], **changes})
