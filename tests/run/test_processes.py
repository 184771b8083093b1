"""Two processes are one: torchrun starts them (gloo, CPU), and losses, gradients, weights, checkpoints are one's."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch.distributed import is_available
from torch.utils._pytree import tree_leaves

from lib.models.hybrid import Hybrid, HybridConfig
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.run.checkpoint import Keep, load_bundle, load_checked
from lib.run.commands import main
from lib.run.processes import Alone, Rows, Shards, team
from lib.run.train import train
from lib.weights.sealed import write_sealed
from tests.run.tiny import counting, tiny_llama, tiny_rwkv
from tests.run.two import CASES, CPU, RECIPE, trained

pytestmark = pytest.mark.skipif(not is_available(), reason="this torch was built without torch.distributed")
KINDS = ("copies", "shards")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def close(ours, theirs):
    """Return the largest difference of two dicts of tensors, or two lists of numbers."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        return max((ours[name] - theirs[name]).abs().max().item() for name in ours)
    return (torch.tensor(ours, dtype=torch.float64) - torch.tensor(theirs, dtype=torch.float64)).abs().max().item()


@pytest.fixture(scope="module")
def two(root, tmp_path_factory):
    """Run tests/run/two.py in two processes, after one process has left the halves that they end."""
    folder = tmp_path_factory.mktemp("two")
    for kind in KINDS:
        for name, make in CASES.items():
            trained(make, stop=4, checkpoint=Keep(folder / f"{name}-one-half-{kind}.pt", seconds=None))
    run = train(tiny_llama(), counting(seed=5), RECIPE, checkpoint=folder / "foreign.pt", **CPU)
    next(run)
    run.close()
    done = subprocess.run(
        [*TORCHRUN, "-m", "tests.run.two", str(folder)], cwd=root, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_two_are_one(two, name, kind):
    folder, _ = two
    there = torch.load(folder / f"{name}-{kind}.out", weights_only=True)
    model, numbers, gradients = trained(CASES[name])
    differences = {
        "losses and norms": close(there["numbers"], numbers),
        "gradients": close(there["gradients"], gradients),
        "weights": close(there["weights"], model.state_dict()),
    }
    print(name, kind, differences)
    assert differences["losses and norms"] < 1e-6 and differences["gradients"] < 1e-6
    assert differences["weights"] < 1e-5  # Adam divides by the size of the gradient


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_two_left_one_ends_and_the_other_way_round(two, name, kind):
    folder, _ = two
    _, numbers, _ = trained(CASES[name])
    path = folder / f"{name}-{kind}-half.pt"
    kept = load_checked(path)
    assert kept["record"][0] == 4 and all(type(tensor) is torch.Tensor for tensor in kept["model"].values())
    _, rest, _ = trained(lambda: CASES[name](seed=1), checkpoint=path)
    assert [row[0] for row in rest] == [5, 6, 7, 8] and close(rest, numbers[4:]) < 2e-5
    theirs = torch.load(folder / f"{name}-{kind}.out", weights_only=True)["rest"]
    assert [row[0] for row in theirs] == [5, 6, 7, 8] and close(theirs, numbers[4:]) < 2e-5


@pytest.mark.slow
def test_only_the_first_speaks_and_all_refuse_what_the_first_does(two):
    folder, done = two
    said = done.stdout
    assert "process 0 is done" in said and "process 1 is done" in said
    assert re.findall(r"the first one speaks: \d", said) == ["the first one speaks: 0"]
    words = [(folder / f"refused-{rank}").read_text() for rank in (0, 1)]
    assert "foreign.pt is a checkpoint of another run (batches seed 5 there, 0 here)" in words[0] == words[1]


SMALL = "--device cpu --dtype float32 --megabytes 0.02 --batch-size 2 --length 32".split()


@pytest.mark.slow
def test_one_that_is_killed_ends_the_run_and_the_checkpoint_goes_on(root, tmp_path, monkeypatch, capsys):
    """`torchrun -m lib train llama --shard`, and SIGKILL for its second process; one process ends the run."""
    out = tmp_path / "out"
    command = [*TORCHRUN, "-m", "tests.run.often", "train", "llama", "--shard", "--steps", "400", "--out", str(out)]
    process = subprocess.Popen(
        [*command, *SMALL], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 90
    while not (out / "run.pt.before").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    second = int((out / "pid-1").read_text()) if (out / "pid-1").exists() else None
    if second:
        os.kill(second, signal.SIGKILL)
    said, _ = process.communicate(timeout=90)
    assert second and process.returncode == 1, said[-3000:]
    assert "Signal 9 (SIGKILL)" in said and "rank      : 1" in said  # torchrun's own summary
    step = load_checked(out / "run.pt")["record"][0]
    assert 2 <= step < 400 and not list(out.glob("*.part"))
    monkeypatch.setattr("lib.run.train_command.kept_steps", lambda path: 400)
    kept = load_checked(out / "run.pt")
    kept["record"] = (398, *kept["record"][1:])  # two steps are enough to see that it goes on
    write_sealed(out / "run.pt", kept)
    monkeypatch.setattr("lib.run.evaluate.N_STORIES", 1)
    assert main(["train", "llama", "--resume", "--out", str(out), *SMALL]) == 0
    assert "step   400 of 400" in capsys.readouterr().out
    assert load_bundle(out)[0].config.n_layers > 0


def test_rows_are_dealt_one_by_one():
    whole, parts = counting(), [Rows(counting(), rank, 2) for rank in (0, 1)]
    assert parts[0].description == whole.description
    for i in (0, 1):
        x, y = whole[3]
        assert torch.equal(x[i::2], parts[i][3][0]) and torch.equal(y[i::2], parts[i][3][1])
    with pytest.raises(ValueError, match="batches of 4 rows can't be shared evenly by 3 processes"):
        Rows(whole, 0, 3)[0]


def test_one_process_is_a_team_of_one_and_can_not_shard(capsys):
    with team() as alone:
        assert type(alone) is Alone and alone.agree(3) == 3
    with pytest.raises(ValueError, match="to shard a model takes several processes: torchrun --nproc_per_node=2"):
        with team(shard=True):
            pass
    assert main(["train", "llama", "--shard"]) == 1
    assert "takes several processes" in capsys.readouterr().err


def test_a_lost_peer_is_told_in_a_sentence(monkeypatch):
    """What gloo raises when the other side of its connection is gone; another error stays itself."""
    import torch.distributed as dist

    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(dist, "init_process_group", lambda backend: None)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(ConnectionError, match=r"process 1 of 2: another one is gone \(.*closed by peer.*--resume"):
        with team(device="cpu"):
            raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")
    with pytest.raises(RuntimeError, match="^mat1 and mat2"):
        with team(device="cpu"):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


FAMILIES = {"llama": tiny_llama, **{f"rwkv-{n}": partial(tiny_rwkv, n) for n in (4, 5, 6, 7)}}
FAMILIES["hybrid"] = lambda: Hybrid(HybridConfig(29, ("rwkv7", "attention"), 24, 40, 8, 1, 48))
FAMILIES["openelm"] = lambda: OpenElm(OpenElmConfig(29, 24, 6, (2, 4), (1, 2), (12, 20), context_length=9))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_names_the_blocks_that_it_reads_early(name):
    """Those whose weights get a gradient through what all blocks share."""
    model = FAMILIES[name]()
    shared = model.shared(0, 3, torch.randn(1, 3, 24))
    made = [z for z in tree_leaves(tuple(shared)) if torch.is_tensor(z) and z.requires_grad]
    if made:
        sum(z.square().sum() for z in made).backward()
    read = [i for i, block in enumerate(model.blocks) if any(p.grad is not None for p in block.parameters())]
    assert list(model.read_early()) == read == ([0] if name == "rwkv-7" else [])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_block_is_sharded_but_those_that_are_read_early(name, monkeypatch):
    model, sharded = FAMILIES[name](), []
    monkeypatch.setattr("torch.distributed.fsdp.fully_shard", lambda module: sharded.append(module) or module)
    whole = SimpleNamespace(model=model)
    assert object.__new__(Shards).spread(whole) is whole
    assert sharded == [*list(model.blocks)[1 if name == "rwkv-7" else 0 :], whole]


def test_float16_is_not_sharded():
    from lib.run.optimizer import Optimizer

    with pytest.raises(ValueError, match="float16 scales its gradients.*take bfloat16, or no --shard"):
        Optimizer(tiny_llama(), replace(RECIPE), torch.float16, object.__new__(Shards))
