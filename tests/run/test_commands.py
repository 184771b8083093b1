"""The commands from a shell's point of view: train a few steps, save, tell, stop and go on, and errors in words."""

import json
import math
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch

from lib.models import presets
from lib.run import evaluate, train_command
from lib.run.checkpoint import load_bundle, save_bundle
from lib.run.command_line import told
from lib.run.commands import main, train_parser
from lib.run.device import pick_device
from lib.run.evaluate import Score, excess_over_truth
from lib.run.paired import main as compare
from lib.run.recipes import make_plan
from lib.text.batches import WindowBatches
from lib.text.bpe import BPE
from lib.text.corpora import load
from tests.benchmarks.main import main as bench
from tests.benchmarks.peers import PACKAGES, install_peers
from tests.benchmarks.wkv_peers import PEERS
from tests.run.tiny import CONFIG, tiny_llama, tiny_rwkv


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A smaller tiny-llama, fewer stories, and a folder of its own."""
    config = replace(CONFIG, vocab_size=300, context_length=700)
    monkeypatch.setitem(presets.PRESETS, "tiny-llama", presets.Preset(config, None, "a test's"))
    for generation in (4, 5, 6, 7):
        config = tiny_rwkv(generation, vocab_size=300).config
        monkeypatch.setitem(presets.TINY_RWKV, f"tiny-rwkv-{generation}", presets.Preset(config, None, "a test's"))
    monkeypatch.setattr(evaluate, "N_STORIES", 3)
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
    assert re.search(r"step +4 of 4 .* bits a byte \(floor \+\d+\.\d %\), \d\.\d+ nats a token .* tokens/s", said)
    assert "3 stories told at temperature 0.8: 0.0% (standard error 0.0%) are stories" in said
    assert "and in 0.0% (standard error 0.0%) of all the facts hold" in said
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
    assert record["wall_seconds"] > 0 and record["cpu_seconds"] > 0 and record["temperature"] == 0.8
    model, tokenizer = load_bundle(folder)
    share, error = excess_over_truth(model, tokenizer, load("tales", 20_000).documents_validation)
    assert (record["excess_over_truth"], record["excess_standard_error"]) == pytest.approx((share, error), abs=1e-4)
    assert re.search(r"above what these \d+ stories cost by their own grammar", said)
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
        (["train", "llama", "--device", "gpu"], "no device 'gpu' here: there is .*cpu"),
        (["sample", "--prompt", "a" * 5000, "--tokens", "2"], "5001 tokens and 2 new ones, but the model was built"),
        (["sample", "--prompt", "x\ud83d", "--tokens", "2"], "half a surrogate pair"),
    ],
)
def test_errors_are_sentences(quick, capsys, arguments, words):
    small = SMALL if arguments[0] == "train" else []
    assert main([*arguments, *small]) == 1
    said = capsys.readouterr().err
    assert re.search(words, said) and "Traceback" not in said


REFUSED = {
    "sample": {
        "tokens": ["-3", "0", "nan", "2.5", "1e3", "9999999999"],
        "n": ["0", "-1"],
        "seed": ["-1", str(2**70), "x"],
        "top-k": ["0", "-1", "inf"],
        "top-p": ["0", "nan", "1.1", "-1", "inf"],
        "temperature": ["nan", "-1", "inf", "hot"],
    },
    "train llama": {
        "minutes": ["nan", "inf", "-1", "0", "1e300"],
        "megabytes": ["nan", "inf", "0", "-1"],
        "seed": ["-1", "99999999999999"],
        "steps": ["0", "-1", "nan"],
        "learning-rate": ["nan", "inf", "-1", "0"],
        "length": ["0", "-5"],
        "batch-size": ["0", "-5"],
    },
}
CASES = [(words, flag, value) for words in REFUSED for flag, values in REFUSED[words].items() for value in values]


@pytest.mark.parametrize(("words", "flag", "value"), CASES)
def test_numbers_without_sense_are_refused_by_name(capsys, words, flag, value):
    with pytest.raises(SystemExit) as stopped:
        main([*words.split(), f"--{flag}={value}"])
    assert stopped.value.code == 2
    assert re.search(rf"argument --{flag}: {re.escape(value)}: give .*number", capsys.readouterr().err)


@pytest.mark.parametrize("flag", ["steps", "seeds", "learning-rate", "seconds"])
def test_compare_refuses_them_too(capsys, flag):
    with pytest.raises(SystemExit):
        compare([f"--{flag}=-1"])
    assert f"argument --{flag}: -1: give a" in capsys.readouterr().err


def test_compare_leaves_a_file_that_is_not_its_own(tmp_path, capsys):
    (tmp_path / "mine.json").write_text("[1]")
    assert compare(["--out", str(tmp_path / "mine.json")]) == 1
    assert "mine.json holds no runs of `compare`: choose another --out" in capsys.readouterr().err
    assert (tmp_path / "mine.json").read_text() == "[1]"


def test_no_network_is_a_sentence(quick, tmp_path, monkeypatch, capsys):
    def unreachable(*arguments, **options):
        raise URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    monkeypatch.setattr("lib.text.corpora.CACHE", tmp_path)
    assert main(["train", "llama", "--corpus", "tinyshakespeare"]) == 1
    said = capsys.readouterr().err
    assert (
        said.startswith("python3 -m lib train: tinyshakespeare.txt could not be downloaded") and said.count("\n") == 1
    )


def test_what_torch_says_of_the_machine_is_a_sentence_and_a_bug_is_not(capsys):
    assert told("train", lambda: torch.empty(2**58)) == 1  # more than any machine has
    assert re.search("there is too little memory .*take a smaller --batch-size", capsys.readouterr().err)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        told("train", lambda: torch.ones(2, 3) @ torch.ones(2, 3))


@pytest.mark.parametrize("options", [[], ["--temperature", "0"]])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_broken_weights_are_said(tmp_path, capsys, options, bad):
    tokenizer = BPE([])
    model = tiny_llama(config=replace(CONFIG, vocab_size=tokenizer.vocab_size))
    with torch.no_grad():
        model.blocks[0].mix_channels.down.weight[0, 0] = bad
    save_bundle(tmp_path, model, tokenizer, {})
    assert main(["sample", str(tmp_path), "--prompt", "One day", "--tokens", "8", *options]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "NaN or infinite" in said.err


def test_a_blank_at_the_prompts_end_is_left_out_and_said(capsys):
    told = {}
    for end in ("", " ", "   "):
        assert main(["sample", "--prompt", "One day" + end, "--tokens", "9", "--seed", "3"]) == 0
        told[end] = capsys.readouterr()
    assert told[""].out == told[" "].out == told["   "].out and told[""].err == ""
    assert "the blank at the prompt's end is left out: it belongs to the next word" in told[" "].err


LONG = ["train", "llama", "--corpus", "python-docs", "--megabytes", "0.0006", "--batch-size", "1", "--steps", "3"]


def test_new_text_of_long_documents_is_scored_in_windows(quick, tmp_path):
    """600 bytes of one short topic train; the topics that validate are longer than the context."""
    assert main([*LONG, "--length", "32", "--out", "docs"]) == 0
    assert json.loads((tmp_path / "docs" / "record.json").read_text())["validation_nats_per_token"] > 0
    assert not (tmp_path / "docs" / "run.pt").exists()


def test_new_text_that_is_too_short_is_refused_before_a_step(quick, tmp_path, monkeypatch, capsys):
    corpus = load("python-docs", 3000)
    short = replace(corpus, documents_train=None, documents_validation=None, validation="Short.")
    monkeypatch.setattr("lib.text.corpora.load", lambda *arguments: short)
    assert main([*LONG, "--length", "32", "--out", "docs"]) == 1
    said = capsys.readouterr()
    assert "the validation text of python-docs: rows of 32 tokens, but there are" in said.err
    assert "step " not in said.out and not (tmp_path / "docs").exists()


def test_a_folder_that_can_not_be_written_is_refused_before_a_step(quick, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["train", "llama", "--steps", "2", "--out", "file", *SMALL]) == 1
    said = capsys.readouterr()
    assert "file" in said.err and "step " not in said.out


def test_ctrl_c_outside_of_the_steps_says_what_is_kept(quick, tmp_path, monkeypatch, capsys):
    """Before the first step nothing is kept; while the first line is made one step is, and --resume goes on."""

    def pressed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("lib.run.train.Optimizer", pressed)
        assert main(["train", "llama", "--steps", "3", "--out", "out", *SMALL]) == 130
    assert "stopped before its first step: nothing is kept, start it anew" in capsys.readouterr().err
    assert not (tmp_path / "out" / "run.pt").exists()
    with monkeypatch.context() as patched:
        patched.setattr("lib.run.train_command.above", pressed)
        assert main(["train", "llama", "--steps", "3", "--out", "out", *SMALL]) == 130
    assert "stopped after step 1 of 3; " in capsys.readouterr().err
    assert main(["train", "llama", "--resume", "--out", "out", *SMALL]) == 0


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "record.json"])
def test_a_folder_where_a_file_will_stand_is_said_before_a_step(quick, tmp_path, capsys, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    assert main(["train", "llama", "--steps", "2", "--out", "out", *SMALL]) == 1
    said = capsys.readouterr()
    assert f"{name} is a folder, where a file is to be written" in said.err and "step " not in said.out


def test_a_name_that_is_no_utf_8_is_said_before_a_step(quick, tmp_path, capsys):
    assert main(["train", "llama", "--steps", "2", "--out", "caf\udce9", *SMALL]) == 1
    said = capsys.readouterr()
    assert "has a name that is no UTF-8" in said.err and "step " not in said.out and not list(tmp_path.glob("caf*"))


def test_compare_says_before_a_run_that_its_record_is_a_folder(tmp_path, capsys):
    assert compare(["--steps", "1", "--seeds", "1", "--out", str(tmp_path)]) == 1
    assert "is a folder, where a file is to be written" in capsys.readouterr().err


def test_scores_that_fail_leave_the_model_and_resume_makes_up_for_them(quick, tmp_path, monkeypatch, capsys):
    usual = evaluate.tell_many

    def fails(*arguments):
        raise ValueError("no story today")

    monkeypatch.setattr(evaluate, "tell_many", fails)
    assert main(["train", "llama", "--steps", "3", "--out", "out", *SMALL]) == 1
    said = capsys.readouterr().err
    assert "the model is trained and saved in out, but not scored: --resume scores it" in said
    assert "no story today" in said
    weights = load_bundle(tmp_path / "out")[0].state_dict()
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["steps"] == 3 and "validation_bits_per_byte" not in record
    assert main(["train", "llama", "--steps", "3", "--out", "out", *SMALL]) == 1
    assert "is trained but not scored: go on with --resume" in capsys.readouterr().err
    monkeypatch.setattr(evaluate, "tell_many", usual)
    assert main(["train", "llama", "--resume", "--out", "out", *SMALL]) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["steps"] == 3 and record["validation_bits_per_byte"] > 0 and record["stories"] == 3
    again = load_bundle(tmp_path / "out")[0].state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not (tmp_path / "out" / "run.pt").exists()


def test_bits_a_byte_on_two_footings_are_said(capsys):
    data = SimpleNamespace(bytes_per_token=2.89)
    same, other = (Score(3.0, math.exp(3), 3 / math.log(2) / size, 100) for size in (2.88, 2.56))
    assert evaluate.footing(same, data)["validation_bytes_per_token"] == pytest.approx(2.88)
    assert capsys.readouterr().out == ""
    assert evaluate.footing(other, data)["validation_bytes_per_token"] == pytest.approx(2.56)
    assert "A token stands for 2.56 bytes of this text, and for 2.89 of the training text" in capsys.readouterr().out


def test_a_plan_is_settled_and_frozen():
    options = train_parser().parse_args(["rwkv", "--generation", "6", "--seed", "5", "--learning-rate", "0.01"])
    plan = make_plan(options, "typed")
    assert (plan.preset, plan.config.generation, plan.device.type) == ("tiny-rwkv-6", 6, pick_device().type)
    assert plan.out == Path("checkpoints/rwkv-6-tales") and plan.kept == plan.out / "run.pt"
    assert plan.make_recipe(7).steps == 7 and plan.make_recipe(7).learning_rate == 0.01 and plan.command == "typed"
    with pytest.raises(FrozenInstanceError):
        plan.steps = 3


def test_bench_names_the_benchmarks_that_exist(capsys):
    assert bench(["speed"]) == 1
    said = capsys.readouterr().err
    assert "no benchmark 'speed': there is generate, rwkv, start, tokenizers, train, wkv" in said


def test_a_missing_peer_is_named_as_missing(monkeypatch, capsys):
    import importlib

    usual = importlib.import_module

    def absent(name):
        if name.endswith("bench_generate"):
            raise ModuleNotFoundError(name="transformers")
        return usual(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    assert bench(["generate"]) == 0
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
