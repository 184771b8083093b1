"""The commands from a shell's point of view: train a few steps, save, tell, stop and go on, and errors in words."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lib.models import presets
from lib.run import train_command
from lib.run.checkpoint import load_bundle
from lib.run.commands import main
from lib.text.batches import WindowBatches
from tests.benchmarks.peers import PACKAGES, install_peers
from tests.benchmarks.wkv_peers import PEERS
from tests.run.tiny import CONFIG, tiny_rwkv


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A smaller tiny-llama, fewer stories, and a folder of its own."""
    config = replace(CONFIG, vocab_size=300, context_length=700)
    monkeypatch.setitem(presets.PRESETS, "tiny-llama", presets.Preset(config, None, "a test's"))
    for generation in (4, 5, 6, 7):
        config = tiny_rwkv(generation, vocab_size=300).config
        monkeypatch.setitem(presets.TINY_RWKV, f"tiny-rwkv-{generation}", presets.Preset(config, None, "a test's"))
    monkeypatch.setattr(train_command, "N_STORIES", 3)
    monkeypatch.setattr(train_command, "EVERY", 0.0)
    monkeypatch.setattr(train_command, "find_tokenizer", learnt := Learnt(train_command.find_tokenizer))
    monkeypatch.chdir(tmp_path)
    return learnt


class Learnt:
    """Learns the tokenizer once for all runs of a test."""

    def __init__(self, find):
        self.find, self.tokenizer = find, None

    def __call__(self, corpus, vocab_size):
        self.tokenizer = self.tokenizer or self.find(corpus, vocab_size)
        return self.tokenizer


SMALL = ["--megabytes", "0.02", "--batch-size", "2", "--length", "32", "--dtype", "float32"]


def test_train_saves_what_sample_tells(quick, tmp_path, capsys):
    assert main(["train", "llama", "--steps", "4", *SMALL]) == 0
    said = capsys.readouterr().out
    assert re.search(r"step +4 of 4 .* bits a byte \(floor \+\d+\.\d %\) .* tokens/s", said)
    assert "3 stories told at temperature 0.8: 0.0% (standard error 0.0%) are stories" in said
    folder = tmp_path / "checkpoints" / "llama-tales"
    assert sorted(p.name for p in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "record.json",
        "tokenizer.json",
    ]
    record = json.loads((folder / "record.json").read_text())
    assert record["command"] == "python3 -m lib train llama --steps 4 " + " ".join(SMALL)
    assert record["steps"] == 4 and record["tokens"] == 4 * 2 * 32
    assert 0 < record["floor_bits_per_byte"] < record["validation_bits_per_byte"] < 20
    assert record["wall_seconds"] > 0 and record["cpu_seconds"] > 0
    stories = []
    for _ in range(2):
        options = ["--prompt", "One day", "--tokens", "9", "--seed", "3"]
        assert main(["sample", str(folder), *options]) == 0
        stories.append(capsys.readouterr().out)
    assert stories[0] == stories[1] and stories[0].startswith("One day")


@pytest.mark.parametrize("generation", [4, 5, 6, 7])
def test_rwkv_trains_stops_goes_on_is_saved_and_tells(quick, generation, tmp_path, capsys):
    arguments = ["train", "rwkv", "--generation", str(generation), "--recipe", "muon", *SMALL]
    assert main([*arguments, "--steps", "4", "--half"]) == 0
    assert "3 stories told" in capsys.readouterr().out
    folder = tmp_path / "checkpoints" / f"rwkv-{generation}-tales"
    model, _ = load_bundle(folder)
    assert model.config.generation == generation and model.head.weight is model.embed.weight
    record = json.loads((folder / "record.json").read_text())
    assert record["parameters"] == sum(p.numel() for p in model.parameters())
    assert main(["sample", str(folder), "--prompt", "One day", "--tokens", "9", "--seed", "3"]) == 0
    assert capsys.readouterr().out.startswith("One day")


def test_rwkv_is_generation_7_unless_another_is_asked_for(quick, tmp_path):
    assert main(["train", "rwkv", "--steps", "2", *SMALL]) == 0
    assert load_bundle(tmp_path / "checkpoints" / "rwkv-7-tales")[0].config.generation == 7


def test_a_hybrid_trains_is_saved_tells_and_says_that_nobody_else_reads_it(quick, tmp_path, capsys):
    assert main(["train", "hybrid", "--recipe", "muon", "--steps", "3", "--half", *SMALL]) == 0
    folder = tmp_path / "checkpoints" / "hybrid-tales"
    model, _ = load_bundle(folder)
    assert type(model).__name__ == "Hybrid" and "attention" in model.config.mixers
    assert main(["sample", str(folder), "--prompt", "One day", "--tokens", "9", "--seed", "3"]) == 0
    assert "One day" in capsys.readouterr().out
    for extra in ([], ["--format", "rwkv"]):
        assert main(["export", str(folder), "--to", str(tmp_path / "x"), *extra]) == 1
        assert "a Hybrid can't be exported" in capsys.readouterr().err and not (tmp_path / "x").exists()
    assert main(["train", "hybrid", "--generation", "5", "--steps", "1", *SMALL]) == 1
    assert "hybrid has no --generation 5" in capsys.readouterr().err


def test_a_run_is_the_same_again(quick, tmp_path):
    for name in ("a", "b"):
        assert main(["train", "llama", "--steps", "3", "--out", name, *SMALL]) == 0
    weights = [load_bundle(tmp_path / name)[0].state_dict() for name in ("a", "b")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_stopped_and_resumed_is_never_stopped(quick, tmp_path, monkeypatch, capsys):
    assert main(["train", "llama", "--steps", "5", "--out", "whole", *SMALL]) == 0
    original, asked = WindowBatches.__mro__[1].__getitem__, []

    def pressed(self, step):
        asked.append(step)
        if asked == [0, 1, 2]:
            raise KeyboardInterrupt
        return original(self, step)

    monkeypatch.setattr(WindowBatches.__mro__[1], "__getitem__", pressed)
    assert main(["train", "llama", "--steps", "5", "--out", "parts", *SMALL]) == 130
    assert "stopped after step 2 of 5" in capsys.readouterr().err
    before = (tmp_path / "parts" / "run.pt").read_bytes()
    assert main(["train", "llama", "--steps", "9", "--out", "parts", *SMALL]) == 1  # nothing is lost by a second start
    assert "stopped after step 2 of 5: go on with --resume, or delete it" in capsys.readouterr().err
    assert (tmp_path / "parts" / "run.pt").read_bytes() == before
    assert main(["train", "llama", "--resume", "--out", "parts", *SMALL]) == 0
    weights = [load_bundle(tmp_path / name)[0].state_dict() for name in ("whole", "parts")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not (tmp_path / "parts" / "run.pt").exists()


def test_minutes_become_steps_and_the_record_names_them(quick, tmp_path, capsys):
    assert main(["train", "llama", "--minutes", "0.1", "--half", *SMALL]) == 0
    record = json.loads((tmp_path / "checkpoints" / "llama-tales" / "record.json").read_text())
    assert record["steps"] > 1 and record["command"].endswith(f"--steps {record['steps']}")
    assert "ms a step: time for" in capsys.readouterr().out
    assert main(["train", "llama", "--minutes", "0.0001", *SMALL]) == 1
    assert "give more --minutes" in capsys.readouterr().err


def test_long_documents_are_cut_into_windows(quick, tmp_path, capsys):
    assert main(["train", "llama", "--corpus", "python-docs", "--steps", "2", *SMALL]) == 0
    record = json.loads((tmp_path / "checkpoints" / "llama-python-docs" / "record.json").read_text())
    assert "floor_bits_per_byte" not in record and "share_stories" not in record
    # one token of 300 stands for one to three bytes, and a new model guesses evenly
    assert 1 < record["validation_bits_per_byte"] < 2 * math.log2(300)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "llama", "--resume"], "no run is kept in .*run.pt: leave --resume out"),
        (["sample", "nowhere"], "no trained model in nowhere"),
        (["train", "llama", "--generation", "5"], "llama has no --generation 5: leave it out, or train rwkv"),
        (["train", "llama", "--preset", "tiny-rwkv-5"], "preset tiny-rwkv-5 is no llama: leave --preset out"),
        (["train", "rwkv", "--generation", "4", "--preset", "tiny-rwkv-7"], "is no rwkv of generation 4"),
        (["bench", "speed"], "no benchmark 'speed': there is generate, rwkv, start, tokenizers, train, wkv"),
    ],
)
def test_errors_are_sentences(quick, capsys, arguments, words):
    small = SMALL if arguments[0] == "train" else []
    assert main([*arguments, *small]) == 1
    said = capsys.readouterr().err
    assert re.search(words, said) and "Traceback" not in said


def test_a_missing_peer_is_named_as_missing(monkeypatch, capsys):
    import importlib

    usual = importlib.import_module

    def absent(name):
        if name.endswith("bench_generate"):
            raise ModuleNotFoundError(name="transformers")
        return usual(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert main(["bench", "generate"]) == 0
    machine, missing, _, minutes = capsys.readouterr().out.splitlines()
    assert re.search(r", \d+ threads, .*, torch \d", machine) and minutes == "0.0 minutes in all"
    assert missing == "generate: not measured, the package transformers is not installed"


def test_peers_that_lack_are_installed_and_a_failure_leaves_no_package(tmp_path, capsys):
    """Each comes whole or not at all; one that is there is not asked for again."""
    asked = []

    def pip(command):
        part = Path(command[command.index("--target") + 1])
        asked.append(part.name)
        (part / "half").mkdir(parents=True, exist_ok=True)
        return SimpleNamespace(returncode=int(part.name == "litgpt.part"))

    (tmp_path / "fla-core").mkdir()
    install_peers(tmp_path, pip)
    assert set(asked) == {f"{name}.part" for name in PACKAGES} - {"fla-core.part"}
    assert not (tmp_path / "litgpt").exists() and (tmp_path / "rwkv7-hf" / "half").is_dir()
    assert "litgpt: pip could not install litgpt==" in capsys.readouterr().out
    asked.clear()
    install_peers(tmp_path, lambda command: pip(command) and SimpleNamespace(returncode=0))
    assert asked == ["litgpt.part"] and (tmp_path / "litgpt").is_dir()


def test_the_benches_peers_are_those_that_are_installed():
    assert {entry.package for entry in PEERS.values() if entry.file} | {"litgpt"} == set(PACKAGES)
