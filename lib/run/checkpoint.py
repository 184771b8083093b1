"""Keep a run on the disk while it goes, and a trained model with its tokenizer when it is done.

A file is written beside its place and then moved there, which no crash can leave half done. A run's checkpoint has a
checksum and keeps its predecessor. Nothing that is loaded can run code: tensors and plain values alone are read.
"""

import os
import tempfile
import time
import warnings
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file

from lib.models.hybrid import Hybrid, HybridConfig
from lib.models.llama import Llama, LlamaConfig
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run.processes import Alone
from lib.text.bpe import BPE
from lib.weights.convert import filled
from lib.weights.files import open_safetensors, read_config, write_beside, write_json
from lib.weights.places import refuse_place
from lib.weights.sealed import Refused, before, read_sealed, write_sealed

FAMILIES = {
    "llama": (Llama, LlamaConfig),
    "openelm": (OpenElm, OpenElmConfig),
    "rwkv": (Rwkv, RwkvConfig),
    "hybrid": (Hybrid, HybridConfig),
}
BUNDLE = ("config.json", "tokenizer.json", "model.safetensors", "record.json")


class Keep(NamedTuple):
    """Where to keep a run, and how often: every so many seconds, or every so many steps."""

    path: str | Path
    seconds: float | None = 60.0
    steps: int | None = None


class Keeper:
    """Saves and resumes one run; with `keep` None it does nothing, so that `train` need not ask.

    Kept are the model, the optimizer, the random state, the last record, and what the run is: config, recipe, batches.
    """

    def __init__(self, keep, model, optimizer, recipe, batches, team=None):
        keep = keep if isinstance(keep, Keep | None) else Keep(keep)
        self.keep, self.model, self.optimizer, self.team = keep, model, optimizer, team or Alone()
        self.identity = {
            "model": {"family": type(model).__name__.lower(), **asdict(model.config)},
            "recipe": asdict(recipe),
            "batches": getattr(batches, "description", {}),
        }
        self.record, self.random, self.saved, self.clock = None, None, None, time.monotonic()

    def resume(self, or_else):
        """Take up the run that is kept and return its last record; where nothing is kept, `or_else`."""
        if self.keep is None:
            return or_else
        kept = self.team.from_first(lambda: newest(self.keep.path, self.identity))
        if kept is None:
            return or_else
        self.team.load(self.model, self.optimizer, kept)
        set_random_state(kept["random"])
        self.random, self.record = kept["random"], tuple(kept["record"])
        self.saved = self.record
        return self.record

    def finished(self, record):
        """Take note that a step is done, and save if it is time to."""
        self.record = tuple(record)
        if self.keep is None:
            return
        self.random = random_state()  # now, since a step that is interrupted may have drawn some numbers
        late = self.keep.seconds is not None and time.monotonic() - self.clock >= self.keep.seconds
        if self.keep.seconds is not None:
            late = self.team.agree(late)
        if late or (self.keep.steps and record.step % self.keep.steps == 0):
            self.save()

    def save(self, interrupted=False):
        """Write the last finished step, unless it is written already. A full disk is a warning: the run is worth more.

        After an interrupt, processes that hold a part each can't put the parts together: their last checkpoint stands.
        """
        if self.keep is None or self.record == self.saved:
            return
        if interrupted and (self.team.sharded or self.team.rank > 0):
            return
        self.clock = time.monotonic()
        parts = self.team.gather({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()})
        kept = {"identity": self.identity, "record": self.record, "random": self.random, **parts}
        try:
            # After an interrupt the processes stand at different places: none waits for another.
            (Alone() if interrupted else self.team).from_first(lambda: write_sealed(self.keep.path, kept))
        except OSError as error:
            warnings.warn(f"step {self.record[0]} could not be saved: {error}. {self.advice()}", stacklevel=2)
        else:
            self.saved = self.record

    def advice(self):
        """Say what became of what was trained."""
        if self.keep is None:
            return "the model holds it. With checkpoint=PATH the same call would go on from there"
        if self.record == self.saved:
            return f"the model holds it, and so does {self.keep.path}: run the same again to go on from there"
        there = f"holds step {self.saved[0]}" if self.saved else "was not written"
        return f"the model holds it; {self.keep.path} {there}"


def newest(path, identity=None):
    """Return the checkpoint at `path`, or the one before it where that is refused; None where there is neither.

    One that is damaged or, with `identity`, of another run is refused: where the one before can be used it moves to
    NAME.refused and a warning names it, else ValueError.
    """
    path, refused = Path(path), []
    for place in (path, before(path)):
        try:
            kept = load_checked(place)
            if identity is not None:
                refuse_foreign(place, kept["identity"], identity)
        except FileNotFoundError:
            continue
        except ValueError as error:
            refused.append(str(error))
            continue
        if refused:
            aside = path.with_name(path.name + ".refused")
            os.replace(path, aside)
            warnings.warn(f"{refused[0]}. It is {aside.name} now, and the one before it is used", stacklevel=2)
        return kept
    if refused:
        raise ValueError("; ".join(refused))
    return None


def discard(path):
    """Delete a run's checkpoint and the one before it."""
    for place in (before(path), Path(path)):
        place.unlink(missing_ok=True)


def load_checked(path):
    """Load a checkpoint's tensors and plain values; a damaged file is refused by name."""
    try:
        kept = read_sealed(path)
    except Refused as error:
        raise ValueError(f"{error}: delete it to start anew") from error
    missing = {"identity", "record", "random", "model", "optimizer"} - set(kept)
    if missing:
        raise ValueError(f"{path} is no checkpoint of a run, {sorted(missing)} are missing: choose another path")
    return kept


def refuse_foreign(path, kept, ours):
    """Raise where a checkpoint belongs to another run, and name each value that differs."""
    differences = []
    for part in ours:
        names = kept.get(part, {}).keys() | ours[part].keys()
        for name in sorted(names):
            there, here = (side.get(part, {}).get(name) for side in (kept, ours))
            there, here = (tuple(x) if isinstance(x, list) else x for x in (there, here))
            if there != here:
                differences.append(f"{part} {name} {there!r} there, {here!r} here")
    if differences:
        raise ValueError(
            f"{path} is a checkpoint of another run ({'; '.join(differences)}): "
            "choose another path, delete the file, or take its values"
        )


def random_state():
    """Return the state of torch's generators: the CPU's, and those of all GPUs."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state):
    """Take up what `random_state` gave; another number of GPUs keeps its own."""
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def prepare_place(folder):
    """Make the folder; ValueError or OSError, before hours of training, where `save_bundle` could not write there."""
    for name in BUNDLE:
        refuse_place(folder / name)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):  # may we write there?
        pass


def save_bundle(folder, model, tokenizer, record, dtype=None):
    """Save a trained model as a folder: config.json, tokenizer.json, model.safetensors, record.json.

    `record` is a dict: how it was made and what it reached. `dtype` torch.float16 halves the file.
    """
    folder = Path(folder)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if getattr(model.config, "tied", False):
        del tensors["head.weight"]  # it is embed.weight
    if dtype is not None:
        tensors = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    config = {"family": type(model).__name__.lower(), **asdict(model.config)}
    write_beside(folder / "model.safetensors", lambda path: save_file(tensors, path))
    write_beside(folder / "tokenizer.json", tokenizer.save)
    write_json(folder / "config.json", config)
    write_json(folder / "record.json", record)


def load_bundle(folder):
    """Return the model (float32, ready to be asked) and the tokenizer of a folder that `save_bundle` wrote."""
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no trained model in {folder}: `python3 -m lib train llama --out {folder}` makes one")
    config = read_config(folder)
    family = config.pop("family", None)
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(f"{folder / 'config.json'} is of family {family!r}: there is {', '.join(FAMILIES)}")
    make, describe = FAMILIES[family]
    names = {field.name for field in fields(describe)}
    needed = {field.name for field in fields(describe) if field.default is MISSING}
    if config.keys() - names or needed - config.keys():
        differ = sorted((config.keys() - names) | (needed - config.keys()))
        raise ValueError(f"{folder / 'config.json'} is no config of a {family}: {differ} are missing or unknown")
    config = describe(**config)
    tensors = open_safetensors(folder / "model.safetensors")
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    if len(blocks) != config.n_layers:
        raise ValueError(f"{folder}: config.json says {config.n_layers} layers, the weights have {len(blocks)}")
    if config.tied and "embed.weight" in tensors:
        tensors["head.weight"] = tensors["embed.weight"]
    model = filled(make, config, tensors, {name: name for name in tensors})
    return model.eval(), BPE.load(folder / "tokenizer.json")
