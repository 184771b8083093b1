"""Training survives: SIGKILL at any moment, a checkpoint that somebody altered, a full disk, Ctrl-C in a notebook."""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import warnings
from queue import Empty

import pytest
import torch
from jupyter_client.manager import start_new_kernel

from lib.run.checkpoint import Keep, load_checked, newest
from lib.run.train import Recipe, fit, train
from lib.weights import sealed
from lib.weights.sealed import HEADER, before, read_sealed, write_sealed
from tests.run.tiny import counting, tiny_llama, weights

RECIPE = Recipe(steps=12, warmup=3, learning_rate=0.01)
PLAIN = {"device": "cpu", "dtype": "float32"}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fifty lives are forked, and this system has no fork")
def test_killed_fifty_times_is_never_killed_to_the_bit(root, tmp_path):
    """At random moments, and before each kind of file operation of a save: losses, weights, moments are the same."""
    command = [sys.executable, "-m", "tests.run.mortal", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    print(seen)
    assert seen["kills"] == 50 and seen["equal"] == seen["runs"] > 0 and seen["steps"] == 40
    assert seen["aimed"] == seen["aims"] > 20 and seen["equal_aimed"]


def kept_twice(folder):
    """Return the path of a run that was saved at steps 3 and 4."""
    path = folder / "run.pt"
    run = train(tiny_llama(), counting(), RECIPE, checkpoint=Keep(path, None, 1), **PLAIN)
    list(itertools.islice(run, 4))
    run.close()
    assert [load_checked(p)["record"][0] for p in (path, before(path))] == [4, 3]
    return path


def numbers(records):
    return [(r.step, r.loss, r.grad_norm, r.tokens) for r in records]


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def alter(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def make_foreign(path):
    write_sealed(path, {**load_checked(path), "identity": {"model": {"d_ff": 3}, "recipe": {}, "batches": {}}})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, r"run.pt can't be read as a checkpoint \(its checksum differs\)"),
        (alter, r"run.pt can't be read as a checkpoint \(its checksum differs\)"),
        (lambda path: path.write_bytes(b"PK"), r"run.pt can't be read as a checkpoint \(no such header\)"),
        (lambda path: write_sealed(path, {"a": 1}), "run.pt is no checkpoint of a run"),
        (make_foreign, r"run.pt is a checkpoint of another run \(model .*d_ff 3 there, 40 here"),
    ],
)
def test_what_is_refused_is_named_and_the_one_before_it_goes_on(tmp_path, damage, words):
    whole, path = fit(tiny_llama(), counting(), RECIPE, **PLAIN), kept_twice(tmp_path)
    saved = before(path).read_bytes()
    damage(path)
    before(path).write_bytes(saved)  # write_sealed moved it
    damaged = path.read_bytes()
    with pytest.warns(UserWarning, match=words):
        records = fit(tiny_llama(1), counting(), RECIPE, checkpoint=path, **PLAIN)
    assert numbers(records) == numbers(whole)[3:]
    assert path.with_name("run.pt.refused").read_bytes() == damaged  # it may be somebody's
    assert load_checked(path)["record"][0] == 12


def test_where_both_are_refused_both_are_named_and_stay(tmp_path):
    path = kept_twice(tmp_path)
    alter(path)
    cut(before(path))
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    model = tiny_llama(1)
    weights = model.head.weight.clone()
    with pytest.raises(ValueError, match=r"run.pt can't be read.*run.pt.before can't be read"):
        fit(model, counting(), RECIPE, checkpoint=path, **PLAIN)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files and torch.equal(model.head.weight, weights)


def test_a_single_bit_anywhere_is_found(tmp_path):
    path = kept_twice(tmp_path)
    whole, dice = path.read_bytes(), random.Random(0)
    for place in [*range(HEADER), *(dice.randrange(len(whole)) for _ in range(300)), len(whole) - 1]:
        data = bytearray(whole)
        data[place] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        with pytest.raises(sealed.Refused, match="run.pt can't be read as a checkpoint"):
            read_sealed(path)


def test_a_gap_between_the_two_moves_is_no_loss(tmp_path):
    """Killed after the old one was moved aside and before the new one came: the old one goes on, without a word."""
    path = kept_twice(tmp_path)
    path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert newest(path)["record"][0] == 3
    assert newest(tmp_path / "none.pt") is None


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a file that is always full")
def test_a_full_disk_loses_nothing_older_and_the_run_goes_on(tmp_path):
    """The kernel itself says "no space left": the file that is written beside is a link to /dev/full."""
    path, part, seen = tmp_path / "run.pt", tmp_path / "run.pt.part", []
    with pytest.warns(UserWarning) as said:
        for record in train(tiny_llama(), counting(), RECIPE, checkpoint=Keep(path, None, 1), **PLAIN):
            seen.append([load_checked(p)["record"][0] for p in (path, before(path)) if p.exists()])
            if 4 <= record.step < 7:
                part.symlink_to("/dev/full")
    assert seen[2:8] == [[3, 2], [4, 3], [4, 3], [4, 3], [4, 3], [8, 4]]  # space again at step 8
    texts = [str(warning.message) for warning in said]
    assert len(texts) == 3
    assert re.search(r"step 5 could not be saved: .*No space left.*the model holds it; .*run.pt holds step 4", texts[0])
    assert load_checked(path)["record"][0] == 12 and not part.exists()


def test_an_interrupt_with_a_full_disk_tells_the_truth(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"

    def full(path, value):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lib.run.checkpoint.write_sealed", full)
    run = train(tiny_llama(), counting(), RECIPE, checkpoint=path, **PLAIN)
    next(run)
    with pytest.warns(UserWarning, match="could not be saved"):
        with pytest.raises(KeyboardInterrupt, match="after step 1 of 12; the model holds it; .*run.pt was not written"):
            run.throw(KeyboardInterrupt)


def test_nan_names_the_step_and_the_batches_and_keeps_what_was_there(tmp_path):
    path, whole = tmp_path / "run.pt", counting()

    class Poisoned:
        """From batch 8 on, the head is infinite."""

        def __getitem__(self, step):
            if step == 8:
                model.norm.register_forward_hook(lambda module, x, y: y * torch.inf)
            return whole[step]

    model = tiny_llama()
    recipe = Recipe(steps=12, accumulate=2)
    with pytest.raises(
        FloatingPointError, match=r"step 5: .*after batches\[8\] to batches\[9\].*holds step 4.*half the"
    ):
        fit(model, Poisoned(), recipe, checkpoint=path, **PLAIN)
    kept = load_checked(path)
    assert kept["record"][0] == 4 and torch.equal(kept["model"]["head.weight"], model.head.weight)


def press_at(event):
    """Return a function for sys.settrace that sends SIGINT at this line of `fit` and `train`, counted as they run."""
    seen = itertools.count(1)

    def traced(frame, kind, _):
        if frame.f_code not in (fit.__code__, train.__code__):
            return None
        if kind == "line" and next(seen) == event:
            signal.raise_signal(signal.SIGINT)
        return traced

    return traced


def test_an_interrupt_at_any_line_loses_no_record(capsys):
    """Also where a step is done and its record is not yet yielded, or yielded and not yet in the list."""
    model, whole, states, stops = tiny_llama(), [], [weights(tiny_llama())], []
    for record in train(model, counting(), Recipe(3), **PLAIN):
        whole.append(record.loss)
        states.append(weights(model))
    for event in itertools.count(1):
        model = tiny_llama()
        usual = sys.gettrace()
        try:
            sys.settrace(press_at(event))
            losses = [record.loss for record in fit(model, counting(), Recipe(3), **PLAIN)]
        except KeyboardInterrupt:
            losses = None  # there was no step yet, or no step to come: nothing was to be told
        finally:
            sys.settrace(usual)
        said = re.search(r"stopped after step (\d) of 3", capsys.readouterr().out)
        done = 0 if losses is None and not stops else int(said[1]) if said else 3
        assert torch.equal(weights(model), states[done]) and losses in (whole[:done], None)
        stops += [done] if said else []
        if losses == whole and not said:
            break  # the lines are over
    assert set(stops) == {0, 1, 2, 3} and stops == sorted(stops) and len(stops) > 30


START = """
import json, sys, time
sys.path.insert(0, {root!r})
from lib.run.train import Recipe, fit
from tests.run.tiny import counting, tiny_llama

class Slow:
    description = counting().description
    def __getitem__(self, step):
        if step == 20:
            print("twenty", flush=True)
        time.sleep(0.005)
        return counting()[step]

model, told = tiny_llama(), []
"""
CELL = """
records = fit(model, Slow(), Recipe(steps=150), device="cpu", dtype="float32", checkpoint={path!r})
told.append([record.loss for record in records])
print("then", records[0].step, records[-1].step)
"""
END = 'print("told", json.dumps(told), json.dumps(model.head.weight.tolist()))'


@pytest.mark.slow
def test_the_same_cell_of_a_notebook_goes_on_after_its_stop_button(root, tmp_path):
    manager, client = start_new_kernel(cwd=str(root))
    try:

        def run(code, press_at=None):
            """Run a cell and return what it prints; press the stop button when these words come."""
            client.execute(code)
            printed = ""
            while True:
                message = client.get_iopub_msg(timeout=60)
                if message["msg_type"] == "stream":
                    printed += message["content"]["text"]
                    if press_at and press_at in printed:
                        manager.interrupt_kernel()
                        press_at = None
                assert message["msg_type"] != "error", "\n".join(message["content"]["traceback"])
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return printed

        run(START.format(root=str(root)))
        cell = CELL.format(path=str(tmp_path / "run.pt"))
        first = run(cell, press_at="twenty")
        stopped = int(re.search(r"stopped after step (\d+) of 150; the model holds it, and so does .*run.pt", first)[1])
        assert 20 <= stopped < 150 and f"then 1 {stopped}" in first
        assert f"then {stopped + 1} 150" in run(cell)
        _, losses, weights = re.fullmatch(r"(told) (\[\[.*?\]\]) (.*)\n", run(END)).groups()
    except Empty:
        pytest.fail("the notebook's kernel did not answer within a minute")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    model = tiny_llama()
    whole = fit(model, counting(), Recipe(steps=150), **PLAIN)
    assert sum(json.loads(losses), []) == [r.loss for r in whole]
    assert torch.equal(torch.tensor(json.loads(weights)), model.head.weight.detach())
