"""Checkpoints: resumed losses are the same to the bit; a file is whole or not there; a foreign one is refused."""

import itertools
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.run.checkpoint import Keep, load_bundle, load_checked, save_bundle, write_beside
from lib.run.sample import sample
from lib.run.train import Recipe, fit, train
from lib.text.bpe import BPE
from lib.weights.sealed import before, write_sealed
from tests.run.tiny import CONFIG, counting, tiny_llama

RECIPE = Recipe(steps=12, warmup=3, learning_rate=0.01)


def losses(records):
    return [(r.step, r.loss, r.grad_norm, r.learning_rate, r.tokens) for r in records]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_resumed_is_never_stopped_to_the_bit(tmp_path, optimizer, dtype):
    recipe = replace(RECIPE, optimizer=optimizer, accumulate=2)
    whole = fit(tiny_llama(), counting(), recipe, dtype=dtype)
    parts, path = [], tmp_path / "run.pt"
    for seed, stop in enumerate((5, 1, 99)):  # a new model each time, whose own weights must not matter but the first's
        run = train(tiny_llama(seed), counting(), recipe, dtype=dtype, checkpoint=path)
        parts += itertools.islice(run, stop)
        run.close()
    assert losses(parts) == losses(whole)


def test_the_random_state_goes_on_too(tmp_path):
    class Drawing(torch.nn.Dropout):
        pass

    def run(stops):
        torch.manual_seed(3)
        parts = []
        for stop in stops:
            model = tiny_llama(seed=0)
            model.norm = torch.nn.Sequential(model.norm, Drawing(0.2))
            training = train(model, counting(), RECIPE, dtype="float32", checkpoint=tmp_path / f"{len(stops)}.pt")
            parts += itertools.islice(training, stop)
            training.close()
            torch.rand(stop)  # somebody else draws
        return losses(parts)

    assert run([4, 99]) == run([99])


def test_saved_every_so_many_steps(tmp_path):
    path, steps = tmp_path / "deep" / "run.pt", []
    for record in train(tiny_llama(), counting(), RECIPE, checkpoint=Keep(path, seconds=None, steps=5)):
        steps.append((record.step, load_checked(path)["record"][0] if path.exists() else None))
    assert steps[3] == (4, None) and steps[4] == (5, 5) and steps[8] == (9, 5) and steps[9] == (10, 10)
    assert load_checked(path)["record"][0] == 12  # and at the end
    assert sorted(p.name for p in path.parent.iterdir()) == ["run.pt", "run.pt.before"]
    assert load_checked(before(path))["record"][0] == 10
    assert fit(tiny_llama(), counting(), RECIPE, checkpoint=path) == []  # nothing is left to do


def test_saved_every_so_many_seconds(tmp_path):
    path = tmp_path / "run.pt"
    run = train(tiny_llama(), counting(), RECIPE, checkpoint=Keep(path, seconds=0.0))
    next(run)
    assert load_checked(path)["record"][0] == 1


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "run.pt"
    path.write_text("old")

    def crash(part):
        part.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_beside(path, crash)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    path = tmp_path_factory.mktemp("kept") / "run.pt"
    next(train(tiny_llama(), counting(), RECIPE, checkpoint=Keep(path, steps=1)))
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": replace(RECIPE, learning_rate=0.5)}, "of another run .*rate 0.01 there, 0.5"),
        ({"batches": counting(seed=4)}, "batches seed 0 there, 4 here"),
        ({"batches": counting(length=11)}, "batches length 12 there, 11 here"),
        ({"config": replace(CONFIG, d_ff=41)}, "model d_ff 40 there, 41 here"),
    ],
)
def test_a_foreign_checkpoint_is_refused_by_name(kept, change, words):
    model = tiny_llama(config=change.get("config", CONFIG))
    before = model.head.weight.clone()
    with pytest.raises(ValueError, match=words):
        fit(model, change.get("batches", counting()), change.get("recipe", RECIPE), checkpoint=kept)
    assert torch.equal(model.head.weight, before)


@settings(max_examples=25, deadline=None)
@given(cut=st.floats(0, 0.999))
def test_a_cut_checkpoint_is_refused_by_name(kept, cut):
    whole = kept.read_bytes()
    damaged = kept.with_name("damaged.pt")
    damaged.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(ValueError, match=r"damaged.pt can't be read as a checkpoint"):
        fit(tiny_llama(), counting(), RECIPE, checkpoint=damaged)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("code ran",))

    path = tmp_path / "trap.pt"
    write_sealed(path, {"model": Trap()})
    with pytest.raises(ValueError, match="can't be read as a checkpoint.*more than tensors"):
        fit(tiny_llama(), counting(), RECIPE, checkpoint=path)
    torch.save({"model": Trap()}, path)
    with pytest.raises(ValueError, match="can't be read as a checkpoint.*not ours"):
        fit(tiny_llama(), counting(), RECIPE, checkpoint=path)
    path.unlink()
    write_sealed(path, {"weights": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"no checkpoint of a run, \['identity'"):
        fit(tiny_llama(), counting(), RECIPE, checkpoint=path)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 0.0), (torch.float16, 1e-3)])
def test_a_bundle_comes_back(tmp_path, tied, dtype, tolerance):
    tokenizer = BPE.train("the cat and the hat and the bat " * 9, 262)
    model = tiny_llama(config=replace(CONFIG, vocab_size=262, tied=tied))
    save_bundle(tmp_path / "cat", model, tokenizer, {"steps": 3}, dtype)
    loaded, words = load_bundle(tmp_path / "cat")
    for name, tensor in model.state_dict().items():
        assert loaded.state_dict()[name].dtype == torch.float32
        assert (loaded.state_dict()[name] - tensor).abs().max() <= tolerance
    assert loaded.config == model.config and not loaded.training
    assert words.encode("the bat") == tokenizer.encode("the bat")
    assert json.loads((tmp_path / "cat" / "record.json").read_text()) == {"steps": 3}
    if dtype is None:
        told = [torch.stack(list(sample(m, torch.tensor([[0, 5]]), 9, seed=1))) for m in (model, loaded)]
        assert torch.equal(*told)


def test_no_bundle_and_unknown_families_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no trained model in .*: `python3 -m lib train llama --out"):
        load_bundle(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"family": "mamba"}')
    with pytest.raises(ValueError, match="family 'mamba': there is llama"):
        load_bundle(tmp_path)
