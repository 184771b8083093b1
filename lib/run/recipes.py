"""The settings that were found to work, as data, and the plan that one run of `python3 -m lib train` makes of them.

They are for a corpus of short documents and a few minutes on two cores.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch

from lib.models.presets import preset
from lib.run.checkpoint import FAMILIES
from lib.run.cost import training_flops
from lib.run.device import pick_device
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


@dataclass(frozen=True)
class Plan:
    """All that one run of `train` is, decided before it begins.

    `config` is the preset's, with what was set: the vocabulary will be the tokenizer's. `steps` None: as many as fit
    into the minutes. `stories` None: as many as `lib.run.evaluate.judge` likes.
    """

    command: str
    family: str
    preset: str
    config: object
    corpus: str
    megabytes: float
    batch_size: int
    length: int
    seed: int
    recipe: str
    learning_rate: float | None
    steps: int | None
    minutes: float
    device: torch.device
    dtype: str
    compile: bool
    stories: int | None
    out: Path
    resume: bool
    half: bool

    @property
    def kept(self):
        """Where the run is kept while it goes."""
        return self.out / "run.pt"

    def make_recipe(self, steps):
        """Return the `Recipe` that was asked for."""
        changes = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        return recipe(self.recipe, steps, **changes)


def make_plan(options, command):
    """Return the `Plan`; ValueError where what was asked for does not fit together, or this machine lacks it."""
    name = choose_preset(options.family, options.generation, options.preset)
    asked = {field.name: getattr(options, field.name) for field in fields(Plan) if hasattr(options, field.name)}
    config = resized(preset(name).config, options.set)
    if options.flops is not None:
        asked["steps"] = affordable(config, options)
    decided = {
        "command": command,
        "preset": name,
        "config": config,
        "device": pick_device(options.device),
        "out": options.out or Path("checkpoints") / f"{name.removeprefix('tiny-')}-{options.corpus}",
    }
    return Plan(**asked | decided)


def resized(config, settings):
    """Return the config with other values of its fields, [(name, value)]; ValueError where it has no such field."""
    names = [field.name for field in fields(config)]
    for name, _ in settings:
        if name not in names:
            raise ValueError(f"--set {name}: this model has no such size, it has {', '.join(names)}")
    return replace(config, **dict(settings))


def affordable(config, options):
    """Return how many steps the FLOPs pay for that were asked for; ValueError where it is none, or --steps is there."""
    if options.steps is not None:
        raise ValueError(f"--steps {options.steps} and --flops {options.flops:g}: give one of the two")
    step = training_flops(config, options.length, options.batch_size).total
    if options.flops < step:
        raise ValueError(
            f"a step takes {step:.3g} FLOPs, --flops is {options.flops:.3g}: give more, or a smaller model"
        )
    return int(options.flops // step)


def choose_preset(family, generation, name):
    """Return the preset to train: the one that was named, where it is of that family and generation, else the tiny."""
    if family != "rwkv" and generation is not None:
        raise ValueError(f"{family} has no --generation {generation}: leave it out, or train rwkv")
    name = name or (f"tiny-rwkv-{generation or 7}" if family == "rwkv" else f"tiny-{family}")
    config = preset(name).config
    other = generation is not None and config.generation != generation
    if not isinstance(config, FAMILIES[family][1]) or other:
        wanted = family if generation is None else f"{family} of generation {generation}"
        raise ValueError(f"preset {name} is no {wanted}: leave --preset out, or name one that is")
    return name
